#include "unit/fuse/mount_fixture.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "fuse/mount_device.h"

namespace ckptfs::fuse {

bool CanMount(std::string& reason) {
  static const std::string why = [] {
    const TemporaryDirectory directory;
    MountRequest request;
    request.mount_point = directory.path();
    request.source = "probe";
    Result<FileDescriptor> device = MountFuse(request);
    if (!device.has_value()) return device.error().ToString();
    device->Close();  // ends the connection; nothing answers a stat
    const Result<void> unmounted = UnmountFuse(directory.path(), true);
    return unmounted.has_value() ? std::string() : unmounted.error().ToString();
  }();
  reason = why;
  return why.empty();
}

TemporaryDirectory::TemporaryDirectory() {
  std::string pattern =
      (std::filesystem::temp_directory_path() / "ckptfs-test-XXXXXX").native();
  if (mkdtemp(pattern.data()) == nullptr) std::abort();
  path_ = pattern;
}

TemporaryDirectory::~TemporaryDirectory() {
  // rmdir alone: what is mounted here must not be emptied by a test's failure.
  std::error_code ignored;
  std::filesystem::remove(path_, ignored);
}

TestMount::TestMount(Dispatcher& dispatcher, SessionOptions options) {
  options.mount_point = directory_.path();
  Result<std::unique_ptr<Session>> session =
      Session::Create(std::move(options), slabs_, work_);
  if (!session.has_value()) {
    std::fprintf(stderr, "%s\n", session.error().ToString().c_str());
    std::abort();
  }
  session_ = *std::move(session);
  session_->Start(dispatcher);
  const Result<void> ready = session_->WaitForInit(std::chrono::seconds(30));
  if (!ready.has_value()) {
    std::fprintf(stderr, "%s\n", ready.error().ToString().c_str());
    std::abort();
  }
}

TestMount::~TestMount() { session_.reset(); }

}  // namespace ckptfs::fuse

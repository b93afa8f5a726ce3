// MountFixture: a real mount, below a temporary directory, over a Dispatcher.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>

#include "common/executors.h"
#include "fuse/session.h"

namespace ckptfs::fuse {

// Whether this machine lets the tests mount; `reason` says why not.
bool CanMount(std::string& reason);

// A directory that is removed at the end.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Mounts on construction (a failure aborts the program: CanMount was asked) and
// unmounts on destruction. `dispatcher` outlives it.
class TestMount {
 public:
  explicit TestMount(Dispatcher& dispatcher, SessionOptions options = {});
  ~TestMount();

  std::string Path(const std::string& name) const {
    return (directory_.path() / name).native();
  }
  Session& session() { return *session_; }
  SlabPool& slabs() { return slabs_; }
  Executor& work() { return work_; }

 private:
  TemporaryDirectory directory_;
  SlabPool slabs_{64};
  ThreadPool work_{"work", 2};
  std::unique_ptr<Session> session_;
};

// Skips, with the reason, where nothing can be mounted.
class MountTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string reason;
    if (!CanMount(reason)) GTEST_SKIP() << reason;
  }
};

}  // namespace ckptfs::fuse

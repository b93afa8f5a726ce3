// A pickle of torch that is read, written and read again.
#include <unordered_map>

#include "checkpoint/pickle/pickle_reader.h"
#include "checkpoint/pickle/pickle_writer.h"
#include "checkpoint/torch_file/torch_pickle.h"
#include "fuzz/fuzz_target.h"
#include "fuzz/same_value.h"

using ckptfs::FuzzRequire;

namespace {

class Numbering final : public ckptfs::PickleStorages {
 public:
  std::string KeyOf(const std::shared_ptr<ckptfs::Storage>& storage) override {
    return std::to_string(
        keys_.emplace(storage.get(), keys_.size()).first->second);
  }

 private:
  std::unordered_map<const void*, std::size_t> keys_;
};

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ckptfs::TorchPickle first(false, {});
  const auto value = ckptfs::ReadPickle(ckptfs::FuzzInput(data, size), first);
  if (!value) return 0;
  Numbering storages;
  const auto written = ckptfs::WritePickle(*value, storages);
  if (!written) {
    FuzzRequire(
        written.error().code() == ckptfs::ErrorCode::kUnsupported ||
            written.error().code() == ckptfs::ErrorCode::kInvalidArgument,
        "what cannot be written is refused");
    return 0;
  }
  ckptfs::TorchPickle second(false, {});
  const auto again =
      ckptfs::ReadPickle(std::as_bytes(std::span(*written)), second);
  if (!again) std::fprintf(stderr, "%s\n", again.error().ToString().c_str());
  FuzzRequire(again.has_value(), "what was written can be read");
  FuzzRequire(ckptfs::SameValue()(*value, *again),
              "what was written is what is read");
  return 0;
}

// A pickle: read as torch's, with weights_only and without, and scanned.
#include <ckptfs/checkpoint/tensor_names.h>

#include "checkpoint/pickle/pickle_reader.h"
#include "checkpoint/torch_file/torch_pickle.h"
#include "checkpoint/torch_file/weights_only.h"
#include "fuzz/fuzz_target.h"
#include "fuzz/same_value.h"

using ckptfs::FuzzRequire;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto pickle = ckptfs::FuzzInput(data, size);
  ckptfs::TorchPickle strict(true, {});
  ckptfs::TorchPickle lenient(false, {});
  const auto safe = ckptfs::ReadPickle(pickle, strict);
  const auto any = ckptfs::ReadPickle(pickle, lenient);
  const auto globals = ckptfs::ScanPickleGlobals(pickle);
  if (any) {
    // An error (too many names) is as good as a visit.
    (void)ckptfs::VisitTensors(
        *any, [](const std::string&, ckptfs::TensorView& tensor) {
          FuzzRequire(ckptfs::CheckBounds(tensor).has_value(),
                      "every tensor lies in its storage");
        });
  }
  if (!safe) return 0;
  FuzzRequire(any.has_value(), "what weights_only admits is read without, too");
  FuzzRequire(ckptfs::SameValue()(*safe, *any), "and gives the same");
  if (!globals) return 0;
  for (const ckptfs::Global& global : *globals) {
    FuzzRequire(ckptfs::IsAllowedUnderWeightsOnly(global, {}),
                "the scan names nothing else than what was admitted");
  }
  return 0;
}

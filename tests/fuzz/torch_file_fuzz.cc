// A whole torch.save file: opened, all of it loaded, some of it loaded, and
// loaded again into what came out.
#include <ckptfs/checkpoint/tensor_names.h>

#include <memory>
#include <optional>
#include <utility>

#include "checkpoint/torch_file/load_plan.h"
#include "checkpoint/torch_file/torch_file_reader.h"
#include "fuzz/fuzz_target.h"
#include "support/manual_executor.h"
#include "support/memory_source.h"

namespace {

using ckptfs::FuzzRequire;
using ckptfs::LoadPlan;
using ckptfs::ManualExecutor;
using ckptfs::Result;
using ckptfs::TorchFileReader;

template <typename T>
Result<T> Run(ManualExecutor& executor, ckptfs::Task<Result<T>> task) {
  std::optional<Result<T>> out;
  ckptfs::Spawn<Result<T>>(executor, std::move(task),
                           [&out](Result<T> r) { out.emplace(std::move(r)); });
  executor.RunAll();
  FuzzRequire(out.has_value(), "every task ends");
  return *std::move(out);
}

Result<std::unique_ptr<TorchFileReader>> Open(ManualExecutor& executor,
                                              std::span<const std::byte> file) {
  ckptfs::TorchFileReadOptions options;
  options.weights_only = false;
  return Run(executor,
             TorchFileReader::Open(std::make_unique<ckptfs::MemorySource>(file),
                                   executor, executor, std::move(options), {}));
}

Result<void> Carry(ManualExecutor& executor, TorchFileReader& reader,
                   const LoadPlan& plan) {
  auto wants = plan.wants();
  CKPTFS_RETURN_IF_ERROR(
      Run(executor, reader.Read(std::move(wants), plan.owner(), executor, {})));
  // Damage is an answer.
  (void)plan.VerifyCrcs();
  plan.CopyRest();
  return {};
}

// Every other tensor, so that wants begin within storages.
bool EveryOther(std::string_view name) {
  return !name.empty() && static_cast<unsigned char>(name.back()) % 2 == 0;
}

void Load(std::span<const std::byte> file, bool some) {
  ManualExecutor executor;
  const auto reader = Open(executor, file);
  if (!reader) return;
  // No more than what such a file can hold; deflated records may say anything.
  std::uint64_t bytes = 0;
  for (const TorchFileReader::Record& record : (*reader)->records()) {
    if (record.storage->bytes > (64u << 20)) return;
    bytes += record.storage->bytes;
  }
  if (bytes > (256u << 20)) return;
  ckptfs::LoadOptions options;
  if (some) options.filter = EveryOther;
  const auto plan = LoadPlan::OfNew(**reader, options);
  if (!plan || !Carry(executor, **reader, *plan)) return;
  if (some) return;
  const auto check = [](const std::string&, ckptfs::TensorView& tensor) {
    FuzzRequire(ckptfs::CheckBounds(tensor).has_value(),
                "every tensor lies in its storage");
    FuzzRequire(tensor.storage->memory.size() == tensor.storage->bytes,
                "every storage is loaded");
  };
  (void)ckptfs::VisitTensors((*reader)->value(), check);

  const auto again = Open(executor, file);
  FuzzRequire(again.has_value(), "what was opened once opens again");
  ckptfs::LoadIntoOptions into;
  into.strict = false;
  LoadPlan::Into names;
  const auto second =
      LoadPlan::OfExisting(**again, (*reader)->value(), into, names);
  if (second) (void)Carry(executor, **again, *second);
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = ckptfs::FuzzInput(data, size);
  Load(file, false);
  Load(file, true);
  return 0;
}

// LoadTorchFile and LoadTorchFileInto: open, plan, read, check.
#include <ckptfs/checkpoint/torch_file.h>

#include <memory>
#include <utility>

#include "checkpoint/engine/files.h"
#include "checkpoint/io/arrivals.h"
#include "checkpoint/io/run_on.h"
#include "checkpoint/torch_file/load_plan.h"
#include "checkpoint/torch_file/torch_file_reader.h"

namespace ckptfs {

namespace {

Task<Result<std::shared_ptr<TorchFileReader>>> OpenReader(
    internal::EngineRuntime& runtime, std::string path, LoadOptions options) {
  Files files(runtime);
  Result<std::unique_ptr<ByteSource>> source =
      co_await files.Source(std::move(path));
  CKPTFS_CO_RETURN_IF_ERROR(source);
  TorchFileReadOptions read_options;
  read_options.weights_only = options.weights_only;
  read_options.verify_crc = options.verify_crc;
  read_options.safe_globals = std::move(options.safe_globals);
  Result<std::unique_ptr<TorchFileReader>> reader =
      co_await TorchFileReader::Open(*std::move(source), runtime.strand(),
                                     runtime.pool(), std::move(read_options),
                                     std::move(options.stop));
  CKPTFS_CO_RETURN_IF_ERROR(reader);
  co_return std::shared_ptr<TorchFileReader>(*std::move(reader));
}

Task<Result<void>> Carry(internal::EngineRuntime& runtime,
                         TorchFileReader& reader,
                         std::shared_ptr<const LoadPlan> plan,
                         LoadOptions options) {
  std::function<void(std::uint64_t)> got =
      Arrivals(options.progress, plan->bytes());
  std::vector<TorchFileReader::Want> wants = plan->wants();
  Result<void> read =
      co_await reader.Read(std::move(wants), plan->owner(), runtime.pool(),
                           options.stop, std::move(got));
  CKPTFS_CO_RETURN_IF_ERROR(read);
  Future<void> finishing = RunOn<void>(
      runtime.pool(), [plan, verify = options.verify_crc]() -> Result<void> {
        if (verify) CKPTFS_RETURN_IF_ERROR(plan->VerifyCrcs());
        plan->CopyRest();
        return {};
      });
  Result<void> finished = co_await std::move(finishing);
  if (!finished) co_return Fail(finished.error().WithContext(reader.name()));
  co_return finished;
}

Task<Result<Value>> LoadTask(internal::EngineRuntime& runtime, std::string path,
                             LoadOptions options) {
  Result<std::shared_ptr<TorchFileReader>> reader =
      co_await OpenReader(runtime, std::move(path), options);
  CKPTFS_CO_RETURN_IF_ERROR(reader);
  Future<std::shared_ptr<const LoadPlan>> planning =
      RunOn<std::shared_ptr<const LoadPlan>>(
          runtime.pool(),
          [reader = *reader,
           options]() -> Result<std::shared_ptr<const LoadPlan>> {
            CKPTFS_ASSIGN_OR_RETURN(LoadPlan plan,
                                    LoadPlan::OfNew(*reader, options));
            return std::make_shared<const LoadPlan>(std::move(plan));
          });
  Result<std::shared_ptr<const LoadPlan>> plan = co_await std::move(planning);
  if (!plan) co_return Fail(plan.error().WithContext((*reader)->name()));
  Result<void> carried =
      co_await Carry(runtime, **reader, *std::move(plan), std::move(options));
  CKPTFS_CO_RETURN_IF_ERROR(carried);
  co_return (*reader)->value();
}

Task<Result<LoadReport>> LoadIntoTask(internal::EngineRuntime& runtime,
                                      std::string path, Value into,
                                      LoadIntoOptions options) {
  Result<std::shared_ptr<TorchFileReader>> reader =
      co_await OpenReader(runtime, std::move(path), options.load);
  CKPTFS_CO_RETURN_IF_ERROR(reader);
  struct Planned {
    std::shared_ptr<const LoadPlan> plan;
    LoadPlan::Into names;
  };
  Future<Planned> planning = RunOn<Planned>(
      runtime.pool(), [reader = *reader, into, options]() -> Result<Planned> {
        Planned out;
        CKPTFS_ASSIGN_OR_RETURN(
            LoadPlan plan,
            LoadPlan::OfExisting(*reader, into, options, out.names));
        out.plan = std::make_shared<const LoadPlan>(std::move(plan));
        return out;
      });
  Result<Planned> planned = co_await std::move(planning);
  if (!planned) co_return Fail(planned.error().WithContext((*reader)->name()));
  Result<void> carried =
      co_await Carry(runtime, **reader, planned->plan, std::move(options.load));
  CKPTFS_CO_RETURN_IF_ERROR(carried);
  LoadReport report;
  report.missing = std::move(planned->names.missing);
  report.unexpected = std::move(planned->names.unexpected);
  report.value = (*reader)->value();
  co_return std::move(report);
}

}  // namespace

Future<Value> LoadTorchFile(Engine& engine, std::string path,
                            LoadOptions options) {
  internal::EngineRuntime& runtime = engine.runtime();
  return runtime.Start<Value>(
      LoadTask(runtime, std::move(path), std::move(options)));
}

Future<LoadReport> LoadTorchFileInto(Engine& engine, std::string path,
                                     Value into, LoadIntoOptions options) {
  internal::EngineRuntime& runtime = engine.runtime();
  return runtime.Start<LoadReport>(LoadIntoTask(
      runtime, std::move(path), std::move(into), std::move(options)));
}

}  // namespace ckptfs

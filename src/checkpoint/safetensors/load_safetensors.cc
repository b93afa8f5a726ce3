// LoadSafetensors and LoadSafetensorsInto: open, plan, read.
#include <ckptfs/checkpoint/safetensors.h>

#include <memory>
#include <utility>

#include "checkpoint/engine/files.h"
#include "checkpoint/io/arrivals.h"
#include "checkpoint/io/run_on.h"
#include "checkpoint/safetensors/open_safetensors.h"
#include "checkpoint/safetensors/safetensors_load_plan.h"

namespace ckptfs {

namespace {

struct Opened {
  OpenedFile file;
  SafetensorsHeader header;
};

Task<Result<std::shared_ptr<Opened>>> Open(internal::EngineRuntime& runtime,
                                           std::string path,
                                           std::stop_token stop) {
  Files files(runtime);
  Result<std::unique_ptr<ByteSource>> source =
      co_await files.Source(std::move(path));
  CKPTFS_CO_RETURN_IF_ERROR(source);
  Result<OpenedFile> file = co_await OpenedFile::Open(*std::move(source), stop);
  CKPTFS_CO_RETURN_IF_ERROR(file);
  Result<SafetensorsHeader> header =
      co_await OpenSafetensors(*file, runtime.pool(), std::move(stop));
  CKPTFS_CO_RETURN_IF_ERROR(header);
  co_return std::make_shared<Opened>(*std::move(file), *std::move(header));
}

Task<Result<void>> Carry(internal::EngineRuntime& runtime,
                         std::shared_ptr<Opened> opened,
                         std::shared_ptr<const SafetensorsLoadPlan> plan,
                         LoadOptions options) {
  std::function<void(std::uint64_t)> got =
      Arrivals(options.progress, plan->bytes());
  std::vector<WantedRange> wants = plan->wants();
  Result<void> read =
      co_await ReadWanted(opened->file, runtime.strand(), std::move(wants),
                          plan->owner(), options.stop, std::move(got));
  CKPTFS_CO_RETURN_IF_ERROR(read);
  Future<void> copying = RunOn<void>(runtime.pool(), [plan]() -> Result<void> {
    plan->CopyRest();
    return {};
  });
  Result<void> copied = co_await std::move(copying);
  co_return copied;
}

Task<Result<SafetensorsFile>> LoadTask(internal::EngineRuntime& runtime,
                                       std::string path, LoadOptions options) {
  Result<std::shared_ptr<Opened>> opened =
      co_await Open(runtime, std::move(path), options.stop);
  CKPTFS_CO_RETURN_IF_ERROR(opened);
  using Plan = std::shared_ptr<const SafetensorsLoadPlan>;
  Future<Plan> planning = RunOn<Plan>(
      runtime.pool(), [opened = *opened, options]() -> Result<Plan> {
        CKPTFS_ASSIGN_OR_RETURN(
            SafetensorsLoadPlan plan,
            SafetensorsLoadPlan::OfNew(opened->header, options));
        return std::make_shared<const SafetensorsLoadPlan>(std::move(plan));
      });
  Result<Plan> plan = co_await std::move(planning);
  if (!plan) {
    co_return Fail(plan.error().WithContext((*opened)->file.name()));
  }
  Result<void> carried =
      co_await Carry(runtime, *opened, *plan, std::move(options));
  CKPTFS_CO_RETURN_IF_ERROR(carried);
  SafetensorsFile out;
  out.tensors = (*plan)->tensors();
  out.metadata = std::move((*opened)->header.metadata);
  co_return std::move(out);
}

Task<Result<LoadReport>> LoadIntoTask(internal::EngineRuntime& runtime,
                                      std::string path,
                                      std::map<std::string, TensorView> into,
                                      LoadIntoOptions options) {
  Result<std::shared_ptr<Opened>> opened =
      co_await Open(runtime, std::move(path), options.load.stop);
  CKPTFS_CO_RETURN_IF_ERROR(opened);
  struct Planned {
    std::shared_ptr<const SafetensorsLoadPlan> plan;
    SafetensorsLoadPlan::Into names;
  };
  Future<Planned> planning = RunOn<Planned>(
      runtime.pool(),
      [opened = *opened, into = std::move(into), options]() -> Result<Planned> {
        Planned out;
        CKPTFS_ASSIGN_OR_RETURN(SafetensorsLoadPlan plan,
                                SafetensorsLoadPlan::OfExisting(
                                    opened->header, into, options, out.names));
        out.plan = std::make_shared<const SafetensorsLoadPlan>(std::move(plan));
        return out;
      });
  Result<Planned> planned = co_await std::move(planning);
  if (!planned) {
    co_return Fail(planned.error().WithContext((*opened)->file.name()));
  }
  Result<void> carried =
      co_await Carry(runtime, *opened, planned->plan, std::move(options.load));
  CKPTFS_CO_RETURN_IF_ERROR(carried);
  LoadReport report;
  report.missing = std::move(planned->names.missing);
  report.unexpected = std::move(planned->names.unexpected);
  Dict dict;
  for (const auto& [name, tensor] : planned->plan->tensors()) {
    dict.Assign(name, tensor);
  }
  report.value = Value(std::move(dict));
  co_return std::move(report);
}

}  // namespace

Future<SafetensorsFile> LoadSafetensors(Engine& engine, std::string path,
                                        LoadOptions options) {
  internal::EngineRuntime& runtime = engine.runtime();
  return runtime.Start<SafetensorsFile>(
      LoadTask(runtime, std::move(path), std::move(options)));
}

Future<LoadReport> LoadSafetensorsInto(Engine& engine, std::string path,
                                       std::map<std::string, TensorView> into,
                                       LoadIntoOptions options) {
  internal::EngineRuntime& runtime = engine.runtime();
  return runtime.Start<LoadReport>(LoadIntoTask(
      runtime, std::move(path), std::move(into), std::move(options)));
}

}  // namespace ckptfs

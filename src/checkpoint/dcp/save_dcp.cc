// SaveDcp: the calls of a DCP save, in their order, on every rank.
#include <ckptfs/checkpoint/dcp/checkpoint.h>
#include <ckptfs/checkpoint/dcp/storage_writer.h>

#include <utility>

#include "checkpoint/dcp/rank_agreement.h"
#include "checkpoint/dcp/rank_messages.h"
#include "checkpoint/dcp/state_save_planner.h"
#include "checkpoint/engine/engine_runtime.h"
#include "checkpoint/io/run_on.h"
#include "common/log.h"

namespace ckptfs {

namespace {

class Save {
 public:
  Save(internal::EngineRuntime& runtime, Coordination& coordination,
       std::unique_ptr<DcpStorageWriter> writer)
      : runtime_(runtime),
        coordination_(coordination),
        writer_(std::move(writer)) {}

  Task<Result<void>> Run(Value state) {
    writer_->SetUp(coordinator());
    Result<std::string> local = co_await LocalPlan(std::move(state));
    Result<DcpSavePlan> plan = co_await FinalPlan(std::move(local));
    CKPTFS_CO_RETURN_IF_ERROR(plan);
    Result<std::vector<DcpWriteResult>> results =
        co_await writer_->WriteData(*std::move(plan), planner_);
    Result<std::string> written =
        results ? EncodeWriteResults(*results)
                : Result<std::string>(Fail(results.error()));
    Result<std::vector<std::string>> all =
        co_await GatherOutcomes(coordination_, std::move(written));
    // That all files are there is known to all before the checkpoint is: what a
    // failed save has written can be removed only as long as nothing can refer
    // to it.
    Result<std::string> outcome = std::string();
    if (!all) outcome = Fail(all.error());
    outcome = co_await BroadcastOutcome(coordination_, std::move(outcome));
    if (!outcome) {
      if (results) co_await Abandon(*std::move(results));
      co_return Fail(outcome.error());
    }
    Result<void> finished;
    if (coordinator()) finished = co_await Finish(*std::move(all));
    outcome = std::string();
    if (!finished) outcome = Fail(finished.error());
    outcome = co_await BroadcastOutcome(coordination_, std::move(outcome));
    CKPTFS_CO_RETURN_IF_ERROR(outcome);
    co_return Result<void>();
  }

 private:
  bool coordinator() const { return coordination_.rank() == 0; }

  Task<Result<std::string>> LocalPlan(Value state) {
    Future<std::shared_ptr<StateSavePlanner>> planning =
        RunOn<std::shared_ptr<StateSavePlanner>>(
            runtime_.pool(), [state = std::move(state)] {
              return StateSavePlanner::Create(state);
            });
    Result<std::shared_ptr<StateSavePlanner>> planner =
        co_await std::move(planning);
    CKPTFS_CO_RETURN_IF_ERROR(planner);
    planner_ = *std::move(planner);
    DcpSavePlan local = planner_->local_plan();
    Result<DcpSavePlan> plan =
        co_await writer_->PrepareLocalPlan(std::move(local));
    CKPTFS_CO_RETURN_IF_ERROR(plan);
    co_return EncodeSavePlan(*plan);
  }

  // From the plans of all ranks this rank's part of the global one.
  Task<Result<DcpSavePlan>> FinalPlan(Result<std::string> local) {
    Result<std::vector<std::string>> all =
        co_await GatherOutcomes(coordination_, std::move(local));
    std::vector<std::string> parts;
    if (coordinator()) {
      Result<std::vector<std::string>> global =
          Result<std::vector<std::string>>();
      if (all) {
        global = co_await GlobalPlan(*std::move(all));
      } else {
        global = Fail(all.error());
      }
      for (int rank = 0; rank < coordination_.world_size(); ++rank) {
        parts.push_back(EncodeOutcome(
            global ? Result<std::string>(
                         std::move((*global)[static_cast<std::size_t>(rank)]))
                   : Result<std::string>(Fail(global.error()))));
      }
    }
    Result<std::string> own = co_await coordination_.Scatter(std::move(parts));
    CKPTFS_CO_RETURN_IF_ERROR(own);
    Result<std::string> plan = DecodeOutcome(*own);
    CKPTFS_CO_RETURN_IF_ERROR(plan);
    co_return DecodeSavePlan(*plan);
  }

  Task<Result<std::vector<std::string>>> GlobalPlan(
      std::vector<std::string> encoded) {
    if (encoded.size() !=
        static_cast<std::size_t>(coordination_.world_size())) {
      co_return Fail(ErrorCode::kInternal, "plans of " +
                                               std::to_string(encoded.size()) +
                                               " ranks were gathered");
    }
    Future<DcpGlobalSavePlan> planning = RunOn<DcpGlobalSavePlan>(
        runtime_.pool(),
        [encoded = std::move(encoded)]() -> Result<DcpGlobalSavePlan> {
          std::vector<DcpSavePlan> plans;
          for (const std::string& bytes : encoded) {
            CKPTFS_ASSIGN_OR_RETURN(DcpSavePlan plan, DecodeSavePlan(bytes));
            plans.push_back(std::move(plan));
          }
          return MakeGlobalSavePlan(std::move(plans));
        });
    Result<DcpGlobalSavePlan> global = co_await std::move(planning);
    CKPTFS_CO_RETURN_IF_ERROR(global);
    metadata_ = std::move(global->metadata);
    Result<std::vector<DcpSavePlan>> plans =
        co_await writer_->PrepareGlobalPlan(std::move(global->plans));
    CKPTFS_CO_RETURN_IF_ERROR(plans);
    std::vector<std::string> parts;
    for (DcpSavePlan& plan : *plans) {
      plan.planner_data.clear();  // in the metadata now
      Result<std::string> part = EncodeSavePlan(plan);
      CKPTFS_CO_RETURN_IF_ERROR(part);
      parts.push_back(*std::move(part));
    }
    co_return std::move(parts);
  }

  Task<Result<void>> Finish(std::vector<std::string> encoded) {
    std::vector<std::vector<DcpWriteResult>> results;
    for (const std::string& bytes : encoded) {
      Result<std::vector<DcpWriteResult>> of_rank = DecodeWriteResults(bytes);
      CKPTFS_CO_RETURN_IF_ERROR(of_rank);
      results.push_back(*std::move(of_rank));
    }
    Result<void> finished =
        co_await writer_->Finish(std::move(metadata_), std::move(results));
    co_return finished;
  }

  Task<void> Abandon(std::vector<DcpWriteResult> results) {
    Result<void> removed = co_await writer_->Abandon(std::move(results));
    if (!removed) LogWarning("left over: " + removed.error().ToString());
  }

  internal::EngineRuntime& runtime_;
  Coordination& coordination_;
  const std::unique_ptr<DcpStorageWriter> writer_;
  std::shared_ptr<StateSavePlanner> planner_;
  DcpMetadata metadata_;  // on rank 0
};

Task<Result<void>> SaveTask(internal::EngineRuntime& runtime,
                            std::unique_ptr<DcpStorageWriter> writer,
                            Value state, Coordination* coordination) {
  SingleProcess alone;
  Save save(runtime, coordination != nullptr ? *coordination : alone,
            std::move(writer));
  Result<void> saved = co_await save.Run(std::move(state));
  co_return saved;
}

}  // namespace

Future<void> SaveDcp(Engine& engine, Value state, std::string path,
                     DcpSaveOptions options) {
  internal::EngineRuntime& runtime = engine.runtime();
  DcpWriterOptions writing;
  writing.thread_count = options.thread_count;
  writing.prefixes = std::move(options.prefixes);
  writing.overwrite = options.overwrite;
  writing.stop = std::move(options.stop);
  writing.progress = std::move(options.progress);
  std::unique_ptr<DcpStorageWriter> writer =
      MakeDcpStorageWriter(engine, std::move(path), std::move(writing));
  return runtime.Start<void>(SaveTask(runtime, std::move(writer),
                                      std::move(state), options.coordination));
}

}  // namespace ckptfs

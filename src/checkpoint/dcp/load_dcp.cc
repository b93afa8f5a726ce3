// LoadDcp: the calls of a DCP load, in their order, on every rank.
#include <ckptfs/checkpoint/dcp/checkpoint.h>
#include <ckptfs/checkpoint/dcp/storage_reader.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "checkpoint/dcp/flatten.h"
#include "checkpoint/dcp/load_targets.h"
#include "checkpoint/dcp/rank_agreement.h"
#include "checkpoint/engine/engine_runtime.h"
#include "checkpoint/io/run_on.h"
#include "checkpoint/tensors/host_memory.h"
#include "checkpoint/torch_file/torch_pickle.h"

namespace ckptfs {

namespace {

// Reads the metadata, lets `plan` say what is wanted, and fetches it; every
// rank has planned before any reads.
Task<Result<void>> Carry(internal::EngineRuntime& runtime,
                         DcpStorageReader& reader, Coordination& coordination,
                         std::shared_ptr<LoadTargets> targets,
                         std::function<Result<void>(const DcpMetadata&)> plan) {
  Result<DcpMetadata> metadata = co_await reader.ReadMetadata();
  Result<void> planned;
  if (metadata) {
    Future<void> planning = RunOn<void>(
        runtime.pool(), [&plan, &metadata] { return plan(*metadata); });
    planned = co_await std::move(planning);
  } else {
    planned = Fail(metadata.error());
  }
  Result<void> agreed = co_await Agree(coordination, std::move(planned));
  CKPTFS_CO_RETURN_IF_ERROR(agreed);
  reader.SetUp(*std::move(metadata), coordination.rank() == 0);
  Result<DcpLoadPlan> local = reader.PrepareLocalPlan(targets->plan());
  Result<void> read;
  if (local) {
    read = co_await reader.ReadData(*std::move(local), targets);
  } else {
    read = Fail(local.error());
  }
  agreed = co_await Agree(coordination, std::move(read));
  co_return agreed;
}

bool Wanted(const LoadOptions& options, const std::string& fqn) {
  return !options.filter || options.filter(fqn);
}

using ItemsByName = std::map<std::string_view, const DcpItemMetadata*>;

ItemsByName ByName(const DcpMetadata& metadata) {
  ItemsByName items;
  for (const auto& [fqn, item] : metadata.items) items[fqn] = &item;
  return items;
}

// The names of the state, or those of torch before 2.4 if the checkpoint has
// values of those names that it would miss otherwise (default_planner.py,
// DefaultLoadPlanner.create_local_plan).
Result<std::vector<FlatValue>> NamesFor(const Value& state,
                                        const ItemsByName& items) {
  CKPTFS_ASSIGN_OR_RETURN(std::vector<FlatValue> current,
                          FlattenState(state, FlattenRule::kCurrent));
  std::set<std::string_view> names;
  for (const FlatValue& flat : current) names.insert(flat.fqn);
  if (std::all_of(items.begin(), items.end(), [&](const auto& item) {
        return names.contains(item.first);
      })) {
    return current;
  }
  CKPTFS_ASSIGN_OR_RETURN(std::vector<FlatValue> old,
                          FlattenState(state, FlattenRule::kBefore24));
  for (const FlatValue& flat : old) {
    if (items.contains(flat.fqn) && !names.contains(flat.fqn)) return old;
  }
  return current;
}

ShardedTensor Whole(const TensorView& tensor) {
  ShardedTensor whole;
  whole.dtype = tensor.dtype;
  whole.shape = tensor.shape;
  whole.shards.push_back({DcpSizes(tensor.shape.size(), 0), tensor});
  return whole;
}

Result<void> AddFlat(LoadTargets& targets, const FlatValue& flat,
                     const DcpItemMetadata& item) {
  CKPTFS_ASSIGN_OR_RETURN(const std::optional<ShardedTensor> sharded,
                          ShardedTensorOf(flat.value));
  const TensorView* tensor = TensorIn(flat.value);
  const auto* saved = std::get_if<DcpTensorMetadata>(&item);
  if ((saved != nullptr) != (sharded || tensor != nullptr)) {
    return Fail(ErrorCode::kInvalidArgument,
                flat.fqn + (saved != nullptr ? " was saved as a tensor"
                                             : " was saved as no tensor"));
  }
  if (saved == nullptr) {
    targets.AddValue(flat.fqn,
                     [flat](Value value) { flat.Replace(std::move(value)); });
    return {};
  }
  return targets.AddTensor(flat.fqn, sharded ? *sharded : Whole(*tensor),
                           *saved);
}

Result<void> PlanInto(LoadTargets& targets, const Value& state,
                      const DcpMetadata& metadata,
                      const DcpLoadOptions& options, DcpLoadReport& report) {
  const ItemsByName items = ByName(metadata);
  CKPTFS_ASSIGN_OR_RETURN(const std::vector<FlatValue> values,
                          NamesFor(state, items));
  std::set<std::string_view> names;
  for (const FlatValue& flat : values) {
    names.insert(flat.fqn);
    if (!Wanted(options.load, flat.fqn)) continue;
    const auto found = items.find(flat.fqn);
    if (found == items.end()) {
      report.missing.push_back(flat.fqn);
      continue;
    }
    CKPTFS_RETURN_IF_ERROR(AddFlat(targets, flat, *found->second));
  }
  for (const auto& [fqn, item] : items) {
    if (!names.contains(fqn) && Wanted(options.load, std::string(fqn))) {
      report.unexpected.emplace_back(fqn);
    }
  }
  std::sort(report.missing.begin(), report.missing.end());
  if (!report.missing.empty() && !options.allow_partial_load) {
    return Fail(ErrorCode::kInvalidArgument,
                "the checkpoint has no " + report.missing.front() +
                    (report.missing.size() > 1
                         ? " and " + std::to_string(report.missing.size() - 1) +
                               " more of the state's names"
                         : ""));
  }
  return {};
}

// A state that is made as it is loaded.
struct NewState {
  struct Item {
    std::string fqn;
    Value value;
    bool there = true;
  };
  std::vector<Item> items;
  std::map<std::string, DcpPath> paths;
};

Result<void> PlanNew(LoadTargets& targets, const DcpMetadata& metadata,
                     const LoadOptions& options,
                     const std::shared_ptr<NewState>& state) {
  state->items.reserve(metadata.items.size());
  if (metadata.planner_data) state->paths = *metadata.planner_data;
  for (const auto& [fqn, item] : metadata.items) {
    state->items.push_back({fqn, Value(), true});
    NewState::Item& made = state->items.back();
    const bool wanted = Wanted(options, fqn);
    const auto* saved = std::get_if<DcpTensorMetadata>(&item);
    if (saved == nullptr) {
      made.there = wanted;
      if (!wanted) continue;
      targets.AddValue(fqn, [state, at = state->items.size() - 1](Value value) {
        state->items[at].value = std::move(value);
      });
      continue;
    }
    TensorView tensor;
    tensor.dtype = saved->properties.dtype;
    tensor.shape = saved->size;
    tensor.strides = ContiguousStrides(tensor.shape);
    tensor.storage = std::make_shared<Storage>();
    tensor.storage->bytes =
        static_cast<std::uint64_t>(tensor.numel()) * SizeOf(tensor.dtype);
    if (wanted) {
      Result<HostMemory> memory = AllocateHostMemory(tensor.storage->bytes);
      if (!memory) return Fail(memory.error().WithContext(fqn));
      tensor.storage->memory = memory->bytes;
      tensor.storage->owner = std::move(memory->owner);
      CKPTFS_RETURN_IF_ERROR(targets.AddTensor(fqn, Whole(tensor), *saved));
    }
    made.value = Value(std::move(tensor));
  }
  return {};
}

Result<Value> Nest(const NewState& state) {
  StateBuilder builder(state.items.size());
  for (const NewState::Item& item : state.items) {
    if (!item.there) continue;
    const auto path = state.paths.find(item.fqn);
    const Result<void> set = builder.Set(
        path != state.paths.end() ? path->second : DcpPath{item.fqn},
        item.value);
    if (!set) return Fail(set.error().WithContext(item.fqn));
  }
  return builder.state();
}

Task<Result<DcpLoadReport>> LoadIntoTask(
    internal::EngineRuntime& runtime, std::unique_ptr<DcpStorageReader> reader,
    std::string path, Value state, DcpLoadOptions options) {
  SingleProcess alone;
  Coordination& coordination =
      options.coordination != nullptr ? *options.coordination : alone;
  const auto targets = std::make_shared<LoadTargets>();
  DcpLoadReport report;
  std::function<Result<void>(const DcpMetadata&)> plan =
      [&](const DcpMetadata& metadata) {
        return PlanInto(*targets, state, metadata, options, report);
      };
  Result<void> carried =
      co_await Carry(runtime, *reader, coordination, targets, std::move(plan));
  if (!carried) co_return Fail(carried.error().WithContext("load " + path));
  co_return std::move(report);
}

Task<Result<Value>> LoadNewTask(internal::EngineRuntime& runtime,
                                std::unique_ptr<DcpStorageReader> reader,
                                std::string path, DcpLoadOptions options) {
  SingleProcess alone;
  Coordination& coordination =
      options.coordination != nullptr ? *options.coordination : alone;
  const auto targets = std::make_shared<LoadTargets>();
  const auto state = std::make_shared<NewState>();
  std::function<Result<void>(const DcpMetadata&)> plan =
      [&](const DcpMetadata& metadata) {
        return PlanNew(*targets, metadata, options.load, state);
      };
  Result<void> carried =
      co_await Carry(runtime, *reader, coordination, targets, std::move(plan));
  if (!carried) co_return Fail(carried.error().WithContext("load " + path));
  Result<Value> nested = Nest(*state);
  if (!nested) co_return Fail(nested.error().WithContext("load " + path));
  co_return nested;
}

}  // namespace

Future<DcpLoadReport> LoadDcp(Engine& engine, std::string path, Value state,
                              DcpLoadOptions options) {
  internal::EngineRuntime& runtime = engine.runtime();
  std::unique_ptr<DcpStorageReader> reader =
      MakeDcpStorageReader(engine, path, options.load);
  return runtime.Start<DcpLoadReport>(
      LoadIntoTask(runtime, std::move(reader), std::move(path),
                   std::move(state), std::move(options)));
}

Future<Value> LoadDcp(Engine& engine, std::string path,
                      DcpLoadOptions options) {
  internal::EngineRuntime& runtime = engine.runtime();
  std::unique_ptr<DcpStorageReader> reader =
      MakeDcpStorageReader(engine, path, options.load);
  return runtime.Start<Value>(LoadNewTask(runtime, std::move(reader),
                                          std::move(path), std::move(options)));
}

}  // namespace ckptfs

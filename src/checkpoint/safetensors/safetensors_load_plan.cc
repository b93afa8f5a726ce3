#include "checkpoint/safetensors/safetensors_load_plan.h"

#include <algorithm>
#include <iterator>

#include "checkpoint/tensors/host_memory.h"
#include "checkpoint/tensors/tensor_copy.h"

namespace ckptfs {

namespace {

// As the header tells it; its storage has no memory.
TensorView Described(const SafetensorsEntry& entry) {
  TensorView tensor;
  tensor.dtype = entry.dtype;
  tensor.shape = entry.shape;
  tensor.strides = ContiguousStrides(entry.shape);
  tensor.storage = std::make_shared<Storage>();
  tensor.storage->bytes = entry.end - entry.begin;
  return tensor;
}

bool Wanted(const LoadOptions& options, const std::string& name) {
  return !options.filter || options.filter(name);
}

}  // namespace

std::uint64_t SafetensorsLoadPlan::bytes() const {
  std::uint64_t sum = 0;
  for (const WantedRange& want : wants_) sum += want.memory.size();
  return sum;
}

Result<void> SafetensorsLoadPlan::Allocate(TensorView& tensor) {
  CKPTFS_ASSIGN_OR_RETURN(HostMemory memory,
                          AllocateHostMemory(tensor.storage->bytes));
  tensor.storage->memory = memory.bytes;
  tensor.storage->owner = std::move(memory.owner);
  return {};
}

void SafetensorsLoadPlan::Want(const SafetensorsHeader& header,
                               const SafetensorsEntry& entry,
                               const TensorView& to) {
  if (entry.begin == entry.end) return;
  wants_.push_back({header.data_offset + entry.begin, to.bytes()});
  owners_->push_back(to.storage->owner);
}

Result<SafetensorsLoadPlan> SafetensorsLoadPlan::OfNew(
    const SafetensorsHeader& header, const LoadOptions& options) {
  SafetensorsLoadPlan plan;
  const std::string location =
      options.map_location ? options.map_location("cpu") : "cpu";
  for (const SafetensorsEntry& entry : header.tensors) {
    TensorView tensor = Described(entry);
    tensor.storage->location = location;
    if (Wanted(options, entry.name)) {
      CKPTFS_RETURN_IF_ERROR(plan.Allocate(tensor));
      plan.Want(header, entry, tensor);
    }
    plan.tensors_.emplace_back(entry.name, std::move(tensor));
  }
  return plan;
}

Result<SafetensorsLoadPlan> SafetensorsLoadPlan::OfExisting(
    const SafetensorsHeader& header,
    const std::map<std::string, TensorView>& into,
    const LoadIntoOptions& options, Into& names) {
  SafetensorsLoadPlan plan;
  for (const auto& [name, tensor] : into) {
    if (Wanted(options.load, name)) names.missing.push_back(name);
  }
  // Both in the order of names: what is found is taken out of `missing`.
  std::vector<std::string> found;
  std::vector<std::pair<const SafetensorsEntry*, const TensorView*>> pairs;
  for (const SafetensorsEntry& entry : header.tensors) {
    plan.tensors_.emplace_back(entry.name, Described(entry));
    if (!Wanted(options.load, entry.name)) continue;
    const auto target = into.find(entry.name);
    if (target == into.end()) {
      names.unexpected.push_back(entry.name);
      continue;
    }
    CKPTFS_RETURN_IF_ERROR(
        CheckTarget(entry.name, plan.tensors_.back().second, target->second));
    found.push_back(entry.name);
    pairs.emplace_back(&entry, &target->second);
    plan.tensors_.back().second = target->second;
  }
  std::sort(found.begin(), found.end());
  std::vector<std::string> missing;
  std::set_difference(names.missing.begin(), names.missing.end(), found.begin(),
                      found.end(), std::back_inserter(missing));
  names.missing = std::move(missing);
  std::sort(names.unexpected.begin(), names.unexpected.end());
  if (options.strict) {
    CKPTFS_RETURN_IF_ERROR(CheckNames(names.missing, names.unexpected));
  }
  for (const auto& [entry, to] : pairs) {
    if (entry->begin == entry->end) continue;
    if (to->contiguous() && plan.targets_.Add(*to)) {
      plan.Want(header, *entry, *to);
      continue;
    }
    TensorView staged = Described(*entry);
    CKPTFS_RETURN_IF_ERROR(plan.Allocate(staged));
    plan.Want(header, *entry, staged);
    plan.copies_.emplace_back(std::move(staged), *to);
  }
  return plan;
}

void SafetensorsLoadPlan::CopyRest() const {
  for (const auto& [from, to] : copies_) CopyElements(from, to);
}

}  // namespace ckptfs

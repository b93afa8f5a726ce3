#include "checkpoint/torch_file/load_plan.h"

#include <algorithm>
#include <functional>
#include <set>

#include "checkpoint/tensors/host_memory.h"
#include "checkpoint/tensors/load_target.h"
#include "checkpoint/tensors/tensor_copy.h"
#include "checkpoint/tensors/tensor_walk.h"

namespace ckptfs {

namespace {

using Extent = std::pair<std::uint64_t, std::uint64_t>;

// A storage that begins in the middle of a record begins at such a multiple, so
// that offsets count elements of every dtype.
constexpr std::uint64_t kElementAlignment = 16;
// Wanted stretches of one storage that lie closer travel together.
constexpr std::uint64_t kMaxGap = 4096;

// Tensors and storages by name, those that the filter leaves.
class Inventory final : public TensorVisitor {
 public:
  explicit Inventory(const std::function<bool(std::string_view)>& filter)
      : filter_(filter) {}

  void Tensor(const std::string& name, TensorView& tensor) override {
    if (!filter_ || filter_(name)) tensors.emplace_back(name, &tensor);
  }
  void Bare(const std::string& name,
            const std::shared_ptr<Storage>& storage) override {
    if (!filter_ || filter_(name)) bare.push_back(storage);
  }

  std::vector<std::pair<std::string, TensorView*>> tensors;
  std::vector<std::shared_ptr<Storage>> bare;

 private:
  const std::function<bool(std::string_view)>& filter_;
};

// Ascending, disjoint, neighbours joined.
std::vector<Extent> Join(std::vector<Extent> extents) {
  std::sort(extents.begin(), extents.end());
  std::vector<Extent> joined;
  for (const Extent& extent : extents) {
    if (extent.first == extent.second) continue;
    if (!joined.empty() && extent.first <= joined.back().second + kMaxGap) {
      joined.back().second = std::max(joined.back().second, extent.second);
    } else {
      joined.push_back(extent);
    }
  }
  return joined;
}

}  // namespace

LoadPlan::LoadPlan(const TorchFileReader& reader) {
  for (const TorchFileReader::Record& record : reader.records()) {
    records_[record.storage.get()] = &record;
  }
}

std::uint64_t LoadPlan::bytes() const {
  std::uint64_t sum = 0;
  for (const TorchFileReader::Want& want : wants_) sum += want.memory.size();
  return sum;
}

void LoadPlan::Want(const TorchFileReader::Record& record, std::uint64_t begin,
                    std::uint64_t end, std::span<std::byte> memory,
                    const std::shared_ptr<void>& owner) {
  wants_.push_back({&record, begin, end, memory});
  owners_->push_back(owner);
}

Result<void> LoadPlan::WantWhole(const std::shared_ptr<Storage>& storage) {
  CKPTFS_ASSIGN_OR_RETURN(HostMemory memory,
                          AllocateHostMemory(storage->bytes));
  storage->memory = memory.bytes;
  storage->owner = memory.owner;
  Want(RecordOf(*storage), 0, storage->bytes, memory.bytes, memory.owner);
  return {};
}

Result<LoadPlan> LoadPlan::OfNew(const TorchFileReader& reader,
                                 const LoadOptions& options) {
  LoadPlan plan(reader);
  for (const TorchFileReader::Record& record : reader.records()) {
    std::string& location = record.storage->location;
    location = options.map_location ? options.map_location(location) : "cpu";
  }
  if (!options.filter) {
    for (const TorchFileReader::Record& record : reader.records()) {
      CKPTFS_RETURN_IF_ERROR(plan.WantWhole(record.storage));
    }
    return plan;
  }
  Inventory wanted(options.filter);
  CKPTFS_RETURN_IF_ERROR(TensorWalk(wanted).Walk(reader.value()));
  for (const std::shared_ptr<Storage>& storage : wanted.bare) {
    if (storage->owner == nullptr) {
      CKPTFS_RETURN_IF_ERROR(plan.WantWhole(storage));
    }
  }
  // A tensor may be wanted under several names.
  std::set<TensorView*> seen;
  std::map<std::shared_ptr<Storage>, std::vector<TensorView*>> views;
  for (const auto& [name, tensor] : wanted.tensors) {
    if (seen.insert(tensor).second && tensor->storage->owner == nullptr) {
      views[tensor->storage].push_back(tensor);
    }
  }
  for (const auto& [storage, tensors] : views) {
    std::vector<Extent> extents;
    for (const TensorView* tensor : tensors) {
      extents.push_back(ByteExtent(*tensor));
    }
    extents = Join(std::move(extents));
    const std::uint64_t begin =
        extents.empty()
            ? 0
            : extents.front().first / kElementAlignment * kElementAlignment;
    const std::uint64_t end = extents.empty() ? 0 : extents.back().second;
    CKPTFS_ASSIGN_OR_RETURN(HostMemory memory, AllocateHostMemory(end - begin));
    const auto part = std::make_shared<Storage>(*storage);
    part->bytes = end - begin;
    part->memory = memory.bytes;
    part->owner = memory.owner;
    for (const Extent& extent : extents) {
      plan.Want(plan.RecordOf(*storage), extent.first, extent.second,
                memory.bytes.subspan(extent.first - begin,
                                     extent.second - extent.first),
                memory.owner);
    }
    for (TensorView* tensor : tensors) {
      // Of a tensor without elements, the offset may be anything.
      tensor->offset =
          tensor->numel() == 0
              ? 0
              : tensor->offset -
                    static_cast<std::int64_t>(begin / SizeOf(tensor->dtype));
      tensor->storage = part;
    }
  }
  return plan;
}

Result<LoadPlan> LoadPlan::OfExisting(const TorchFileReader& reader,
                                      const Value& into,
                                      const LoadIntoOptions& options,
                                      Into& names) {
  LoadPlan plan(reader);
  Inventory in_file(options.load.filter);
  CKPTFS_RETURN_IF_ERROR(TensorWalk(in_file).Walk(reader.value()));
  Inventory targets(options.load.filter);
  CKPTFS_RETURN_IF_ERROR(TensorWalk(targets).Walk(into));

  std::map<std::string_view, TensorView*> by_name;
  for (const auto& [name, tensor] : targets.tensors) by_name[name] = tensor;
  std::set<std::string_view> matched;
  std::vector<std::pair<TensorView*, TensorView*>> pairs;
  for (const auto& [name, tensor] : in_file.tensors) {
    const auto target = by_name.find(name);
    if (target == by_name.end()) {
      names.unexpected.push_back(name);
      continue;
    }
    matched.insert(target->first);
    CKPTFS_RETURN_IF_ERROR(CheckTarget(name, *tensor, *target->second));
    pairs.emplace_back(tensor, target->second);
  }
  for (const auto& [name, tensor] : by_name) {
    if (!matched.contains(name)) names.missing.emplace_back(name);
  }
  std::sort(names.unexpected.begin(), names.unexpected.end());
  if (options.strict) {
    CKPTFS_RETURN_IF_ERROR(CheckNames(names.missing, names.unexpected));
  }
  for (const auto& [from, to] : pairs) {
    CKPTFS_RETURN_IF_ERROR(plan.AddExisting(*from, *to));
  }
  for (const std::shared_ptr<Storage>& storage : in_file.bare) {
    if (storage->owner != nullptr) continue;
    CKPTFS_RETURN_IF_ERROR(plan.WantWhole(storage));
  }
  // A tensor of the file that has several names was matched several times.
  for (const auto& [from, to] : pairs) *from = *to;
  return plan;
}

Result<void> LoadPlan::AddExisting(const TensorView& from,
                                   const TensorView& to) {
  if (from.numel() == 0) return {};
  const Extent extent = ByteExtent(from);
  const std::pair key(from.storage.get(), extent.first);
  const auto known = direct_.find(key);
  const bool same_bytes =
      known != direct_.end() && from.contiguous() &&
      ByteExtent(known->second).second - ByteExtent(known->second).first ==
          extent.second - extent.first;
  if (same_bytes) {
    // Already on their way to a tensor, perhaps to this very memory.
    TensorView source = known->second;
    if (source.bytes().data() == to.bytes().data() && to.contiguous()) {
      return {};
    }
    source.shape = from.shape;
    source.strides = ContiguousStrides(from.shape);
    source.dtype = from.dtype;
    source.offset = static_cast<std::int64_t>(ByteExtent(known->second).first /
                                              SizeOf(from.dtype));
    copies_.emplace_back(std::move(source), to);
    return {};
  }
  if (from.contiguous() && to.contiguous() && known == direct_.end() &&
      targets_.Add(to)) {
    Want(RecordOf(*from.storage), extent.first, extent.second, to.bytes(),
         to.storage->owner);
    direct_.emplace(key, to);
    return {};
  }
  CKPTFS_ASSIGN_OR_RETURN(HostMemory memory,
                          AllocateHostMemory(extent.second - extent.first));
  TensorView staged = from;
  staged.offset = 0;
  staged.storage = std::make_shared<Storage>();
  staged.storage->bytes = memory.bytes.size();
  staged.storage->memory = memory.bytes;
  staged.storage->owner = memory.owner;
  Want(RecordOf(*from.storage), extent.first, extent.second, memory.bytes,
       memory.owner);
  copies_.emplace_back(std::move(staged), to);
  return {};
}

Result<void> LoadPlan::VerifyCrcs() const {
  for (const TorchFileReader::Want& want : wants_) {
    const ZipEntry& entry = want.record->entry;
    if (want.begin != 0 || want.end != entry.bytes) continue;
    CKPTFS_RETURN_IF_ERROR(CheckZipCrc(entry, want.memory));
  }
  return {};
}

void LoadPlan::CopyRest() const {
  for (const auto& [from, to] : copies_) CopyElements(from, to);
}

}  // namespace ckptfs

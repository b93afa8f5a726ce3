#include "checkpoint/dcp/rank_messages.h"

#include <span>
#include <utility>

#include "checkpoint/dcp/metadata_values.h"
#include "checkpoint/pickle/pickle_reader.h"
#include "checkpoint/pickle/pickle_writer.h"

namespace ckptfs {

namespace {

constexpr char kValue = 'V';
constexpr char kError = 'E';

tl::unexpected<Error> Damaged() {
  return Fail(ErrorCode::kDataLoss, "a message of another rank is damaged");
}

class NoStorages final : public PickleStorages {
 public:
  std::string KeyOf(const std::shared_ptr<Storage>&) override { return {}; }
};

Result<std::string> Pickled(Value value) {
  NoStorages storages;
  return WritePickle(value, storages);
}

Result<Value> Unpickled(const std::string& bytes) {
  PickleHandler opaque;
  return ReadPickle(std::as_bytes(std::span(bytes)), opaque);
}

// The items of a tuple of `n`; nullptr: something else.
const std::vector<Value>* TupleOf(const Value& value, std::size_t n) {
  const Tuple* tuple = value.AsTuple();
  return tuple != nullptr && tuple->items.size() == n ? &tuple->items : nullptr;
}

Value WriteItemValue(const DcpWriteItem& item) {
  return Value(
      Tuple{{Value(static_cast<std::int64_t>(item.type)),
             IndexValue(item.index), ChunkValue(item.chunk),
             TensorPropertiesValue(item.properties), SizesValue(item.size)}});
}

Result<DcpWriteItem> WriteItemOf(const Value& value) {
  const std::vector<Value>* parts = TupleOf(value, 5);
  if (parts == nullptr) return Damaged();
  const std::optional<std::int64_t> type = (*parts)[0].AsInt();
  if (!type || *type < 0 ||
      *type > static_cast<std::int64_t>(DcpWriteItem::Type::kBytes)) {
    return Damaged();
  }
  DcpWriteItem item;
  item.type = static_cast<DcpWriteItem::Type>(*type);
  CKPTFS_ASSIGN_OR_RETURN(item.index, IndexOf((*parts)[1]));
  CKPTFS_ASSIGN_OR_RETURN(item.chunk, ChunkOf((*parts)[2]));
  CKPTFS_ASSIGN_OR_RETURN(item.properties, TensorPropertiesOf((*parts)[3]));
  CKPTFS_ASSIGN_OR_RETURN(item.size, SizesOf((*parts)[4], "sizes"));
  return item;
}

}  // namespace

std::string EncodeOutcome(const Result<std::string>& outcome) {
  if (outcome) return kValue + *outcome;
  std::string bytes(1, kError);
  bytes.push_back(static_cast<char>(outcome.error().code()));
  return bytes + outcome.error().message();
}

Result<std::string> DecodeOutcome(const std::string& bytes) {
  if (!bytes.empty() && bytes[0] == kValue) return bytes.substr(1);
  if (bytes.size() < 2 || bytes[0] != kError || bytes[1] < 0 ||
      bytes[1] > static_cast<char>(ErrorCode::kInternal)) {
    return Damaged();
  }
  return Fail(static_cast<ErrorCode>(bytes[1]), bytes.substr(2));
}

Result<std::string> EncodeSavePlan(const DcpSavePlan& plan) {
  List items;
  for (const DcpWriteItem& item : plan.items) {
    items.items.push_back(WriteItemValue(item));
  }
  Dict paths;
  for (const auto& [fqn, path] : plan.planner_data) {
    paths.Assign(Value(fqn), PathValue(path));
  }
  return Pickled(
      Value(Tuple{{plan.prefix ? Value(*plan.prefix) : Value(),
                   Value(std::move(items)), Value(std::move(paths))}}));
}

Result<DcpSavePlan> DecodeSavePlan(const std::string& bytes) {
  CKPTFS_ASSIGN_OR_RETURN(const Value value, Unpickled(bytes));
  const std::vector<Value>* parts = TupleOf(value, 3);
  if (parts == nullptr || (*parts)[1].AsList() == nullptr ||
      (*parts)[2].AsDict() == nullptr) {
    return Damaged();
  }
  DcpSavePlan plan;
  if (const std::string* prefix = (*parts)[0].AsString()) plan.prefix = *prefix;
  for (const Value& item : (*parts)[1].AsList()->items) {
    CKPTFS_ASSIGN_OR_RETURN(DcpWriteItem parsed, WriteItemOf(item));
    plan.items.push_back(std::move(parsed));
  }
  for (const auto& [key, path] : (*parts)[2].AsDict()->items()) {
    if (key.AsString() == nullptr) return Damaged();
    CKPTFS_ASSIGN_OR_RETURN(plan.planner_data[*key.AsString()], PathOf(path));
  }
  return plan;
}

Result<std::string> EncodeWriteResults(
    const std::vector<DcpWriteResult>& results) {
  List list;
  for (const DcpWriteResult& result : results) {
    list.items.emplace_back(
        Tuple{{IndexValue(result.index), StorageInfoValue(result.storage)}});
  }
  return Pickled(Value(std::move(list)));
}

Result<std::vector<DcpWriteResult>> DecodeWriteResults(
    const std::string& bytes) {
  CKPTFS_ASSIGN_OR_RETURN(const Value value, Unpickled(bytes));
  if (value.AsList() == nullptr) return Damaged();
  std::vector<DcpWriteResult> results;
  for (const Value& item : value.AsList()->items) {
    const std::vector<Value>* parts = TupleOf(item, 2);
    if (parts == nullptr) return Damaged();
    DcpWriteResult result;
    CKPTFS_ASSIGN_OR_RETURN(result.index, IndexOf((*parts)[0]));
    CKPTFS_ASSIGN_OR_RETURN(result.storage, StorageInfoOf((*parts)[1]));
    results.push_back(std::move(result));
  }
  return results;
}

}  // namespace ckptfs

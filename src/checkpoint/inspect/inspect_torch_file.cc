#include "checkpoint/inspect/inspect_torch_file.h"

#include <algorithm>
#include <charconv>
#include <memory>
#include <utility>

#include "checkpoint/tensors/tensor_walk.h"
#include "checkpoint/torch_file/torch_file_reader.h"
#include "checkpoint/torch_file/weights_only.h"

namespace ckptfs {

namespace {

// Of records such as `version`: what is longer is none.
constexpr std::uint64_t kMaxFactBytes = 64;
constexpr std::size_t kMaxShownString = 60;

class Tensors final : public TensorVisitor {
 public:
  explicit Tensors(FileSummary& summary) : summary_(summary) {}
  void Tensor(const std::string& name, TensorView& tensor) override {
    summary_.tensors.push_back(
        {name, tensor.dtype, tensor.shape,
         static_cast<std::uint64_t>(tensor.numel()) * SizeOf(tensor.dtype)});
  }
  void Bare(const std::string&, const std::shared_ptr<Storage>&) override {}

 private:
  FileSummary& summary_;
};

std::string Shown(const Value& value) {
  const std::string type = value.TypeName();
  if (const std::optional<bool> v = value.AsBool()) {
    return *v ? "True" : "False";
  }
  if (const std::optional<std::int64_t> v = value.AsInt()) {
    return std::to_string(*v);
  }
  if (const std::optional<double> v = value.AsDouble()) {
    char text[32];
    const auto end = std::to_chars(text, text + sizeof text, *v).ptr;
    return {text, end};
  }
  if (const std::string* v = value.AsString()) {
    if (v->size() <= kMaxShownString) return "\"" + *v + "\"";
    return type + " of " + std::to_string(v->size()) + " bytes";
  }
  std::optional<std::size_t> items;
  if (const Dict* dict = value.AsDict()) items = dict->size();
  if (const List* list = value.AsList()) items = list->items.size();
  if (const Tuple* tuple = value.AsTuple()) items = tuple->items.size();
  if (const Set* set = value.AsSet()) items = set->items.size();
  return items ? type + " of " + std::to_string(*items) : type;
}

// The entries of a dict at the top that are no tensors; anything else at the
// top by itself.
void AddOthers(const Value& value, FileSummary& summary) {
  const Dict* dict = value.AsDict();
  if (dict == nullptr) {
    if (value.AsTensor() == nullptr) {
      summary.others.emplace_back("", Shown(value));
    }
    return;
  }
  for (const auto& [key, item] : dict->items()) {
    if (item.AsTensor() != nullptr) continue;
    const std::string* name = key.AsString();
    summary.others.emplace_back(name != nullptr ? *name : Shown(key),
                                Shown(item));
  }
}

// A small record's text; empty where there is none.
Task<std::string> Fact(ZipReader& zip, std::string record,
                       std::stop_token stop) {
  const ZipEntry* entry = zip.Find(record);
  if (entry == nullptr || entry->bytes > kMaxFactBytes ||
      entry->stored_bytes > kMaxFactBytes) {
    co_return std::string();
  }
  Result<std::string> text = co_await zip.ReadWhole(*entry, std::move(stop));
  if (!text) co_return std::string();
  while (text->ends_with('\n')) text->pop_back();
  co_return *std::move(text);
}

}  // namespace

Task<Result<FileSummary>> InspectTorchFile(internal::EngineRuntime& runtime,
                                           OpenedFile file,
                                           std::stop_token stop) {
  TorchFileReadOptions options;
  options.weights_only = false;
  options.scan_globals = true;
  Result<std::unique_ptr<TorchFileReader>> opened =
      co_await TorchFileReader::Open(std::move(file), runtime.strand(),
                                     runtime.pool(), std::move(options), stop);
  CKPTFS_CO_RETURN_IF_ERROR(opened);
  TorchFileReader& reader = **opened;
  const std::string archive = reader.archive();
  FileSummary summary;
  summary.kind = FileSummary::Kind::kTorchSave;
  summary.name = reader.name();
  summary.file_bytes = reader.zip().file_bytes();
  Tensors tensors(summary);
  Result<void> walked = TensorWalk(tensors).Walk(reader.value());
  if (!walked) co_return Fail(walked.error().WithContext(reader.name()));
  AddOthers(reader.value(), summary);
  for (const TorchFileReader::Record& record : reader.records()) {
    summary.stored_bytes += record.storage->bytes;
  }
  for (const Global& global : reader.globals()) {
    if (!IsAllowedUnderWeightsOnly(global, {})) {
      summary.unsafe_globals.push_back(global);
    }
  }
  // Where torch writes them (formats: "Archive and records"); older files have
  // fewer.
  const std::pair<const char*, const char*> facts[] = {
      {"version", "version"},
      {"version", ".data/version"},
      {"format version", ".format_version"},
      {"alignment", ".storage_alignment"},
      {"byte order", "byteorder"}};
  summary.format.emplace_back(
      "archive",
      archive.empty() ? archive : archive.substr(0, archive.size() - 1));
  for (const auto& [label, record] : facts) {
    std::string name = archive + record;
    std::string text = co_await Fact(reader.zip(), std::move(name), stop);
    if (!text.empty()) summary.format.emplace_back(label, std::move(text));
  }
  const auto& entries = reader.entries();
  const auto compressed =
      std::count_if(entries.begin(), entries.end(),
                    [](const ZipEntry& entry) { return entry.deflated; });
  summary.format.emplace_back("records", std::to_string(entries.size()));
  if (compressed > 0) {
    summary.format.emplace_back("compressed records",
                                std::to_string(compressed));
  }
  summary.format.emplace_back(
      "pickle bytes",
      std::to_string(reader.zip().Find(archive + "data.pkl")->bytes));
  summary.format.emplace_back("storages",
                              std::to_string(reader.records().size()));
  co_return std::move(summary);
}

}  // namespace ckptfs

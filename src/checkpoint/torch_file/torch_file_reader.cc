#include "checkpoint/torch_file/torch_file_reader.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <unordered_map>

#include "checkpoint/io/run_on.h"
#include "checkpoint/torch_file/torch_pickle.h"

namespace ckptfs {

namespace {

constexpr std::uint64_t kHeadBytes = 1ull << 20;
constexpr std::uint64_t kTailBytes = 256ull << 10;
// The pickle of MAGIC_NUMBER, with which files before torch 1.6 begin
// (torch/serialization.py).
constexpr char kLegacyMagic[] =
    "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";

Destination Into(const std::shared_ptr<std::string>& buffer) {
  Destination destination;
  destination.segments = {std::as_writable_bytes(std::span(*buffer))};
  destination.owner = buffer;
  return destination;
}

std::span<const std::byte> BytesOf(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

bool IsTar(std::string_view head) {
  return head.size() >= 262 && head.substr(257, 5) == "ustar";
}

}  // namespace

Task<Result<std::unique_ptr<TorchFileReader>>> TorchFileReader::Open(
    std::unique_ptr<ByteSource> source, Executor& executor, Executor& pool,
    TorchFileReadOptions options, std::stop_token stop) {
  std::unique_ptr<TorchFileReader> reader(
      new TorchFileReader(std::move(source), executor, std::move(options)));
  auto head = std::make_shared<std::string>(kHeadBytes, '\0');
  Destination into_head = Into(head);
  Result<std::uint64_t> size =
      co_await reader->source_->Open(std::move(into_head), stop);
  CKPTFS_CO_RETURN_IF_ERROR(size);
  reader->size_ = *size;
  reader->head_ = std::move(*head);
  reader->head_.resize(std::min<std::uint64_t>(kHeadBytes, *size));
  if (reader->head_.starts_with(
          std::string_view(kLegacyMagic, sizeof kLegacyMagic - 1)) ||
      IsTar(reader->head_)) {
    co_return Fail(ErrorCode::kUnsupported,
                   reader->name() +
                       " has the legacy format of torch before 1.6, which is "
                       "not read here; load it with torch.load and save it "
                       "again");
  }
  Result<void> done = co_await reader->FindRecords(stop);
  if (done) done = co_await reader->CheckByteOrder(stop);
  if (done) done = co_await reader->ParseValues(pool, stop);
  if (!done) co_return Fail(done.error().WithContext(reader->name()));
  co_return std::move(reader);
}

Task<Result<std::string>> TorchFileReader::Bytes(std::uint64_t offset,
                                                 std::uint64_t size,
                                                 std::stop_token stop) {
  if (offset + size <= head_.size()) co_return head_.substr(offset, size);
  const std::uint64_t tail_begin = size_ - tail_.size();
  if (offset >= tail_begin) co_return tail_.substr(offset - tail_begin, size);
  // Bounded by the file, which holds them all.
  auto buffer = std::make_shared<std::string>(size, '\0');
  Destination into = Into(buffer);
  Result<void> read = co_await source_->Read(offset, std::move(into), stop);
  CKPTFS_CO_RETURN_IF_ERROR(read);
  co_return std::move(*buffer);
}

Task<Result<void>> TorchFileReader::FindRecords(std::stop_token stop) {
  if (size_ > head_.size()) {
    const std::uint64_t bytes = std::min(kTailBytes, size_);
    auto buffer = std::make_shared<std::string>(bytes, '\0');
    Destination into = Into(buffer);
    Result<void> read =
        co_await source_->Read(size_ - bytes, std::move(into), stop);
    CKPTFS_CO_RETURN_IF_ERROR(read);
    tail_ = std::move(*buffer);
  } else {
    tail_ = head_;
  }
  const std::string_view last = std::string_view(tail_).substr(
      tail_.size() - std::min<std::uint64_t>(tail_.size(), kMaxZipTail));
  Result<ZipTail> tail = ParseZipTail(BytesOf(last), size_);
  CKPTFS_CO_RETURN_IF_ERROR(tail);
  directory_offset_ = tail->directory_offset;
  Result<std::string> directory =
      co_await Bytes(tail->directory_offset, tail->directory_bytes, stop);
  CKPTFS_CO_RETURN_IF_ERROR(directory);
  Result<std::vector<ZipEntry>> entries =
      ParseZipDirectory(BytesOf(*directory), *tail);
  CKPTFS_CO_RETURN_IF_ERROR(entries);
  entries_ = *std::move(entries);
  std::sort(entries_.begin(), entries_.end(),
            [](const ZipEntry& a, const ZipEntry& b) {
              return a.header_offset < b.header_offset;
            });
  if (entries_.empty()) {
    co_return Fail(ErrorCode::kInvalidArgument, "a zip without records");
  }
  // All records share their first component (formats: "Archive and records").
  const std::string& first = entries_.front().name;
  archive_ = first.substr(0, first.find('/') + 1);
  if (Find("data.pkl") == nullptr) {
    co_return Fail(ErrorCode::kInvalidArgument,
                   "a zip without the record " + archive_ +
                       "data.pkl: not a file of torch.save");
  }
  co_return Result<void>();
}

const ZipEntry* TorchFileReader::Find(const std::string& name) const {
  const std::string full = archive_ + name;
  for (const ZipEntry& entry : entries_) {
    if (entry.name == full) return &entry;
  }
  return nullptr;
}

std::uint64_t TorchFileReader::RoomEnd(const ZipEntry& entry) const {
  const auto next = std::upper_bound(
      entries_.begin(), entries_.end(), entry.header_offset,
      [](std::uint64_t at, const ZipEntry& e) { return at < e.header_offset; });
  return next == entries_.end() ? directory_offset_ : next->header_offset;
}

Task<Result<std::uint64_t>> TorchFileReader::PayloadOffset(
    ZipEntry entry, std::stop_token stop) {
  const std::uint64_t limit = RoomEnd(entry);
  const std::uint64_t wanted = kLocalHeaderBytes + entry.name.size();
  const std::uint64_t bytes = std::min(wanted, limit - entry.header_offset);
  Result<std::string> header = co_await Bytes(entry.header_offset, bytes, stop);
  CKPTFS_CO_RETURN_IF_ERROR(header);
  co_return ZipPayloadOffset(entry, BytesOf(*header), limit);
}

Task<Result<std::string>> TorchFileReader::ReadWhole(ZipEntry entry,
                                                     std::stop_token stop) {
  Result<std::uint64_t> offset = co_await PayloadOffset(entry, stop);
  CKPTFS_CO_RETURN_IF_ERROR(offset);
  Result<std::string> stored =
      co_await Bytes(*offset, entry.stored_bytes, stop);
  if (!stored || !entry.deflated) co_return stored;
  co_return InflateZipRecord(entry, BytesOf(*stored));
}

Task<Result<void>> TorchFileReader::CheckByteOrder(std::stop_token stop) {
  const ZipEntry* entry = Find("byteorder");
  if (entry == nullptr) co_return Result<void>();  // older files
  if (entry->bytes > 16) {
    co_return Fail(ErrorCode::kInvalidArgument,
                   entry->name + " is no byte order");
  }
  Result<std::string> order = co_await ReadWhole(*entry, stop);
  CKPTFS_CO_RETURN_IF_ERROR(order);
  if (*order == "little") co_return Result<void>();
  if (*order == "big") {
    co_return Fail(ErrorCode::kUnsupported,
                   "written on a big-endian machine, which is not read here; "
                   "load it with torch.load and save it again");
  }
  co_return Fail(ErrorCode::kInvalidArgument,
                 entry->name + " is no byte order");
}

Task<Result<void>> TorchFileReader::ParseValues(Executor& pool,
                                                std::stop_token stop) {
  const ZipEntry* entry = Find("data.pkl");
  if (entry->bytes > options_.max_pickle_bytes ||
      entry->stored_bytes > options_.max_pickle_bytes) {
    co_return Fail(ErrorCode::kTooLarge,
                   entry->name + " has " + std::to_string(entry->bytes) +
                       " bytes, more than the limit of " +
                       std::to_string(options_.max_pickle_bytes));
  }
  Result<std::string> pickle = co_await ReadWhole(*entry, stop);
  CKPTFS_CO_RETURN_IF_ERROR(pickle);
  struct Parsed {
    Value value;
    std::vector<std::shared_ptr<Storage>> storages;
  };
  Future<Parsed> parsing = RunOn<Parsed>(
      pool,
      [pickle = *std::move(pickle), weights_only = options_.weights_only,
       safe = options_.safe_globals,
       limits = options_.limits]() -> Result<Parsed> {
        TorchPickle handler(weights_only, safe);
        Parsed out;
        CKPTFS_ASSIGN_OR_RETURN(out.value,
                                ReadPickle(BytesOf(pickle), handler, limits));
        for (const auto& [key, storage] : handler.storages()) {
          out.storages.push_back(storage);
        }
        return out;
      });
  Result<Parsed> parsed = co_await std::move(parsing);
  if (!parsed) {
    co_return Fail(parsed.error().WithContext("record " + entry->name));
  }
  value_ = std::move(parsed->value);
  Result<void> connected = ConnectStorages(parsed->storages);
  co_return connected;
}

Result<void> TorchFileReader::ConnectStorages(
    const std::vector<std::shared_ptr<Storage>>& storages) {
  std::unordered_map<std::string_view, const ZipEntry*> by_name;
  for (const ZipEntry& entry : entries_) by_name[entry.name] = &entry;
  for (const std::shared_ptr<Storage>& storage : storages) {
    const std::string name = archive_ + "data/" + storage->key;
    const auto found = by_name.find(name);
    if (found == by_name.end()) {
      return Fail(ErrorCode::kInvalidArgument,
                  "data.pkl names the storage " + storage->key +
                      ", but there is no record " + name);
    }
    const ZipEntry& entry = *found->second;
    if (entry.bytes < storage->bytes) {
      return Fail(ErrorCode::kInvalidArgument,
                  "record " + name + " has " + std::to_string(entry.bytes) +
                      " bytes, and data.pkl says " +
                      std::to_string(storage->bytes));
    }
    records_.push_back({storage, entry, RoomEnd(entry)});
  }
  std::sort(records_.begin(), records_.end(),
            [](const Record& a, const Record& b) {
              return a.entry.header_offset < b.entry.header_offset;
            });
  return {};
}

}  // namespace ckptfs

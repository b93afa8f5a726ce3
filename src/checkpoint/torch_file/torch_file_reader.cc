#include "checkpoint/torch_file/torch_file_reader.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "checkpoint/io/run_on.h"
#include "checkpoint/torch_file/torch_pickle.h"

namespace ckptfs {

namespace {

// The pickle of MAGIC_NUMBER, with which files before torch 1.6 begin
// (torch/serialization.py).
constexpr char kLegacyMagic[] =
    "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";

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
  Result<OpenedFile> file =
      co_await OpenedFile::Open(std::move(source), stop, options.head_bytes);
  CKPTFS_CO_RETURN_IF_ERROR(file);
  Result<std::unique_ptr<TorchFileReader>> reader = co_await Open(
      *std::move(file), executor, pool, std::move(options), std::move(stop));
  co_return reader;
}

Task<Result<std::unique_ptr<TorchFileReader>>> TorchFileReader::Open(
    OpenedFile file, Executor& executor, Executor& pool,
    TorchFileReadOptions options, std::stop_token stop) {
  const Result<void> readable = RefuseLegacy(file);
  CKPTFS_CO_RETURN_IF_ERROR(readable);
  Result<std::unique_ptr<ZipReader>> zip =
      co_await ZipReader::Open(std::move(file), stop, options.tail_bytes);
  CKPTFS_CO_RETURN_IF_ERROR(zip);
  std::unique_ptr<TorchFileReader> reader(
      new TorchFileReader(*std::move(zip), executor, std::move(options)));
  Result<void> done = reader->FindArchive();
  if (done) done = co_await reader->CheckByteOrder(stop);
  if (done) done = co_await reader->ParseValues(pool, stop);
  if (!done) co_return Fail(done.error().WithContext(reader->name()));
  co_return std::move(reader);
}

Result<void> TorchFileReader::RefuseLegacy(const OpenedFile& file) {
  if (IsTar(file.head())) {
    return Fail(ErrorCode::kUnsupported,
                file.name() +
                    " is a tar file, the format of torch before 0.1.10, which "
                    "is not read here; load it with torch.load and save it "
                    "again");
  }
  if (file.head().starts_with(
          std::string_view(kLegacyMagic, sizeof kLegacyMagic - 1))) {
    return Fail(ErrorCode::kUnsupported,
                file.name() +
                    " has the legacy format of torch before 1.6, which is not "
                    "read here; load it with torch.load and save it again");
  }
  return {};
}

std::string TorchFileReader::ArchiveOf(const ZipReader& zip) {
  if (zip.entries().empty()) return {};
  const std::string& first = zip.entries().front().name;
  return first.substr(0, first.find('/') + 1);
}

Result<void> TorchFileReader::FindArchive() {
  if (entries().empty()) {
    return Fail(ErrorCode::kInvalidArgument, "a zip without records");
  }
  archive_ = ArchiveOf(*zip_);
  if (zip_->Find(archive_ + "data.pkl") == nullptr) {
    return Fail(ErrorCode::kInvalidArgument,
                "a zip without the record " + archive_ +
                    "data.pkl: not a file of torch.save");
  }
  return {};
}

Task<Result<void>> TorchFileReader::Read(
    std::vector<Want> wants, std::shared_ptr<void> memory_owner, Executor& pool,
    std::stop_token stop, std::function<void(std::uint64_t)> got) {
  RecordReader reader(*zip_, executor_);
  std::function<void(const Want&)> full;
  if (got) {
    full = [got = std::move(got)](const Want& want) {
      got(want.memory.size());
    };
  }
  Result<void> read =
      co_await reader.Read(std::move(wants), std::move(memory_owner), pool,
                           std::move(stop), std::move(full));
  co_return read;
}

Task<Result<std::uint64_t>> TorchFileReader::PayloadOffset(
    ZipEntry entry, std::stop_token stop) {
  return zip_->PayloadOffset(std::move(entry), std::move(stop));
}

Task<Result<void>> TorchFileReader::CheckByteOrder(std::stop_token stop) {
  const ZipEntry* entry = zip_->Find(archive_ + "byteorder");
  if (entry == nullptr) co_return Result<void>();  // older files
  if (entry->bytes > 16) {
    co_return Fail(ErrorCode::kInvalidArgument,
                   entry->name + " is no byte order");
  }
  Result<std::string> order = co_await zip_->ReadWhole(*entry, stop);
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
  const ZipEntry* entry = zip_->Find(archive_ + "data.pkl");
  if (entry->bytes > options_.max_pickle_bytes ||
      entry->stored_bytes > options_.max_pickle_bytes) {
    co_return Fail(ErrorCode::kTooLarge,
                   entry->name + " has " + std::to_string(entry->bytes) +
                       " bytes, more than the limit of " +
                       std::to_string(options_.max_pickle_bytes));
  }
  // So that the length of the file bounds what parsing costs: pickles of state
  // dicts shrink to a fifth.
  if (entry->deflated &&
      entry->bytes > 32 * entry->stored_bytes + (64ull << 10)) {
    co_return Fail(ErrorCode::kTooLarge,
                   entry->name + " has " + std::to_string(entry->bytes) +
                       " bytes in " + std::to_string(entry->stored_bytes) +
                       " compressed ones, more than 32 times as many");
  }
  Result<std::string> pickle = co_await zip_->ReadWhole(*entry, stop);
  CKPTFS_CO_RETURN_IF_ERROR(pickle);
  if (options_.verify_crc) {
    const Result<void> whole = CheckZipCrc(*entry, BytesOf(*pickle));
    CKPTFS_CO_RETURN_IF_ERROR(whole);
  }
  struct Parsed {
    Value value;
    std::vector<std::shared_ptr<Storage>> storages;
    std::vector<Global> globals;
  };
  Future<Parsed> parsing = RunOn<Parsed>(
      pool,
      [pickle = *std::move(pickle), weights_only = options_.weights_only,
       safe = options_.safe_globals, limits = options_.limits,
       scan = options_.scan_globals]() -> Result<Parsed> {
        TorchPickle handler(weights_only, safe);
        Parsed out;
        if (scan) {
          CKPTFS_ASSIGN_OR_RETURN(out.globals,
                                  ScanPickleGlobals(BytesOf(pickle), limits));
        }
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
  globals_ = std::move(parsed->globals);
  Result<void> connected = ConnectStorages(parsed->storages);
  co_return connected;
}

Result<void> TorchFileReader::ConnectStorages(
    const std::vector<std::shared_ptr<Storage>>& storages) {
  for (const std::shared_ptr<Storage>& storage : storages) {
    const std::string name = archive_ + "data/" + storage->key;
    const ZipEntry* const found = zip_->Find(name);
    if (found == nullptr) {
      return Fail(ErrorCode::kInvalidArgument,
                  "data.pkl names the storage " + storage->key +
                      ", but there is no record " + name);
    }
    const ZipEntry& entry = *found;
    if (entry.bytes < storage->bytes) {
      return Fail(ErrorCode::kInvalidArgument,
                  "record " + name + " has " + std::to_string(entry.bytes) +
                      " bytes, and data.pkl says " +
                      std::to_string(storage->bytes));
    }
    records_.push_back({{entry, zip_->RoomEnd(entry)}, storage});
  }
  std::sort(records_.begin(), records_.end(),
            [](const Record& a, const Record& b) {
              return a.entry.header_offset < b.entry.header_offset;
            });
  return {};
}

}  // namespace ckptfs

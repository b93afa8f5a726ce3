// TorchFileReader::Read: from wanted bytes of storages to ranges of the file.
#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "checkpoint/io/run_on.h"
#include "checkpoint/torch_file/torch_file_reader.h"
#include "transfer/when_all.h"

namespace ckptfs {

namespace {

// Records that lie no further apart travel together, and what is between them
// is thrown away. The headers of torch.save take some 130 bytes.
constexpr std::uint64_t kMaxGap = 4096;
// Runs of neighbouring records that are fetched side by side; each is cut into
// ranges by the source.
constexpr std::size_t kRunsInFlight = 16;
// No want joins a run that is longer: what has arrived is told run by run.
constexpr std::uint64_t kRunBytes = 64ull << 20;
constexpr std::size_t kHeadersInFlight = 32;

// Where a torch.save record's payload begins, from where the next record does:
// the local headers need not be asked for first. What is read there is compared
// with the header, which comes along.
std::uint64_t LikelyPayload(const TorchFileReader::Record& record) {
  // A data descriptor: 16 bytes, 24 with 64-bit sizes, none for an empty one
  // (formats: "Zip entry fields").
  constexpr std::uint64_t k32 = 0xFFFFFFFF;
  const ZipEntry& e = record.entry;
  const std::uint64_t descriptor =
      e.stored_bytes == 0                               ? 0
      : e.stored_bytes >= k32 || e.header_offset >= k32 ? 24
                                                        : 16;
  const std::uint64_t least =
      e.header_offset + kLocalHeaderBytes + e.name.size();
  const std::uint64_t room = e.stored_bytes + descriptor;
  if (record.end < room || record.end - room < least) return least;
  return record.end - room;
}

// Neighbouring wants, and the read that fetches them: [begin, end) of the file
// into `destination`, which alternates between gaps and wanted memory.
struct Run {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::vector<const TorchFileReader::Want*> wants;
  std::vector<std::uint64_t> payloads;  // of each want's record, as assumed
};

// What the workers of one Read share; touched on the executor alone.
struct Shared {
  std::vector<Run> runs;
  std::size_t next = 0;
  std::optional<Error> error;  // the first
  std::stop_source stop;
  // Wants whose header told another offset than was assumed.
  std::vector<const TorchFileReader::Want*> misplaced;
  std::function<void(std::uint64_t)> got;
};

// Owns the wanted memory and the bytes between.
struct RunMemory {
  std::shared_ptr<void> wanted;
  std::vector<std::string> gaps;
};

std::span<const std::byte> BytesOf(const std::string& text) {
  return std::as_bytes(std::span(text));
}

// Reads a run; notes the wants that turn out to lie elsewhere.
Task<void> ReadRun(ByteSource& source, std::shared_ptr<Shared> shared,
                   const Run* run, std::shared_ptr<void> owner) {
  auto memory = std::make_shared<RunMemory>();
  memory->wanted = std::move(owner);
  memory->gaps.reserve(run->wants.size());
  Destination destination;
  destination.owner = memory;
  std::uint64_t at = run->begin;
  for (std::size_t i = 0; i < run->wants.size(); ++i) {
    const TorchFileReader::Want& want = *run->wants[i];
    const std::uint64_t from = run->payloads[i] + want.begin;
    memory->gaps.emplace_back(from - at, '\0');
    destination.segments.push_back(
        std::as_writable_bytes(std::span(memory->gaps.back())));
    destination.segments.push_back(want.memory);
    at = from + want.memory.size();
  }
  std::stop_token stop = shared->stop.get_token();
  Result<void> read =
      co_await source.Read(run->begin, std::move(destination), stop);
  if (!read) {
    if (!shared->error) shared->error = read.error();
    shared->stop.request_stop();
    co_return;
  }
  at = run->begin;
  for (std::size_t i = 0; i < run->wants.size(); ++i) {
    const TorchFileReader::Want& want = *run->wants[i];
    const ZipEntry& entry = want.record->entry;
    const std::string& gap = memory->gaps[i];
    // The gap holds the local header unless the want begins inside the record.
    if (at <= entry.header_offset) {
      const std::string header = gap.substr(entry.header_offset - at);
      const Result<std::uint64_t> payload =
          ZipPayloadOffset(entry, BytesOf(header), want.record->end);
      if (!payload) {
        if (!shared->error) shared->error = payload.error();
        co_return;
      }
      if (*payload != run->payloads[i]) shared->misplaced.push_back(&want);
    }
    at = run->payloads[i] + want.begin + want.memory.size();
    if (shared->got) shared->got(want.memory.size());
  }
}

Task<void> ReadRuns(ByteSource& source, std::shared_ptr<Shared> shared,
                    std::shared_ptr<void> owner) {
  while (!shared->error && shared->next < shared->runs.size()) {
    const Run* run = &shared->runs[shared->next++];
    co_await ReadRun(source, shared, run, owner);
  }
}

}  // namespace

// The local headers of records of which no first byte is wanted, side by side.
Task<Result<TorchFileReader::PayloadOffsets>> TorchFileReader::InnerPayloads(
    const std::vector<Want>& wants, std::stop_token stop) {
  PayloadOffsets offsets;
  std::vector<const Record*> asked;
  for (const Want& want : wants) {
    if (want.begin > 0 && !want.record->entry.deflated &&
        offsets.emplace(want.record, 0).second) {
      asked.push_back(want.record);
    }
  }
  std::size_t next = 0;
  std::optional<Error> error;
  std::vector<Task<void>> workers;
  for (std::size_t i = 0; i < std::min(kHeadersInFlight, asked.size()); ++i) {
    workers.push_back(AskPayloads(&asked, &next, &offsets, &error, stop));
  }
  co_await WhenAll(executor_, std::move(workers));
  if (error) co_return Fail(error->WithContext(name()));
  co_return offsets;
}

Task<void> TorchFileReader::AskPayloads(
    const std::vector<const Record*>* records, std::size_t* next,
    PayloadOffsets* offsets, std::optional<Error>* error,
    std::stop_token stop) {
  while (!*error && *next < records->size()) {
    const Record* record = (*records)[(*next)++];
    Result<std::uint64_t> offset =
        co_await zip_->PayloadOffset(record->entry, stop);
    if (offset) {
      (*offsets)[record] = *offset;
    } else if (!*error) {
      *error = offset.error();
    }
  }
}

Task<Result<void>> TorchFileReader::Read(
    std::vector<Want> wants, std::shared_ptr<void> memory_owner, Executor& pool,
    std::stop_token stop, std::function<void(std::uint64_t)> got) {
  std::sort(wants.begin(), wants.end(), [](const Want& a, const Want& b) {
    return std::pair(a.record->entry.header_offset, a.begin) <
           std::pair(b.record->entry.header_offset, b.begin);
  });
  auto shared = std::make_shared<Shared>();
  shared->got = got;
  Result<PayloadOffsets> known = co_await InnerPayloads(wants, stop);
  CKPTFS_CO_RETURN_IF_ERROR(known);
  std::vector<const Want*> deflated;
  for (const Want& want : wants) {
    if (want.memory.empty()) continue;
    const ZipEntry& entry = want.record->entry;
    if (entry.deflated) {
      deflated.push_back(&want);
      continue;
    }
    // A want from the start of its record takes the header along, which proves
    // where the record is.
    const auto asked = known->find(want.record);
    const std::uint64_t payload =
        asked != known->end() ? asked->second : LikelyPayload(*want.record);
    const std::uint64_t from =
        want.begin == 0 ? entry.header_offset : payload + want.begin;
    const std::uint64_t to = payload + want.begin + want.memory.size();
    std::vector<Run>& runs = shared->runs;
    if (runs.empty() || from < runs.back().end ||
        from - runs.back().end > kMaxGap ||
        runs.back().end - runs.back().begin > kRunBytes) {
      runs.push_back({from, to, {}, {}});
    }
    runs.back().end = to;
    runs.back().wants.push_back(&want);
    runs.back().payloads.push_back(payload);
  }
  const std::stop_callback forward_stop(
      stop, [shared] { shared->stop.request_stop(); });
  std::vector<Task<void>> workers;
  for (std::size_t i = 0; i < std::min(kRunsInFlight, shared->runs.size());
       ++i) {
    workers.push_back(ReadRuns(zip_->source(), shared, memory_owner));
  }
  co_await WhenAll(executor_, std::move(workers));
  if (shared->error) co_return Fail(shared->error->WithContext(name()));
  for (const Want* want : shared->misplaced) {
    Result<std::uint64_t> payload =
        co_await zip_->PayloadOffset(want->record->entry, stop);
    CKPTFS_CO_RETURN_IF_ERROR(payload);
    Destination destination;
    destination.segments = {want->memory};
    destination.owner = memory_owner;
    Result<void> read = co_await zip_->source().Read(
        *payload + want->begin, std::move(destination), stop);
    CKPTFS_CO_RETURN_IF_ERROR(read);
  }
  for (const Want* want : deflated) {
    Result<void> inflated =
        co_await ReadDeflated(*want, memory_owner, pool, stop);
    CKPTFS_CO_RETURN_IF_ERROR(inflated);
    if (got) got(want->memory.size());
  }
  co_return Result<void>();
}

Task<Result<void>> TorchFileReader::ReadDeflated(
    Want want, std::shared_ptr<void> memory_owner, Executor& pool,
    std::stop_token stop) {
  const ZipEntry entry = want.record->entry;
  Result<std::uint64_t> payload = co_await zip_->PayloadOffset(entry, stop);
  CKPTFS_CO_RETURN_IF_ERROR(payload);
  Result<std::string> stored =
      co_await zip_->Bytes(*payload, entry.stored_bytes, stop);
  CKPTFS_CO_RETURN_IF_ERROR(stored);
  Future<void> inflating = RunOn<void>(
      pool,
      [stored = *std::move(stored), entry, want,
       owner = std::move(memory_owner)]() -> Result<void> {
        CKPTFS_ASSIGN_OR_RETURN(const std::string bytes,
                                InflateZipRecord(entry, BytesOf(stored)));
        std::memcpy(want.memory.data(), bytes.data() + want.begin,
                    want.memory.size());
        return {};
      });
  Result<void> inflated = co_await std::move(inflating);
  co_return inflated;
}

}  // namespace ckptfs

#include "checkpoint/zip/record_reader.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "checkpoint/io/run_on.h"
#include "checkpoint/io/scattered_read.h"
#include "checkpoint/io/side_by_side.h"

namespace ckptfs {

namespace {

// Runs of neighbouring records that are fetched side by side; each is cut into
// ranges by the source.
constexpr std::size_t kRunsInFlight = 16;
constexpr std::size_t kHeadersInFlight = 32;

// Where a torch.save record's payload begins, from where the next record does:
// the local headers need not be asked for first. What is read there is compared
// with the header, which comes along.
std::uint64_t LikelyPayload(const ZipRecord& record) {
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

// A want and where the payload of its record is taken to begin.
struct Placed {
  const RecordReader::Want* want;
  std::uint64_t payload;

  std::uint64_t begin() const { return payload + want->begin; }
};

// What the runs of one Read share.
struct Reading {
  std::vector<Placed> wants;  // in the order of the file
  std::shared_ptr<void> owner;
  std::function<void(const RecordReader::Want&)> got;
  // Wants whose header told another offset than was assumed.
  std::vector<const RecordReader::Want*> misplaced;
};

std::span<const std::byte> BytesOf(const std::string& text) {
  return std::as_bytes(std::span(text));
}

// Reads a run; notes the wants that turn out to lie elsewhere.
Task<Result<void>> ReadRun(OpenedFile& file, Reading* reading, RangeRun run,
                           std::stop_token stop) {
  ScatteredRead read(run.begin, reading->owner);
  for (std::size_t i = run.first; i < run.last; ++i) {
    const Placed& placed = reading->wants[i];
    read.Add(placed.begin(), placed.want->memory);
  }
  Destination destination = read.TakeDestination();
  Result<void> done =
      co_await file.Read(run.begin, std::move(destination), std::move(stop));
  CKPTFS_CO_RETURN_IF_ERROR(done);
  std::uint64_t at = run.begin;
  for (std::size_t i = run.first; i < run.last; ++i) {
    const Placed& placed = reading->wants[i];
    const RecordReader::Want& want = *placed.want;
    const ZipEntry& entry = want.record->entry;
    // The gap holds the local header unless the want begins inside the record.
    if (at <= entry.header_offset) {
      const std::string header(
          read.Before(i - run.first).substr(entry.header_offset - at));
      const Result<std::uint64_t> payload =
          ZipPayloadOffset(entry, BytesOf(header), want.record->end);
      CKPTFS_CO_RETURN_IF_ERROR(payload);
      if (*payload != placed.payload) {
        reading->misplaced.push_back(&want);
        at = placed.begin() + want.memory.size();
        continue;
      }
    }
    at = placed.begin() + want.memory.size();
    if (reading->got) reading->got(want);
  }
  co_return Result<void>();
}

}  // namespace

// The local headers of records of which no first byte is wanted, side by side.
Task<Result<RecordReader::PayloadOffsets>> RecordReader::InnerPayloads(
    const std::vector<Want>& wants, std::stop_token stop) {
  PayloadOffsets offsets;
  std::vector<const ZipRecord*> asked;
  for (const Want& want : wants) {
    if (want.begin > 0 && !want.record->entry.deflated &&
        offsets.emplace(want.record, 0).second) {
      asked.push_back(want.record);
    }
  }
  IndexedWork work = [&](std::size_t i, std::stop_token stopped) {
    return AskPayload(asked[i], &offsets[asked[i]], std::move(stopped));
  };
  Result<void> done =
      co_await SideBySide(executor_, asked.size(), kHeadersInFlight,
                          std::move(stop), std::move(work));
  if (!done) co_return Fail(done.error().WithContext(zip_.name()));
  co_return offsets;
}

Task<Result<void>> RecordReader::AskPayload(const ZipRecord* record,
                                            std::uint64_t* offset,
                                            std::stop_token stop) {
  Result<std::uint64_t> found =
      co_await zip_.PayloadOffset(record->entry, std::move(stop));
  CKPTFS_CO_RETURN_IF_ERROR(found);
  *offset = *found;
  co_return Result<void>();
}

Task<Result<void>> RecordReader::Read(std::vector<Want> wants,
                                      std::shared_ptr<void> memory_owner,
                                      Executor& pool, std::stop_token stop,
                                      std::function<void(const Want&)> got) {
  std::sort(wants.begin(), wants.end(), [](const Want& a, const Want& b) {
    return std::pair(a.record->entry.header_offset, a.begin) <
           std::pair(b.record->entry.header_offset, b.begin);
  });
  Reading reading;
  reading.owner = memory_owner;
  reading.got = got;
  RangeRuns runs;
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
    const auto asked = known->find(want.record);
    const Placed placed = {&want, asked != known->end()
                                      ? asked->second
                                      : LikelyPayload(*want.record)};
    // A want from the start of its record takes the header along, which proves
    // where the record is.
    runs.Add(want.begin == 0 ? entry.header_offset : placed.begin(),
             placed.begin() + want.memory.size());
    reading.wants.push_back(placed);
  }
  IndexedWork work = [&](std::size_t i, std::stop_token stopped) {
    return ReadRun(zip_.file(), &reading, runs.runs()[i], std::move(stopped));
  };
  Result<void> done = co_await SideBySide(executor_, runs.runs().size(),
                                          kRunsInFlight, stop, std::move(work));
  if (!done) co_return Fail(done.error().WithContext(zip_.name()));
  for (const Want* want : reading.misplaced) {
    Result<std::uint64_t> payload =
        co_await zip_.PayloadOffset(want->record->entry, stop);
    CKPTFS_CO_RETURN_IF_ERROR(payload);
    Destination destination;
    destination.segments = {want->memory};
    destination.owner = memory_owner;
    Result<void> read = co_await zip_.file().Read(*payload + want->begin,
                                                  std::move(destination), stop);
    CKPTFS_CO_RETURN_IF_ERROR(read);
    if (got) got(*want);
  }
  for (const Want* want : deflated) {
    Result<void> inflated =
        co_await ReadDeflated(*want, memory_owner, pool, stop);
    CKPTFS_CO_RETURN_IF_ERROR(inflated);
    if (got) got(*want);
  }
  co_return Result<void>();
}

Task<Result<void>> RecordReader::ReadDeflated(
    Want want, std::shared_ptr<void> memory_owner, Executor& pool,
    std::stop_token stop) {
  const ZipEntry entry = want.record->entry;
  Result<std::uint64_t> payload = co_await zip_.PayloadOffset(entry, stop);
  CKPTFS_CO_RETURN_IF_ERROR(payload);
  Result<std::string> stored =
      co_await zip_.file().Bytes(*payload, entry.stored_bytes, stop);
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

// DirtyFile: the bytes of one file that are not its object yet.
//
//   [ base prefix | part | part | ... | part ]
//
// The base prefix is kept from the published version and travels by
// UploadPartCopy. A part is filled in memory, sent as soon as it is whole (or
// held, for temp-like names), and released or retained:
//
//   filling -> sending -> sent
//      ^----------'---------'   a rewrite brings it back, if still in memory
//
// Large writes keep the kernel's slab as it is and their parts are released
// once sent. Parts with small writes are retained, for late rewrites (zip
// headers), until the memory is needed.
#pragma once

#include <ckptfs/object_store.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/slab_pool.h"
#include "common/task.h"
#include "fs/strand_sync.h"
#include "fs/write/part_buffer.h"
#include "fs/write/write_memory.h"
#include "transfer/object_writer.h"
#include "transfer/part_plan.h"

namespace ckptfs::fs {

// Where an upload goes; asked for as late as possible, because a rename may
// still change the key, and S3 fixes key and attributes when an upload begins.
struct UploadTarget {
  std::string key;
  ObjectAttributes attributes;
};

struct DirtyFileOptions {
  PartPlan plan = PartPlan::Ladder(8ull << 20, 64ull << 20);
  std::uint64_t window_bytes = 192ull << 20;
  int parts_in_flight = 8;
};

// Lives on the strand. Whoever owns the file serialises Prepare, Resize and
// Publish (they may wait); the rest never waits.
class DirtyFile final : public MemoryRetainer {
 public:
  // A write of this size or more keeps its slab, uncopied.
  static constexpr std::size_t kLargeWrite = 256u << 10;
  // A published object up to this size is read into memory when it is written
  // to, and can then be changed anywhere.
  static constexpr std::uint64_t kLoadLimit = 8ull << 20;

  struct Parts {
    ObjectStore* store;
    Executor* strand;
    SlabPool* slabs;
    WriteMemory* memory;
  };

  // Starts from `base`, or empty. `target` is called on the strand.
  DirtyFile(Parts parts, DirtyFileOptions options,
            std::optional<ObjectInfo> base,
            UniqueFunction<UploadTarget()> target);
  ~DirtyFile() override;
  DirtyFile(const DirtyFile&) = delete;
  DirtyFile& operator=(const DirtyFile&) = delete;

  std::uint64_t size() const { return size_; }
  // A held file sends nothing before Publish or the end of its window.
  void set_held(bool held) { held_ = held; }
  // The upload has begun: key and attributes are fixed until Publish.
  bool upload_begun() const { return writer_ != nullptr && writer_->begun(); }
  // Bytes of the base are part of the content: commit with If-Match.
  bool keeps_base() const { return keeps_base_; }

  // True when a write of [offset, offset + size) can be done now, without
  // waiting. False: co_await Prepare.
  bool Ready(std::uint64_t offset, std::size_t size);
  // Loads a small base, waits for memory. kUnsupported: the bytes were already
  // sent and released, or belong to a large object (offset named).
  Task<Result<void>> Prepare(std::uint64_t offset, std::size_t size);
  // REQUIRES: Ready, or a successful Prepare of the same range just now.
  void Write(std::uint64_t offset, SlabSlice data);
  // Growth reads as zeros. kUnsupported as above. Until it is done, and after
  // an error, everything is as it was; to 0 it is done at once, and what is
  // awaited is the end of what had been sent.
  Task<Result<void>> Resize(std::uint64_t size);

  // What a reader sees; short at the end of the file. kUnsupported for bytes
  // that were sent and released.
  Task<Result<Payload>> Read(std::uint64_t offset, std::size_t size);

  // The same bytes are to be read elsewhere from now on: `to` is a copy of
  // `from`. Nothing happens unless the base is `from`.
  void MoveBase(const ObjectInfo& from, const ObjectInfo& to);

  // Makes everything written so far an object, whole or not at all: the one
  // that `target()` names, or, once the upload has begun, the one that it named
  // then. Afterwards the file can be written on, with the result as its base.
  Task<Result<ObjectInfo>> Publish(WriteCondition condition);

  // The content is lost (a write was refused): frees its memory; every call but
  // Resize(0) and Abort gives `error` from now on.
  void GiveUp(Error error) { SetError(std::move(error)); }
  // An upload failed since the last Publish: the content is lost.
  const std::optional<Error>& error() const { return error_; }

  // Cancels and removes what was sent. Nothing else may be called afterwards.
  Task<Result<void>> Abort();

  bool DropRetained() override;

 private:
  enum class PartState { kFilling, kSending, kSent };
  struct Part {
    std::uint64_t id = 0;  // survives moves of the vector
    std::uint64_t start = 0;
    std::uint64_t capacity = 0;
    PartState state = PartState::kFilling;
    int sends_in_flight = 0;    // > 0 exactly while kSending
    bool rewritten = false;     // changed while kSending
    bool small_writes = false;  // worth retaining
    // INVARIANT: released => kSent, buffer empty, nothing reserved.
    bool released = false;
    std::uint64_t sent_bytes = 0;  // length of what was sent
    PartBuffer buffer;
    Reservation reserved;  // >= buffer.memory_bytes()
  };

  // The part of a byte behind the prefix; creates parts up to it.
  Result<std::size_t> PartIndex(std::uint64_t offset);
  std::uint64_t copy_chunk_bytes() const;
  int prefix_chunks() const;
  int PartNumber(std::size_t index) const {
    return prefix_chunks() + static_cast<int>(index) + 1;
  }
  std::uint64_t PartLength(const Part& part) const;
  static std::uint64_t FullReservation(const Part& part);
  static bool KeepsSlab(const Part& part, std::size_t size);
  // What to reserve before `size` bytes go into `part`; 0: nothing.
  static std::uint64_t MissingMemory(const Part& part, std::size_t size);
  bool FitsWindow(std::uint64_t more) const {
    return reserved_bytes_ + more <= options_.window_bytes;
  }
  Result<void> CheckWritable(std::uint64_t offset, std::size_t size);
  Task<Result<void>> ReserveFor(std::uint64_t offset, std::size_t size);
  // The first bytes of the base, in memory that is paid for.
  struct Loaded {
    std::vector<SlabSlice> slices;  // contiguous; none crosses a part's end
    Reservation reserved;           // a slab for each
  };
  Task<Result<Loaded>> Fetch(std::uint64_t bytes);
  // REQUIRES: load_pending_, or nothing in parts_.
  void Fill(Loaded loaded);
  Task<Result<void>> LoadBase(std::uint64_t bytes);
  Task<Result<void>> Restart();
  Error SentAlready(std::uint64_t size) const;
  Task<Result<Payload>> ReadBase(std::uint64_t offset, std::uint64_t size);
  Task<Result<Payload>> ReadOnce(std::uint64_t offset, std::size_t size);

  void Begin();
  void Send(Part& part, int part_number);
  void OnSent(std::uint64_t part_id, const Result<CompletedPart>& result);
  void Release(Part& part);
  bool SendUnderPressure(std::size_t except_index);
  Task<Result<ObjectInfo>> PublishParts(WriteCondition condition);
  void ContinueFrom(ObjectInfo published);
  void KeepNothing();
  void SetError(Error error);

  const Parts env_;
  const DirtyFileOptions options_;
  UniqueFunction<UploadTarget()> target_;

  std::optional<ObjectInfo> base_;
  bool keeps_base_ = false;
  // The whole content is base_ (at most kLoadLimit bytes) and was not read
  // yet. INVARIANT: then parts_ is empty and prefix_ is 0.
  bool load_pending_ = false;
  // Bytes of the base that are copied on the server. INVARIANT: 0, or
  // >= kMinPartBytes and <= base_->size.
  std::uint64_t prefix_ = 0;
  std::uint64_t size_ = 0;
  bool changed_ = false;     // since the last Publish
  std::vector<Part> parts_;  // contiguous from prefix_
  std::uint64_t next_part_id_ = 1;
  std::uint64_t reserved_bytes_ = 0;  // sum over parts_
  bool held_ = false;

  std::unique_ptr<ObjectWriter> writer_;
  std::uint64_t generation_ = 0;  // counts Publishes and restarts
  std::uint64_t base_moves_ = 0;
  int sending_ = 0;
  StrandEvent sent_;
  std::optional<Error> error_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace ckptfs::fs

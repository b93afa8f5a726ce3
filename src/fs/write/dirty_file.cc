#include "fs/write/dirty_file.h"

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "transfer/object_reader.h"

namespace ckptfs::fs {

namespace {

void Append(Payload& to, Payload from,
            std::vector<std::shared_ptr<const void>>& owners) {
  to.segments.insert(to.segments.end(), from.segments.begin(),
                     from.segments.end());
  if (from.owner != nullptr) owners.push_back(std::move(from.owner));
}

}  // namespace

DirtyFile::DirtyFile(Parts env, DirtyFileOptions options,
                     std::optional<ObjectInfo> base,
                     UniqueFunction<UploadTarget()> target)
    : env_(env),
      options_(std::move(options)),
      target_(std::move(target)),
      base_(std::move(base)) {
  if (base_ && base_->size > 0) {
    size_ = base_->size;
    keeps_base_ = true;
    if (size_ <= kLoadLimit) {
      load_pending_ = true;
    } else {
      prefix_ = size_;
    }
  }
  env_.memory->AddRetainer(this);
}

DirtyFile::~DirtyFile() {
  env_.memory->RemoveRetainer(this);
  parts_.clear();
  env_.memory->Freed();
}

std::uint64_t DirtyFile::copy_chunk_bytes() const {
  // UploadPartCopy moves at most 5 GiB; smaller chunks go side by side. At
  // most 1,000 of them leave 9,000 part numbers for new bytes.
  return std::max<std::uint64_t>(1ull << 30, prefix_ / 1000 + 1);
}

int DirtyFile::prefix_chunks() const {
  if (prefix_ == 0) return 0;
  // The last chunk takes the remainder, so that none is below 5 MiB.
  return static_cast<int>(
      std::max<std::uint64_t>(1, prefix_ / copy_chunk_bytes()));
}

Result<std::size_t> DirtyFile::PartIndex(std::uint64_t offset) {
  while (parts_.empty() ||
         offset >= parts_.back().start + parts_.back().capacity) {
    const int number = PartNumber(parts_.size());
    if (number > kMaxParts) {
      return Fail(ErrorCode::kTooLarge,
                  "offset " + std::to_string(offset) +
                      " lies behind the last of 10,000 parts; raise "
                      "--part-size");
    }
    Part part;
    part.id = next_part_id_++;
    part.start =
        parts_.empty() ? prefix_ : parts_.back().start + parts_.back().capacity;
    part.capacity = options_.plan.Size(number);
    parts_.push_back(std::move(part));
  }
  const auto after = std::upper_bound(
      parts_.begin(), parts_.end(), offset,
      [](std::uint64_t at, const Part& part) { return at < part.start; });
  return static_cast<std::size_t>(after - parts_.begin()) - 1;
}

std::uint64_t DirtyFile::PartLength(const Part& part) const {
  return size_ <= part.start ? 0 : std::min(part.capacity, size_ - part.start);
}

std::uint64_t DirtyFile::FullReservation(const Part& part) {
  // One slab more than the bytes need: writes do not end where slabs do.
  return (part.capacity / PartBuffer::kFillBytes + 1) * SlabPool::kSlabBytes;
}

bool DirtyFile::KeepsSlab(const Part& part, std::size_t size) {
  // A kept slab counts in full. When writes of, say, 300 KiB would make a part
  // cost more than its reservation, they are copied together instead.
  return size >= kLargeWrite &&
         part.buffer.memory_bytes() + SlabPool::kSlabBytes <=
             FullReservation(part);
}

std::uint64_t DirtyFile::MissingMemory(const Part& part, std::size_t size) {
  const std::uint64_t cost =
      KeepsSlab(part, size) ? SlabPool::kSlabBytes : part.buffer.CopyCost(size);
  const std::uint64_t need = part.buffer.memory_bytes() + cost;
  if (need <= part.reserved.bytes()) return 0;
  const std::uint64_t missing = need - part.reserved.bytes();
  // The first part grows by the slab, so that a thousand small files fit; any
  // later one belongs to a stream and is reserved whole, so that a part that
  // was begun can always be finished and sent.
  if (part.start == 0) return missing;
  const std::uint64_t full = FullReservation(part);
  return full > part.reserved.bytes()
             ? std::max(missing, full - part.reserved.bytes())
             : missing;
}

Result<void> DirtyFile::CheckWritable(std::uint64_t offset, std::size_t size) {
  if (error_) return Fail(*error_);
  if (offset < prefix_) {
    return Fail(ErrorCode::kUnsupported,
                "rewriting byte " + std::to_string(offset) + " inside the " +
                    std::to_string(prefix_) +
                    " bytes kept from the object is not supported; write the "
                    "file from the start, or append to it");
  }
  const std::uint64_t end = offset + size;
  const Result<std::size_t> first = PartIndex(offset);
  if (!first) return Fail(first.error());
  const Result<std::size_t> last = PartIndex(size == 0 ? offset : end - 1);
  if (!last) return Fail(last.error());
  for (std::size_t i = *first; i <= *last; ++i) {
    if (parts_[i].released) {
      return Fail(ErrorCode::kUnsupported,
                  "rewriting byte " + std::to_string(offset) +
                      ", which was already uploaded and released, is not "
                      "supported");
    }
  }
  return {};
}

bool DirtyFile::Ready(std::uint64_t offset, std::size_t size) {
  if (load_pending_ || !CheckWritable(offset, size)) return false;
  std::uint64_t at = offset;
  const std::uint64_t end = offset + size;
  while (at < end) {
    Part& part = parts_[*PartIndex(at)];
    const std::size_t n = std::min(end, part.start + part.capacity) - at;
    const std::uint64_t missing = MissingMemory(part, n);
    if (missing > 0) {
      if (!FitsWindow(missing)) return false;
      std::optional<Reservation> r = env_.memory->Try(missing);
      if (!r) return false;
      part.reserved.Merge(std::move(*r));
      reserved_bytes_ += missing;
    }
    at += n;
  }
  return true;
}

Task<Result<void>> DirtyFile::Prepare(std::uint64_t offset, std::size_t size) {
  if (load_pending_) {
    Result<void> loaded = co_await LoadBase(base_->size);
    CKPTFS_CO_RETURN_IF_ERROR(loaded);
  }
  Result<void> reserved = co_await ReserveFor(offset, size);
  co_return reserved;
}

Task<Result<void>> DirtyFile::ReserveFor(std::uint64_t offset,
                                         std::size_t size) {
  std::uint64_t at = offset;
  const std::uint64_t end = offset + size;
  while (at < end) {
    // Looked at afresh after every wait: an upload may have failed, or the
    // part may have been released meanwhile.
    Result<void> writable = CheckWritable(at, end - at);
    CKPTFS_CO_RETURN_IF_ERROR(writable);
    const std::size_t index = *PartIndex(at);
    const std::uint64_t stop = parts_[index].start + parts_[index].capacity;
    const std::size_t n = std::min(end, stop) - at;
    const std::uint64_t missing = MissingMemory(parts_[index], n);
    if (missing == 0) {
      at += n;
      continue;
    }
    if (!FitsWindow(missing)) {
      if (DropRetained()) continue;
      if (sending_ > 0) {
        co_await sent_.Wait();
        continue;
      }
      if (SendUnderPressure(index)) continue;
      // Nothing of this file can move: only the budget decides.
    }
    Result<Reservation> r = co_await env_.memory->Reserve(missing);
    if (!r && r.error().code() == ErrorCode::kResourceExhausted &&
        SendUnderPressure(index)) {
      continue;
    }
    CKPTFS_CO_RETURN_IF_ERROR(r);
    reserved_bytes_ += r->bytes();
    parts_[index].reserved.Merge(std::move(*r));
  }
  co_return Result<void>();
}

void DirtyFile::Write(std::uint64_t offset, SlabSlice data) {
  changed_ = true;
  const std::uint64_t end = offset + data.size;
  size_ = std::max(size_, end);
  std::uint64_t at = offset;
  while (at < end) {
    const std::size_t index = *PartIndex(at);
    Part& part = parts_[index];
    const std::size_t n = std::min(end, part.start + part.capacity) - at;
    const SlabSlice piece{data.slab, data.offset + (at - offset), n};
    if (KeepsSlab(part, n)) {
      part.buffer.Place(at - part.start, piece, *env_.slabs);
    } else {
      part.buffer.Copy(at - part.start, piece.bytes(), *env_.slabs);
      part.small_writes = true;
    }
    if (part.state == PartState::kSending) {
      part.rewritten = true;
    } else {
      part.state = PartState::kFilling;
      if (!held_ && part.buffer.end() == part.capacity &&
          part.buffer.Covers(part.capacity)) {
        Send(part, PartNumber(index));
      }
    }
    at += n;
  }
}

Error DirtyFile::SentAlready(std::uint64_t size) const {
  return Error(ErrorCode::kUnsupported,
               "cutting to " + std::to_string(size) +
                   " bytes touches what was already uploaded; not supported");
}

Task<Result<void>> DirtyFile::Restart() {
  std::unique_ptr<ObjectWriter> old = std::move(writer_);
  ++generation_;
  error_.reset();
  KeepNothing();
  base_.reset();
  keeps_base_ = load_pending_ = false;
  prefix_ = size_ = 0;
  changed_ = true;
  if (old == nullptr || !old->begun()) co_return Result<void>();
  // What others see is the empty file already.
  Result<void> aborted = co_await old->Abort();
  if (!aborted) {
    LogWarning("abandoned upload: " + aborted.error().ToString());
  }
  co_return Result<void>();
}

Task<Result<void>> DirtyFile::Resize(std::uint64_t size) {
  if (size == 0) {
    Result<void> restarted = co_await Restart();
    co_return restarted;
  }
  if (error_) co_return Fail(*error_);
  if (size == size_) co_return Result<void>();
  if (size > size_) {
    if (!load_pending_) {
      const Result<std::size_t> last = PartIndex(size - 1);
      if (!last) co_return Fail(last.error());
    }
    size_ = size;
    changed_ = true;
    co_return Result<void>();
  }
  if (load_pending_) {
    // The file may have grown beyond the object.
    Result<Loaded> loaded = co_await Fetch(std::min(size, base_->size));
    CKPTFS_CO_RETURN_IF_ERROR(loaded);
    Fill(*std::move(loaded));
  } else if (size < prefix_) {
    if (upload_begun()) co_return Fail(SentAlready(size));
    Loaded head;
    if (size <= kLoadLimit) {
      Result<Loaded> loaded = co_await Fetch(size);
      CKPTFS_CO_RETURN_IF_ERROR(loaded);
      head = *std::move(loaded);
    }
    KeepNothing();
    prefix_ = size <= kLoadLimit ? 0 : size;
    Fill(std::move(head));
    size_ = size;
    changed_ = true;
    co_return Result<void>();
  }
  std::size_t keep = 0;  // parts that stay
  while (keep < parts_.size() && parts_[keep].start < size) ++keep;
  if (keep > 0) {
    Part& last = parts_[keep - 1];
    if (last.released && size < last.start + last.sent_bytes) {
      co_return Fail(SentAlready(size));
    }
    last.buffer.Truncate(size - last.start);
    if (last.state == PartState::kSending) last.rewritten = true;
    if (last.state == PartState::kSent && !last.released) {
      last.state = PartState::kFilling;
    }
  }
  // Those that were sent, or are on the wire, are left out at the end.
  for (std::size_t i = keep; i < parts_.size(); ++i) Release(parts_[i]);
  parts_.resize(keep);
  size_ = size;
  changed_ = true;
  co_return Result<void>();
}

void DirtyFile::MoveBase(const ObjectInfo& from, const ObjectInfo& to) {
  if (!base_ || base_->key != from.key || base_->etag != from.etag) return;
  base_ = to;
  ++base_moves_;
}

Task<Result<DirtyFile::Loaded>> DirtyFile::Fetch(std::uint64_t bytes) {
  Loaded loaded;
  // Cut where parts are, so that each slab belongs to one of them.
  std::uint64_t boundary = 0;
  int number = 0;
  for (std::uint64_t at = 0; at < bytes;) {
    if (at == boundary) boundary += options_.plan.Size(++number);
    const std::size_t n = std::min<std::uint64_t>(
        {bytes - at, boundary - at, PartBuffer::kFillBytes});
    loaded.slices.push_back({nullptr, 0, n});
    at += n;
  }
  if (loaded.slices.empty()) co_return loaded;
  Result<Reservation> reserved = co_await env_.memory->Reserve(
      loaded.slices.size() * SlabPool::kSlabBytes);
  CKPTFS_CO_RETURN_IF_ERROR(reserved);
  loaded.reserved = *std::move(reserved);
  Destination destination;
  for (SlabSlice& s : loaded.slices) {
    s.slab = env_.slabs->Acquire();
    destination.segments.emplace_back(s.slab->data(), s.size);
  }
  destination.owner = std::make_shared<std::vector<SlabSlice>>(loaded.slices);
  const ObjectReader reader(*env_.store, *env_.strand, *base_, {});
  const RequestOptions defaults;
  env_.memory->TransferStarted();
  Result<std::uint64_t> got = co_await reader.Read(0, destination, defaults);
  env_.memory->TransferEnded();
  CKPTFS_CO_RETURN_IF_ERROR(got);
  if (*got != bytes) {
    co_return Fail(ErrorCode::kDataLoss, base_->key + " ended after " +
                                             std::to_string(*got) + " of " +
                                             std::to_string(bytes) + " bytes");
  }
  co_return loaded;
}

void DirtyFile::Fill(Loaded loaded) {
  load_pending_ = false;
  std::uint64_t at = 0;
  for (SlabSlice& slice : loaded.slices) {
    // A base that is loaded lies in the first parts: there is no 10,001st.
    Part& part = parts_[*PartIndex(at)];
    part.small_writes = true;
    part.reserved.Merge(loaded.reserved.Split(SlabPool::kSlabBytes));
    reserved_bytes_ += SlabPool::kSlabBytes;
    const std::size_t n = slice.size;
    if (KeepsSlab(part, n)) {
      part.buffer.Place(at - part.start, std::move(slice), *env_.slabs);
    } else {
      part.buffer.Copy(at - part.start, slice.bytes(), *env_.slabs);
    }
    at += n;
  }
}

Task<Result<void>> DirtyFile::LoadBase(std::uint64_t bytes) {
  Result<Loaded> loaded = co_await Fetch(bytes);
  CKPTFS_CO_RETURN_IF_ERROR(loaded);
  Fill(*std::move(loaded));
  co_return Result<void>();
}

Task<Result<Payload>> DirtyFile::ReadBase(std::uint64_t offset,
                                          std::uint64_t size) {
  auto slabs = std::make_shared<std::vector<std::shared_ptr<Slab>>>();
  Destination destination;
  Payload payload;
  std::uint64_t left = size;
  while (left > 0) {
    const std::size_t n = std::min<std::uint64_t>(left, PartBuffer::kFillBytes);
    slabs->push_back(env_.slabs->Acquire());
    destination.segments.emplace_back(slabs->back()->data(), n);
    payload.segments.emplace_back(slabs->back()->data(), n);
    left -= n;
  }
  destination.owner = slabs;
  payload.owner = slabs;
  const ObjectReader reader(*env_.store, *env_.strand, *base_, {});
  const RequestOptions defaults;
  Result<std::uint64_t> got =
      co_await reader.Read(offset, destination, defaults);
  CKPTFS_CO_RETURN_IF_ERROR(got);
  if (*got != size) {
    co_return Fail(ErrorCode::kDataLoss, "the object ended early");
  }
  co_return payload;
}

Task<Result<Payload>> DirtyFile::Read(std::uint64_t offset, std::size_t size) {
  while (true) {
    const std::uint64_t generation = generation_;
    const std::uint64_t base_moves = base_moves_;
    Result<Payload> payload = co_await ReadOnce(offset, size);
    // A publish or a move in between replaced the base under the read: the same
    // bytes are in the new base.
    if (!payload && payload.error().code() == ErrorCode::kStale &&
        (generation != generation_ || base_moves != base_moves_)) {
      continue;
    }
    co_return payload;
  }
}

Task<Result<Payload>> DirtyFile::ReadOnce(std::uint64_t offset,
                                          std::size_t size) {
  if (error_) co_return Fail(*error_);
  Payload out;
  std::vector<std::shared_ptr<const void>> owners;
  std::uint64_t at = offset;
  const std::uint64_t end = std::min<std::uint64_t>(offset + size, size_);
  while (at < end) {
    const std::uint64_t from_base = load_pending_ ? base_->size : prefix_;
    if (at < from_base) {
      const std::uint64_t n = std::min(end, from_base) - at;
      Result<Payload> piece = co_await ReadBase(at, n);
      CKPTFS_CO_RETURN_IF_ERROR(piece);
      Append(out, *std::move(piece), owners);
      at += n;
      continue;
    }
    if (load_pending_ || parts_.empty() ||
        at >= parts_.back().start + parts_.back().capacity) {
      AppendZeros(out, end - at);
      break;
    }
    const Part& part = parts_[*PartIndex(at)];
    if (part.released) {
      co_return Fail(ErrorCode::kUnsupported,
                     "byte " + std::to_string(at) +
                         " was uploaded and released, and the file is not "
                         "published yet; read it after close or fsync");
    }
    const std::uint64_t n = std::min(end, part.start + part.capacity) - at;
    Append(out, part.buffer.Gather(at - part.start, at - part.start + n),
           owners);
    at += n;
  }
  out.owner = std::make_shared<std::vector<std::shared_ptr<const void>>>(
      std::move(owners));
  co_return out;
}

void DirtyFile::KeepNothing() {
  for (Part& part : parts_) Release(part);
  parts_.clear();
}

void DirtyFile::Release(Part& part) {
  part.buffer = PartBuffer();
  reserved_bytes_ -= part.reserved.bytes();
  part.reserved.Release();
  part.released = true;
  env_.memory->Freed();
}

bool DirtyFile::DropRetained() {
  if (!changed_ && base_ && !parts_.empty() && sending_ == 0 &&
      !upload_begun()) {
    // Published as it is: the object has every byte.
    KeepNothing();
    load_pending_ = size_ > 0 && size_ <= kLoadLimit;
    prefix_ = load_pending_ ? 0 : size_;
    return true;
  }
  for (Part& part : parts_) {
    if (part.state == PartState::kSent && !part.released) {
      Release(part);
      return true;
    }
  }
  return false;
}

void DirtyFile::SetError(Error error) {
  if (!error_) error_ = std::move(error);
  for (Part& part : parts_) Release(part);
  sent_.NotifyAll();
}

}  // namespace ckptfs::fs

// The sending half of DirtyFile: parts to the writer, and the commit.
#include <algorithm>
#include <utility>

#include "common/log.h"
#include "fs/write/dirty_file.h"

namespace ckptfs::fs {

void DirtyFile::Begin() {
  if (upload_begun()) return;
  UploadTarget target = target_();
  writer_ = std::make_unique<ObjectWriter>(
      *env_.store, *env_.strand,
      ObjectWriterOptions{.max_parts_in_flight = options_.parts_in_flight});
  writer_->Begin(std::move(target.key), std::move(target.attributes));
}

void DirtyFile::Send(Part& part, int part_number) {
  Begin();
  const std::uint64_t length = PartLength(part);
  part.state = PartState::kSending;
  part.rewritten = false;
  part.sent_bytes = length;
  ++part.sends_in_flight;
  ++sending_;
  env_.memory->TransferStarted();
  writer_->UploadPart(
      part_number, part.buffer.Gather(0, length),
      [this, alive = std::weak_ptr<bool>(alive_), memory = env_.memory,
       id = part.id, generation = generation_](Result<CompletedPart> result) {
        if (alive.lock() != nullptr) {
          --sending_;
          if (generation == generation_) OnSent(id, result);
        }
        memory->TransferEnded();
      });
}

void DirtyFile::OnSent(std::uint64_t part_id,
                       const Result<CompletedPart>& result) {
  const auto part =
      std::find_if(parts_.begin(), parts_.end(),
                   [&](const Part& p) { return p.id == part_id; });
  if (!result) {
    SetError(result.error());
    return;
  }
  if (part != parts_.end() && --part->sends_in_flight == 0) {
    part->state = part->rewritten ? PartState::kFilling : PartState::kSent;
    if (part->state == PartState::kSent && !part->small_writes) Release(*part);
  }
  sent_.NotifyAll();
}

bool DirtyFile::SendUnderPressure(std::size_t except_index) {
  held_ = false;
  bool sent = false;
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    Part& part = parts_[i];
    // The last part may still grow, and only whole parts can stand inside.
    if (i == except_index || part.state != PartState::kFilling ||
        part.buffer.empty() || PartLength(part) < part.capacity ||
        // Holes may be written yet: parallel writers begin with ftruncate().
        !part.buffer.Covers(part.capacity)) {
      continue;
    }
    Send(part, PartNumber(i));
    sent = true;
  }
  return sent;
}

Task<Result<ObjectInfo>> DirtyFile::Publish(WriteCondition condition) {
  if (error_) co_return Fail(*error_);
  if (load_pending_) {
    Result<void> loaded = co_await LoadBase(std::min(size_, base_->size));
    CKPTFS_CO_RETURN_IF_ERROR(loaded);
  }
  Result<ObjectInfo> info = Fail(ErrorCode::kInternal, "not published");
  if (!upload_begun() && prefix_ == 0 && size_ <= options_.plan.Size(1)) {
    UploadTarget target = target_();
    Payload payload;
    if (size_ > 0) {
      const std::size_t last = *PartIndex(size_ - 1);
      auto owners = std::make_shared<std::vector<Payload>>();
      for (std::size_t i = 0; i <= last; ++i) {
        owners->push_back(parts_[i].buffer.Gather(0, PartLength(parts_[i])));
        const auto& segments = owners->back().segments;
        payload.segments.insert(payload.segments.end(), segments.begin(),
                                segments.end());
      }
      payload.owner = std::move(owners);
    }
    writer_ = std::make_unique<ObjectWriter>(*env_.store, *env_.strand,
                                             ObjectWriterOptions{});
    info = co_await writer_->PutWhole(std::move(target.key), std::move(payload),
                                      std::move(target.attributes), condition);
  } else {
    info = co_await PublishParts(condition);
  }
  if (!info) {
    SetError(info.error());
    co_return info;
  }
  ContinueFrom(*info);
  co_return info;
}

Task<Result<ObjectInfo>> DirtyFile::PublishParts(WriteCondition condition) {
  Begin();
  if (prefix_ > 0) {
    const int chunks = prefix_chunks();
    const std::uint64_t step = copy_chunk_bytes();
    for (int c = 0; c < chunks; ++c) {
      const std::uint64_t begin = c * step;
      const std::uint64_t end = c + 1 == chunks ? prefix_ : begin + step;
      env_.memory->TransferStarted();
      writer_->CopyPart(c + 1, base_->key, base_->etag, begin, end - begin,
                        [memory = env_.memory](const Result<CompletedPart>&) {
                          // The writer keeps the error for Complete.
                          memory->TransferEnded();
                        });
    }
  }
  int last_part = prefix_chunks();
  if (size_ > prefix_) {
    const Result<std::size_t> last = PartIndex(size_ - 1);
    if (!last) co_return Fail(last.error());
    for (std::size_t i = 0; i <= *last; ++i) {
      Part& part = parts_[i];
      const bool current =
          (part.state == PartState::kSent ||
           (part.state == PartState::kSending && !part.rewritten)) &&
          part.sent_bytes == PartLength(part);
      if (current) continue;
      if (part.released) {
        co_return Fail(ErrorCode::kInternal,
                       "part " + std::to_string(PartNumber(i)) +
                           " is needed again but was released");
      }
      Send(part, PartNumber(i));
    }
    last_part = PartNumber(*last);
  }
  // Parts that were sent and then cut off are left out.
  Result<ObjectInfo> done = co_await writer_->Complete(condition, last_part);
  co_return done;
}

void DirtyFile::ContinueFrom(ObjectInfo published) {
  base_ = std::move(published);
  keeps_base_ = size_ > 0;
  changed_ = false;
  ++generation_;
  writer_.reset();
  std::size_t first_kept = parts_.size();
  while (first_kept > 0 && !parts_[first_kept - 1].released) --first_kept;
  std::uint64_t kept_from =
      first_kept < parts_.size() ? parts_[first_kept].start : size_;
  if (kept_from > 0 && kept_from < kMinPartBytes) {
    // Too short to be copied as a part: read again when it is needed.
    KeepNothing();
    load_pending_ = true;
    prefix_ = 0;
    return;
  }
  parts_.erase(parts_.begin(),
               parts_.begin() + static_cast<std::ptrdiff_t>(first_kept));
  for (Part& part : parts_) {
    part.state = PartState::kFilling;
    part.sends_in_flight = 0;
    part.rewritten = false;
    part.sent_bytes = 0;
  }
  prefix_ = kept_from;
}

Task<Result<void>> DirtyFile::Abort() {
  if (writer_ == nullptr) co_return Result<void>();
  Result<void> aborted = co_await writer_->Abort();
  co_return aborted;
}

}  // namespace ckptfs::fs

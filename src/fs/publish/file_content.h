// FileContent: what a file's bytes are and how far they are published. Anybody
// may look; only publish/ changes it, by the events of the state machine and
// under the file's mutex.
// Strand only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <ckptfs/error.h>
#include <ckptfs/object_store.h>

#include "fs/publish/group_set.h"
#include "fs/publish/publish_state.h"
#include "fs/strand_sync.h"
#include "fs/tree/object_attributes.h"
#include "fs/write/dirty_file.h"

namespace ckptfs::fs {

class FileContent {
 public:
  FileContent() = default;
  explicit FileContent(ObjectInfo base)
      : base_(std::move(base)), stored_(DecodeAttributes(base_->metadata)) {}

  PublishState state() const { return state_; }
  // The object this Version stands for; unset while the file is new.
  const std::optional<ObjectInfo>& base() const { return base_; }
  // The bytes that are to replace it. Shared with reads, which may wait while
  // it is replaced.
  const std::shared_ptr<DirtyFile>& dirty() const { return dirty_; }
  // Set in kFailed.
  const std::optional<Error>& error() const { return error_; }
  // Attributes as they are in S3; meaningful with base.
  const StoredAttributes& stored() const { return stored_; }
  // base is a private copy below the reserved prefix.
  bool preserved() const { return preserved_from_.has_value(); }

  // Nobody could say whether a publish was carried out: the name has the older
  // object, or none, or the new one.
  bool maybe_published() const { return maybe_published_; }
  bool unpublished() const {
    return state_ == PublishState::kDirty || state_ == PublishState::kTorn ||
           state_ == PublishState::kPublishing;
  }
  std::uint64_t size() const {
    if (dirty_) return dirty_->size();
    return base_ ? base_->size : 0;
  }

  // Who wrote what is not published yet, less those that a signal ended.
  const GroupSet& writers() const { return writers_; }
  // Mapped pages arrived since the last publish: written by nobody we know.
  bool mapped_writes() const { return mapped_writes_; }
  // Counts ends of unpublished content, be it by publish or by discard.
  // Whoever wrote in the present epoch has bytes in what is not published.
  std::uint64_t epoch() const { return epoch_; }
  // What was written in that epoch was dropped.
  bool Discarded(std::uint64_t epoch) const {
    return std::find(discarded_.begin(), discarded_.end(), epoch) !=
           discarded_.end();
  }
  // A copy of the object onto itself is under way.
  bool storing_attributes() const { return storing_attributes_; }
  // Counts changes of where bytes are to be read from. A read that failed
  // across one is to be tried again.
  std::uint64_t moves() const { return moves_; }

 private:
  friend class Publisher;
  friend class PreservedCopies;
  friend class AttributeWriter;

  // INVARIANTS, checked by Publisher::Check after every event:
  //   kClean        => base_, no error_, no writers_
  //   kDirty, kPublishing, kTorn => dirty_, no error_
  //   kFailed       => error_
  //   error_        => kFailed
  //   preserved_from_ => base_
  PublishState state_ = PublishState::kClean;
  std::optional<ObjectInfo> base_;
  StoredAttributes stored_;
  std::shared_ptr<DirtyFile> dirty_;
  std::optional<Error> error_;
  // The object itself, which this mount removes or replaces, while base_ is a
  // copy that is to be removed with the last handle. Outside of that unlink or
  // rename, only with kGone.
  std::optional<ObjectInfo> preserved_from_;
  // Created with O_EXCL and not published yet: commit with If-None-Match.
  bool exclusive_ = false;
  // Created without O_TRUNC under a name that was absent: bytes that another
  // mount put there since must not be replaced unseen.
  bool assumed_absent_ = false;
  GroupSet writers_;
  bool mapped_writes_ = false;
  bool maybe_published_ = false;
  std::uint64_t epoch_ = 1;
  std::vector<std::uint64_t> discarded_;  // while handles are open
  std::uint64_t moves_ = 0;
  bool storing_attributes_ = false;
  StrandEvent attributes_stored_;
};

}  // namespace ckptfs::fs

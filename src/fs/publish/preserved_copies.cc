#include "fs/publish/preserved_copies.h"

#include <cassert>
#include <utility>
#include <vector>

#include "common/log.h"
#include "transfer/nonce.h"
#include "transfer/object_delete.h"
#include "transfer/object_writer.h"

namespace ckptfs::fs {

PreservedCopies::PreservedCopies(Context& context, Namespace& names)
    : context_(context), names_(names), tag_(MakeNonce()) {}

Task<Result<ObjectInfo>> PreservedCopies::Backup(ObjectInfo object) {
  const std::string key =
      names_.ReservedKey("open/" + tag_ + "-" + std::to_string(++count_));
  const WriteCondition none;
  Result<ObjectInfo> copy = co_await CopyObject(context_.store, context_.strand,
                                                std::move(object), key, none);
  // A condition is found not to hold before the copy is made or behind it, and
  // a reply may be lost: there may be one, which nobody will read.
  if (!copy) Remove(key);
  co_return copy;
}

Task<Result<void>> PreservedCopies::Keep(std::shared_ptr<File> file) {
  assert(file->mutex.locked());
  FileContent& content = file->content;
  if (!content.base_ || file->open_handles == 0 || content.preserved_from_ ||
      content.state_ == PublishState::kGone) {
    co_return Result<void>();
  }
  Result<ObjectInfo> copy = co_await Backup(*content.base_);
  if (!copy) {
    const ErrorCode code = copy.error().code();
    // Already replaced or removed by somebody else: nothing left to keep.
    if (code == ErrorCode::kNotFound ||
        code == ErrorCode::kPreconditionFailed) {
      co_return Result<void>();
    }
    co_return Fail(copy.error().WithContext("keeping " + names_.Path(*file) +
                                            " for its open readers"));
  }
  content.preserved_from_ = std::exchange(content.base_, *std::move(copy));
  if (content.dirty_) {
    content.dirty_->MoveBase(*content.preserved_from_, *content.base_);
  }
  ++content.moves_;
  co_return Result<void>();
}

void PreservedCopies::Undo(File& file) {
  assert(file.mutex.locked());
  FileContent& content = file.content;
  if (!content.preserved_from_) return;
  const ObjectInfo copy = *std::exchange(
      content.base_, std::exchange(content.preserved_from_, std::nullopt));
  if (content.dirty_) content.dirty_->MoveBase(copy, *content.base_);
  ++content.moves_;
  // Reads of the copy that are under way find out, and read the object.
  Remove(copy.key);
}

void PreservedCopies::Drop(File& file) {
  FileContent& content = file.content;
  if (!content.preserved_from_) return;
  content.preserved_from_.reset();
  Remove(content.base_->key);
}

void PreservedCopies::Remove(std::string key) {
  RunInBackground(context_, RemoveOne(std::move(key)));
}

Task<void> PreservedCopies::RemoveOne(std::string key) {
  Result<void> removed = co_await DeleteObject(context_.store, key);
  if (removed) {
    left_over_.erase(key);
    co_return;
  }
  // Said once a key; S3 is asked again.
  if (left_over_.insert(key).second) {
    LogWarning("left over, to be removed later: " + key + ": " +
               removed.error().ToString());
  }
  RetryLater();
}

void PreservedCopies::RetryLater() {
  if (timer_) return;
  timer_ = true;
  context_.clock.RunAfter(kRetryDelay, context_.strand, [this] {
    timer_ = false;
    for (const std::string& key : left_over_) Remove(key);
  });
}

Task<void> PreservedCopies::RemoveAll() {
  std::set<std::string> keys = left_over_;
  for (const auto& [number, inode] : names_.inodes().all()) {
    File* file = inode->AsFile();
    if (file == nullptr || !file->content.preserved_from_) continue;
    file->content.preserved_from_.reset();
    keys.insert(file->content.base_->key);
  }
  for (const std::string& key : keys) {
    co_await RemoveOne(key);
    if (left_over_.contains(key)) {
      LogError("left in the bucket at the end of the mount: " + key);
    }
  }
}

}  // namespace ckptfs::fs

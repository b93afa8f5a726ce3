#include "fs/publish/attribute_writer.h"

#include <sys/stat.h>

#include <utility>

#include "common/log.h"
#include "transfer/may_have_happened.h"
#include "transfer/nonce.h"

namespace ckptfs::fs {

ObjectAttributes AttributeWriter::ForUpload(const File& file) const {
  ObjectAttributes out;
  const std::optional<ObjectInfo>& base = file.content.base();
  if (base) {
    // Other tools' metadata and headers on an overwritten object stay with it.
    out = base->attributes();
    out.metadata.erase(kNonceMetadataName);
  }
  EncodeAttributes({file.mode, file.uid, file.gid, file.mtime, file.atime},
                   out.metadata);
  return out;
}

bool AttributeWriter::Differ(const File& file) const {
  const StoredAttributes& s = file.content.stored();
  const mode_t stored_mode =
      s.mode.value_or(S_IFREG | context_.options.file_mode);
  return (stored_mode & 0777) != (file.mode & 0777) ||
         s.uid.value_or(context_.options.uid) != file.uid ||
         s.gid.value_or(context_.options.gid) != file.gid ||
         (s.mtime ? *s.mtime != file.mtime
                  : file.content.base()->last_modified != file.mtime);
}

void AttributeWriter::Changed(const std::shared_ptr<File>& file) {
  const FileContent& content = file->content;
  if (content.state() != PublishState::kClean || !content.base() ||
      content.preserved() || content.base()->size > kSelfCopyLimit) {
    return;
  }
  changes_.push_back(file);
  if (timer_) return;
  timer_ = true;
  context_.clock.RunAfter(kDelay, context_.strand, [this] {
    timer_ = false;
    RunInBackground(context_, StoreAll());
  });
}

Task<void> AttributeWriter::StoreAll() {
  std::vector<std::weak_ptr<File>> changes = std::exchange(changes_, {});
  for (const std::weak_ptr<File>& weak : changes) {
    std::shared_ptr<File> file = weak.lock();
    if (file == nullptr) continue;
    co_await Store(file);
    names_.DropIfUnused(file);
  }
}

Task<void> AttributeWriter::Settled(std::shared_ptr<File> file) {
  while (file->content.storing_attributes_) {
    co_await file->content.attributes_stored_.Wait();
  }
}

Task<void> AttributeWriter::Store(std::shared_ptr<File> file) {
  StrandMutex::Guard guard = co_await file->mutex.Lock();
  FileContent& content = file->content;
  if (content.storing_attributes_ || content.state() != PublishState::kClean ||
      !content.base() || content.preserved() || file->parent == nullptr ||
      !Differ(*file)) {
    co_return;
  }
  const std::string path = names_.Path(*file);
  ObjectAttributes attributes = ForUpload(*file);
  // Tells this copy from others, should its reply be lost.
  attributes.metadata[kNonceMetadataName] = MakeNonce();
  content.storing_attributes_ = true;
  guard.Release();
  const std::string key = names_.Key(*file);
  const ETag known = content.base()->etag;
  Result<PutResult> copied = co_await CopyOntoItself(key, known, attributes);
  content.storing_attributes_ = false;
  content.attributes_stored_.NotifyAll();
  if (copied) {
    Adopt(*file, *std::move(copied), attributes);
  } else {
    LogWarning(
        "the new attributes of " + path +
        " last until the end of the mount: " + copied.error().ToString());
  }
}

Task<Result<PutResult>> AttributeWriter::CopyOntoItself(
    std::string key, ETag known, ObjectAttributes attributes) {
  CopyRequest request;
  request.source_key = request.key = key;
  // Holds for the destination, too: what somebody puts there while the copy is
  // made must not be replaced by the older bytes.
  request.source_if_match = known;
  request.nonce = attributes.metadata[kNonceMetadataName];
  request.replace_attributes = std::move(attributes);
  const std::string nonce = request.nonce;
  Result<PutResult> copied = co_await context_.store.Copy(std::move(request));
  if (copied || !(MayHaveHappened(copied.error()) ||
                  copied.error().code() == ErrorCode::kPreconditionFailed)) {
    co_return copied;
  }
  Result<ObjectInfo> now = co_await HeadObject(context_.store, key);
  if (now) {
    const auto found = now->metadata.find(kNonceMetadataName);
    if (found != now->metadata.end() && found->second == nonce) {
      co_return PutResult{now->etag, now->version_id};
    }
  }
  co_return copied;
}

void AttributeWriter::Adopt(File& file, PutResult copied,
                            const ObjectAttributes& written) {
  FileContent& content = file.content;
  ObjectInfo before = *content.base_;
  content.base_->etag = std::move(copied.etag);
  content.base_->version_id = std::move(copied.version_id);
  content.base_->metadata = written.metadata;
  content.stored_ = DecodeAttributes(written.metadata);
  // A writer that has not changed anything yet must not hold the old version.
  if (content.dirty_) content.dirty_->MoveBase(before, *content.base_);
  ++content.moves_;
}

}  // namespace ckptfs::fs

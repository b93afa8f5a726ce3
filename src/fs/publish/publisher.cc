#include "fs/publish/publisher.h"

#include <sys/stat.h>

#include <cassert>
#include <cstdio>
#include <random>
#include <utility>

#include "common/log.h"
#include "fs/tree/name_rules.h"
#include "transfer/object_writer.h"

namespace ckptfs::fs {

namespace {

std::string RandomTag() {
  std::random_device device;
  char text[17];
  std::snprintf(text, sizeof text, "%08x%08x", device(), device());
  return text;
}

}  // namespace

Publisher::Publisher(Context& context, Namespace& names)
    : context_(context), names_(names), preserve_tag_(RandomTag()) {}

Task<Result<void>> Publisher::LockAndHandle(std::shared_ptr<File> file,
                                            PublishEvent event) {
  StrandMutex::Guard guard = co_await file->mutex.Lock();
  Result<void> result = co_await Handle(file, event);
  co_return result;
}

Task<Result<void>> Publisher::Handle(std::shared_ptr<File> file,
                                     PublishEvent event) {
  NoticeFailure(*file);
  const PublishTransition t = NextPublishState(file->state, event);
  // The mutex is held over every commit, so nobody sees kPublishing here.
  assert(t.action != PublishAction::kWait);
  switch (t.action) {
    case PublishAction::kNone: file->state = t.next; co_return Result<void>();
    case PublishAction::kReport:
      file->state = t.next;
      co_return Fail(*file->error);
    case PublishAction::kDiscard:
      file->state = t.next;
      Discard(file);
      co_return Result<void>();
    case PublishAction::kPublish: {
      Result<void> done = co_await Commit(file, false, false);
      co_return done;
    }
    case PublishAction::kWait:
    case PublishAction::kBug: break;
  }
  co_return Fail(ErrorCode::kInternal,
                 std::string(PublishEventName(event)) + " in state " +
                     std::string(PublishStateName(file->state)));
}

Result<void> Publisher::Note(File& file, PublishEvent event) {
  NoticeFailure(file);
  const PublishTransition t = NextPublishState(file.state, event);
  file.state = t.next;
  if (t.action == PublishAction::kReport) return Fail(*file.error);
  return {};
}

void Publisher::NoticeFailure(File& file) {
  if (!file.dirty || !file.dirty->error() || file.error ||
      file.state == PublishState::kPublishing) {
    return;
  }
  file.error = file.dirty->error()->WithContext(names_.Path(file));
  file.state = NextPublishState(file.state, PublishEvent::kWriteFailed).next;
  LogError("upload failed: " + file.error->ToString());
}

void Publisher::EnsureDirty(File& file) {
  if (file.dirty) return;
  DirtyFileOptions options;
  options.window_bytes = context_.options.stream_window_bytes;
  options.parts_in_flight = context_.options.parts_in_flight;
  if (context_.options.part_bytes != 0) {
    // Checked when the mount was made.
    options.plan = *PartPlan::Fixed(context_.options.part_bytes);
  }
  file.dirty = std::make_shared<DirtyFile>(
      DirtyFile::Parts{&context_.store, &context_.strand, &context_.slabs,
                       &context_.write_memory},
      std::move(options), file.base, [this, f = &file] {
        return UploadTarget{names_.Key(*f), AttributesForUpload(*f)};
      });
  file.dirty->set_held(IsHeldName(file.name, context_.options.held_names));
}

ObjectAttributes Publisher::AttributesForUpload(const File& file) const {
  ObjectAttributes out;
  if (file.base) {
    // Other tools' metadata and headers on an overwritten object stay with it.
    out = file.base->attributes();
    out.metadata.erase(kNonceMetadataName);
  }
  EncodeAttributes({file.mode, file.uid, file.gid, file.mtime, file.atime},
                   out.metadata);
  return out;
}

Task<Result<void>> Publisher::CommitRenamed(std::shared_ptr<File> file,
                                            bool no_replace) {
  Result<void> done = co_await Commit(file, true, no_replace);
  co_return done;
}

Task<Result<void>> Publisher::Commit(std::shared_ptr<File> file, bool renamed,
                                     bool no_replace) {
  const std::string path = names_.Path(*file);
  if (file->parent == nullptr) {
    // Replaced in the bucket while it was open here.
    file->error = Error(ErrorCode::kStale,
                        path + " was replaced or removed in the bucket");
    file->state = PublishState::kFailed;
    co_return Fail(*file->error);
  }
  file->state = PublishState::kPublishing;
  WriteCondition condition;
  if (renamed) {
    condition.if_none_match = no_replace;
  } else if (file->exclusive || file->assumed_absent) {
    condition.if_none_match = true;
  } else if (file->dirty->keeps_base() && file->base) {
    condition.if_match = file->base->etag;
  }
  Result<ObjectInfo> info = co_await file->dirty->Publish(condition);
  if (!info) {
    Error error = info.error();
    if (error.code() == ErrorCode::kPreconditionFailed) {
      error = condition.if_none_match && !file->assumed_absent
                  ? Error(ErrorCode::kAlreadyExists,
                          "somebody else created the object first")
                  : Error(ErrorCode::kStale,
                          "the object was replaced in the bucket since it was "
                          "opened");
    }
    // To a program that closes a file, ENOENT or EINVAL would speak of its own
    // call; these are about the upload.
    if (error.code() == ErrorCode::kNotFound ||
        error.code() == ErrorCode::kInvalidArgument) {
      error = Error(ErrorCode::kDataLoss, error.ToString());
    }
    file->error = error.WithContext(path);
    file->state = NextPublishState(PublishState::kPublishing,
                                   PublishEvent::kPublishFailed)
                      .next;
    LogError("not published: " + file->error->ToString());
    co_return Fail(*file->error);
  }
  file->state =
      NextPublishState(PublishState::kPublishing, PublishEvent::kPublished)
          .next;
  ++file->publish_epoch;
  file->error.reset();
  file->exclusive = file->assumed_absent = false;
  file->mapped_writes = false;
  file->base = *std::move(info);
  file->stored = DecodeAttributes(file->base->metadata);
  // What is stored is what stat shows: a later mount must see the same time.
  if (file->stored.mtime && !file->mtime_explicit) {
    file->mtime = *file->stored.mtime;
  }
  names_.NoteChange(*file->parent, file->name, true);
  if (AttributesDiffer(*file)) AttributesChanged(file);
  if (file->open_writers == 0) file->dirty.reset();
  co_return Result<void>();
}

void Publisher::Discard(std::shared_ptr<File> file) {
  ++context_.lost_files;
  const std::string path = names_.Path(*file);
  const bool unknown =
      file->error && file->error->code() == ErrorCode::kOutcomeUnknown;
  const std::string fate =
      unknown      ? "the object is the new or the old one: look"
      : file->base ? "the object in the bucket is unchanged"
                   : "no object was created";
  LogError("lost: " + path + ": " +
           (file->error ? file->error->ToString()
                        : std::string("its writer ended without closing it")) +
           "; " + fate);
  AbandonUpload(*file);
  file->error.reset();
  file->exclusive = file->assumed_absent = false;
  file->mapped_writes = false;
  ++file->content_generation;
  if (unknown && file->parent != nullptr) {
    context_.notifier.InvalidateEntry(file->parent->number, file->name);
    names_.Forget(*file->parent, file->name);
  } else if (file->base) {
    names_.ApplyStored(*file, *file->base);
  } else if (file->parent != nullptr) {
    context_.notifier.InvalidateEntry(file->parent->number, file->name);
    names_.NoteChange(*file->parent, file->name, false);
    names_.Detach(*file);
  }
  context_.notifier.InvalidateInode(file->number);
}

void Publisher::AbandonUpload(File& file) {
  if (!file.dirty) return;
  std::shared_ptr<DirtyFile> dirty = std::move(file.dirty);
  if (!dirty->upload_begun()) return;
  RunInBackground(context_, Abandon(std::move(dirty), names_.Path(file)));
}

Task<void> Publisher::Abandon(std::shared_ptr<DirtyFile> dirty,
                              std::string path) {
  Result<void> aborted = co_await dirty->Abort();
  if (!aborted) {
    LogError("an upload of " + path +
             " may be left in the bucket: " + aborted.error().ToString());
  }
}

Task<Result<void>> Publisher::PreserveForReaders(std::shared_ptr<File> file) {
  if (!file->base || file->open_handles == 0 || file->preserved_from ||
      file->state == PublishState::kGone) {
    co_return Result<void>();
  }
  const std::string key = names_.ReservedKey(
      "open/" + preserve_tag_ + "-" + std::to_string(++preserved_count_));
  const WriteCondition none;
  Result<ObjectInfo> copy = co_await CopyObject(context_.store, context_.strand,
                                                *file->base, key, none);
  if (!copy) {
    // A condition is found not to hold before the copy is made or behind it,
    // and a reply may be lost: there may be one, which nobody will read.
    RunInBackground(context_, RemoveObject(key));
    const ErrorCode code = copy.error().code();
    // Already replaced or removed by somebody else: nothing left to keep.
    if (code == ErrorCode::kNotFound ||
        code == ErrorCode::kPreconditionFailed) {
      co_return Result<void>();
    }
    co_return Fail(copy.error().WithContext("keeping " + names_.Path(*file) +
                                            " for its open readers"));
  }
  file->preserved_from = std::exchange(file->base, *std::move(copy));
  if (file->dirty) file->dirty->MoveBase(*file->preserved_from, *file->base);
  co_return Result<void>();
}

void Publisher::KeepObject(File& file) {
  if (!file.preserved_from) return;
  const ObjectInfo copy = *std::exchange(
      file.base, std::exchange(file.preserved_from, std::nullopt));
  if (file.dirty) file.dirty->MoveBase(copy, *file.base);
  // Reads of the copy that are under way find out, and read the object.
  RunInBackground(context_, RemoveObject(copy.key));
}

void Publisher::CleanUpClosed(File& file) {
  if (file.open_handles > 0) return;
  if (file.state == PublishState::kGone) AbandonUpload(file);
  if (file.state == PublishState::kClean || file.state == PublishState::kGone) {
    file.dirty.reset();
  }
  if (file.preserved_from) {
    file.preserved_from.reset();
    RunInBackground(context_, RemoveObject(file.base->key));
  }
}

Task<void> Publisher::RemoveObject(std::string key) {
  Result<void> removed = co_await DeleteObject(context_.store, key);
  if (!removed) {
    LogWarning("left over: " + key + ": " + removed.error().ToString());
  }
}

Task<void> Publisher::RemovePreserved() {
  std::vector<std::string> keys;
  for (const auto& [number, inode] : names_.inodes().all()) {
    File* file = inode->AsFile();
    if (file == nullptr || !file->preserved_from) continue;
    file->preserved_from.reset();
    keys.push_back(file->base->key);
  }
  for (const std::string& key : keys) co_await RemoveObject(key);
}

bool Publisher::AttributesDiffer(const File& file) const {
  const StoredAttributes& s = file.stored;
  const mode_t stored_mode =
      s.mode.value_or(S_IFREG | context_.options.file_mode);
  return (stored_mode & 0777) != (file.mode & 0777) ||
         s.uid.value_or(context_.options.uid) != file.uid ||
         s.gid.value_or(context_.options.gid) != file.gid ||
         (s.mtime ? *s.mtime != file.mtime
                  : file.base->last_modified != file.mtime);
}

void Publisher::AttributesChanged(const std::shared_ptr<File>& file) {
  if (file->state != PublishState::kClean || !file->base ||
      file->preserved_from || file->base->size > kSelfCopyLimit) {
    return;
  }
  attribute_changes_.push_back(file);
  if (attribute_timer_) return;
  attribute_timer_ = true;
  context_.clock.RunAfter(kAttributeDelay, context_.strand, [this] {
    attribute_timer_ = false;
    RunInBackground(context_, PersistAllAttributes());
  });
}

Task<void> Publisher::PersistAllAttributes() {
  std::vector<std::weak_ptr<File>> changes =
      std::exchange(attribute_changes_, {});
  for (const std::weak_ptr<File>& weak : changes) {
    std::shared_ptr<File> file = weak.lock();
    if (file == nullptr) continue;
    co_await PersistAttributes(file);
    names_.DropIfUnused(file);
  }
}

Task<void> Publisher::PersistAttributes(std::shared_ptr<File> file) {
  StrandMutex::Guard guard = co_await file->mutex.Lock();
  if (file->state != PublishState::kClean || !file->base ||
      file->parent == nullptr || !AttributesDiffer(*file)) {
    co_return;
  }
  CopyRequest request;
  request.source_key = request.key = names_.Key(*file);
  request.source_if_match = file->base->etag;
  request.replace_attributes = AttributesForUpload(*file);
  const ObjectAttributes written = *request.replace_attributes;
  Result<PutResult> copied = co_await context_.store.Copy(std::move(request));
  if (!copied) {
    LogWarning(
        "the new attributes of " + names_.Path(*file) +
        " last until the end of the mount: " + copied.error().ToString());
    co_return;
  }
  file->base->etag = copied->etag;
  file->base->version_id = copied->version_id;
  file->base->metadata = written.metadata;
  file->stored = DecodeAttributes(written.metadata);
  // A writer that has not changed anything yet must not hold the old version.
  file->dirty.reset();
}

}  // namespace ckptfs::fs

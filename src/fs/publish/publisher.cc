#include "fs/publish/publisher.h"

#include <cassert>
#include <cstdlib>
#include <utility>

#include "common/log.h"
#include "fs/tree/name_rules.h"

namespace ckptfs::fs {

namespace {

// What a lost file's log line says of the end of its writers.
std::string HowItEnded(PublishEvent cause) {
  switch (cause) {
    case PublishEvent::kDrainExpired:
      return "it was still being written when the mount ended";
    case PublishEvent::kVouchersGone:
    case PublishEvent::kRename: return "its writer was killed";
    default: return "its writer ended without closing it";
  }
}

}  // namespace

Publisher::Publisher(Context& context, Namespace& names)
    : context_(context),
      names_(names),
      preserved_(context, names),
      attributes_(context, names) {}

void Publisher::Check(const File& file) const {
  if (!context_.options.check_invariants) return;
  const FileContent& c = file.content;
  bool ok = file.mutex.locked();
  switch (c.state_) {
    case PublishState::kClean:
      // Without a base it is a new file that was given up: no name leads to it.
      ok = ok && (c.base_ || file.parent == nullptr) && !c.error_ &&
           c.writers_.empty() && !c.mapped_writes_;
      break;
    case PublishState::kDirty:
    case PublishState::kPublishing:
    case PublishState::kTorn: ok = ok && c.dirty_ && !c.error_; break;
    case PublishState::kFailed: ok = ok && c.error_.has_value(); break;
    case PublishState::kGone: ok = ok && file.parent == nullptr; break;
  }
  ok = ok && (!c.preserved_from_ || c.base_);
  if (ok) return;
  LogError("broken invariant of " + names_.Path(file) + " in state " +
           std::string(PublishStateName(c.state_)));
  std::abort();
}

Task<Result<void>> Publisher::LockAndHandle(std::shared_ptr<File> file,
                                            PublishEvent event) {
  StrandMutex::Guard guard = co_await file->mutex.Lock();
  Result<void> result = co_await Handle(file, event);
  co_return result;
}

Task<Result<void>> Publisher::Handle(std::shared_ptr<File> file,
                                     PublishEvent event) {
  assert(file->mutex.locked());
  NoticeFailure(*file);
  FileContent& content = file->content;
  const PublishTransition t = NextPublishState(content.state_, event);
  // The mutex is held over every commit, so nobody sees kPublishing here.
  assert(t.action != PublishAction::kWait);
  switch (t.action) {
    case PublishAction::kNone:
      content.state_ = t.next;
      if (t.next == PublishState::kGone) content.error_.reset();
      co_return Result<void>();
    case PublishAction::kReport:
      content.state_ = t.next;
      co_return ckptfs::Fail(*content.error_);
    case PublishAction::kDiscard:
      content.state_ = t.next;
      Discard(file, event);
      Check(*file);
      co_return Result<void>();
    case PublishAction::kPublish: {
      Result<void> done = co_await Commit(file, ConditionOf(*file));
      co_return done;
    }
    case PublishAction::kWait:
    case PublishAction::kBug: break;
  }
  co_return ckptfs::Fail(ErrorCode::kInternal,
                         std::string(PublishEventName(event)) + " in state " +
                             std::string(PublishStateName(content.state_)));
}

Result<void> Publisher::Note(File& file, PublishEvent event) {
  const PublishTransition t = NextPublishState(file.content.state_, event);
  file.content.state_ = t.next;
  if (t.action == PublishAction::kReport) {
    return ckptfs::Fail(*file.content.error_);
  }
  return {};
}

void Publisher::NoticeFailure(File& file) {
  assert(file.mutex.locked());
  FileContent& content = file.content;
  if (!content.dirty_ || !content.dirty_->error() || content.error_ ||
      content.state_ == PublishState::kGone) {
    return;
  }
  const Error error = content.dirty_->error()->WithContext(names_.Path(file));
  LogError("upload failed: " + error.ToString());
  Fail(file, error);
}

void Publisher::Fail(File& file, Error error) {
  assert(file.mutex.locked());
  FileContent& content = file.content;
  content.state_ =
      NextPublishState(content.state_, PublishEvent::kWriteFailed).next;
  if (content.state_ == PublishState::kGone) return;
  if (content.dirty_) content.dirty_->GiveUp(error);
  content.error_ = std::move(error);
  Check(file);
}

void Publisher::EnsureDirty(File& file) {
  FileContent& content = file.content;
  if (content.dirty_) return;
  DirtyFileOptions options;
  options.window_bytes = context_.options.stream_window_bytes;
  options.parts_in_flight = context_.options.parts_in_flight;
  if (context_.options.part_bytes != 0) {
    // Checked when the mount was made.
    options.plan = *PartPlan::Fixed(context_.options.part_bytes);
  }
  content.dirty_ = std::make_shared<DirtyFile>(
      DirtyFile::Parts{&context_.store, &context_.strand, &context_.slabs,
                       &context_.write_memory},
      std::move(options), content.base_, [this, f = &file] {
        return UploadTarget{names_.Key(*f), attributes_.ForUpload(*f)};
      });
  content.dirty_->set_held(IsHeldName(file.name, context_.options.held_names));
  ++content.moves_;
}

void Publisher::DropDirty(File& file) {
  if (!file.content.dirty_) return;
  file.content.dirty_.reset();
  ++file.content.moves_;
}

void Publisher::Wrote(File& file, const Writer& who) {
  if (who.page) {
    file.content.mapped_writes_ = true;
  } else {
    file.content.writers_.Add(who.group);
  }
}

void Publisher::Create(File& file, const Writer& who, bool exclusive,
                       bool assumed_absent) {
  file.content.exclusive_ = exclusive;
  file.content.assumed_absent_ = assumed_absent;
  EnsureDirty(file);
  // A new file is clean without a base: the event cannot be refused.
  const Result<void> noted = Note(file, PublishEvent::kWrite);
  assert(noted);
  (void)noted;
  Wrote(file, who);
}

bool Publisher::CanWrite(File& file, std::uint64_t offset, std::size_t size) {
  return file.content.dirty_ && file.content.dirty_->Ready(offset, size);
}

Task<Result<void>> Publisher::PrepareWrite(std::shared_ptr<File> file,
                                           std::uint64_t offset,
                                           std::size_t size) {
  NoticeFailure(*file);
  if (file->content.state_ == PublishState::kFailed) {
    co_return ckptfs::Fail(*file->content.error_);
  }
  EnsureDirty(*file);
  co_await attributes_.Settled(file);
  const std::shared_ptr<DirtyFile> dirty = file->content.dirty_;
  Result<void> ready = co_await dirty->Prepare(offset, size);
  if (ready) co_return ready;
  const Error error = ready.error().WithContext(names_.Path(*file));
  LogError("write refused: " + error.ToString());
  Fail(*file, error);
  co_return ckptfs::Fail(error);
}

Result<void> Publisher::Write(File& file, std::uint64_t offset, SlabSlice data,
                              const Writer& who) {
  NoticeFailure(file);
  CKPTFS_RETURN_IF_ERROR(Note(file, PublishEvent::kWrite));
  file.content.dirty_->Write(offset, std::move(data));
  if (file.content.state_ != PublishState::kGone) Wrote(file, who);
  Check(file);
  return {};
}

Task<Result<void>> Publisher::Resize(std::shared_ptr<File> file,
                                     std::uint64_t size, const Writer& who) {
  NoticeFailure(*file);
  FileContent& content = file->content;
  if (size > 0 && content.state_ == PublishState::kFailed) {
    co_return ckptfs::Fail(*content.error_);
  }
  EnsureDirty(*file);
  if (size > 0) co_await attributes_.Settled(file);
  const std::shared_ptr<DirtyFile> dirty = content.dirty_;
  Result<void> resized = co_await dirty->Resize(size);
  if (!resized) {
    const Error error = resized.error().WithContext(names_.Path(*file));
    LogError("truncate refused: " + error.ToString());
    if (content.state_ == PublishState::kClean && file->open_writers == 0) {
      DropDirty(*file);
    }
    co_return ckptfs::Fail(error);
  }
  if (size == 0) content.error_.reset();
  Result<void> noted = Note(
      *file, size == 0 ? PublishEvent::kTruncateToZero : PublishEvent::kWrite);
  CKPTFS_CO_RETURN_IF_ERROR(noted);
  if (content.state_ != PublishState::kGone) {
    // What others wrote is no more.
    if (size == 0) content.writers_.clear();
    if (size == 0) content.mapped_writes_ = false;
    Wrote(*file, who);
  }
  ++content.moves_;
  Check(*file);
  co_return Result<void>();
}

void Publisher::Died(File& file, const ProcessGroup& group) {
  assert(file.mutex.locked());
  file.content.writers_.Remove(group);
}

WriteCondition Publisher::ConditionOf(const File& file) const {
  const FileContent& content = file.content;
  WriteCondition condition;
  if (content.exclusive_ || content.assumed_absent_) {
    condition.if_none_match = true;
  } else if (content.dirty_->keeps_base() && content.base_) {
    condition.if_match = content.base_->etag;
  }
  return condition;
}

Task<Result<void>> Publisher::Commit(std::shared_ptr<File> file,
                                     WriteCondition condition) {
  assert(file->mutex.locked());
  FileContent& content = file->content;
  const std::string path = names_.Path(*file);
  if (file->parent == nullptr) {
    const Error error(ErrorCode::kStale,
                      path + " was replaced or removed in the bucket");
    Fail(*file, error);
    co_return ckptfs::Fail(error);
  }
  content.state_ = PublishState::kPublishing;
  const bool conditional = !condition.if_match.empty();
  co_await attributes_.Settled(file);
  if (conditional) condition.if_match = content.base_->etag;
  const std::shared_ptr<DirtyFile> dirty = content.dirty_;
  Result<ObjectInfo> info = co_await dirty->Publish(condition);
  if (!info) {
    Error error = info.error();
    if (error.code() == ErrorCode::kPreconditionFailed) {
      error = condition.if_none_match
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
    error = error.WithContext(path);
    content.state_ = NextPublishState(PublishState::kPublishing,
                                      PublishEvent::kPublishFailed)
                         .next;
    content.error_ = error;
    content.maybe_published_ =
        content.maybe_published_ || error.code() == ErrorCode::kOutcomeUnknown;
    Check(*file);
    LogError("not published: " + error.ToString());
    co_return ckptfs::Fail(error);
  }
  content.state_ =
      NextPublishState(PublishState::kPublishing, PublishEvent::kPublished)
          .next;
  content.base_ = *std::move(info);
  content.stored_ = DecodeAttributes(content.base_->metadata);
  NothingUnpublished(*file);
  // What is stored is what stat shows: a later mount must see the same time.
  if (content.stored_.mtime && !file->mtime_explicit) {
    file->mtime = *content.stored_.mtime;
  }
  names_.NoteChange(*file->parent, file->name, true);
  if (attributes_.Differ(*file)) attributes_.Changed(file);
  if (file->open_writers == 0) DropDirty(*file);
  Check(*file);
  co_return Result<void>();
}

void Publisher::NothingUnpublished(File& file) {
  FileContent& content = file.content;
  ++content.epoch_;
  ++content.moves_;
  content.error_.reset();
  content.exclusive_ = content.assumed_absent_ = false;
  content.mapped_writes_ = content.maybe_published_ = false;
  content.writers_.clear();
}

void Publisher::Rebase(File& file, ObjectInfo base) {
  assert(file.mutex.locked());
  FileContent& content = file.content;
  const ObjectInfo before = *std::exchange(content.base_, std::move(base));
  content.stored_ = DecodeAttributes(content.base_->metadata);
  if (content.dirty_) content.dirty_->MoveBase(before, *content.base_);
  ++content.moves_;
  Check(file);
}

void Publisher::Discard(std::shared_ptr<File> file, PublishEvent cause) {
  ++context_.lost_files;
  FileContent& content = file->content;
  const std::string path = names_.Path(*file);
  const bool unknown = content.maybe_published_;
  const std::string fate =
      unknown         ? "the object is the new or the old one: look"
      : content.base_ ? "the object in the bucket is unchanged"
                      : "no object was created";
  LogError("lost: " + path + ": " +
           (content.error_ ? content.error_->ToString() : HowItEnded(cause)) +
           "; " + fate);
  AbandonUpload(*file);
  if (file->open_handles > 0) content.discarded_.push_back(content.epoch_);
  NothingUnpublished(*file);
  ++file->content_generation;
  if (unknown && file->parent != nullptr) {
    context_.notifier.InvalidateEntry(file->parent->number, file->name);
    names_.Forget(*file->parent, file->name);
  } else if (content.base_) {
    names_.ApplyStored(*file, *content.base_);
  } else if (file->parent != nullptr) {
    context_.notifier.InvalidateEntry(file->parent->number, file->name);
    names_.NoteChange(*file->parent, file->name, false);
    names_.Detach(*file);
  }
  context_.notifier.InvalidateInode(file->number);
}

void Publisher::AbandonUpload(File& file) {
  if (!file.content.dirty_) return;
  std::shared_ptr<DirtyFile> dirty = file.content.dirty_;
  DropDirty(file);
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

void Publisher::AbandonGone(File& file) {
  assert(file.mutex.locked());
  if (file.content.state_ == PublishState::kGone) AbandonUpload(file);
}

void Publisher::CleanUpClosed(File& file) {
  assert(file.mutex.locked());
  if (file.open_writers == 0 && file.content.state_ == PublishState::kClean) {
    DropDirty(file);
  }
  if (file.open_handles > 0) return;
  if (file.content.state_ == PublishState::kGone) AbandonUpload(file);
  file.content.discarded_.clear();
  preserved_.Drop(file);
}

}  // namespace ckptfs::fs

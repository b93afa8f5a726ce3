#include "fs/publish/renamer.h"

#include <utility>

#include "common/log.h"
#include "fs/tree/name_rules.h"
#include "transfer/object_delete.h"
#include "transfer/object_writer.h"

namespace ckptfs::fs {

Task<Result<void>> Renamer::Move(std::shared_ptr<File> file, Target target,
                                 Reached* reached) {
  co_await publisher_.attributes().Settled(file);
  const FileContent& content = file->content;
  Result<void> moved;
  if (content.state() == PublishState::kClean) {
    moved = co_await MoveClean(file, target, reached);
  } else if (target.no_replace || content.dirty()->upload_begun()) {
    // Where the new name may turn out to be taken, the bytes are published
    // under the old one first: they must not be lost to an EEXIST.
    moved = co_await MoveUploading(file, target, reached);
  } else {
    moved = co_await MoveUnsent(file, target, reached);
  }
  co_return moved;
}

void Renamer::GiveName(const std::shared_ptr<File>& file,
                       const Target& target) {
  if (target.replaced != nullptr) names_.Detach(*target.replaced);
  const auto old = target.directory->children.find(target.name);
  if (old != target.directory->children.end()) {
    const std::shared_ptr<Inode> other = old->second;
    names_.Detach(*other);
  }
  names_.Detach(*file);
  names_.Attach(*target.directory, target.name, file);
  if (file->content.dirty()) {
    file->content.dirty()->set_held(
        IsHeldName(target.name, context_.options.held_names));
  }
}

Task<Result<void>> Renamer::MoveClean(std::shared_ptr<File> file, Target target,
                                      Reached* reached) {
  const ObjectInfo source = *file->content.base();
  const std::string old_key = names_.Key(*file);
  const std::string new_key = names_.ChildKey(*target.directory, target.name);
  WriteCondition condition;
  condition.if_none_match = target.no_replace;
  Result<ObjectInfo> copied = co_await CopyObject(
      context_.store, context_.strand, source, new_key, condition);
  if (!copied) {
    if (copied.error().code() == ErrorCode::kPreconditionFailed) {
      co_return Fail(target.no_replace
                         ? Error(ErrorCode::kAlreadyExists,
                                 target.name + " exists, or " + file->name +
                                     " was replaced in the bucket")
                         : Error(ErrorCode::kStale,
                                 file->name + " was replaced in the bucket"));
    }
    if (copied.error().code() == ErrorCode::kOutcomeUnknown) {
      *reached = Reached::kUnknown;
    }
    co_return Fail(copied.error());
  }
  *reached = Reached::kTaken;
  Result<void> deleted =
      co_await SettledDelete(context_.store, old_key, source.etag);
  const ErrorCode failure =
      deleted ? ErrorCode::kInternal : deleted.error().code();
  if (!deleted && failure != ErrorCode::kPreconditionFailed &&
      failure != ErrorCode::kOutcomeUnknown) {
    co_return Fail(deleted.error().WithContext(
        "both names exist now: " + new_key + " was made, " + old_key +
        " could not be removed"));
  }
  // Gone, or another client's by now, or not known to be there: the bytes are
  // surely under the new name alone.
  publisher_.Rebase(*file, *std::move(copied));
  GiveName(file, target);
  if (failure == ErrorCode::kOutcomeUnknown) {
    co_return Fail(deleted.error().WithContext(
        new_key + " was made; whether " + old_key + " is gone is not known"));
  }
  co_return Result<void>();
}

Task<Result<void>> Renamer::MoveUnsent(std::shared_ptr<File> file,
                                       Target target, Reached* reached) {
  // The name changes first, because the commit derives its key from it; a
  // failed commit puts it back.
  Directory* const from = file->parent;
  const std::shared_ptr<Inode> from_alive = names_.inodes().Find(from->number);
  const std::string old_name = file->name;
  const std::string old_key = names_.Key(*file);
  const std::optional<ObjectInfo> old = file->content.base();
  // Of an earlier publish nobody knows whether it was carried out: whatever is
  // under the old name then is this file's.
  const bool unknown = file->content.maybe_published();
  const auto take_back = [&] {
    names_.Detach(*file);
    names_.Attach(*from, old_name, file);
  };
  GiveName(file, target);
  WriteCondition condition;
  condition.if_none_match = target.no_replace;
  Result<void> done = co_await publisher_.Commit(file, condition);
  if (!done) {
    take_back();
    if (target.replaced != nullptr) {
      names_.Attach(*target.directory, target.name, target.replaced);
    }
    if (done.error().code() == ErrorCode::kOutcomeUnknown) {
      *reached = Reached::kUnknown;
    }
    co_return done;
  }
  *reached = Reached::kTaken;
  if (!old && !unknown) co_return Result<void>();
  const ETag version = unknown ? ETag() : old->etag;
  Result<void> deleted =
      co_await SettledDelete(context_.store, old_key, version);
  if (deleted || deleted.error().code() == ErrorCode::kPreconditionFailed) {
    co_return Result<void>();
  }
  if (deleted.error().code() == ErrorCode::kOutcomeUnknown) {
    co_return Fail(deleted.error().WithContext(target.name +
                                               " was made; whether " + old_key +
                                               " is gone is not known"));
  }
  if (!old) {
    co_return Fail(deleted.error().WithContext(
        "both names may exist now: " + names_.Key(*file) + " was made, " +
        old_key + " could not be removed"));
  }
  // The rename has failed, so the file keeps its old name, and the name must
  // have the bytes that the file has.
  const std::string new_key = names_.Key(*file);
  const Error failed = deleted.error().WithContext(
      "both names exist now: " + new_key + " was made, " + old_key +
      " could not be removed");
  WriteCondition still;
  still.if_match = version;
  Result<ObjectInfo> copied = co_await CopyObject(
      context_.store, context_.strand, *file->content.base(), old_key, still);
  take_back();
  names_.Forget(*target.directory, target.name);
  if (copied) {
    publisher_.Rebase(*file, *std::move(copied));
    co_return Fail(failed);
  }
  publisher_.Rebase(*file, *old);
  const Error error = failed.WithContext("it has its older bytes (" +
                                         copied.error().ToString() + ")");
  publisher_.Fail(*file, error);
  co_return Fail(error);
}

Task<Result<void>> Renamer::MoveUploading(std::shared_ptr<File> file,
                                          Target target, Reached* reached) {
  // S3 cannot rename an upload: it is completed where it began, and copied
  // from there. Where that replaces an object, the object is kept until the
  // copy has succeeded.
  std::optional<ObjectInfo> backup;
  if (file->content.base()) {
    Result<ObjectInfo> kept =
        co_await publisher_.preserved().Backup(*file->content.base());
    if (kept) {
      backup = *std::move(kept);
    } else if (kept.error().code() != ErrorCode::kNotFound &&
               kept.error().code() != ErrorCode::kPreconditionFailed) {
      const Error error = kept.error().WithContext(
          "renaming " + names_.Path(*file) +
          ": its older object cannot be kept meanwhile");
      publisher_.Fail(*file, error);
      co_return Fail(error);
    }
  }
  Result<void> done =
      co_await publisher_.Commit(file, publisher_.ConditionOf(*file));
  if (!done) {
    if (backup) publisher_.preserved().Remove(backup->key);
    co_return done;
  }
  Result<void> moved = co_await MoveClean(file, target, reached);
  if (!backup) co_return moved;
  const bool only_taken =
      !moved && moved.error().code() == ErrorCode::kAlreadyExists;
  if (*reached == Reached::kNothing && !only_taken) {
    Result<void> undone =
        co_await PutBack(file, *std::move(backup), moved.error());
    co_return undone;
  }
  publisher_.preserved().Remove(backup->key);
  co_return moved;
}

// The rename has failed: the old name gets its older object back, and the
// file's new bytes are lost with an error.
Task<Result<void>> Renamer::PutBack(std::shared_ptr<File> file,
                                    ObjectInfo backup, Error cause) {
  WriteCondition still;
  still.if_match = file->content.base()->etag;
  const std::string backup_key = backup.key;
  Result<ObjectInfo> restored =
      co_await CopyObject(context_.store, context_.strand, std::move(backup),
                          names_.Key(*file), still);
  if (!restored) {
    LogError(names_.Path(*file) +
             " has the new bytes although its rename failed; the older object "
             "stays at " +
             backup_key + ": " + restored.error().ToString());
    co_return Fail(cause);
  }
  publisher_.preserved().Remove(backup_key);
  publisher_.Rebase(*file, *std::move(restored));
  publisher_.Fail(*file, cause.WithContext(names_.Path(*file)));
  co_return Fail(cause);
}

}  // namespace ckptfs::fs

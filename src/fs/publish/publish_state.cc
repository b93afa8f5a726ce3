#include "fs/publish/publish_state.h"

namespace ckptfs::fs {

namespace {

using S = PublishState;
using E = PublishEvent;
using A = PublishAction;

PublishTransition FromClean(E event) {
  switch (event) {
    case E::kWrite:
    case E::kTruncateToZero: return {S::kDirty, A::kNone};
    case E::kWriteFailed: return {S::kFailed, A::kReport};
    case E::kUnlink: return {S::kGone, A::kNone};
    case E::kFlushStranger:
    case E::kFlushShared:
    case E::kFlushDying:
    case E::kFlushClose:
    case E::kFsync:
    case E::kFsyncReader:
    case E::kRename:
    case E::kReleaseOther:
    case E::kReleaseLast:
    case E::kReleaseLastVouched:
    case E::kVouchersGone:
    case E::kDrainExpired: return {S::kClean, A::kNone};
    case E::kPublished:
    case E::kPublishFailed: return {S::kClean, A::kBug};
  }
  return {S::kClean, A::kBug};
}

PublishTransition FromDirty(E event) {
  switch (event) {
    case E::kWrite:
    case E::kTruncateToZero: return {S::kDirty, A::kNone};
    case E::kWriteFailed: return {S::kFailed, A::kReport};
    case E::kFlushStranger:
    case E::kFlushShared: return {S::kDirty, A::kNone};
    case E::kFlushDying: return {S::kTorn, A::kNone};
    case E::kFlushClose:
    case E::kFsync:
    case E::kFsyncReader:
    case E::kRename: return {S::kPublishing, A::kPublish};
    case E::kUnlink: return {S::kGone, A::kNone};
    // Whoever is left will say by its own close whether the bytes are whole.
    case E::kVouchersGone:
    case E::kReleaseOther: return {S::kDirty, A::kNone};
    case E::kReleaseLast: return {S::kClean, A::kDiscard};
    case E::kReleaseLastVouched: return {S::kPublishing, A::kPublish};
    case E::kDrainExpired: return {S::kClean, A::kDiscard};
    case E::kPublished:
    case E::kPublishFailed: return {S::kDirty, A::kBug};
  }
  return {S::kDirty, A::kBug};
}

PublishTransition FromPublishing(E event) {
  switch (event) {
    case E::kPublished: return {S::kClean, A::kNone};
    case E::kPublishFailed: return {S::kFailed, A::kReport};
    case E::kWrite:
    case E::kTruncateToZero:
    case E::kWriteFailed:
    case E::kFlushStranger:
    case E::kFlushShared:
    case E::kFlushDying:
    case E::kFlushClose:
    case E::kFsync:
    case E::kFsyncReader:
    case E::kRename:
    case E::kUnlink:
    case E::kReleaseOther:
    case E::kReleaseLast:
    case E::kReleaseLastVouched:
    case E::kVouchersGone:
    case E::kDrainExpired: return {S::kPublishing, A::kWait};
  }
  return {S::kPublishing, A::kBug};
}

PublishTransition FromTorn(E event) {
  switch (event) {
    // A writer that lives goes on: the file is whole again when it says so.
    case E::kWrite:
    case E::kTruncateToZero: return {S::kDirty, A::kNone};
    case E::kWriteFailed: return {S::kFailed, A::kReport};
    case E::kFlushStranger:
    case E::kFlushShared:
    case E::kFlushDying:
    case E::kFsyncReader: return {S::kTorn, A::kNone};
    case E::kFlushClose:
    case E::kFsync: return {S::kPublishing, A::kPublish};
    // Nobody vouches for the bytes: what is renamed is the old version.
    case E::kRename: return {S::kClean, A::kDiscard};
    case E::kUnlink: return {S::kGone, A::kNone};
    case E::kReleaseOther: return {S::kTorn, A::kNone};
    case E::kReleaseLast:
    case E::kReleaseLastVouched:
    case E::kVouchersGone:
    case E::kDrainExpired: return {S::kClean, A::kDiscard};
    case E::kPublished:
    case E::kPublishFailed: return {S::kTorn, A::kBug};
  }
  return {S::kTorn, A::kBug};
}

PublishTransition FromFailed(E event) {
  switch (event) {
    case E::kTruncateToZero: return {S::kDirty, A::kNone};
    case E::kWrite:
    case E::kWriteFailed:
    case E::kFlushClose:
    case E::kFlushShared:
    case E::kFsync:
    case E::kFsyncReader:
    case E::kRename: return {S::kFailed, A::kReport};
    case E::kFlushStranger:
    case E::kFlushDying:
    case E::kVouchersGone:
    case E::kReleaseOther: return {S::kFailed, A::kNone};
    case E::kUnlink: return {S::kGone, A::kNone};
    case E::kReleaseLast:
    case E::kReleaseLastVouched:
    case E::kDrainExpired: return {S::kClean, A::kDiscard};
    case E::kPublished:
    case E::kPublishFailed: return {S::kFailed, A::kBug};
  }
  return {S::kFailed, A::kBug};
}

PublishTransition FromGone(E event) {
  switch (event) {
    case E::kPublished:
    case E::kPublishFailed:
    case E::kRename: return {S::kGone, A::kBug};
    case E::kWriteFailed: return {S::kGone, A::kReport};
    case E::kWrite:
    case E::kTruncateToZero:
    case E::kFlushStranger:
    case E::kFlushShared:
    case E::kFlushDying:
    case E::kFlushClose:
    case E::kFsync:
    case E::kFsyncReader:
    case E::kUnlink:
    case E::kReleaseOther:
    case E::kReleaseLast:
    case E::kReleaseLastVouched:
    case E::kVouchersGone:
    case E::kDrainExpired: return {S::kGone, A::kNone};
  }
  return {S::kGone, A::kBug};
}

}  // namespace

PublishTransition NextPublishState(PublishState state, PublishEvent event) {
  switch (state) {
    case S::kClean: return FromClean(event);
    case S::kDirty: return FromDirty(event);
    case S::kPublishing: return FromPublishing(event);
    case S::kTorn: return FromTorn(event);
    case S::kFailed: return FromFailed(event);
    case S::kGone: return FromGone(event);
  }
  return {state, A::kBug};
}

std::string_view PublishStateName(PublishState state) {
  switch (state) {
    case S::kClean: return "clean";
    case S::kDirty: return "dirty";
    case S::kPublishing: return "publishing";
    case S::kTorn: return "torn";
    case S::kFailed: return "failed";
    case S::kGone: return "gone";
  }
  return "?";
}

std::string_view PublishEventName(PublishEvent event) {
  switch (event) {
    case E::kWrite: return "write";
    case E::kTruncateToZero: return "truncate-to-zero";
    case E::kWriteFailed: return "write-failed";
    case E::kFlushStranger: return "flush-stranger";
    case E::kFlushShared: return "flush-shared";
    case E::kFlushDying: return "flush-dying";
    case E::kFlushClose: return "flush-close";
    case E::kFsync: return "fsync";
    case E::kFsyncReader: return "fsync-reader";
    case E::kRename: return "rename";
    case E::kUnlink: return "unlink";
    case E::kReleaseOther: return "release-other";
    case E::kReleaseLast: return "release-last";
    case E::kReleaseLastVouched: return "release-last-vouched";
    case E::kVouchersGone: return "vouchers-gone";
    case E::kPublished: return "published";
    case E::kPublishFailed: return "publish-failed";
    case E::kDrainExpired: return "drain-expired";
  }
  return "?";
}

std::string_view PublishActionName(PublishAction action) {
  switch (action) {
    case A::kNone: return "-";
    case A::kPublish: return "publish";
    case A::kDiscard: return "discard";
    case A::kReport: return "report";
    case A::kWait: return "wait";
    case A::kBug: return "impossible";
  }
  return "?";
}

}  // namespace ckptfs::fs

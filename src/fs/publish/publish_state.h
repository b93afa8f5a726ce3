// The publish rules as one explicit state machine per inode: when bytes that a
// program wrote become the object, and when they never do. The table with its
// reasons is docs/publish-states.md; a test compares the two cell by cell.
#pragma once

#include <string_view>

namespace ckptfs::fs {

enum class PublishState {
  kClean,       // every byte is in S3, or there is nothing to publish
  kDirty,       // bytes (or a new, empty file) that are not in S3
  kPublishing,  // a commit is under way; what arrives waits for its end
  kTorn,        // dirty, and the last to speak was a writer dying by a signal
  kFailed,      // a write or a commit failed; the error stays
  kGone,        // unlinked or replaced: nothing will ever be published
};
inline constexpr int kPublishStateCount = 6;

enum class PublishEvent {
  kWrite,           // write(), size change, or the creation of a new file
  kTruncateToZero,  // O_TRUNC or size 0: rewritten from the start
  kWriteFailed,     // bytes were lost: the content can never be whole
  kFlushStranger,   // FLUSH by a group that neither opened nor wrote the handle
  kFlushShared,     // FLUSH by a group that keeps another descriptor, or that
                    // wrote none of what is unpublished
  kFlushDying,      // FLUSH by a group that a signal is ending
  kFlushClose,      // FLUSH by anybody else: close() or an ordinary exit
  kFsync,
  kFsyncReader,         // through a descriptor that cannot write
  kRename,              // of this file
  kUnlink,              // or replaced by a rename
  kReleaseOther,        // a writable handle is gone, others remain
  kReleaseLast,         // the last writable handle is gone
  kReleaseLastVouched,  // the same, and unpublished bytes came from a mapping
                        // or from a group that lives
  kVouchersGone,        // nobody is left who could say that the bytes are whole
  kPublished,           // the commit succeeded
  kPublishFailed,
  kDrainExpired,  // the mount ends and its deadline has passed
};
inline constexpr int kPublishEventCount = 18;

enum class PublishAction {
  kNone,     // answer success
  kPublish,  // commit now; answer with its result
  kDiscard,  // drop the bytes, restore the old version, log and count the file
  kReport,   // answer with the error that stays
  kWait,     // come back when the commit has ended
  kBug,      // cannot happen
};

struct PublishTransition {
  PublishState next;
  PublishAction action;
};

// Pure. The state changes to `next` at once; after kPublish the commit's end
// arrives as kPublished or kPublishFailed.
PublishTransition NextPublishState(PublishState state, PublishEvent event);

std::string_view PublishStateName(PublishState state);
std::string_view PublishEventName(PublishEvent event);
std::string_view PublishActionName(PublishAction action);

}  // namespace ckptfs::fs

// ObjectWriter: one new object, sent as parts in any order and published in
// one step, whole or not at all. Knows the multipart protocol (bound key,
// window of parts in flight, nonce, abort, lost replies); knows nothing of
// files: the caller owns the part plan and the memory.
#pragma once

#include <ckptfs/object_store.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/task.h"
#include "transfer/part_plan.h"

namespace ckptfs {

struct ObjectWriterOptions {
  // Parts on the wire at once; further ones queue in order of arrival.
  int max_parts_in_flight = 8;
};

// Lives on one executor: every method is called there, every callback and Task
// runs there, callbacks never inside the call that was given them. It may be
// destroyed at any time: what is in flight is cancelled, an open upload is
// aborted in the background (see also Abort), and every callback and Task that
// is still due ends with kCancelled, but for a Complete that was too far gone.
// Store and executor must outlive that.
//
// States: empty -> (first UploadPart/CopyPart) uploading -> Commit -> done
//                                              uploading -> Abort  -> done
class ObjectWriter {
 public:
  ObjectWriter(ObjectStore& store, Executor& executor,
               ObjectWriterOptions options);
  ~ObjectWriter();
  ObjectWriter(const ObjectWriter&) = delete;
  ObjectWriter& operator=(const ObjectWriter&) = delete;

  // Binds the key and the attributes; the multipart upload is opened with the
  // first part. S3 fixes both at that moment (mtime included); call it as late
  // as possible, once, before the first part. A nonce joins the metadata.
  void Begin(std::string key, ObjectAttributes attributes);
  bool begun() const;
  // The key given to Begin. REQUIRES: begun().
  const std::string& bound_key() const;

  // Sends bytes as part `part_number`; `done` gets the part or the error after
  // which the writer is failed (every later call gives the same error). Sending
  // a number again replaces the part: the second transfer starts only after
  // the first has ended. REQUIRES: begun().
  void UploadPart(int part_number, Payload payload,
                  UniqueFunction<void(Result<CompletedPart>)> done);
  // The same with bytes that already lie in the bucket.
  void CopyPart(int part_number, std::string source_key, ETag source_etag,
                std::uint64_t offset, std::uint64_t length,
                UniqueFunction<void(Result<CompletedPart>)> done);

  // Parts queued or on the wire.
  int parts_pending() const;

  // Waits for every part, then publishes them under bound_key() as one object;
  // parts with numbers above `last_part` are left out of it.
  // On error the upload is aborted, and the old object is untouched, unless the
  // code is kOutcomeUnknown: then it may be the new one. A lost reply is
  // settled by the abort and a look at the object. Parts are not taken any
  // more. kPreconditionFailed: `condition` did not hold. REQUIRES: begun(), at
  // least one part. The result's last_modified is not known.
  Task<Result<ObjectInfo>> Complete(WriteCondition condition,
                                    int last_part = kMaxParts);

  // Publishes a small object by one PUT; a nonce joins the metadata. Errors as
  // for Complete. REQUIRES: !begun().
  Task<Result<ObjectInfo>> PutWhole(std::string key, Payload payload,
                                    ObjectAttributes attributes,
                                    WriteCondition condition);

  // Cancels what is in flight, aborts the upload, and checks with ListParts
  // that no part landed behind the abort. Safe in any state; idempotent. An
  // error means that an upload may be left over (named in the error).
  Task<Result<void>> Abort();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

struct CopyOptions {
  // Above this, by parts; the largest source of one CopyObject is 5 GiB
  // (Amazon S3 API Reference, CopyObject).
  std::uint64_t max_single_bytes = 5ull << 30;
  std::uint64_t part_bytes = 1ull << 30;
  int max_parts_in_flight = 8;
};

// Copies an object inside the bucket, with its metadata, system headers and
// tags, in parallel parts where it is large. The copy is of exactly the version
// that `source` tells, as Head gave it; kPreconditionFailed: it is not that any
// more, or `condition` did not hold. kNotFound: no such source.
// kPermissionDenied, kUnsupported: also tags that cannot be read, of a copy in
// parts; those that Head does not tell of (ObjectInfo::tag_count) are lost by
// it. kOutcomeUnknown: as for ObjectWriter. The result's
// last_modified is not known.
Task<Result<ObjectInfo>> CopyObject(ObjectStore& store, Executor& executor,
                                    ObjectInfo source, std::string key,
                                    WriteCondition condition,
                                    CopyOptions options = {});

}  // namespace ckptfs

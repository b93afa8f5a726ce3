// Getting rid of multipart uploads, for sure: S3 keeps charging for the parts
// of an upload that is neither completed nor aborted.
#pragma once

#include <ckptfs/object_store.h>

#include <string>

#include "common/task.h"

namespace ckptfs {

// Aborts `upload` and checks with ListParts that nothing of it is left; a part
// that was on the wire may land behind the first abort (Amazon S3 API
// Reference, AbortMultipartUpload), so this repeats, a bounded number of times.
// An error names the upload that may be left over. Not cancellable.
Task<Result<void>> AbortUpload(ObjectStore& store, MultipartUpload upload);

// For a CreateMultipart of `key` whose reply was lost: the upload may exist
// under an id nobody knows. An upload of exactly this key without any part is
// aborted if it is the only such one; several cannot be told apart, another
// writer's would be lost, and they hold no bytes that cost anything. An error
// says what may be left over.
Task<Result<void>> AbortUnknownUpload(ObjectStore& store, std::string key);

}  // namespace ckptfs

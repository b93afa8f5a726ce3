// SettledDelete: removes one version of an object, and finds out what became of
// it where the reply does not tell.
#pragma once

#include <ckptfs/object_store.h>

#include <string>

#include "common/task.h"

namespace ckptfs {

// `version` empty: whatever is there. Success: the key has no object, or at
// least not that one where `version` is empty.
// kPreconditionFailed: it has another one. kOutcomeUnknown: nobody could be
// asked whether it was removed. Any other error: it is still there.
Task<Result<void>> SettledDelete(ObjectStore& store, std::string key,
                                 ETag version);

}  // namespace ckptfs

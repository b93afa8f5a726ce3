// Looking for the object of a write whose outcome its store could not tell.
#pragma once

#include <ckptfs/object_store.h>

#include <cstdint>
#include <optional>
#include <string>

#include "common/task.h"

namespace ckptfs {

// The object `key` as it is if it carries that nonce and size; nullopt: it does
// not, or there is none. An error: S3 could not be asked. Takes seconds at
// most, and is not cancellable.
Task<Result<std::optional<ObjectInfo>>> FindWritten(ObjectStore& store,
                                                    std::string key,
                                                    std::string nonce,
                                                    std::uint64_t size);

// The same error as of an attempt that is known to have had no effect.
Error WithoutEffect(const Error& error);

}  // namespace ckptfs

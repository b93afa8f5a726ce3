// The answer to writes through a handle whose earlier bytes were dropped.
#pragma once

#include <ckptfs/error.h>

#include "fs/ops/handle.h"

namespace ckptfs::fs {

inline Error LostBytes(const Handle& handle) {
  return Error(ErrorCode::kDataLoss,
               handle.file->name +
                   ": what was written through this descriptor was given up, "
                   "as its writer was killed or the mount ends; write the file "
                   "anew");
}

}  // namespace ckptfs::fs

// FileError: errno of a call on a plain file as an Error.
#pragma once

#include <ckptfs/error.h>

#include <string>

namespace ckptfs {

// `what`: the call and its path, e.g. "open /ckpt/last.ckpt".
Error FileError(int error_number, const std::string& what);

}  // namespace ckptfs

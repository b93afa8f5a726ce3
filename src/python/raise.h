// Raise: an Error as a Python exception.
#pragma once

#include <ckptfs/result.h>
#include <nanobind/nanobind.h>

#include <utility>

namespace ckptfs::python {

// Sets what makes an exception of an error: a callable of (code, message,
// s3_code, status, request_id, key). The package does it when it is imported:
// the classes are Python's.
void SetErrorFactory(nanobind::object factory);

// With the GIL held.
[[noreturn]] void Raise(const Error& error);

template <typename T>
T ValueOrRaise(Result<T> result) {
  if (!result) Raise(result.error());
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

}  // namespace ckptfs::python

// Guarded: libtorch throws, the public functions do not.
#pragma once

#include <c10/util/Exception.h>
#include <ckptfs/result.h>

#include <exception>
#include <new>
#include <string>

namespace ckptfs::libtorch {

// The result of fn(), a Result<...>; what it throws, as an error. `what` names
// the operation, for messages.
template <typename F>
auto Guarded(const std::string& what, F fn) -> decltype(fn()) {
  try {
    return fn();
  } catch (const c10::OutOfMemoryError& error) {
    return Fail(ErrorCode::kResourceExhausted,
                what + ": " + error.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    return Fail(ErrorCode::kResourceExhausted, what + ": no memory");
  } catch (const c10::Error& error) {
    return Fail(ErrorCode::kInternal,
                what + ": libtorch: " + error.what_without_backtrace());
  } catch (const std::exception& error) {
    return Fail(ErrorCode::kInternal, what + ": " + error.what());
  }
}

}  // namespace ckptfs::libtorch

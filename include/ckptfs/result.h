// Result<T>: a value or an Error. An alias of tl::expected; use only the names
// that std::expected has, so that the alias can move to it.
#pragma once

#include <ckptfs/error.h>

#include <tl/expected.hpp>
#include <type_traits>
#include <utility>

namespace ckptfs {

template <typename T>
using Result = tl::expected<T, Error>;

// The error side of any Result.
inline tl::unexpected<Error> Fail(Error error) {
  return tl::unexpected<Error>(std::move(error));
}
inline tl::unexpected<Error> Fail(ErrorCode code, std::string message) {
  return tl::unexpected<Error>(Error(code, std::move(message)));
}

}  // namespace ckptfs

#define CKPTFS_CONCAT_INNER(a, b) a##b
#define CKPTFS_CONCAT(a, b) CKPTFS_CONCAT_INNER(a, b)

// Leaves the function with the error of `expr`, a Result<...>. In coroutines
// use CKPTFS_CO_RETURN_IF_ERROR (common/task.h).
#define CKPTFS_RETURN_IF_ERROR(expr)                           \
  do {                                                         \
    auto&& ckptfs_result = (expr);                             \
    if (!ckptfs_result.has_value())                            \
      return ::ckptfs::Fail(std::move(ckptfs_result).error()); \
  } while (false)

#define CKPTFS_ASSIGN_OR_RETURN(lhs, expr)                                   \
  CKPTFS_ASSIGN_OR_RETURN_IMPL(CKPTFS_CONCAT(ckptfs_result_, __LINE__), lhs, \
                               expr)
#define CKPTFS_ASSIGN_OR_RETURN_IMPL(tmp, lhs, expr)                   \
  auto tmp = (expr);                                                   \
  if (!tmp.has_value()) return ::ckptfs::Fail(std::move(tmp).error()); \
  lhs = *std::move(tmp)

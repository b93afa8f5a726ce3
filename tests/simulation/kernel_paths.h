// Small things that the system calls of SimKernel share.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <ckptfs/result.h>

namespace ckptfs::sim {

inline constexpr std::uint64_t kPage = 4096;

inline std::string DirectoryOf(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}
inline std::string NameOf(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}
template <typename T>
std::optional<Error> ErrorOf(const Result<T>& result) {
  return result ? std::nullopt : std::optional(result.error());
}

}  // namespace ckptfs::sim

// Which names exist: the rules between path components and S3 keys.
#pragma once

#include <ckptfs/result.h>

#include <string>
#include <string_view>
#include <vector>

namespace ckptfs::fs {

inline constexpr std::size_t kMaxNameBytes = 255;  // NAME_MAX
inline constexpr std::size_t kMaxKeyBytes = 1024;  // S3's limit

// The reserved name in the mount's root: private, hidden, empty when idle.
inline constexpr std::string_view kReservedName = ".ckptfs";

// Whether a key component can be a file name: not empty, not "." or "..", no
// '/' and no NUL, at most 255 bytes. Keys with other components are hidden.
bool IsVisibleName(std::string_view name);

// kNameTooLong, or kInvalidArgument for what can never be a name.
Result<void> CheckName(std::string_view name);

// Temp-like names are held back until rename, last close or fsync.
bool IsHeldName(std::string_view name,
                const std::vector<std::string>& patterns);

}  // namespace ckptfs::fs

#include "fs/tree/name_rules.h"

#include <fnmatch.h>

namespace ckptfs::fs {

bool IsVisibleName(std::string_view name) {
  return !name.empty() && name != "." && name != ".." &&
         name.size() <= kMaxNameBytes &&
         name.find('/') == std::string_view::npos &&
         name.find('\0') == std::string_view::npos;
}

Result<void> CheckName(std::string_view name) {
  if (name.size() > kMaxNameBytes) {
    return Fail(ErrorCode::kNameTooLong, "a name of " +
                                             std::to_string(name.size()) +
                                             " bytes exceeds the limit of " +
                                             std::to_string(kMaxNameBytes));
  }
  if (!IsVisibleName(name)) {
    return Fail(ErrorCode::kInvalidArgument,
                "\"" + std::string(name) + "\" is not a file name");
  }
  return {};
}

bool IsHeldName(std::string_view name,
                const std::vector<std::string>& patterns) {
  const std::string text(name);
  for (const std::string& pattern : patterns) {
    if (fnmatch(pattern.c_str(), text.c_str(), 0) == 0) return true;
  }
  return false;
}

}  // namespace ckptfs::fs

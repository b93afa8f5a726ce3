#include "cli/log_file.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>

namespace ckptfs::cli {

std::string EscapeMountPoint(const std::string& mount_point) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (std::size_t i = mount_point.find_first_not_of('/');
       i < mount_point.size(); ++i) {
    const char c = mount_point[i];
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       (c >= '0' && c <= '9') || c == ':' || c == '_' ||
                       (c == '.' && !out.empty());
    if (plain) {
      out += c;
    } else if (c == '/') {
      out += '-';
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += "\\x";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
  }
  return out.empty() ? "-" : out;
}

Result<std::string> DefaultLogFile(const std::string& mount_point) {
  namespace stdfs = std::filesystem;
  stdfs::path directory;
  if (::geteuid() == 0) {
    directory = "/var/log/ckptfs";
  } else if (const char* state = std::getenv("XDG_STATE_HOME");
             state != nullptr && state[0] == '/') {
    directory = stdfs::path(state) / "ckptfs";
  } else if (const char* home = std::getenv("HOME");
             home != nullptr && home[0] == '/') {
    directory = stdfs::path(home) / ".local/state/ckptfs";
  } else {
    return Fail(ErrorCode::kInvalidArgument,
                "no place for the log: HOME is not set; name a --log-file");
  }
  std::error_code error;
  stdfs::create_directories(directory, error);
  if (error) {
    return Fail(ErrorCode::kPermissionDenied,
                "cannot make " + directory.string() +
                    " for the log: " + error.message() + "; name a --log-file");
  }
  // A name has at most 255 bytes; deep mount points keep their end.
  std::string name = EscapeMountPoint(mount_point);
  if (name.size() > 240) name.erase(0, name.size() - 240);
  return (directory / (name + ".log")).string();
}

}  // namespace ckptfs::cli

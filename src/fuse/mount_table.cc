#include "fuse/mount_table.h"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <system_error>
#include <vector>

#include "fuse/mount_device.h"
#include "fuse/proc_files.h"

namespace ckptfs::fuse {

namespace {

// Space, tab, newline and backslash are written as \ooo.
std::string Unescape(std::string_view text) {
  const auto octal = [](char c) { return c >= '0' && c <= '7'; };
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && octal(text[i + 1]) &&
        octal(text[i + 2]) && octal(text[i + 3])) {
      out += static_cast<char>((text[i + 1] - '0') * 64 +
                               (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

// "user_id=N" among options that are separated by commas.
std::optional<uid_t> UserId(std::string_view options) {
  constexpr std::string_view kName = "user_id=";
  while (!options.empty()) {
    const std::size_t end = options.find(',');
    std::string_view option = options.substr(0, end);
    if (option.starts_with(kName)) {
      option.remove_prefix(kName.size());
      uid_t uid = 0;
      const auto [stop, error] =
          std::from_chars(option.data(), option.data() + option.size(), uid);
      if (error != std::errc() || stop != option.data() + option.size()) {
        return {};
      }
      return uid;
    }
    if (end == std::string_view::npos) break;
    options.remove_prefix(end + 1);
  }
  return {};
}

std::vector<std::string_view> Fields(std::string_view line) {
  std::vector<std::string_view> out;
  while (!line.empty()) {
    const std::size_t end = line.find(' ');
    if (end != 0) out.push_back(line.substr(0, end));
    if (end == std::string_view::npos) break;
    line.remove_prefix(end + 1);
  }
  return out;
}

}  // namespace

std::optional<MountEntry> FindMountIn(std::string_view mountinfo,
                                      std::string_view path) {
  std::optional<MountEntry> found;
  while (!mountinfo.empty()) {
    const std::size_t end = mountinfo.find('\n');
    const std::vector<std::string_view> fields =
        Fields(mountinfo.substr(0, end));
    mountinfo.remove_prefix(end == std::string_view::npos ? mountinfo.size()
                                                          : end + 1);
    // id parent major:minor root mount-point options optional* - type source
    // options-of-the-file-system
    if (fields.size() < 9 || Unescape(fields[4]) != path) continue;
    std::size_t dash = 6;
    while (dash < fields.size() && fields[dash] != "-") ++dash;
    if (dash + 2 >= fields.size()) continue;
    // Later lines lie on top of earlier ones.
    found = MountEntry{
        std::string(fields[2]), Unescape(fields[dash + 1]),
        Unescape(fields[dash + 2]),
        dash + 3 < fields.size() ? UserId(fields[dash + 3]) : std::nullopt};
  }
  return found;
}

Result<std::optional<MountEntry>> LookUpMount(std::string_view path) {
  const ProcFiles files("/proc", &OpenAtForReading);
  const ProcText table = files.Read("/proc/self/mountinfo");
  if (!table.has_value()) {
    return Fail(ErrorCode::kInternal,
                "cannot read /proc/self/mountinfo: " +
                    std::generic_category().message(table.error()));
  }
  return FindMountIn(*table, path);
}

std::optional<MountEntry> FindMount(std::string_view path) {
  Result<std::optional<MountEntry>> mount = LookUpMount(path);
  return mount.has_value() ? *std::move(mount) : std::nullopt;
}

bool SetReadAhead(const std::string& device, unsigned kib) {
  const std::string path = "/sys/class/bdi/" + device + "/read_ahead_kb";
  const FileDescriptor file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file.valid()) return false;
  const std::string text = std::to_string(kib);
  return write(file.get(), text.data(), text.size()) ==
         static_cast<ssize_t>(text.size());
}

}  // namespace ckptfs::fuse

#include "fuse/proc_stat.h"

#include <charconv>
#include <vector>

namespace ckptfs::fuse {

namespace {

template <typename T>
std::optional<T> ParseNumber(std::string_view text, int base = 10) {
  T value{};
  const auto [end, ec] =
      std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (ec != std::errc() || end != text.data() + text.size()) return {};
  return value;
}

// The word behind "name:" at the start of a line.
std::optional<std::string_view> LineValue(std::string_view text,
                                          std::string_view name) {
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    if (line.starts_with(name)) {
      line.remove_prefix(name.size());
      const std::size_t first = line.find_first_not_of(" \t");
      if (first == std::string_view::npos) return {};
      line.remove_prefix(first);
      return line.substr(0, line.find_first_of(" \t"));
    }
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return {};
}

}  // namespace

std::optional<ProcStat> ParseProcStat(std::string_view text) {
  // The name in field 2 may hold spaces and parentheses: the last ')' ends it.
  const std::size_t paren = text.rfind(')');
  if (paren == std::string_view::npos) return {};
  text.remove_prefix(paren + 1);
  std::vector<std::string_view> fields;  // fields[i] is field i + 3
  while (true) {
    const std::size_t first = text.find_first_not_of(" \n");
    if (first == std::string_view::npos) break;
    text.remove_prefix(first);
    const std::size_t end = text.find_first_of(" \n");
    fields.push_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end);
  }
  if (fields.size() < 50 || fields[0].size() != 1) return {};
  const auto start_time = ParseNumber<std::uint64_t>(fields[22 - 3]);
  const auto exit_code = ParseNumber<int>(fields[52 - 3]);
  if (!start_time || !exit_code) return {};
  return ProcStat{fields[0][0], *start_time, *exit_code};
}

std::optional<ProcStatus> ParseProcStatus(std::string_view text) {
  const auto tgid_text = LineValue(text, "Tgid:");
  if (!tgid_text) return {};
  const auto tgid = ParseNumber<pid_t>(*tgid_text);
  if (!tgid) return {};
  ProcStatus status;
  status.tgid = *tgid;
  if (const auto threads = LineValue(text, "Threads:")) {
    status.threads = ParseNumber<int>(*threads).value_or(0);
  }
  // The Vm lines are there if and only if the thread has an address space.
  const auto code = LineValue(text, "VmExe:");
  status.has_memory = code.has_value();
  status.in_exec = code.has_value() && *code == "0";
  return status;
}

std::optional<DescriptorInfo> ParseDescriptorInfo(std::string_view text) {
  const auto flags_text = LineValue(text, "flags:");
  const auto ino_text = LineValue(text, "ino:");
  if (!flags_text || !ino_text) return {};
  const auto flags = ParseNumber<unsigned>(*flags_text, 8);
  const auto ino = ParseNumber<std::uint64_t>(*ino_text);
  if (!flags || !ino) return {};
  return DescriptorInfo{static_cast<int>(*flags), *ino};
}

}  // namespace ckptfs::fuse

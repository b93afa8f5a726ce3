#include "cli/byte_size.h"

#include <charconv>
#include <limits>
#include <string>

namespace ckptfs::cli {

Result<std::uint64_t> ParseByteSize(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number);
  const auto invalid = [&] {
    return Fail(ErrorCode::kInvalidArgument,
                "\"" + std::string(text) +
                    "\" is not a size; write bytes or a number with KiB, MiB "
                    "or GiB, e.g. 512MiB");
  };
  if (error != std::errc()) return invalid();
  const std::string_view suffix =
      text.substr(static_cast<std::size_t>(end - text.data()));
  int shift = 0;
  if (suffix == "KiB" || suffix == "K") {
    shift = 10;
  } else if (suffix == "MiB" || suffix == "M") {
    shift = 20;
  } else if (suffix == "GiB" || suffix == "G") {
    shift = 30;
  } else if (suffix == "TiB" || suffix == "T") {
    shift = 40;
  } else if (!suffix.empty() && suffix != "B") {
    return invalid();
  }
  if (number > (std::numeric_limits<std::uint64_t>::max() >> shift)) {
    return invalid();
  }
  return number << shift;
}

}  // namespace ckptfs::cli

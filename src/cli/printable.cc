#include "cli/printable.h"

#include <cstdint>
#include <cstdio>

namespace ckptfs::cli {

namespace {

// The character at the front of `text`, and how many bytes it has. 0 bytes: no
// UTF-8 (Unicode 15, table 3-7).
struct Character {
  char32_t code = 0;
  std::size_t bytes = 0;
};

Character First(std::string_view text) {
  const auto byte = [&text](std::size_t i) {
    return static_cast<std::uint8_t>(text[i]);
  };
  const std::uint8_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  std::size_t bytes = 0;
  char32_t code = 0;
  if (lead >= 0xC2 && lead <= 0xDF) {
    bytes = 2;
    code = lead & 0x1Fu;
  } else if ((lead & 0xF0u) == 0xE0) {
    bytes = 3;
    code = lead & 0x0Fu;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    bytes = 4;
    code = lead & 0x07u;
  }
  if (bytes == 0 || bytes > text.size()) return {};
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xC0u) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3Fu);
  }
  const bool overlong =
      (bytes == 3 && code < 0x800) || (bytes == 4 && code < 0x10000);
  const bool surrogate = code >= 0xD800 && code <= 0xDFFF;
  if (overlong || surrogate || code > 0x10FFFF) return {};
  return {code, bytes};
}

// U+2028, U+2029 end lines; U+200E to U+2069 hold the marks of direction
// (Unicode Standard Annex 9).
bool Acts(char32_t code) {
  return code < 0x20 || (code >= 0x7F && code <= 0x9F) || code == 0x61C ||
         code == 0x200E || code == 0x200F ||
         (code >= 0x2028 && code <= 0x202E) ||
         (code >= 0x2066 && code <= 0x2069);
}

}  // namespace

std::string Printable(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const Character c = First(text);
    const std::size_t n = c.bytes == 0 ? 1 : c.bytes;
    if (c.code == '\n') {
      out += "\\n";
    } else if (c.code == '\t') {
      out += "\\t";
    } else if (c.code == '\\') {
      out += "\\\\";
    } else if (c.bytes > 0 && !Acts(c.code)) {
      out += text.substr(0, n);
    } else {
      for (const char byte : text.substr(0, n)) {
        char hex[8];
        std::snprintf(hex, sizeof hex, "\\x%02x",
                      static_cast<unsigned>(static_cast<std::uint8_t>(byte)));
        out += hex;
      }
    }
    text.remove_prefix(n);
  }
  return out;
}

}  // namespace ckptfs::cli

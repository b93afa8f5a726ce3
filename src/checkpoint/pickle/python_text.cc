#include "checkpoint/pickle/python_text.h"

#include <cstddef>

namespace ckptfs {

bool IsPythonText(std::string_view text) {
  std::size_t i = 0;
  while (i < text.size()) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t more = lead < 0x80                    ? 0
                             : lead >= 0xC2 && lead <= 0xDF ? 1
                             : lead >= 0xE0 && lead <= 0xEF ? 2
                             : lead >= 0xF0 && lead <= 0xF4 ? 3
                                                            : text.size();
    if (more >= text.size() - i) return false;
    for (std::size_t k = 1; k <= more; ++k) {
      const auto c = static_cast<unsigned char>(text[i + k]);
      // The first one also tells overlong forms and what no code point has.
      const unsigned char least = k > 1          ? 0x80
                                  : lead == 0xE0 ? 0xA0
                                  : lead == 0xF0 ? 0x90
                                                 : 0x80;
      const unsigned char most = k == 1 && lead == 0xF4 ? 0x8F : 0xBF;
      if (c < least || c > most) return false;
    }
    i += more + 1;
  }
  return true;
}

}  // namespace ckptfs

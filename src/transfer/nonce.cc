#include "transfer/nonce.h"

#include <array>
#include <cstdio>
#include <random>

namespace ckptfs {

std::string MakeNonce() {
  // libstdc++ reads the processor's or the kernel's generator.
  std::random_device random;
  std::string nonce;
  for (int i = 0; i < 4; ++i) {
    std::array<char, 9> word{};
    std::snprintf(word.data(), word.size(), "%08x",
                  static_cast<unsigned>(random()));
    nonce += word.data();
  }
  return nonce;
}

}  // namespace ckptfs

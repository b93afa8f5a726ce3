// FuzzTarget: the entry point that every file *_fuzz.cc here defines, called by
// libFuzzer and by the replay of the corpus alike.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data,
                                      std::size_t size);

namespace ckptfs {

inline std::span<const std::byte> FuzzInput(const std::uint8_t* data,
                                            std::size_t size) {
  return std::as_bytes(std::span(data, size));
}

// What has to hold whatever the input; ends the program, so that libFuzzer
// keeps the input that broke it.
inline void FuzzRequire(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

}  // namespace ckptfs

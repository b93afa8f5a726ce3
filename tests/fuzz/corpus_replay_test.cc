// Runs a fuzz target over its committed corpus, without libFuzzer, and over
// what is left of each file when it is cut or when single bytes change.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "fuzz/fuzz_target.h"

namespace ckptfs {
namespace {

std::vector<std::string> Corpus() {
  std::vector<std::string> inputs;
  for (const auto& entry :
       std::filesystem::directory_iterator(CKPTFS_FUZZ_CORPUS)) {
    std::ifstream in(entry.path(), std::ios::binary);
    inputs.emplace_back(std::istreambuf_iterator<char>(in),
                        std::istreambuf_iterator<char>());
  }
  std::sort(inputs.begin(), inputs.end());
  return inputs;
}

// In a buffer of exactly its size, where a sanitizer sees every byte too far.
void Feed(const std::string& input) {
  const std::vector<std::uint8_t> exact(input.begin(), input.end());
  EXPECT_EQ(LLVMFuzzerTestOneInput(exact.data(), exact.size()), 0);
}

// How many variants of one file are tried at most.
constexpr std::size_t kVariants = 64;

TEST(FuzzCorpus, Replays) {
  const std::vector<std::string> corpus = Corpus();
  ASSERT_GE(corpus.size(), 3u) << CKPTFS_FUZZ_CORPUS;
  for (const std::string& input : corpus) Feed(input);
}

TEST(FuzzCorpus, CutAnywhere) {
  for (const std::string& input : Corpus()) {
    const std::size_t step = input.size() / kVariants + 1;
    for (std::size_t n = 0; n < input.size(); n += step) {
      Feed(input.substr(0, n));
    }
  }
}

TEST(FuzzCorpus, OneByteChanged) {
  for (std::string input : Corpus()) {
    const std::size_t step = input.size() / kVariants + 1;
    constexpr char kChanges[] = {'\x01', '\x80', '\xff'};
    for (std::size_t at = 0, i = 0; at < input.size(); at += step, ++i) {
      const char old = input[at];
      input[at] = static_cast<char>(old ^ kChanges[i % 3]);
      Feed(input);
      input[at] = old;
    }
  }
}

}  // namespace
}  // namespace ckptfs

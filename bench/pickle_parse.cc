// pickle_parse_bench FILE ROUNDS: the least CPU time, in seconds, in which a
// pickle of torch is parsed as weights_only does it.
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "checkpoint/pickle/pickle_reader.h"
#include "checkpoint/torch_file/torch_pickle.h"

namespace {

// One thread works: what others do to the machine meanwhile does not count.
double CpuSeconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * now.tv_nsec;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s FILE ROUNDS\n", argv[0]);
    return 2;
  }
  std::ifstream in(argv[1], std::ios::binary);
  const std::string pickle{std::istreambuf_iterator<char>(in),
                           std::istreambuf_iterator<char>()};
  double best = 1e9;
  for (int round = std::atoi(argv[2]); round > 0; --round) {
    ckptfs::TorchPickle handler(true, {});
    const double start = CpuSeconds();
    const ckptfs::Result<ckptfs::Value> value =
        ckptfs::ReadPickle(std::as_bytes(std::span(pickle)), handler);
    best = std::min(best, CpuSeconds() - start);
    if (!value) {
      std::fprintf(stderr, "%s\n", value.error().ToString().c_str());
      return 1;
    }
  }
  std::printf("%.6f\n", best);
}

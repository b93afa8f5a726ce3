// A race between two threads, which ThreadSanitizer must report: the run is
// worth something only where it would.
#include <cstdio>
#include <thread>

int main() {
  int written = 0;
  std::thread other([&written] { written = 1; });
  written = 2;
  other.join();
  std::printf("%d\n", written);
  return 0;
}

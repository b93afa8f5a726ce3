// The program side of the mount benchmarks: writes or reads one file with
// plain system calls, and tells how long that took and how much CPU time this
// process used. In C++, so that an interpreter's cost does not count.
//
//   file_io_bench write|write-rdwr|sendfile|read|verify|first-byte PATH
//                 [--mib N] [--block-kib N]
//
// write       O_WRONLY|O_CREAT|O_TRUNC, write(2) of one block at a time, close
// write-rdwr  the same with O_RDWR
// sendfile    the same by sendfile(2) from a file in memory
// read        O_RDONLY, read(2) of one block at a time to the end of the file
// verify      the same, and compares with s3server's pattern (pattern.h)
// first-byte  open and pread(2) of one byte
//
// Prints "<bytes> <seconds> <cpu-seconds>". Exit code 1 and a message on any
// error; the close counts.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "s3server/pattern.h"

namespace {

struct Settings {
  std::string mode;
  std::string path;
  std::uint64_t bytes = std::uint64_t{1} << 30;
  std::size_t block = 1 << 20;
};

[[noreturn]] void Die(const char* what) {
  std::fprintf(stderr, "file_io_bench: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

double CpuSeconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

int Open(const Settings& settings, int flags) {
  const int fd = ::open(settings.path.c_str(), flags, 0644);
  if (fd < 0) Die("open");
  return fd;
}

void Close(int fd) {
  if (::close(fd) != 0) Die("close");
}

std::uint64_t Write(const Settings& settings, int access) {
  const std::vector<char> block(settings.block, 'x');
  const int fd = Open(settings, access | O_CREAT | O_TRUNC);
  std::uint64_t done = 0;
  while (done < settings.bytes) {
    const std::size_t want =
        std::min<std::uint64_t>(block.size(), settings.bytes - done);
    const ssize_t n = ::write(fd, block.data(), want);
    if (n < 0) Die("write");
    done += static_cast<std::uint64_t>(n);
  }
  Close(fd);
  return done;
}

std::uint64_t SendFile(const Settings& settings) {
  // Small enough to stay in memory, large enough not to be read in one go.
  constexpr std::size_t kSourceBytes = 64 << 20;
  const int source = ::memfd_create("source", 0);
  if (source < 0) Die("memfd_create");
  const std::vector<char> filling(kSourceBytes, 'x');
  if (::write(source, filling.data(), filling.size()) !=
      static_cast<ssize_t>(filling.size())) {
    Die("filling the source");
  }
  const int fd = Open(settings, O_WRONLY | O_CREAT | O_TRUNC);
  std::uint64_t done = 0;
  while (done < settings.bytes) {
    off_t from = static_cast<off_t>(done % kSourceBytes);
    const std::uint64_t want = std::min<std::uint64_t>(
        kSourceBytes - static_cast<std::size_t>(from), settings.bytes - done);
    const ssize_t n = ::sendfile(fd, source, &from, want);
    if (n <= 0) Die("sendfile");
    done += static_cast<std::uint64_t>(n);
  }
  Close(fd);
  Close(source);
  return done;
}

// Whether `size` bytes at `data` are the pattern at `offset`.
bool IsPattern(std::uint64_t offset, const char* data, std::size_t size) {
  for (std::size_t at = 0; at < size;) {
    const std::uint64_t start = offset + at;
    const std::uint64_t in_word = start % 8;
    const std::uint64_t word = ckptfs::s3server::PatternWord(start - in_word);
    const std::size_t n = std::min<std::size_t>(8 - in_word, size - at);
    if (std::memcmp(data + at, reinterpret_cast<const char*>(&word) + in_word,
                    n) != 0) {
      return false;
    }
    at += n;
  }
  return true;
}

std::uint64_t Read(const Settings& settings, bool verify) {
  std::vector<char> block(settings.block);
  const int fd = Open(settings, O_RDONLY);
  std::uint64_t done = 0;
  while (true) {
    const ssize_t n = ::read(fd, block.data(), block.size());
    if (n < 0) Die("read");
    if (n == 0) break;
    if (verify && !IsPattern(done, block.data(), static_cast<std::size_t>(n))) {
      errno = EIO;
      Die("the bytes are not the pattern");
    }
    done += static_cast<std::uint64_t>(n);
  }
  Close(fd);
  return done;
}

std::uint64_t ReadFirstByte(const Settings& settings) {
  const int fd = Open(settings, O_RDONLY);
  char byte = 0;
  if (::pread(fd, &byte, 1, 0) != 1) Die("pread");
  Close(fd);
  return 1;
}

std::uint64_t Run(const Settings& settings) {
  if (settings.mode == "write") return Write(settings, O_WRONLY);
  if (settings.mode == "write-rdwr") return Write(settings, O_RDWR);
  if (settings.mode == "sendfile") return SendFile(settings);
  if (settings.mode == "read") return Read(settings, false);
  if (settings.mode == "verify") return Read(settings, true);
  if (settings.mode == "first-byte") return ReadFirstByte(settings);
  std::fprintf(stderr, "file_io_bench: no such mode: %s\n",
               settings.mode.c_str());
  std::exit(2);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3 || argc % 2 == 0) {
    std::fprintf(stderr,
                 "usage: file_io_bench write|write-rdwr|sendfile|read|verify|"
                 "first-byte PATH [--mib N] [--block-kib N]\n");
    return 2;
  }
  Settings settings;
  settings.mode = argv[1];
  settings.path = argv[2];
  for (int i = 3; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    const auto value = std::strtoull(argv[i + 1], nullptr, 10);
    if (value > 0 && name == "--mib") {
      settings.bytes = value << 20;
    } else if (value > 0 && name == "--block-kib") {
      settings.block = static_cast<std::size_t>(value) << 10;
    } else {
      std::fprintf(stderr, "file_io_bench: bad option %s %s\n", argv[i],
                   argv[i + 1]);
      return 2;
    }
  }
  const double cpu = CpuSeconds();
  const auto start = std::chrono::steady_clock::now();
  const std::uint64_t bytes = Run(settings);
  const std::chrono::duration<double> wall =
      std::chrono::steady_clock::now() - start;
  std::printf("%llu %.6f %.6f\n", static_cast<unsigned long long>(bytes),
              wall.count(), CpuSeconds() - cpu);
  return 0;
}

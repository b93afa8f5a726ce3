// A program that writes a file through a direct descriptor of io_uring: one
// that has no number in the process, so that no close of it, nor the end of the
// process, sends a FLUSH. Raw system calls, as liburing need not be there.
//
//   direct_descriptor close|exit|pause FILE SIZE
//
// Exits with 77 where the kernel does not let it use io_uring.
#include <fcntl.h>
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

constexpr int kNotHere = 77;
constexpr unsigned kEntries = 4;
constexpr unsigned kSlot = 0;

[[noreturn]] void Die(const char* what, int error, int code) {
  std::fprintf(stderr, "%s: %s\n", what, std::strerror(error));
  std::exit(code);
}

// One ring, one request at a time. Owns its mappings until the process ends.
class Ring {
 public:
  Ring() {
    io_uring_params params{};
    fd_ = static_cast<int>(syscall(SYS_io_uring_setup, kEntries, &params));
    if (fd_ < 0) Die("io_uring_setup", errno, kNotHere);
    char* sq = Map(params.sq_off.array + params.sq_entries * sizeof(unsigned),
                   IORING_OFF_SQ_RING);
    char* cq =
        Map(params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe),
            IORING_OFF_CQ_RING);
    sqes_ = reinterpret_cast<io_uring_sqe*>(
        Map(params.sq_entries * sizeof(io_uring_sqe), IORING_OFF_SQES));
    sq_tail_ = reinterpret_cast<unsigned*>(sq + params.sq_off.tail);
    sq_mask_ = *reinterpret_cast<unsigned*>(sq + params.sq_off.ring_mask);
    sq_array_ = reinterpret_cast<unsigned*>(sq + params.sq_off.array);
    cq_head_ = reinterpret_cast<unsigned*>(cq + params.cq_off.head);
    cq_mask_ = *reinterpret_cast<unsigned*>(cq + params.cq_off.ring_mask);
    cqes_ = reinterpret_cast<io_uring_cqe*>(cq + params.cq_off.cqes);
    const int none[] = {-1};
    if (syscall(SYS_io_uring_register, fd_, IORING_REGISTER_FILES, none, 1) !=
        0) {
      Die("io_uring_register", errno, kNotHere);
    }
  }

  // The request's result.
  int Do(const io_uring_sqe& request) {
    const unsigned tail = *sq_tail_;
    sqes_[tail & sq_mask_] = request;
    sq_array_[tail & sq_mask_] = tail & sq_mask_;
    std::atomic_ref(*sq_tail_).store(tail + 1, std::memory_order_release);
    if (syscall(SYS_io_uring_enter, fd_, 1, 1, IORING_ENTER_GETEVENTS, nullptr,
                0) != 1) {
      Die("io_uring_enter", errno, 98);
    }
    const unsigned head = *cq_head_;
    const int result = cqes_[head & cq_mask_].res;
    std::atomic_ref(*cq_head_).store(head + 1, std::memory_order_release);
    return result;
  }

 private:
  char* Map(std::size_t size, std::uint64_t offset) const {
    void* at = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_POPULATE, fd_, static_cast<off_t>(offset));
    if (at == MAP_FAILED) Die("mmap", errno, kNotHere);
    return static_cast<char*>(at);
  }

  int fd_ = -1;
  io_uring_sqe* sqes_ = nullptr;
  unsigned* sq_tail_ = nullptr;
  unsigned sq_mask_ = 0;
  unsigned* sq_array_ = nullptr;
  unsigned* cq_head_ = nullptr;
  unsigned cq_mask_ = 0;
  io_uring_cqe* cqes_ = nullptr;
};

void Open(Ring& ring, const char* path) {
  io_uring_sqe request{};
  request.opcode = IORING_OP_OPENAT;
  request.fd = AT_FDCWD;
  request.addr = reinterpret_cast<std::uintptr_t>(path);
  request.len = 0644;
  request.open_flags = O_WRONLY | O_CREAT | O_TRUNC;
  request.file_index = kSlot + 1;  // 0 would mean a common descriptor
  const int result = ring.Do(request);
  if (result < 0) Die("open", -result, result == -EINVAL ? kNotHere : 97);
}

void Write(Ring& ring, const std::vector<char>& data) {
  std::size_t at = 0;
  while (at < data.size()) {
    io_uring_sqe request{};
    request.opcode = IORING_OP_WRITE;
    request.flags = IOSQE_FIXED_FILE;
    request.fd = kSlot;
    request.addr = reinterpret_cast<std::uintptr_t>(data.data() + at);
    request.len = static_cast<std::uint32_t>(data.size() - at);
    request.off = at;
    const int result = ring.Do(request);
    if (result <= 0) Die("write", -result, 96);
    at += static_cast<std::size_t>(result);
  }
}

void Close(Ring& ring) {
  io_uring_sqe request{};
  request.opcode = IORING_OP_CLOSE;
  request.file_index = kSlot + 1;
  const int result = ring.Do(request);
  if (result < 0) Die("close", -result, 95);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 94;
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  const std::string scenario = argv[1];
  Ring ring;
  Open(ring, argv[2]);
  Write(ring, std::vector<char>(std::stoul(argv[3]), 'u'));
  if (scenario == "close") Close(ring);
  std::puts("ready");
  std::fflush(stdout);
  if (scenario != "exit") {
    while (std::getchar() != EOF) {
    }
  }
  return 0;
}

// Object bytes in memory: immutable buffers, shared by parts, objects, copies
// and the replies that are being sent, so that completing an upload or copying
// an object moves no byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace ckptfs::s3server {

// Keeps freed large buffers for the next upload: page faults on fresh memory
// would cost a sixth of the upload speed. Thread-safe.
class BufferPool {
 public:
  explicit BufferPool(std::size_t max_idle_bytes)
      : max_idle_bytes_(max_idle_bytes) {}
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;
  ~BufferPool();

  // Throws std::bad_alloc. `capacity` is a multiple of kGranularity.
  char* Take(std::size_t capacity);
  void Give(char* data, std::size_t capacity);

  static constexpr std::size_t kGranularity = 1 << 20;

 private:
  struct Idle {
    char* data;
    std::size_t capacity;
  };
  const std::size_t max_idle_bytes_;
  std::mutex mu_;  // leaf; guards the rest
  std::size_t idle_bytes_ = 0;
  std::vector<Idle> idle_;
};

// Bytes of fixed size, not initialised; filled by their maker before they are
// shared, immutable from then on.
class Buffer {
 public:
  // Throws std::bad_alloc. Without a pool memory comes from the heap.
  Buffer(std::shared_ptr<BufferPool> pool, std::size_t size);
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  char* data() { return data_; }
  const char* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  std::shared_ptr<BufferPool> pool_;  // null: heap
  std::size_t size_;
  std::size_t capacity_ = 0;
  char* data_;
};

// A run of bytes: of a buffer, or of the pattern (pattern.h) if there is none.
struct Piece {
  std::shared_ptr<const Buffer> buffer;
  std::uint64_t offset = 0;  // in the buffer or the pattern
  std::uint64_t length = 0;
};

// A sequence of pieces. A value; copies share the bytes.
class Content {
 public:
  Content() = default;
  static Content FromString(std::string_view bytes);
  static Content Pattern(std::uint64_t offset, std::uint64_t length);

  void Append(Piece piece);
  void Append(const Content& other);
  // REQUIRES: offset + length <= size().
  Content Slice(std::uint64_t offset, std::uint64_t length) const;
  // All pieces replaced by the pattern from offset 0, of the same size.
  Content AsPattern() const { return Pattern(0, size_); }

  std::uint64_t size() const { return size_; }
  const std::vector<Piece>& pieces() const { return pieces_; }
  // True if some bytes are of the pattern.
  bool HasPattern() const;
  // Calls `sink` with the bytes in order; pattern pieces are rendered.
  void ForEach(const std::function<void(std::string_view)>& sink) const;
  std::string ToString() const;

 private:
  std::vector<Piece> pieces_;
  std::uint64_t size_ = 0;  // INVARIANT: sum of the pieces' lengths
};

}  // namespace ckptfs::s3server

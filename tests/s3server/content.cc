#include "s3server/content.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "s3server/pattern.h"

namespace ckptfs::s3server {

BufferPool::~BufferPool() {
  for (const Idle& idle : idle_) ::munmap(idle.data, idle.capacity);
}

char* BufferPool::Take(std::size_t capacity) {
  {
    std::lock_guard lock(mu_);
    for (auto it = idle_.rbegin(); it != idle_.rend(); ++it) {
      if (it->capacity != capacity) continue;
      char* data = it->data;
      idle_.erase(std::next(it).base());
      idle_bytes_ -= capacity;
      return data;
    }
  }
  void* data = ::mmap(nullptr, capacity, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) throw std::bad_alloc();
  return static_cast<char*>(data);
}

void BufferPool::Give(char* data, std::size_t capacity) {
  {
    std::lock_guard lock(mu_);
    if (idle_bytes_ + capacity <= max_idle_bytes_) {
      idle_.push_back({data, capacity});
      idle_bytes_ += capacity;
      return;
    }
  }
  ::munmap(data, capacity);
}

Buffer::Buffer(std::shared_ptr<BufferPool> pool, std::size_t size)
    : pool_(std::move(pool)), size_(size) {
  constexpr std::size_t kUnit = BufferPool::kGranularity;
  if (pool_ && size >= kUnit) {
    capacity_ = (size + kUnit - 1) / kUnit * kUnit;
    data_ = pool_->Take(capacity_);
  } else {
    pool_ = nullptr;
    data_ = static_cast<char*>(::operator new(size));
  }
}

Buffer::~Buffer() {
  if (pool_) {
    pool_->Give(data_, capacity_);
  } else {
    ::operator delete(data_);
  }
}

Content Content::FromString(std::string_view bytes) {
  Content content;
  if (bytes.empty()) return content;
  auto buffer = std::make_shared<Buffer>(nullptr, bytes.size());
  std::memcpy(buffer->data(), bytes.data(), bytes.size());
  content.Append(Piece{std::move(buffer), 0, bytes.size()});
  return content;
}

Content Content::Pattern(std::uint64_t offset, std::uint64_t length) {
  Content content;
  content.Append(Piece{nullptr, offset, length});
  return content;
}

void Content::Append(Piece piece) {
  if (piece.length == 0) return;
  size_ += piece.length;
  pieces_.push_back(std::move(piece));
}

void Content::Append(const Content& other) {
  for (const Piece& piece : other.pieces_) Append(piece);
}

Content Content::Slice(std::uint64_t offset, std::uint64_t length) const {
  Content slice;
  for (const Piece& piece : pieces_) {
    if (length == 0) break;
    if (offset >= piece.length) {
      offset -= piece.length;
      continue;
    }
    const std::uint64_t take = std::min(piece.length - offset, length);
    slice.Append(Piece{piece.buffer, piece.offset + offset, take});
    offset = 0;
    length -= take;
  }
  return slice;
}

bool Content::HasPattern() const {
  return std::any_of(pieces_.begin(), pieces_.end(),
                     [](const Piece& piece) { return !piece.buffer; });
}

void Content::ForEach(const std::function<void(std::string_view)>& sink) const {
  std::unique_ptr<PatternBlock> pattern;
  for (const Piece& piece : pieces_) {
    if (piece.buffer) {
      sink({piece.buffer->data() + piece.offset, piece.length});
      continue;
    }
    if (!pattern) pattern = std::make_unique<PatternBlock>();
    for (std::uint64_t done = 0; done < piece.length;) {
      const PatternBlock::Bytes bytes = pattern->At(piece.offset + done);
      const std::uint64_t take =
          std::min<std::uint64_t>(bytes.size, piece.length - done);
      sink({bytes.data, take});
      done += take;
    }
  }
}

std::string Content::ToString() const {
  std::string all;
  all.reserve(size_);
  ForEach([&all](std::string_view bytes) { all.append(bytes); });
  return all;
}

}  // namespace ckptfs::s3server

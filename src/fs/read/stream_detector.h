// StreamDetector: tells the sequential readers of one handle from each other
// and from random access, by the offsets of their reads alone.
//
// The kernel's read-ahead sends 128 KiB to 1 MiB requests, several at once, and
// the receive threads may take them slightly out of order; a loader with
// several threads reads several places of one descriptor. So a stream is a
// position with some tolerance, not "the next byte".
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>

namespace ckptfs::fs {

// One forward reader. `window` and `ahead_end` belong to the read-ahead and are
// only kept here.
struct SequentialStream {
  std::uint64_t id = 0;         // from 1; never reused
  std::uint64_t next = 0;       // end of the furthest read
  std::uint64_t window = 0;     // bytes to hold ready behind `next`
  std::uint64_t ahead_end = 0;  // read-ahead was sent up to here
};

// Not thread-safe. Pointers to streams stay valid until the stream is evicted.
class StreamDetector {
 public:
  explicit StreamDetector(int max_streams) : max_streams_(max_streams) {}

  struct Access {
    SequentialStream* stream = nullptr;  // nullptr: random, so far
    bool started = false;                // `stream` is new
    std::uint64_t evicted_id = 0;        // a stream that had to go; 0: none
  };
  // A read of [offset, offset + size). Sequential are: the first read at 0,
  // since trainers read whole files, and otherwise the second read that goes
  // on where one ended. A backward reader never becomes a stream.
  Access Note(std::uint64_t offset, std::uint64_t size);

  SequentialStream* Find(std::uint64_t id);

 private:
  // A read that may be the first of a stream.
  struct Candidate {
    std::uint64_t begin;
    std::uint64_t end;
  };
  SequentialStream* Match(std::uint64_t offset);
  bool Confirms(std::uint64_t offset, std::uint64_t size,
                std::uint64_t* stream_end);
  Access Start(std::uint64_t next);

  const int max_streams_;
  std::uint64_t last_id_ = 0;
  std::list<SequentialStream> streams_;  // most recently used first
  std::deque<Candidate> candidates_;     // most recent first
};

}  // namespace ckptfs::fs

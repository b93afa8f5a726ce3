#include "fs/read/read_stream.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "store/memory_object_store.h"
#include "support/gated_object_store.h"
#include "support/manual_executor.h"
#include "support/object_bytes.h"

namespace ckptfs::fs {
namespace {

constexpr std::uint64_t kKiB = 1ull << 10;
constexpr std::uint64_t kMiB = 1ull << 20;

class ReadStreamTest : public ::testing::Test {
 protected:
  using Reads = std::map<int, Result<Payload>>;

  void TearDown() override {
    stream.reset();
    Drain();
    done.clear();
    EXPECT_EQ(budget->used(), 0u);
    EXPECT_EQ(slabs.outstanding(), 0u);
  }
  void Open(std::size_t size, std::uint64_t limit = 1024 * kMiB,
            ReadStreamOptions options = {}) {
    bytes = PatternBytes(size);
    bucket.PutBytes("k", bytes);
    HeadRequest head;
    head.key = "k";
    budget = std::make_unique<MemoryBudget>(limit);
    stream = std::make_unique<ReadStream>(store, executor, *budget, slabs,
                                          *bucket.Head(head).Get(), options);
  }
  // The number under which the result will be in `done`.
  int Start(std::uint64_t offset, std::size_t size) {
    const int id = next_read++;
    Spawn<Result<Payload>>(
        executor, stream->Read(offset, size),
        [this, id](Result<Payload> r) { done.emplace(id, std::move(r)); });
    return id;
  }
  void Drain() {
    do {
      executor.RunAll();
    } while (store.ReleaseAll() > 0);
  }
  // Reads with an idle network in between, as a slow reader would.
  void ExpectRead(std::uint64_t offset, std::size_t size) {
    const int id = Start(offset, size);
    Drain();
    ExpectDone(id, offset, size);
  }
  void ExpectDone(int id, std::uint64_t offset, std::size_t size) {
    const auto it = done.find(id);
    ASSERT_NE(it, done.end()) << offset;
    ASSERT_TRUE(it->second.has_value()) << it->second.error().ToString();
    ASSERT_TRUE(TextOf(*it->second) == bytes.substr(offset, size)) << offset;
    done.erase(it);
  }
  std::uint64_t BytesAskedFor() const {
    std::uint64_t n = 0;
    for (const StoreCall& c : store.log()) n += c.size;
    return n;
  }

  MemoryObjectStore bucket;
  GatedObjectStore store{bucket};
  ManualExecutor executor;
  SlabPool slabs{4};
  std::unique_ptr<MemoryBudget> budget;
  std::unique_ptr<ReadStream> stream;
  std::string bytes;
  Reads done;
  int next_read = 0;
};

TEST_F(ReadStreamTest, AFirstReadAtZeroReadsAhead) {
  Open(64 * kMiB);
  const int id = Start(0, 128 * kKiB);
  const std::vector<StoreCall> calls = store.pending();
  ASSERT_EQ(calls.size(), 4u);
  EXPECT_EQ(calls[0].offset, 0u);
  EXPECT_EQ(calls[0].size, kMiB);
  for (const StoreCall& c : calls) EXPECT_TRUE(c.has_condition);
  // The read waits for its own range alone.
  store.Release(calls[0].id);
  executor.RunAll();
  ExpectDone(id, 0, 128 * kKiB);
}

TEST_F(ReadStreamTest, AFirstReadElsewhereFetchesNoMoreThanTheGrid) {
  Open(64 * kMiB);
  const int id = Start(64 * kMiB - 200 * kKiB, 70 * kKiB);
  ASSERT_EQ(store.pending().size(), 1u);
  EXPECT_EQ(store.pending()[0].offset, 64 * kMiB - 256 * kKiB);
  EXPECT_EQ(store.pending()[0].size, 128 * kKiB);
  Drain();
  ExpectDone(id, 64 * kMiB - 200 * kKiB, 70 * kKiB);
  // The rest of the grid cell is kept for the next small read.
  ExpectRead(64 * kMiB - 256 * kKiB, 50 * kKiB);
  EXPECT_EQ(store.log().size(), 1u);
}

TEST_F(ReadStreamTest, EveryByteOfASequentialReadIsFetchedOnce) {
  Open(40 * kMiB + 12345);
  for (std::uint64_t at = 0; at < bytes.size(); at += 128 * kKiB) {
    ExpectRead(at, 128 * kKiB);
  }
  EXPECT_EQ(BytesAskedFor(), bytes.size());
  EXPECT_EQ(budget->used(), 0u);  // all was handed out
  EXPECT_EQ(slabs.outstanding(), 0u);
}

// A fast reader on a network of fixed bandwidth per request.
TEST_F(ReadStreamTest, TheWindowGrowsUntilManyLargeRangesAreInFlight) {
  Open(272 * kMiB);
  std::uint64_t range = 0;
  std::uint64_t at = 0;
  while (at < 72 * kMiB) {
    const int id = Start(at, kMiB);
    executor.RunAll();
    while (done.count(id) == 0) {
      ASSERT_TRUE(store.ReleaseNext());
      executor.RunAll();
    }
    if (at >= 48 * kMiB) {
      const std::vector<StoreCall> pending = store.pending();
      ASSERT_EQ(pending.size(), 8u) << at;
      range = pending.back().size;
    }
    EXPECT_LE(slabs.outstanding(), 194u);
    ExpectDone(id, at, kMiB);
    at += kMiB;
  }
  EXPECT_EQ(range, 8 * kMiB);
}

TEST_F(ReadStreamTest, ASlowReaderKeepsASmallWindow) {
  Open(100 * kMiB);
  for (std::uint64_t at = 0; at < 50 * kMiB; at += kMiB) {
    ExpectRead(at, kMiB);
    EXPECT_LE(slabs.outstanding(), 10u);
  }
}

TEST_F(ReadStreamTest, RequestsOutOfOrderAndSideBySideFormOneStream) {
  Open(64 * kMiB);
  std::mt19937 random(3);
  std::vector<std::uint64_t> offsets;
  for (std::uint64_t at = 0; at < 32 * kMiB; at += 128 * kKiB) {
    offsets.push_back(at);
  }
  // The receive threads take each four requests in any order.
  for (std::size_t i = 0; i < offsets.size(); i += 4) {
    std::shuffle(offsets.begin() + i, offsets.begin() + i + 4, random);
  }
  for (std::size_t i = 0; i < offsets.size(); i += 4) {
    std::vector<int> ids;
    for (std::size_t j = i; j < i + 4; ++j) {
      ids.push_back(Start(offsets[j], 128 * kKiB));
    }
    Drain();
    for (std::size_t j = i; j < i + 4; ++j) {
      ExpectDone(ids[j - i], offsets[j], 128 * kKiB);
    }
  }
  // Ranges, not single requests, and hardly anything twice.
  EXPECT_LT(store.log().size(), 60u);
  EXPECT_LT(BytesAskedFor(), 50 * kMiB);
}

TEST_F(ReadStreamTest, BackwardAndRandomReadsFetchWhatTheyNeed) {
  Open(64 * kMiB);
  for (std::uint64_t at = 30 * kMiB; at > 20 * kMiB; at -= kMiB) {
    ExpectRead(at, kMiB);
  }
  EXPECT_EQ(BytesAskedFor(), 10 * kMiB);
  std::mt19937_64 random(5);
  const std::uint64_t before = BytesAskedFor();
  for (int i = 0; i < 50; ++i) {
    const std::uint64_t cell = random() % 12;  // far apart
    ExpectRead(cell * 5 * kMiB + kMiB + random() % (100 * kKiB), 4 * kKiB);
  }
  EXPECT_LE(BytesAskedFor() - before, 50 * 256 * kKiB);
  EXPECT_LE(budget->used(), 4 * 256 * kKiB);
}

TEST_F(ReadStreamTest, InterleavedStreamsDoNotDisturbEachOther) {
  Open(96 * kMiB);
  for (std::uint64_t i = 0; i < 30; ++i) {
    ExpectRead(i * kMiB, kMiB);
    ExpectRead((40 + i) * kMiB, kMiB);
  }
  EXPECT_LT(BytesAskedFor(), 85 * kMiB);
}

TEST_F(ReadStreamTest, AnyMixOfReadsReturnsTheRightBytes) {
  std::mt19937_64 random(20240612);
  ReadStreamOptions options;
  options.max_window_bytes = 16 * kMiB;
  options.max_streams = 2;
  Open(24 * kMiB + 777, 24 * kMiB, options);
  struct Expected {
    int id;
    std::uint64_t offset;
    std::size_t size;
  };
  std::deque<Expected> started;
  std::uint64_t at = 0;
  for (int step = 0; step < 3000; ++step) {
    if (random() % 10 == 0) at = random() % (bytes.size() + 1000);
    const std::size_t size = 1 + random() % (random() % 4 == 0 ? kMiB : 9000);
    started.push_back({Start(at, size), at, size});
    at += size;
    if (at >= bytes.size() && random() % 2 == 0) at = 0;
    // The network and the strand make progress in any order.
    for (std::uint64_t n = random() % 6; n > 0; --n) {
      const std::vector<StoreCall> pending = store.pending();
      if (!pending.empty())
        store.Release(pending[random() % pending.size()].id);
      if (random() % 2 == 0) executor.RunOne();
    }
    if (started.size() > 12) {
      Drain();
      while (!started.empty()) {
        const Expected e = started.front();
        started.pop_front();
        const std::uint64_t begin =
            std::min<std::uint64_t>(e.offset, bytes.size());
        ExpectDone(e.id, begin, e.size);
      }
    }
  }
  Drain();
}

TEST_F(ReadStreamTest, WithoutMemoryItFetchesWhatIsAskedForInTurn) {
  Open(16 * kMiB, 4 * kMiB);
  std::optional<Reservation> others = budget->TryReserve(4 * kMiB);
  ASSERT_TRUE(others.has_value());
  const int first = Start(0, 128 * kKiB);
  const int second = Start(128 * kKiB, 128 * kKiB);
  Drain();
  EXPECT_TRUE(store.log().empty());
  // Room for one of them: the first in line.
  Reservation freed = others->Split(128 * kKiB);
  freed.Release();
  executor.RunAll();
  ASSERT_EQ(store.pending().size(), 1u);
  EXPECT_EQ(store.pending()[0].offset, 0u);
  EXPECT_EQ(store.pending()[0].size, 128 * kKiB);
  Drain();
  ExpectDone(first, 0, 128 * kKiB);  // whose payload is dropped here
  Drain();
  ExpectDone(second, 128 * kKiB, 128 * kKiB);
}

TEST_F(ReadStreamTest, ReadAheadLeavesHalfOfTheBudgetToOthers) {
  Open(100 * kMiB, 64 * kMiB);
  for (std::uint64_t at = 0; at < 64 * kMiB; at += kMiB) {
    const int id = Start(at, kMiB);
    executor.RunAll();
    while (done.count(id) == 0) {
      ASSERT_TRUE(store.ReleaseNext());
      executor.RunAll();
    }
    EXPECT_LE(budget->used(), 33 * kMiB);
    ExpectDone(id, at, kMiB);
  }
}

TEST_F(ReadStreamTest, APayloadOutlivesTheStreamWithItsReservation) {
  Open(8 * kMiB);
  const int id = Start(0, kMiB);
  Drain();
  stream.reset();
  Drain();
  EXPECT_EQ(budget->used(), SlabPool::kSlabBytes);
  ExpectDone(id, 0, kMiB);
  EXPECT_EQ(budget->used(), 0u);
}

TEST_F(ReadStreamTest, ReadsEndWithCancelledWhenTheStreamGoes) {
  Open(16 * kMiB);
  const int sequential = Start(0, 128 * kKiB);
  const int random = Start(9 * kMiB, 4 * kKiB);
  std::optional<Reservation> others =
      budget->TryReserve(budget->limit() - budget->used());
  ASSERT_TRUE(others.has_value());
  const int waiting = Start(14 * kMiB, 4 * kKiB);
  executor.RunAll();
  stream.reset();
  executor.RunAll();  // before the store or the budget have answered
  for (const int id : {sequential, random, waiting}) {
    ASSERT_EQ(done.count(id), 1u) << id;
    EXPECT_EQ(done.at(id).error().code(), ErrorCode::kCancelled);
  }
  for (const StoreCall& c : store.pending()) EXPECT_TRUE(c.cancelled);
  others->Release();
  Drain();
  EXPECT_EQ(budget->used(), 0u);
}

TEST_F(ReadStreamTest, AReplacedObjectIsStale) {
  Open(32 * kMiB);
  ExpectRead(0, kMiB);
  bucket.PutBytes("k", PatternBytes(32 * kMiB));
  const int id = Start(20 * kMiB, kMiB);
  Drain();
  ASSERT_EQ(done.count(id), 1u);
  EXPECT_EQ(done.at(id).error().code(), ErrorCode::kStale);
}

TEST_F(ReadStreamTest, AFailedReadAheadIsTriedAgainWhenItIsAskedFor) {
  Open(32 * kMiB);
  const int first = Start(0, kMiB);
  std::vector<StoreCall> calls = store.pending();
  ASSERT_GE(calls.size(), 2u);
  ASSERT_EQ(calls[1].offset, kMiB);
  store.Release(calls[1].id, Verdict::FailBefore());
  Drain();
  ExpectDone(first, 0, kMiB);
  ExpectRead(kMiB, kMiB);
  // One that is being waited for reports its error.
  const int random = Start(20 * kMiB, kKiB);
  store.ReleaseNext(Verdict::FailBefore());
  executor.RunAll();
  ASSERT_EQ(done.count(random), 1u);
  EXPECT_EQ(done.at(random).error().code(), ErrorCode::kUnavailable);
  done.clear();
  ExpectRead(20 * kMiB, kKiB);
}

TEST_F(ReadStreamTest, AnInjectedCancelIsAnErrorNotARetryForEver) {
  Open(4 * kMiB);
  const int id = Start(3 * kMiB, kKiB);
  store.ReleaseNext(Verdict::CancelBefore());
  executor.RunAll();
  ASSERT_EQ(done.count(id), 1u);
  EXPECT_EQ(done.at(id).error().code(), ErrorCode::kCancelled);
}

TEST_F(ReadStreamTest, WorksOnAStoreThatAnswersAtOnce) {
  store.ForwardAll();
  Open(20 * kMiB);
  for (std::uint64_t at = 0; at < bytes.size(); at += 300 * kKiB) {
    const int id = Start(at, 300 * kKiB);
    ExpectDone(id, at, 300 * kKiB);
  }
}

TEST_F(ReadStreamTest, TheEdgesOfTheObject) {
  Open(1000);
  ExpectRead(0, 4096);
  ExpectRead(999, 10);
  ExpectRead(1000, 10);
  const int beyond = Start(5000, 10);
  Drain();
  EXPECT_EQ(done.at(beyond)->size(), 0u);
  const int nothing = Start(0, 0);
  EXPECT_EQ(done.at(nothing)->size(), 0u);
}

}  // namespace
}  // namespace ckptfs::fs

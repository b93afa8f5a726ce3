#include "fs/read/stream_detector.h"

#include <gtest/gtest.h>

namespace ckptfs::fs {
namespace {

constexpr std::uint64_t kKiB = 1ull << 10;
constexpr std::uint64_t kMiB = 1ull << 20;

TEST(StreamDetector, AFirstReadAtZeroIsAStreamAtOnce) {
  StreamDetector detector(4);
  const StreamDetector::Access first = detector.Note(0, 128 * kKiB);
  ASSERT_NE(first.stream, nullptr);
  EXPECT_TRUE(first.started);
  const StreamDetector::Access second = detector.Note(128 * kKiB, 128 * kKiB);
  EXPECT_EQ(second.stream, first.stream);
  EXPECT_FALSE(second.started);
  EXPECT_EQ(second.stream->next, 256 * kKiB);
}

TEST(StreamDetector, ElsewhereTheSecondReadMakesAStream) {
  StreamDetector detector(4);
  EXPECT_EQ(detector.Note(10 * kMiB, kMiB).stream, nullptr);
  const StreamDetector::Access second = detector.Note(11 * kMiB, kMiB);
  ASSERT_NE(second.stream, nullptr);
  EXPECT_TRUE(second.started);
  EXPECT_EQ(second.stream->next, 12 * kMiB);
}

TEST(StreamDetector, RequestsThatChangePlacesStayOneStream) {
  StreamDetector detector(4);
  EXPECT_EQ(detector.Note(kMiB * 10 + 128 * kKiB, 128 * kKiB).stream, nullptr);
  EXPECT_EQ(detector.Note(kMiB * 10, 128 * kKiB).stream, nullptr);
  SequentialStream* stream =
      detector.Note(kMiB * 10 + 384 * kKiB, 128 * kKiB).stream;
  ASSERT_NE(stream, nullptr);
  EXPECT_EQ(detector.Note(kMiB * 10 + 256 * kKiB, 128 * kKiB).stream, stream);
  EXPECT_EQ(detector.Note(kMiB * 11, kMiB).stream, stream);
  EXPECT_EQ(stream->next, 12 * kMiB);
}

TEST(StreamDetector, ABackwardReaderIsNoStream) {
  StreamDetector detector(4);
  for (std::uint64_t at = 20 * kMiB; at > 0; at -= kMiB) {
    EXPECT_EQ(detector.Note(at, kMiB).stream, nullptr) << at;
  }
}

TEST(StreamDetector, FarAndScatteredReadsAreNoStream) {
  StreamDetector detector(4);
  for (int i = 1; i < 100; ++i) {
    const std::uint64_t at = (i * 7919ull % 1000) * 5 * kMiB + kMiB;
    EXPECT_EQ(detector.Note(at, 4 * kKiB).stream, nullptr) << at;
  }
}

TEST(StreamDetector, InterleavedStreamsAreToldApart) {
  StreamDetector detector(2);
  SequentialStream* a = detector.Note(0, kMiB).stream;
  detector.Note(100 * kMiB, kMiB);
  SequentialStream* b = detector.Note(101 * kMiB, kMiB).stream;
  ASSERT_NE(b, nullptr);
  EXPECT_NE(a, b);
  for (std::uint64_t i = 1; i < 10; ++i) {
    EXPECT_EQ(detector.Note(i * kMiB, kMiB).stream, a);
    EXPECT_EQ(detector.Note((101 + i) * kMiB, kMiB).stream, b);
  }
  // A third one takes the place of the one not used for longest.
  const std::uint64_t a_id = a->id;
  detector.Note(500 * kMiB, kMiB);
  const StreamDetector::Access c = detector.Note(501 * kMiB, kMiB);
  EXPECT_TRUE(c.started);
  EXPECT_EQ(c.evicted_id, a_id);
  EXPECT_EQ(detector.Find(a_id), nullptr);
}

TEST(StreamDetector, AReaderThatSkipsAheadKeepsItsWindow) {
  StreamDetector detector(4);
  SequentialStream* stream = detector.Note(0, kMiB).stream;
  stream->ahead_end = 100 * kMiB;
  EXPECT_EQ(detector.Note(50 * kMiB, kMiB).stream, nullptr);
  const StreamDetector::Access access = detector.Note(51 * kMiB, kMiB);
  EXPECT_EQ(access.stream, stream);
  EXPECT_FALSE(access.started);
  EXPECT_EQ(stream->next, 52 * kMiB);
}

}  // namespace
}  // namespace ckptfs::fs

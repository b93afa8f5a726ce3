#include "checkpoint/io/opened_file.h"

#include <gtest/gtest.h>

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/executors.h"
#include "support/memory_source.h"
#include "unit/checkpoint/await.h"

namespace ckptfs {
namespace {

using Ranges = std::vector<std::pair<std::uint64_t, std::uint64_t>>;

// Notes what is asked for after Open.
class NotingSource final : public ByteSource {
 public:
  NotingSource(std::string_view file, Ranges& reads)
      : file_(std::as_bytes(std::span(file))), reads_(reads) {}

  const std::string& name() const override { return file_.name(); }
  Task<Result<std::uint64_t>> Open(Destination first,
                                   std::stop_token stop) override {
    return file_.Open(std::move(first), std::move(stop));
  }
  Task<Result<void>> Read(std::uint64_t offset, Destination destination,
                          std::stop_token stop) override {
    reads_.emplace_back(offset, offset + destination.size());
    return file_.Read(offset, std::move(destination), std::move(stop));
  }

 private:
  MemorySource file_;
  Ranges& reads_;
};

class OpenedFileTest : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kHead = 10;

  void OpenWith(std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; ++i) {
      content += static_cast<char>('a' + i % 26);
    }
    Result<OpenedFile> opened = Await(
        strand, OpenedFile::Open(std::make_unique<NotingSource>(content, reads),
                                 {}, kHead));
    ASSERT_TRUE(opened.has_value());
    file = std::make_unique<OpenedFile>(*std::move(opened));
  }
  std::string_view Content(std::uint64_t begin, std::uint64_t end) const {
    return std::string_view(content).substr(begin, end - begin);
  }

  ThreadPool strand{"strand", 1};
  std::string content;
  Ranges reads;
  std::unique_ptr<OpenedFile> file;
};

TEST_F(OpenedFileTest, TheTailOfAShortFileIsInTheHead) {
  OpenWith(kHead);
  EXPECT_EQ(*Await(strand, file->FetchTail(4, {})), Content(6, 10));
  EXPECT_EQ(*Await(strand, file->FetchTail(100, {})), content);
  EXPECT_EQ(*Await(strand, file->Bytes(3, 5, {})), Content(3, 8));
  EXPECT_EQ(reads, Ranges{});
}

TEST_F(OpenedFileTest, ATailThatBeginsInTheHeadFetchesTheRest) {
  OpenWith(15);
  EXPECT_EQ(*Await(strand, file->FetchTail(8, {})), Content(7, 15));
  EXPECT_EQ(reads, (Ranges{{10, 15}}));
  // The whole file is known: nothing is fetched any more.
  EXPECT_EQ(*Await(strand, file->Bytes(0, 15, {})), content);
  EXPECT_EQ(*Await(strand, file->Bytes(9, 2, {})), Content(9, 11));
  EXPECT_EQ(*Await(strand, file->Bytes(14, 1, {})), Content(14, 15));
  EXPECT_EQ(reads.size(), 1u);
}

TEST_F(OpenedFileTest, OnlyWhatLiesBetweenHeadAndTailIsFetched) {
  OpenWith(40);
  EXPECT_EQ(*Await(strand, file->FetchTail(10, {})), Content(30, 40));
  reads.clear();
  EXPECT_EQ(*Await(strand, file->Bytes(5, 30, {})), Content(5, 35));
  EXPECT_EQ(*Await(strand, file->Bytes(12, 20, {})), Content(12, 32));
  EXPECT_EQ(*Await(strand, file->Bytes(12, 5, {})), Content(12, 17));
  EXPECT_EQ(*Await(strand, file->Bytes(31, 9, {})), Content(31, 40));
  EXPECT_EQ(reads, (Ranges{{10, 30}, {12, 30}, {12, 17}}));
}

TEST_F(OpenedFileTest, WhatHeadOrTailHaveIsHeld) {
  OpenWith(40);
  EXPECT_EQ(file->Held(0, 10), Content(0, 10));
  EXPECT_EQ(file->Held(35, 1), std::nullopt);
  ASSERT_TRUE(Await(strand, file->FetchTail(10, {})).has_value());
  reads.clear();
  EXPECT_EQ(file->Held(3, 0), "");
  EXPECT_EQ(file->Held(3, 8), std::nullopt);
  EXPECT_EQ(file->Held(29, 2), std::nullopt);
  EXPECT_EQ(file->Held(30, 10), Content(30, 40));
  EXPECT_EQ(file->Held(30, 11), std::nullopt);
  EXPECT_EQ(file->Held(41, 0), std::nullopt);
  EXPECT_EQ(file->Held(~0ull, ~0ull), std::nullopt);
  EXPECT_EQ(reads, Ranges{});
}

TEST_F(OpenedFileTest, EverySegmentGetsItsBytes) {
  OpenWith(40);
  ASSERT_TRUE(Await(strand, file->FetchTail(10, {})).has_value());
  reads.clear();
  auto memory = std::make_shared<std::string>(34, '\0');
  const std::span<std::byte> all = std::as_writable_bytes(std::span(*memory));
  Destination destination;
  destination.owner = memory;
  // Borders inside the head, in the middle and inside the tail.
  destination.segments = {all.first(3), all.subspan(3, 0), all.subspan(3, 12),
                          all.subspan(15, 14), all.subspan(29)};
  Task<Result<void>> read = file->Read(4, std::move(destination), {});
  ASSERT_TRUE(Await(strand, std::move(read)).has_value());
  EXPECT_EQ(*memory, Content(4, 38));
  EXPECT_EQ(reads, (Ranges{{10, 30}}));
}

TEST_F(OpenedFileTest, WhatLiesBehindTheEndIsRefused) {
  OpenWith(40);
  ASSERT_TRUE(Await(strand, file->FetchTail(10, {})).has_value());
  EXPECT_FALSE(Await(strand, file->Bytes(35, 6, {})).has_value());
}

}  // namespace
}  // namespace ckptfs

#include "checkpoint/io/part_buffers.h"

#include <gtest/gtest.h>

#include <optional>

namespace ckptfs {
namespace {

TEST(PartBuffersTest, WhatNobodyUsesIsTakenAgain) {
  PartBuffers buffers;
  std::shared_ptr<std::string> first = buffers.Take();
  std::shared_ptr<std::string> second = buffers.Take();
  EXPECT_NE(first, second);
  first->assign(1000, 'x');
  const char* const memory = first->data();
  // A part that is on its way is used.
  std::shared_ptr<const std::string> sent = std::move(first);
  EXPECT_NE(buffers.Take()->data(), memory);
  sent.reset();
  EXPECT_EQ(buffers.Take()->data(), memory);
}

TEST(PartBuffersTest, ABufferMayOutliveThem) {
  std::optional<PartBuffers> buffers(std::in_place);
  const std::shared_ptr<std::string> kept = buffers->Take();
  kept->assign(1000, 'x');
  buffers.reset();
  EXPECT_EQ(kept->size(), 1000u);
}

}  // namespace
}  // namespace ckptfs

#include "support/gated_object_store.h"

#include <gtest/gtest.h>

#include <optional>

#include "store/memory_object_store.h"
#include "support/fault_object_store.h"

namespace ckptfs {
namespace {

PutRequest Put(const std::string& key, std::stop_token stop = {}) {
  PutRequest r;
  r.key = key;
  r.options.stop = std::move(stop);
  return r;
}

TEST(GatedObjectStore, HoldsCallsAndReleasesThemInAnyOrder) {
  MemoryObjectStore bucket;
  GatedObjectStore store(bucket);
  Future<PutResult> a = store.Put(Put("a"));
  Future<PutResult> b = store.Put(Put("b"));
  ASSERT_EQ(store.pending().size(), 2u);
  EXPECT_EQ(store.pending()[0].ToString(), "#0 Put a");
  EXPECT_TRUE(bucket.Snapshot().empty());
  EXPECT_TRUE(store.Release(1));
  EXPECT_FALSE(store.Release(1));
  EXPECT_TRUE(b.ready());
  EXPECT_FALSE(a.ready());
  EXPECT_EQ(bucket.Snapshot().count("b"), 1u);
  EXPECT_TRUE(store.ReleaseNext());
  EXPECT_TRUE(std::move(a).Get().has_value());
  EXPECT_EQ(store.CountOf(StoreOperation::kPut), 2u);
}

TEST(GatedObjectStore, LosesRequestsAndReplies) {
  MemoryObjectStore bucket;
  GatedObjectStore store(bucket);
  Future<PutResult> a = store.Put(Put("a"));
  Future<PutResult> b = store.Put(Put("b"));
  store.Release(0, Verdict::FailBefore());
  store.Release(1, Verdict::LoseReply());
  EXPECT_EQ(std::move(a).Get().error().code(), ErrorCode::kUnavailable);
  EXPECT_EQ(std::move(b).Get().error().code(), ErrorCode::kUnavailable);
  EXPECT_EQ(bucket.Snapshot().size(), 1u);
  EXPECT_EQ(bucket.Snapshot().count("b"), 1u);
}

TEST(GatedObjectStore, EffectAndAnswerCanBeApart) {
  MemoryObjectStore bucket;
  GatedObjectStore store(bucket);
  Future<PutResult> a = store.Put(Put("a"));
  ASSERT_TRUE(store.Perform(0));
  EXPECT_EQ(bucket.Snapshot().count("a"), 1u);
  EXPECT_FALSE(a.ready());
  EXPECT_TRUE(store.pending()[0].performed);
  bucket.PutBytes("a", "somebody else");
  store.Release(0);
  EXPECT_TRUE(std::move(a).Get().has_value());
  EXPECT_EQ(bucket.Snapshot().at("a"), "somebody else");  // once, not twice
}

TEST(GatedObjectStore, ACancelledCallLandsOrNot) {
  MemoryObjectStore bucket;
  GatedObjectStore store(bucket);
  std::stop_source stop;
  Future<PutResult> a = store.Put(Put("a", stop.get_token()));
  Future<PutResult> b = store.Put(Put("b", stop.get_token()));
  EXPECT_FALSE(store.pending()[0].cancelled);
  stop.request_stop();
  EXPECT_TRUE(store.pending()[0].cancelled);
  store.Release(0);
  store.Release(1, Verdict::CancelAfter());
  EXPECT_EQ(std::move(a).Get().error().code(), ErrorCode::kCancelled);
  EXPECT_EQ(std::move(b).Get().error().code(), ErrorCode::kCancelled);
  EXPECT_EQ(bucket.Snapshot().count("a"), 0u);
  EXPECT_EQ(bucket.Snapshot().count("b"), 1u);
}

TEST(GatedObjectStore, ADeadProcessHasNoEffect) {
  MemoryObjectStore bucket;
  GatedObjectStore store(bucket);
  Future<PutResult> lands = store.Put(Put("lands"));
  Future<PutResult> lost = store.Put(Put("lost"));
  Future<PutResult> silent = store.Put(Put("silent"));
  store.Release(2, Verdict::NeverAnswer(true));
  EXPECT_FALSE(silent.ready());
  store.Crash([](const StoreCall& c) { return c.key == "lands"; });
  Future<PutResult> after = store.Put(Put("after"));
  for (Future<PutResult>* f : {&lands, &lost, &silent, &after}) {
    EXPECT_EQ(std::move(*f).Get().error().code(), ErrorCode::kUnavailable);
  }
  EXPECT_EQ(bucket.Snapshot().size(), 2u);
  EXPECT_EQ(bucket.Snapshot().count("lands"), 1u);
  EXPECT_EQ(bucket.Snapshot().count("silent"), 1u);
  EXPECT_TRUE(store.crashed());
}

TEST(FaultObjectStore, FailsWhatWasArranged) {
  MemoryObjectStore bucket;
  FaultObjectStore store(bucket);
  store.FailCall(1, Verdict::LoseReply());
  store.FailNext(StoreOperation::kHead, Verdict::FailBefore());
  EXPECT_TRUE(store.Put(Put("a")).Get().has_value());
  EXPECT_FALSE(store.Put(Put("b")).Get().has_value());
  HeadRequest head;
  head.key = "b";
  EXPECT_EQ(store.Head(head).Get().error().code(), ErrorCode::kUnavailable);
  EXPECT_TRUE(store.Head(head).Get().has_value());
}

}  // namespace
}  // namespace ckptfs

// The bucket in memory, used by several threads at once: ThreadSanitizer looks
// on.
#include <gtest/gtest.h>

#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "store/memory_object_store.h"

namespace ckptfs {
namespace {

constexpr int kThreads = 4;
constexpr int kRounds = 50;

Payload Bytes(std::string text) {
  auto owner = std::make_shared<const std::string>(std::move(text));
  Payload payload;
  payload.segments = {std::as_bytes(std::span(*owner))};
  payload.owner = owner;
  return payload;
}

PutRequest PutOf(const std::string& key, const std::string& text) {
  PutRequest put;
  put.key = key;
  put.payload = Bytes(text);
  return put;
}

void UseTheBucket(MemoryObjectStore& store, int thread) {
  const std::string own = "own/" + std::to_string(thread);
  for (int i = 0; i < kRounds; ++i) {
    const std::string text = own + "#" + std::to_string(i);
    EXPECT_TRUE(store.Put(PutOf(own, text)).Get().has_value());
    EXPECT_TRUE(store.Put(PutOf("shared", text)).Get().has_value());

    auto buffer = std::make_shared<std::string>(text.size(), '-');
    GetRequest get;
    get.key = own;
    get.destination.segments = {std::as_writable_bytes(std::span(*buffer))};
    get.destination.owner = buffer;
    EXPECT_TRUE(store.Get(std::move(get)).Get().has_value());
    EXPECT_EQ(*buffer, text);

    CreateMultipartRequest create;
    create.key = own + "/parts";
    Result<MultipartUpload> upload =
        store.CreateMultipart(std::move(create)).Get();
    ASSERT_TRUE(upload.has_value());
    UploadPartRequest part;
    part.upload = *upload;
    part.part_number = 1;
    part.payload = Bytes(text);
    Result<CompletedPart> sent = store.UploadPart(std::move(part)).Get();
    ASSERT_TRUE(sent.has_value());
    CompleteMultipartRequest complete;
    complete.upload = *upload;
    complete.parts = {*sent};
    EXPECT_TRUE(store.CompleteMultipart(std::move(complete)).Get().has_value());

    ListRequest list;
    list.prefix = "own/";
    EXPECT_TRUE(store.List(std::move(list)).Get().has_value());
    DeleteRequest remove;
    remove.key = own + "/parts";
    EXPECT_TRUE(store.Delete(std::move(remove)).Get().has_value());
    EXPECT_LE(store.OpenUploads().size(), std::size_t{kThreads});
  }
}

TEST(MemoryObjectStoreThreads, EachFindsItsOwn) {
  MemoryObjectStore store;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&store, i] { UseTheBucket(store, i); });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(store.Snapshot().size(), std::size_t{kThreads + 1});
  EXPECT_TRUE(store.OpenUploads().empty());
}

}  // namespace
}  // namespace ckptfs

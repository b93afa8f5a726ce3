#include <ckptfs/checkpoint/async_checkpoint_io.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <functional>
#include <future>
#include <mutex>

#include "unit/checkpoint/engine_fixture.h"

namespace ckptfs {
namespace {

// Holds every save until the test lets it go.
class GatedIO final : public CheckpointIO {
 public:
  struct Log {
    std::mutex mu;
    std::condition_variable changed;
    int allowed = 0;                 // saves that may end
    int begun = 0;                   // saves
    std::vector<std::string> done;   // in order: "save a", "remove a"
    std::vector<std::string> bytes;  // of tensor "w" of each save
    std::function<Result<void>(const std::string& path)> outcome;  // of saves
    std::function<Result<void>(const std::string& path)> removal;

    void Allow(int saves) {
      const std::lock_guard lock(mu);
      allowed += saves;
      changed.notify_all();
    }
    void AwaitBegun(int saves) {
      std::unique_lock lock(mu);
      changed.wait(lock, [&] { return begun >= saves; });
    }
    std::vector<std::string> Done() {
      const std::lock_guard lock(mu);
      return done;
    }
  };
  explicit GatedIO(Log& log) : log_(log) {}

  Result<void> SaveCheckpoint(const Value& value, const std::string& path,
                              const SaveOptions&) override {
    std::unique_lock lock(log_.mu);
    ++log_.begun;
    log_.changed.notify_all();
    log_.changed.wait(lock, [&] { return log_.allowed > 0; });
    --log_.allowed;
    log_.done.push_back("save " + path);
    const auto bytes = value.AsDict()->Find("w")->AsTensor()->bytes();
    log_.bytes.emplace_back(reinterpret_cast<const char*>(bytes.data()),
                            bytes.size());
    log_.changed.notify_all();
    return log_.outcome ? log_.outcome(path) : Result<void>();
  }
  Result<Value> LoadCheckpoint(const std::string& path,
                               const CheckpointLoadOptions&) override {
    const std::lock_guard lock(log_.mu);
    log_.done.push_back("load " + path);
    return Value();
  }
  Result<void> RemoveCheckpoint(const std::string& path) override {
    const std::lock_guard lock(log_.mu);
    log_.done.push_back("remove " + path);
    return log_.removal ? log_.removal(path) : Result<void>();
  }
  Result<void> Teardown() override { return {}; }

 private:
  Log& log_;
};

class AsyncCheckpointIOTest : public EngineTest {
 protected:
  AsyncCheckpointIO Make(AsyncCheckpointOptions options = {}) {
    return AsyncCheckpointIO(std::make_unique<GatedIO>(log), options);
  }
  GatedIO::Log log;
};

// [S-66]
TEST_F(AsyncCheckpointIOTest, SavesASnapshotInTheOrderOfTheCalls) {
  AsyncCheckpointIO io = Make();
  TensorView w = NewTensor({100}, 1);
  const std::string first = BytesOf(w);
  const Value state = State({{"w", w}});
  ASSERT_TRUE(io.SaveCheckpoint(state, "a"));
  w.bytes()[0] ^= std::byte{1};
  const std::string second = BytesOf(w);
  ASSERT_TRUE(io.SaveCheckpoint(state, "b"));
  EXPECT_TRUE(log.Done().empty());
  log.Allow(2);
  EXPECT_TRUE(io.Teardown());
  EXPECT_EQ(log.Done(), (std::vector<std::string>{"save a", "save b"}));
  EXPECT_EQ(log.bytes, (std::vector<std::string>{first, second}));
}

// [S-66]
TEST_F(AsyncCheckpointIOTest, ErrorsSurfaceAtTheNextCall) {
  AsyncCheckpointIO io = Make();
  log.outcome = [](const std::string& path) -> Result<void> {
    return Fail(ErrorCode::kUnavailable, "no " + path);
  };
  const Value state = State({{"w", NewTensor({1}, 1)}});
  ASSERT_TRUE(io.SaveCheckpoint(state, "a"));
  ASSERT_TRUE(io.SaveCheckpoint(state, "b"));
  log.Allow(2);
  const Result<void> end = io.Teardown();
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().code(), ErrorCode::kUnavailable);
  EXPECT_NE(end.error().message().find("no a"), std::string::npos);
  EXPECT_NE(end.error().message().find("no b"), std::string::npos);
  EXPECT_TRUE(io.Teardown());  // each is told once

  ASSERT_TRUE(io.SaveCheckpoint(state, "c"));
  log.Allow(1);
  const Result<Value> loaded = io.LoadCheckpoint("c");  // waits for the save
  ASSERT_FALSE(loaded);
  EXPECT_NE(loaded.error().message().find("no c"), std::string::npos);

  ASSERT_TRUE(io.SaveCheckpoint(state, "d"));
  log.Allow(1);
  const Result<void> removed = io.RemoveCheckpoint("d");
  ASSERT_FALSE(removed);
  EXPECT_NE(removed.error().message().find("no d"), std::string::npos);
  EXPECT_EQ(log.Done().back(), "save d");  // nothing is removed
  EXPECT_TRUE(io.RemoveCheckpoint("d"));
  EXPECT_EQ(log.Done().back(), "remove d");
}

// [S-66]
TEST_F(AsyncCheckpointIOTest, TheOldOneGoesWhenTheNewOneIsThere) {
  AsyncCheckpointIO io = Make();
  const Value state = State({{"w", NewTensor({1}, 1)}});
  ASSERT_TRUE(io.SaveCheckpoint(state, "new"));
  EXPECT_TRUE(io.RemoveCheckpoint("old"));  // does not wait for it
  EXPECT_TRUE(log.Done().empty());
  log.Allow(1);
  EXPECT_TRUE(io.Teardown());
  EXPECT_EQ(log.Done(), (std::vector<std::string>{"save new", "remove old"}));
}

// [S-66]
TEST_F(AsyncCheckpointIOTest, TheOldOneStaysWhenTheNewOneFails) {
  AsyncCheckpointIO io = Make();
  log.outcome = [](const std::string& path) -> Result<void> {
    if (path != "new") return {};
    return Fail(ErrorCode::kUnavailable, "no " + path);
  };
  const Value state = State({{"w", NewTensor({1}, 1)}});
  ASSERT_TRUE(io.SaveCheckpoint(state, "new"));
  EXPECT_TRUE(io.RemoveCheckpoint("old"));
  ASSERT_TRUE(io.SaveCheckpoint(state, "newer"));
  EXPECT_TRUE(io.RemoveCheckpoint("older"));
  log.Allow(2);
  const Result<void> end = io.Teardown();
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().code(), ErrorCode::kUnavailable);
  for (const char* told : {"no new", "removal of old:", "removal of older:"}) {
    EXPECT_NE(end.error().message().find(told), std::string::npos)
        << end.error().message();
  }
  EXPECT_EQ(log.Done(), (std::vector<std::string>{"save new", "save newer"}));
  // Now that it is told, they may go.
  EXPECT_TRUE(io.RemoveCheckpoint("old"));
  EXPECT_EQ(log.Done().back(), "remove old");
}

// [S-66]
TEST_F(AsyncCheckpointIOTest, NothingIsRemovedBeforeAFailureIsTold) {
  AsyncCheckpointIO io = Make();
  log.outcome = [](const std::string& path) -> Result<void> {
    if (path != "new") return {};
    return Fail(ErrorCode::kUnavailable, "no " + path);
  };
  const Value state = State({{"w", NewTensor({1}, 1)}});
  ASSERT_TRUE(io.SaveCheckpoint(state, "new"));
  ASSERT_TRUE(io.SaveCheckpoint(state, "newer"));
  log.Allow(1);
  log.AwaitBegun(2);  // the first has failed
  const Result<void> removed = io.RemoveCheckpoint("old");
  ASSERT_FALSE(removed);
  EXPECT_NE(removed.error().message().find("no new"), std::string::npos);
  log.Allow(1);
  EXPECT_TRUE(io.Teardown());
  EXPECT_EQ(log.Done(), (std::vector<std::string>{"save new", "save newer"}));
  EXPECT_TRUE(io.RemoveCheckpoint("old"));
  EXPECT_EQ(log.Done().back(), "remove old");
}

// [S-66]
TEST_F(AsyncCheckpointIOTest, ARemovalThatFailsIsTold) {
  AsyncCheckpointIO io = Make();
  log.removal = [](const std::string& path) -> Result<void> {
    return Fail(ErrorCode::kPermissionDenied, "kept " + path);
  };
  ASSERT_TRUE(io.SaveCheckpoint(State({{"w", NewTensor({1}, 1)}}), "new"));
  EXPECT_TRUE(io.RemoveCheckpoint("old"));
  EXPECT_TRUE(io.RemoveCheckpoint("older"));
  log.Allow(1);
  const Result<void> end = io.Teardown();
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().code(), ErrorCode::kPermissionDenied);
  EXPECT_NE(end.error().message().find("kept old"), std::string::npos);
  EXPECT_EQ(log.Done(), (std::vector<std::string>{"save new", "remove old"}));
  EXPECT_FALSE(io.RemoveCheckpoint("old"));  // at once
}

// [S-66]
TEST_F(AsyncCheckpointIOTest, ALoadWaitsForTheRemovalOfItsPath) {
  AsyncCheckpointIO io = Make();
  ASSERT_TRUE(io.SaveCheckpoint(State({{"w", NewTensor({1}, 1)}}), "new"));
  EXPECT_TRUE(io.RemoveCheckpoint("old"));
  std::future<Result<Value>> loading =
      std::async(std::launch::async, [&] { return io.LoadCheckpoint("old"); });
  EXPECT_TRUE(log.Done().empty());
  log.Allow(1);
  EXPECT_TRUE(loading.get());
  EXPECT_EQ(log.Done(),
            (std::vector<std::string>{"save new", "remove old", "load old"}));
}

TEST_F(AsyncCheckpointIOTest, RemoveWaitsForTheSaveItWouldRace) {
  AsyncCheckpointIO io = Make();
  const Value state = State({{"w", NewTensor({1}, 1)}});
  ASSERT_TRUE(io.SaveCheckpoint(state, "a"));
  std::future<Result<void>> removing =
      std::async(std::launch::async, [&] { return io.RemoveCheckpoint("a"); });
  log.Allow(1);
  EXPECT_TRUE(removing.get());
  EXPECT_EQ(log.Done(), (std::vector<std::string>{"save a", "remove a"}));
}

TEST_F(AsyncCheckpointIOTest, RemoveKnowsAFileByAnySpelling) {
  AsyncCheckpointIO io = Make();
  const Value state = State({{"w", NewTensor({1}, 1)}});
  ASSERT_TRUE(io.SaveCheckpoint(state, "folder/a"));
  std::future<Result<void>> removing = std::async(
      std::launch::async, [&] { return io.RemoveCheckpoint("./folder//a/"); });
  log.Allow(1);
  EXPECT_TRUE(removing.get());
  EXPECT_EQ(log.Done(),
            (std::vector<std::string>{"save folder/a", "remove ./folder//a/"}));
}

TEST_F(AsyncCheckpointIOTest, SnapshotsStayWithinTheirBound) {
  AsyncCheckpointOptions options;
  options.max_snapshot_bytes = 1000;
  AsyncCheckpointIO io = Make(options);
  const Value state = State({{"w", NewTensor({200}, 1)}});  // 800 bytes
  ASSERT_TRUE(io.SaveCheckpoint(state, "a"));
  std::future<Result<void>> second = std::async(
      std::launch::async, [&] { return io.SaveCheckpoint(state, "b"); });
  log.Allow(1);
  EXPECT_TRUE(second.get());  // not before the first has ended
  EXPECT_EQ(log.Done(), std::vector<std::string>{"save a"});
  log.Allow(1);
  EXPECT_TRUE(io.Teardown());
}

TEST_F(AsyncCheckpointIOTest, OneThatIsLargerThanTheBoundGoesAlone) {
  AsyncCheckpointOptions options;
  options.max_snapshot_bytes = 10;
  AsyncCheckpointIO io = Make(options);
  const Value state = State({{"w", NewTensor({200}, 1)}});
  ASSERT_TRUE(io.SaveCheckpoint(state, "a"));
  log.Allow(1);
  ASSERT_TRUE(io.SaveCheckpoint(state, "b"));
  log.Allow(1);
  EXPECT_TRUE(io.Teardown());
}

TEST_F(AsyncCheckpointIOTest, WhatIsNotLoadedCannotBeSaved) {
  AsyncCheckpointIO io = Make();
  TensorView w = NewTensor({200}, 1);
  w.storage->memory = {};
  const Result<void> saved = io.SaveCheckpoint(State({{"w", w}}), "a");
  ASSERT_FALSE(saved);
  EXPECT_EQ(saved.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_TRUE(io.Teardown());
}

TEST_F(AsyncCheckpointIOTest, ThroughAnEngine) {
  AsyncCheckpointIO io(MakeCheckpointIO(engine));
  const TensorView w = NewTensor({3 << 20}, 1);
  ASSERT_TRUE(io.SaveCheckpoint(State({{"w", w}}), "s3://bucket/a.ckpt"));
  const Result<Value> loaded = io.LoadCheckpoint("s3://bucket/a.ckpt");
  ASSERT_TRUE(loaded) << loaded.error().ToString();
  EXPECT_EQ(BytesOf(*loaded->AsDict()->Find("w")->AsTensor()), BytesOf(w));
  EXPECT_TRUE(io.Teardown());
}

}  // namespace
}  // namespace ckptfs

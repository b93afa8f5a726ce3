// The promise, under every crash and under random faults: when the last close,
// fsync or rename returned success the object is whole under that name; when it
// failed the old object is untouched; no other content ever appears; no upload
// outlives its failure. [S-01] [S-02] [S-03] [S-04]
//
// CKPTFS_SIM_SEED=n replays one run of a random test; CKPTFS_SIM_RUNS=n plays
// more of them.
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <set>
#include <string>

#include "simulation/sim_program.h"
#include "store/memory_object_store.h"

namespace ckptfs::sim {
namespace {

std::string Content(char tag, std::size_t size) {
  std::string out(size, tag);
  for (std::size_t i = 0; i + 16 < size; i += 4096) {
    std::snprintf(out.data() + i, 16, "%c%013zu", tag, i);
  }
  return out;
}

std::optional<std::string> Object(ObjectStore& bucket, const std::string& key) {
  Result<ObjectInfo> head = bucket.Head({.key = key, .options = {}}).Get();
  if (!head) return std::nullopt;
  auto buffer = std::make_shared<std::string>(head->size, '\0');
  GetRequest get;
  get.key = key;
  get.destination.segments.emplace_back(
      reinterpret_cast<std::byte*>(buffer->data()), buffer->size());
  get.destination.owner = buffer;
  Result<GetResult> got = bucket.Get(std::move(get)).Get();
  EXPECT_TRUE(got.has_value());
  return *buffer;
}

std::size_t OpenUploads(ObjectStore& bucket) {
  Result<ListUploadsResult> r =
      bucket
          .ListMultipartUploads({.prefix = "",
                                 .key_marker = "",
                                 .upload_id_marker = "",
                                 .options = {}})
          .Get();
  EXPECT_TRUE(r.has_value());
  return r->uploads.size();
}

void PutObject(ObjectStore& bucket, const std::string& key,
               const std::string& content) {
  auto owner = std::make_shared<std::string>(content);
  PutRequest put;
  put.key = key;
  put.payload.segments.emplace_back(
      reinterpret_cast<const std::byte*>(owner->data()), owner->size());
  put.payload.owner = owner;
  ASSERT_TRUE(bucket.Put(std::move(put)).Get().has_value());
}

const std::size_t kSmall = 100'000;
const std::size_t kLarge = (13u << 20) + 77;  // three parts

// One way in which trainers save; true: the program was told that "model" is
// saved.
struct Save {
  const char* name;
  std::function<bool(SimWorld&, const std::string&)> run;
  std::string temp;  // a second name that may be left over, whole, by a crash
};

std::vector<Save> Saves() {
  return {
      {"OpenWriteClose",
       [](SimWorld& w, const std::string& data) {
         SimProgram p(w, 10);
         const auto f = p.Open("model", O_WRONLY | O_CREAT | O_TRUNC);
         if (!f) return false;
         const bool written = p.Write(*f, 0, data);
         return p.Close(*f) && written;
       },
       ""},
      {"FsyncThenClose",
       [](SimWorld& w, const std::string& data) {
         SimProgram p(w, 10);
         const auto f = p.Open("model", O_WRONLY | O_CREAT | O_TRUNC);
         if (!f) return false;
         const bool synced = p.Write(*f, 0, data) && p.Fsync(*f);
         return p.Close(*f) && synced;
       },
       ""},
      {"TempThenRename",
       [](SimWorld& w, const std::string& data) {
         SimProgram p(w, 10);
         const auto f = p.Open(".tmpX", O_RDWR | O_CREAT | O_EXCL);
         if (!f) return false;
         const bool saved =
             p.Write(*f, 0, data) && p.Close(*f) && p.Rename(".tmpX", "model");
         return saved;
       },
       ".tmpX"},
      {"RenameWhileOpenAndDirty",
       [](SimWorld& w, const std::string& data) {
         SimProgram p(w, 10);
         const auto f = p.Open(".tmpX", O_RDWR | O_CREAT | O_EXCL);
         if (!f) return false;
         const bool renamed =
             p.Write(*f, 0, data) && p.Rename(".tmpX", "model");
         const bool closed = p.Close(*f);
         return renamed && closed;
       },
       ".tmpX"},
  };
}

struct Case {
  std::size_t save;
  bool had_old;
  std::size_t size;
};

class Promise_ : public testing::TestWithParam<Case> {};

TEST_P(Promise_, HoldsWhereverTheDaemonDies) {
  const Save save = Saves()[GetParam().save];
  const std::string before = Content('o', kSmall);
  const std::string after = Content('n', GetParam().size);
  // Plays the save once to the end to learn how many calls it makes, then
  // again with a crash at each of them.
  std::uint64_t calls = 0;
  for (std::uint64_t crash_at = UINT64_MAX;;) {
    SCOPED_TRACE(std::string(save.name) + ", crash at call " +
                 std::to_string(crash_at));
    MemoryObjectStore bucket;
    if (GetParam().had_old) PutObject(bucket, "model", before);
    bool told_saved = false;
    {
      SimWorld world(crash_at, bucket);
      if (crash_at != UINT64_MAX) world.crash_at_call = crash_at;
      told_saved = save.run(world, after);
      if (crash_at == UINT64_MAX) {
        EXPECT_TRUE(told_saved);
        calls = world.settled_calls();
        ASSERT_GT(calls, 0u);
      }
    }
    const std::optional<std::string> now = Object(bucket, "model");
    if (told_saved) {
      EXPECT_TRUE(now == after);
    } else {
      EXPECT_TRUE(now == after ||
                  (GetParam().had_old ? now == before : !now.has_value()));
    }
    if (!save.temp.empty()) {
      const std::optional<std::string> temp = Object(bucket, save.temp);
      EXPECT_TRUE(!temp.has_value() || temp == after || temp->empty());
    }
    // The next mount sees the same, and can save again.
    {
      SimWorld world(1, bucket);
      SimProgram p(world, 11);
      EXPECT_TRUE(p.ReadAll("model") == now);
      if (!save.temp.empty()) p.Unlink(save.temp);
      EXPECT_TRUE(save.run(world, before));
      EXPECT_EQ(p.ReadAll("model"), before);
    }
    crash_at = crash_at == UINT64_MAX ? 0 : crash_at + 1;
    if (crash_at >= calls) break;
  }
}

std::vector<Case> AllCases() {
  std::vector<Case> cases;
  for (std::size_t save = 0; save < Saves().size(); ++save) {
    for (const bool had_old : {false, true}) {
      for (const std::size_t size : {std::size_t{0}, kSmall, kLarge}) {
        cases.push_back({save, had_old, size});
      }
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Saves, Promise_, testing::ValuesIn(AllCases()),
                         [](const testing::TestParamInfo<Case>& p) {
                           return std::string(Saves()[p.param.save].name) +
                                  (p.param.had_old ? "Over" : "New") +
                                  std::to_string(p.param.size);
                         });

// A trainer killed at any point of its save publishes nothing. [S-12]
TEST(Killed, PublishesNothing) {
  for (const std::size_t size : {std::size_t{0}, kSmall, kLarge}) {
    for (const bool had_old : {false, true}) {
      MemoryObjectStore bucket;
      const std::string before = Content('o', kSmall);
      if (had_old) PutObject(bucket, "model", before);
      SimWorld world(size, bucket);
      SimProgram p(world, 10);
      const auto f = p.Open("model", O_WRONLY | O_CREAT | O_TRUNC);
      ASSERT_TRUE(f);
      ASSERT_TRUE(p.Write(*f, 0, Content('n', size)));
      p.Kill(*f);
      while (world.Step()) {
      }
      EXPECT_TRUE(Object(bucket, "model") ==
                  (had_old ? std::optional(before) : std::nullopt));
      EXPECT_EQ(OpenUploads(bucket), 0u);
      EXPECT_EQ(world.files.lost_file_count(), 1u);
      EXPECT_EQ(world.budget.used(), 0u);
      SimProgram q(world, 11);
      EXPECT_TRUE(q.ReadAll("model") ==
                  (had_old ? std::optional(before) : std::nullopt));
    }
  }
}

// Random faults: whatever S3 does, what a program is told is true.
TEST(Faults, NeverMakeTheFileSystemLie) {
  const char* fixed = std::getenv("CKPTFS_SIM_SEED");
  const char* runs_text = std::getenv("CKPTFS_SIM_RUNS");
  const int runs = fixed ? 1 : runs_text ? std::atoi(runs_text) : 300;
  const std::uint64_t first =
      fixed ? std::strtoull(fixed, nullptr, 10) : std::random_device()();
  for (int run = 0; run < runs; ++run) {
    const std::uint64_t seed = first + static_cast<std::uint64_t>(run);
    SCOPED_TRACE("CKPTFS_SIM_SEED=" + std::to_string(seed));
    std::mt19937_64 random(seed);
    MemoryObjectStore bucket;
    SimWorld world(seed, bucket);
    // What "model" may be now; several while a failure leaves it open whether
    // S3 took the last version.
    std::set<std::optional<std::string>> possible = {std::nullopt};
    for (int round = 0; round < 6; ++round) {
      world.fault_percent = static_cast<int>(random() % 3) * 10;
      const auto saves = Saves();
      const Save& save = saves[random() % saves.size()];
      const std::string data = Content(
          static_cast<char>('a' + round),
          random() % 3 == 0 ? kLarge + random() % 1000 : random() % kSmall);
      const bool told = save.run(world, data);
      world.fault_percent = 0;
      if (told)
        possible = {data};
      else
        possible.insert(data);
      const std::optional<std::string> now = Object(bucket, "model");
      ASSERT_TRUE(possible.count(now) == 1)
          << save.name << " was told " << told;
      if (now) possible = {*now};
      if (!save.temp.empty()) {
        SimProgram p(world, 12);
        p.Unlink(save.temp);
      }
    }
    while (world.Step()) {
    }
    EXPECT_EQ(world.budget.used(), 0u);
  }
}

}  // namespace
}  // namespace ckptfs::sim

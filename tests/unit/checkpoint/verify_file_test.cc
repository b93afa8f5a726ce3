// VerifyFile and ZipVerifier: every damage is found, and named by its place.
#include "checkpoint/inspect/verify_file.h"

#include <ckptfs/checkpoint/safetensors.h>
#include <ckptfs/checkpoint/torch_file.h>

#include <algorithm>

#include "unit/checkpoint/engine_fixture.h"
#include "unit/checkpoint/fixture_file.h"

namespace ckptfs {
namespace {

constexpr char kPath[] = "s3://bucket/last.ckpt";

class VerifyFiles : public EngineTest {
 protected:
  Result<VerifyReport> Verify(const std::string& path = kPath) {
    internal::EngineRuntime& runtime = engine.runtime();
    return runtime.Start<VerifyReport>(VerifyFile(runtime, path, {})).Get();
  }
  void Put(const std::string& bytes) {
    PutRequest put;
    put.key = "last.ckpt";
    put.payload.segments = {std::as_bytes(std::span(bytes))};
    ASSERT_TRUE(bucket.Put(std::move(put)).Get());
  }
  std::string Stored() {
    std::string bytes(64 << 20, '\0');
    GetRequest get;
    get.key = "last.ckpt";
    get.destination.segments = {std::as_writable_bytes(std::span(bytes))};
    bytes.resize(bucket.Get(std::move(get)).Get()->bytes);
    return bytes;
  }
};

TEST_F(VerifyFiles, AWholeFile) {
  ASSERT_TRUE(SaveTorchFile(engine,
                            State({{"a", NewTensor({5 << 20}, 1)},
                                   {"b", NewTensor({100}, 2)},
                                   {"none", NewTensor({0}, 2)}}),
                            kPath)
                  .Get());
  const Result<VerifyReport> report = Verify();
  ASSERT_TRUE(report) << report.error().ToString();
  EXPECT_EQ(report->damage_count, 0u);
  EXPECT_TRUE(report->checksums);
  EXPECT_EQ(report->parts, 9u);
  for (const char* name : {"values.pt", "deflated.pt", "unsafe.pt"}) {
    const Result<VerifyReport> fixture = Verify(FixturePath(name));
    ASSERT_TRUE(fixture) << fixture.error().ToString();
    EXPECT_EQ(fixture->damage_count, 0u) << name;
  }
}

TEST_F(VerifyFiles, EachDamageHasRecordAndOffset) {
  const TensorView a = NewTensor({5 << 20}, 1);
  const TensorView b = NewTensor({100'000}, 2);
  ASSERT_TRUE(SaveTorchFile(engine, State({{"a", a}, {"b", b}}), kPath).Get());
  const std::string whole = Stored();
  const std::size_t at_a = whole.find(BytesOf(a));
  const std::size_t at_b = whole.find(BytesOf(b));
  std::string damaged = whole;
  damaged[at_a] ^= 1;
  damaged[at_b + 399'999] ^= 1;
  Put(damaged);
  const Result<VerifyReport> report = Verify();
  ASSERT_TRUE(report) << report.error().ToString();
  ASSERT_EQ(report->damage_count, 2u);
  EXPECT_EQ(report->damages[0].record, "last/data/0");
  EXPECT_EQ(report->damages[0].offset, at_a);
  EXPECT_NE(report->damages[0].what.find("the directory says 0x"),
            std::string::npos);
  EXPECT_EQ(report->damages[1].record, "last/data/1");
  EXPECT_EQ(report->damages[1].offset, at_b);
}

TEST_F(VerifyFiles, ADamagedLocalHeaderIsOneDamage) {
  std::string bytes = FixtureBytes("values.pt");
  const std::size_t second = bytes.find("PK\x03\x04", 10);
  bytes[second] = 'x';
  Put(bytes);
  const Result<VerifyReport> report = Verify();
  ASSERT_TRUE(report) << report.error().ToString();
  ASSERT_EQ(report->damage_count, 1u);
  EXPECT_EQ(report->damages[0].offset, second);
  EXPECT_EQ(report->damages[0].what,
            "no local header where the directory says");
}

// Wherever a byte of a payload flips, stored or deflated.
TEST_F(VerifyFiles, NoFlippedByteIsMissed) {
  for (const char* name : {"values.pt", "deflated.pt"}) {
    const std::string whole = FixtureBytes(name);
    const auto tail =
        ParseZipTail(std::as_bytes(std::span(whole)), whole.size());
    const auto entries = ParseZipDirectory(
        std::as_bytes(std::span(whole))
            .subspan(tail->directory_offset, tail->directory_bytes),
        *tail);
    ASSERT_TRUE(entries);
    std::vector<ZipEntry> sorted = *entries;
    std::sort(sorted.begin(), sorted.end(),
              [](const ZipEntry& x, const ZipEntry& y) {
                return x.header_offset < y.header_offset;
              });
    for (const ZipEntry& entry : sorted) {
      const auto payload = ZipPayloadOffset(
          entry, std::as_bytes(std::span(whole)).subspan(entry.header_offset),
          tail->directory_offset);
      ASSERT_TRUE(payload);
      if (entry.stored_bytes == 0) continue;
      // The last byte of a deflated record may hold bits that mean nothing.
      const std::uint64_t end = entry.stored_bytes - (entry.deflated ? 1 : 0);
      for (std::uint64_t i = 0; i < end; i += 7) {
        std::string damaged = whole;
        damaged[*payload + i] ^= 0x10;
        // In pieces of odd sizes, so that headers and payloads are cut.
        ZipVerifier verifier(sorted, tail->directory_offset);
        for (std::size_t at = 0; at < tail->directory_offset; at += 13) {
          verifier.Feed(std::as_bytes(std::span(damaged))
                            .subspan(at, std::min<std::size_t>(
                                             13, tail->directory_offset - at)));
        }
        ASSERT_EQ(verifier.damage_count(), 1u) << entry.name << " + " << i;
        ASSERT_EQ(verifier.damages()[0].record, entry.name);
        ASSERT_EQ(verifier.damages()[0].offset, *payload);
      }
    }
  }
}

TEST_F(VerifyFiles, ATruncatedFileIsAnError) {
  const std::string whole = FixtureBytes("values.pt");
  for (std::size_t n = 0; n < whole.size(); n += 101) {
    Put(whole.substr(0, n));
    const Result<VerifyReport> report = Verify();
    ASSERT_FALSE(report) << n;
    EXPECT_EQ(report.error().code(), ErrorCode::kInvalidArgument) << n;
  }
}

TEST_F(VerifyFiles, ManyDamagesAreCounted) {
  std::vector<std::pair<std::string, Value>> items;
  for (int i = 0; i < 1500; ++i) {
    items.emplace_back("t" + std::to_string(i),
                       NewTensor({4}, static_cast<unsigned>(i)));
  }
  ASSERT_TRUE(SaveTorchFile(engine, State(std::move(items)), kPath).Get());
  std::string bytes = Stored();
  for (int i = 0; i < 1500; ++i) {
    const std::string tensor =
        BytesOf(NewTensor({4}, static_cast<unsigned>(i)));
    const std::string record = "last/data/" + std::to_string(i);
    const std::size_t name = bytes.find(record);
    bytes[bytes.find(tensor, name)] ^= 1;
  }
  Put(bytes);
  const Result<VerifyReport> report = Verify();
  ASSERT_TRUE(report) << report.error().ToString();
  EXPECT_EQ(report->damage_count, 1500u);
  EXPECT_EQ(report->damages.size(), ZipVerifier::kMaxDamages);
}

TEST_F(VerifyFiles, SafetensorsBySizes) {
  ASSERT_TRUE(
      SaveSafetensors(engine, {{{"w", NewTensor({4 << 20}, 1)}}, {}}, kPath)
          .Get());
  const std::size_t before = store->log().size();
  const Result<VerifyReport> report = Verify();
  ASSERT_TRUE(report) << report.error().ToString();
  EXPECT_FALSE(report->checksums);
  EXPECT_EQ(report->parts, 1u);
  EXPECT_EQ(store->log().size(), before + 1);
  const std::string whole = Stored();
  Put(whole.substr(0, whole.size() - 1));
  EXPECT_EQ(Verify().error().code(), ErrorCode::kInvalidArgument);
}

TEST_F(VerifyFiles, AFailedReadEndsIt) {
  ASSERT_TRUE(
      SaveTorchFile(engine, State({{"a", NewTensor({20 << 20}, 1)}}), kPath)
          .Get());
  // The head, the tail, the first block, then this one.
  store->FailCall(store->log().size() + 3, Verdict::FailBefore());
  const Result<VerifyReport> report = Verify();
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code(), ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace ckptfs

// What inspect and verify print.
#include "cli/summary_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace ckptfs::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

FileSummary Summary() {
  FileSummary summary;
  summary.name = "s3://b/last.ckpt";
  summary.file_bytes = 3 << 20;
  summary.format = {{"alignment", "64"}};
  summary.tensors = {
      {"fc.weight", DType::kFloat32, {300, 1000}, 1'200'000},
      {"a\n\x1b[2Jb\xff", DType::kBFloat16, {}, 2},
  };
  summary.stored_bytes = 1'200'064;
  summary.others = {{"epoch", "3"}};
  return summary;
}

TEST(SummaryText, IsATable) {
  const std::string text = SummaryText(Summary());
  EXPECT_THAT(text, HasSubstr("file          s3://b/last.ckpt\n"));
  EXPECT_THAT(text, HasSubstr("kind          torch.save\n"));
  EXPECT_THAT(text, HasSubstr("bytes         3145728 (3.0 MiB)\n"));
  EXPECT_THAT(text, HasSubstr("alignment     64\n"));
  EXPECT_THAT(text, HasSubstr("tensor bytes  1200002 (1.1 MiB)\n"));
  EXPECT_THAT(text, HasSubstr("  epoch  3\n"));
  EXPECT_THAT(text, HasSubstr("fc.weight        float32   [300, 1000]  "
                              "1200000\n"));
  EXPECT_THAT(text, Not(HasSubstr("unsafe")));
}

TEST(SummaryText, NamesCannotActOnATerminal) {
  FileSummary summary = Summary();
  summary.unsafe_globals = {{"os\x1b", "system\n"}};
  const std::string text = SummaryText(summary);
  EXPECT_THAT(text, HasSubstr("a\\n\\x1b[2Jb\\xff"));
  EXPECT_THAT(text, HasSubstr("  os\\x1b.system\\n\n"));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\x1b'), 0);
}

TEST(SummaryJson, IsOneObjectOnOneLine) {
  FileSummary summary = Summary();
  summary.unsafe_globals = {{"posix", "system"}};
  const std::string text = SummaryJson(summary);
  EXPECT_EQ(text.find('\n'), text.size() - 1);
  const auto json = nlohmann::json::parse(text);
  EXPECT_EQ(json["kind"], "torch.save");
  EXPECT_EQ(json["file_bytes"], 3 << 20);
  EXPECT_EQ(json["tensor_bytes"], 1'200'002);
  EXPECT_EQ(json["tensors"][0]["name"], "fc.weight");
  EXPECT_EQ(json["tensors"][0]["shape"], (std::vector<int>{300, 1000}));
  EXPECT_EQ(json["tensors"][1]["dtype"], "bfloat16");
  EXPECT_EQ(json["tensors"][1]["name"], "a\n\x1b[2Jb\xef\xbf\xbd");
  EXPECT_EQ(json["others"][0]["key"], "epoch");
  EXPECT_EQ(json["unsafe_globals"][0], "posix.system");
}

TEST(VerifyText, SaysWhatWasCompared) {
  VerifyReport report;
  report.name = "f.pt";
  report.file_bytes = 100;
  report.parts = 7;
  report.checksums = true;
  EXPECT_EQ(VerifyText(report),
            "f.pt: whole: 7 records, 100 bytes, all checksums match\n");
  report.damages = {{"a/data/\n0", 64, "its checksum is wrong"}};
  report.damage_count = 3;
  EXPECT_EQ(VerifyText(report),
            "damaged: f.pt: record a/data/\\n0 at offset 64: its checksum is "
            "wrong\nand 2 more\nf.pt: damaged: 3 problems in 7 records\n");
  report = {};
  report.name = "f.safetensors";
  report.kind = FileSummary::Kind::kSafetensors;
  report.parts = 2;
  report.file_bytes = 208;
  EXPECT_THAT(VerifyText(report), HasSubstr("safetensors has no checksums"));
}

}  // namespace
}  // namespace ckptfs::cli

// DcpFileSystem, on a bucket in memory and on plain files.
#include <ckptfs/checkpoint/dcp/file_system.h>

#include <cstring>

#include "support/object_bytes.h"
#include "unit/checkpoint/engine_fixture.h"

namespace ckptfs {
namespace {

class DcpFileSystemTest : public EngineTest {
 protected:
  std::vector<std::string> Folders() {
    return {"s3://bucket/run", folder + "/run"};
  }
  Result<void> Write(const std::string& path, const std::string& text,
                     std::size_t step) {
    CKPTFS_ASSIGN_OR_RETURN(DcpStream stream, files->CreateStream(path, "wb"));
    const auto bytes = std::as_bytes(std::span(text));
    for (std::size_t at = 0; at < text.size(); at += step) {
      CKPTFS_RETURN_IF_ERROR(stream.writer->Write(
          bytes.subspan(at, std::min(step, text.size() - at))));
    }
    EXPECT_EQ(stream.writer->Tell(), text.size());
    return stream.writer->Close();
  }
  Result<std::string> Read(const std::string& path, std::size_t step) {
    CKPTFS_ASSIGN_OR_RETURN(DcpStream stream, files->CreateStream(path, "rb"));
    std::string text;
    while (true) {
      std::string bite(step, '\0');
      CKPTFS_ASSIGN_OR_RETURN(
          const std::uint64_t n,
          stream.reader->Read(std::as_writable_bytes(std::span(bite))));
      if (n == 0) break;
      text.append(bite, 0, n);
    }
    EXPECT_EQ(stream.reader->Tell(), stream.reader->size());
    return text;
  }

  std::unique_ptr<DcpFileSystem> files = MakeDcpFileSystem(engine);
};

TEST_F(DcpFileSystemTest, StreamsOfAnySize) {
  for (const std::string& run : Folders()) {
    ASSERT_TRUE(files->MakeDirectory(run));
    for (const std::size_t size : {0ul, 5ul, (16ul << 20), (37ul << 20) + 7}) {
      const std::string text = PatternBytes(size);
      const std::string path = files->ConcatPath(run, "file");
      const Result<void> wrote = Write(path, text, 3'000'000);
      ASSERT_TRUE(wrote) << wrote.error().ToString();
      EXPECT_TRUE(*Read(path, 700'000) == text) << path << size;
      EXPECT_TRUE(*Read(path, 6'000'000) == text) << path << size;
    }
  }
}

TEST_F(DcpFileSystemTest, SeekAndTell) {
  for (const std::string& run : Folders()) {
    ASSERT_TRUE(files->MakeDirectory(run));
    const std::string text = PatternBytes(3 << 20);
    ASSERT_TRUE(Write(run + "/file", text, 1 << 20));
    DcpStream stream = *files->CreateStream(run + "/file", "rb");
    for (const std::uint64_t at : {2ul << 20, 5ul, (3ul << 20) - 10}) {
      ASSERT_TRUE(stream.reader->Seek(at));
      std::string bite(100, '\0');
      const auto n =
          stream.reader->Read(std::as_writable_bytes(std::span(bite)));
      ASSERT_TRUE(n);
      EXPECT_EQ(bite.substr(0, *n), text.substr(at, 100));
      EXPECT_EQ(stream.reader->Tell(), at + *n);
    }
    ASSERT_TRUE(stream.reader->Seek(1ull << 60));
    EXPECT_EQ(stream.reader->Tell(), 3u << 20);
  }
}

TEST_F(DcpFileSystemTest, AStreamThatIsNotClosedLeavesNothing) {
  for (const std::string& run : Folders()) {
    ASSERT_TRUE(files->MakeDirectory(run));
    ASSERT_TRUE(Write(run + "/file", "old", 3));
    {
      DcpStream stream = *files->CreateStream(run + "/file", "wb");
      const std::string text(40 << 20, 'x');
      ASSERT_TRUE(stream.writer->Write(std::as_bytes(std::span(text))));
    }
    EXPECT_EQ(*Read(run + "/file", 10), "old");
    EXPECT_EQ(*files->List(run), std::vector<std::string>{"file"});
  }
  EXPECT_TRUE(bucket.ListMultipartUploads({}).Get()->uploads.empty());
}

TEST_F(DcpFileSystemTest, APartThatFailsFailsTheStream) {
  ASSERT_TRUE(Write("s3://bucket/run/file", "old", 3));
  store->FailNext(StoreOperation::kUploadPart, Verdict::FailBefore(), -1);
  EXPECT_FALSE(Write("s3://bucket/run/file", PatternBytes(40 << 20), 1 << 20));
  store->ClearFaults();
  EXPECT_EQ(*Read("s3://bucket/run/file", 10), "old");
}

TEST_F(DcpFileSystemTest, Names) {
  for (const std::string& run : Folders()) {
    ASSERT_TRUE(files->MakeDirectory(run));
    ASSERT_TRUE(Write(run + "/a", "text", 4));
    EXPECT_TRUE(*files->Exists(run + "/a"));
    EXPECT_FALSE(*files->Exists(run));
    ASSERT_TRUE(files->Rename(run + "/a", run + "/b"));
    EXPECT_FALSE(*files->Exists(run + "/a"));
    EXPECT_EQ(*files->List(run), std::vector<std::string>{"b"});
    ASSERT_TRUE(files->RemoveFile(run + "/b"));
    ASSERT_TRUE(files->RemoveFile(run + "/b"));
    EXPECT_EQ(files->CreateStream(run + "/b", "rb").error().code(),
              ErrorCode::kNotFound);
    for (const char* mode : {"r", "w", "ab", "r+b", ""}) {
      EXPECT_EQ(files->CreateStream(run + "/b", mode).error().code(),
                ErrorCode::kInvalidArgument);
    }
    EXPECT_TRUE(files->ValidateCheckpointId(run));
    EXPECT_EQ(*files->InitPath(run), run);
  }
  EXPECT_FALSE(files->ValidateCheckpointId("gs://bucket/run"));
  EXPECT_FALSE(files->InitPath(""));
}

}  // namespace
}  // namespace ckptfs

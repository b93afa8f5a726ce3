// The adapter over a real mount, with a file system in memory behind it.
#include "fuse/session.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <set>
#include <thread>

#include "fuse/mount_device.h"
#include "fuse/mount_table.h"
#include "unit/fuse/memory_dispatcher.h"
#include "unit/fuse/mount_fixture.h"

namespace ckptfs::fuse {
namespace {

constexpr std::size_t kMiB = 1 << 20;

// Closes at the end; -1 with errno where open failed.
class File {
 public:
  File(const std::string& path, int flags)
      : fd_(open(path.c_str(), flags | O_CLOEXEC, 0644)) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  int fd() const { return fd_; }

 private:
  int fd_;
};

std::string Pattern(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) {
    text[i] = static_cast<char>((i * 131 + (i >> 12)) & 0xff);
  }
  return text;
}

std::string ReadAll(const std::string& path) {
  File file(path, O_RDONLY);
  std::string out;
  std::string buffer(kMiB, '\0');
  ssize_t n;
  while ((n = read(file.fd(), buffer.data(), buffer.size())) > 0) {
    out.append(buffer.data(), static_cast<std::size_t>(n));
  }
  EXPECT_EQ(n, 0) << "error " << errno;
  return out;
}

class SessionTest : public MountTest {
 protected:
  MemoryDispatcher dispatcher_;
};

TEST_F(SessionTest, LargeWritesArriveAsWholeSlabs) {
  dispatcher_.set_direct_io(true);
  dispatcher_.set_keep_slabs(true);
  TestMount mount(dispatcher_);
  const std::string pattern = Pattern(8 * kMiB + 4096);
  // On a page boundary; see the next test for other addresses.
  const std::string_view data(
      pattern.data() + 4096 -
          reinterpret_cast<std::uintptr_t>(pattern.data()) % 4096,
      8 * kMiB);
  {
    File file(mount.Path("model.pt"), O_WRONLY | O_CREAT);
    ASSERT_GE(file.fd(), 0);
    for (std::size_t at = 0; at < data.size(); at += kMiB) {
      ASSERT_EQ(write(file.fd(), data.data() + at, kMiB),
                static_cast<ssize_t>(kMiB));
    }
  }
  const auto writes = dispatcher_.writes();
  ASSERT_EQ(writes.size(), 8u);
  std::set<const void*> slabs;
  for (std::size_t i = 0; i < writes.size(); ++i) {
    EXPECT_EQ(writes[i].offset, i * kMiB);
    EXPECT_EQ(writes[i].size, kMiB);
    // Behind the two headers, where the kernel put it: nothing was copied.
    EXPECT_EQ(writes[i].offset_in_slab, 80u);
    slabs.insert(writes[i].slab);
    EXPECT_EQ(writes[i].caller.tid, gettid());
    EXPECT_FALSE(writes[i].from_page_cache);
  }
  EXPECT_EQ(slabs.size(), 8u) << "a kept slab was received into again";
  EXPECT_EQ(dispatcher_.Content("model.pt"), data);
}

// A request holds 256 pages, so 1 MiB from an address inside a page comes in
// two; only the last request of a write(2) is cut so.
TEST_F(SessionTest, UnalignedWritesLeaveOneSmallRequestAtTheirEnd) {
  dispatcher_.set_direct_io(true);
  TestMount mount(dispatcher_);
  const std::string pattern = Pattern(4 * kMiB + 8192);
  const std::string_view data(
      pattern.data() + 4096 + 64 -
          reinterpret_cast<std::uintptr_t>(pattern.data()) % 4096,
      4 * kMiB);
  {
    File file(mount.Path("model.pt"), O_WRONLY | O_CREAT);
    ASSERT_EQ(write(file.fd(), data.data(), data.size()),
              static_cast<ssize_t>(data.size()));
  }
  std::vector<std::size_t> sizes;
  for (const auto& w : dispatcher_.writes()) sizes.push_back(w.size);
  EXPECT_THAT(sizes, ::testing::ElementsAre(kMiB - 64, kMiB, kMiB, kMiB, 64));
  EXPECT_EQ(dispatcher_.Content("model.pt"), data);
}

TEST_F(SessionTest, SlabsAreReusedByRequestsThatDoNotKeepThem) {
  TestMount mount(dispatcher_);
  for (int i = 0; i < 100; ++i) {
    struct stat st{};
    stat(mount.Path("missing" + std::to_string(i)).c_str(), &st);
  }
  // One for each receive thread.
  EXPECT_LE(mount.slabs().outstanding(), 2u);
}

TEST_F(SessionTest, ReadsGiveWhatIsThere) {
  const std::string data = Pattern(3 * kMiB + 12345);
  dispatcher_.AddFile("a", data);
  dispatcher_.AddFile("empty", "");
  TestMount mount(dispatcher_);
  EXPECT_EQ(ReadAll(mount.Path("a")), data);
  EXPECT_EQ(ReadAll(mount.Path("empty")), "");
  File file(mount.Path("a"), O_RDONLY);
  char tail[10];
  EXPECT_EQ(pread(file.fd(), tail, 10, static_cast<off_t>(data.size()) - 3), 3);
  EXPECT_EQ(std::string(tail, 3), data.substr(data.size() - 3));
}

TEST_F(SessionTest, SequentialReadsUseLargeRequests) {
  if (geteuid() != 0) GTEST_SKIP() << "only root may raise the read-ahead";
  dispatcher_.AddFile("a", std::string(32 * kMiB, 'x'));
  TestMount mount(dispatcher_);
  EXPECT_EQ(ReadAll(mount.Path("a")).size(), 32 * kMiB);
  const auto sizes = dispatcher_.read_sizes();
  EXPECT_EQ(*std::max_element(sizes.begin(), sizes.end()), kMiB);
  EXPECT_LE(sizes.size(), 48u);
}

TEST_F(SessionTest, MappedPagesComeBackAsPageCacheWrites) {
  dispatcher_.AddFile("a", std::string(8192, 'x'));
  TestMount mount(dispatcher_);
  {
    File file(mount.Path("a"), O_RDWR);
    void* memory =
        mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, file.fd(), 0);
    ASSERT_NE(memory, MAP_FAILED);
    static_cast<char*>(memory)[5000] = 'y';
    EXPECT_EQ(msync(memory, 8192, MS_SYNC), 0);
    munmap(memory, 8192);
  }
  const auto writes = dispatcher_.writes();
  ASSERT_EQ(writes.size(), 1u);
  EXPECT_TRUE(writes[0].from_page_cache);
  EXPECT_EQ(writes[0].caller.tid, 0);
  EXPECT_EQ(dispatcher_.Content("a")[5000], 'y');
}

TEST_F(SessionTest, ListsTenThousandNames) {
  std::set<std::string> names;
  for (int i = 0; i < 10000; ++i) {
    const std::string name =
        "step-" + std::to_string(i) + std::string(i % 60, 'x');
    names.insert(name);
    dispatcher_.AddFile(name, "");
  }
  TestMount mount(dispatcher_);
  std::multiset<std::string> seen;
  for (const auto& e : std::filesystem::directory_iterator(mount.Path(""))) {
    seen.insert(e.path().filename().native());
  }
  EXPECT_TRUE(std::equal(seen.begin(), seen.end(), names.begin(), names.end()));
}

TEST_F(SessionTest, NamesAreMadeMovedAndRemoved) {
  TestMount mount(dispatcher_);
  EXPECT_EQ(mkdir(mount.Path("d").c_str(), 0755), 0);
  EXPECT_EQ(mkdir(mount.Path("d").c_str(), 0755), -1);
  EXPECT_EQ(errno, EEXIST);
  std::ofstream(mount.Path("d/f")) << "content";
  EXPECT_EQ(rmdir(mount.Path("d").c_str()), -1);
  EXPECT_EQ(errno, ENOTEMPTY);
  EXPECT_EQ(rename(mount.Path("d/f").c_str(), mount.Path("g").c_str()), 0);
  EXPECT_EQ(ReadAll(mount.Path("g")), "content");
  std::ofstream(mount.Path("h")) << "other";
  EXPECT_EQ(renameat2(AT_FDCWD, mount.Path("g").c_str(), AT_FDCWD,
                      mount.Path("h").c_str(), RENAME_NOREPLACE),
            -1);
  EXPECT_EQ(errno, EEXIST);
  EXPECT_EQ(unlink(mount.Path("g").c_str()), 0);
  EXPECT_EQ(unlink(mount.Path("g").c_str()), -1);
  EXPECT_EQ(errno, ENOENT);
  EXPECT_EQ(rmdir(mount.Path("d").c_str()), 0);
}

TEST_F(SessionTest, WhatS3HasNoFormForIsRefused) {
  dispatcher_.AddFile("a", "");
  TestMount mount(dispatcher_);
  EXPECT_EQ(symlink("x", mount.Path("s").c_str()), -1);
  EXPECT_EQ(errno, EOPNOTSUPP);
  EXPECT_EQ(link(mount.Path("a").c_str(), mount.Path("l").c_str()), -1);
  EXPECT_EQ(errno, EOPNOTSUPP);
  EXPECT_EQ(mkfifo(mount.Path("p").c_str(), 0644), -1);
  EXPECT_EQ(errno, EOPNOTSUPP);
  File file(mount.Path("a"), O_RDWR);
  EXPECT_EQ(fallocate(file.fd(), 0, 0, 4096), -1);
  EXPECT_EQ(errno, EOPNOTSUPP);
}

TEST_F(SessionTest, AttributesAreSetAndShown) {
  dispatcher_.AddFile("a", std::string(1000, 'x'));
  TestMount mount(dispatcher_);
  const std::string path = mount.Path("a");
  EXPECT_EQ(chmod(path.c_str(), 0600), 0);
  const timespec times[2] = {{1'600'000'000, 123'456'789},
                             {-1, 999'999'999}};  // before 1970, too
  EXPECT_EQ(utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  struct stat st{};
  ASSERT_EQ(stat(path.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode, S_IFREG | 0600u);
  EXPECT_EQ(st.st_atim.tv_nsec, 123'456'789);
  EXPECT_EQ(st.st_mtim.tv_sec, -1);
  EXPECT_EQ(st.st_mtim.tv_nsec, 999'999'999);
  EXPECT_EQ(st.st_size, 1000);
  EXPECT_EQ(st.st_blocks, 2);
  EXPECT_EQ(st.st_blksize, 1 << 20);
  EXPECT_GE(st.st_ino, kFirstInode);
  EXPECT_EQ(utimensat(AT_FDCWD, path.c_str(), nullptr, 0), 0);
  ASSERT_EQ(stat(path.c_str(), &st), 0);
  EXPECT_LT(std::abs(st.st_mtim.tv_sec - time(nullptr)), 60);
  EXPECT_EQ(truncate(path.c_str(), 10), 0);
  EXPECT_EQ(dispatcher_.Content("a").size(), 10u);
  File file(path, O_RDWR);
  EXPECT_EQ(ftruncate(file.fd(), 20), 0);
  EXPECT_EQ(dispatcher_.Content("a").size(), 20u);
  File truncated(path, O_WRONLY | O_TRUNC);
  EXPECT_TRUE(dispatcher_.opens().back().flags & O_TRUNC);
  struct statvfs fs_info{};
  ASSERT_EQ(statvfs(path.c_str(), &fs_info), 0);
  EXPECT_EQ(fs_info.f_blocks, 1000u);
  EXPECT_EQ(fs_info.f_namemax, 255u);
}

TEST_F(SessionTest, ExtendedAttributesFollowTheSizeProtocol) {
  dispatcher_.AddFile("a", "");
  TestMount mount(dispatcher_);
  const char* path = nullptr;
  const std::string name = mount.Path("a");
  path = name.c_str();
  EXPECT_EQ(setxattr(path, "user.ckptfs.changed", "1234", 4, 0), 0);
  EXPECT_EQ(getxattr(path, "user.ckptfs.changed", nullptr, 0), 4);
  char value[8];
  EXPECT_EQ(getxattr(path, "user.ckptfs.changed", value, 3), -1);
  EXPECT_EQ(errno, ERANGE);
  EXPECT_EQ(getxattr(path, "user.ckptfs.changed", value, 8), 4);
  EXPECT_EQ(std::string(value, 4), "1234");
  EXPECT_EQ(getxattr(path, "user.none", value, 8), -1);
  EXPECT_EQ(errno, ENODATA);
  EXPECT_EQ(listxattr(path, nullptr, 0), 20);
  EXPECT_EQ(removexattr(path, "user.ckptfs.changed"), -1);
  EXPECT_EQ(errno, EOPNOTSUPP);
  const int before = dispatcher_.xattr_requests();
  EXPECT_EQ(getxattr(path, "security.capability", value, 8), -1);
  EXPECT_EQ(errno, ENODATA);
  EXPECT_EQ(dispatcher_.xattr_requests(), before);
}

// The default loop of libfuse stops here: each waiting flush takes a thread.
TEST_F(SessionTest, SlowFlushesStopNobodyElse) {
  TestMount mount(dispatcher_);
  constexpr int kFiles = 64;
  dispatcher_.HoldFlushes(true);
  std::vector<std::thread> closers;
  for (int i = 0; i < kFiles; ++i) {
    closers.emplace_back([&, i] {
      File file(mount.Path("f" + std::to_string(i)), O_WRONLY | O_CREAT);
    });
  }
  dispatcher_.AwaitHeld(kFiles);
  dispatcher_.HoldFlushes(false);
  std::ofstream(mount.Path("other")) << "alive";
  EXPECT_EQ(ReadAll(mount.Path("other")), "alive");
  dispatcher_.ReleaseHeld();
  for (std::thread& t : closers) t.join();
}

TEST_F(SessionTest, ManyThreadsReadAndWrite) {
  TestMount mount(dispatcher_);
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      const std::string path = mount.Path("t" + std::to_string(i));
      const std::string data = Pattern(500'000 + static_cast<std::size_t>(i));
      for (int round = 0; round < 5; ++round) {
        {
          File file(path, O_WRONLY | O_CREAT | O_TRUNC);
          ASSERT_EQ(write(file.fd(), data.data(), data.size()),
                    static_cast<ssize_t>(data.size()));
        }
        ASSERT_EQ(ReadAll(path), data);
      }
    });
  }
  for (std::thread& t : threads) t.join();
}

TEST_F(SessionTest, InvalidatedPagesAreReadAgain) {
  dispatcher_.set_keep_cache(true);
  const fs::InodeNumber ino = dispatcher_.AddFile("a", "old!");
  TestMount mount(dispatcher_);
  EXPECT_EQ(ReadAll(mount.Path("a")), "old!");
  dispatcher_.SetContent(ino, "new!");
  EXPECT_EQ(ReadAll(mount.Path("a")), "old!") << "the page cache was not used";
  mount.session().InvalidateInode(ino);
  // The notification is asynchronous; its effect is what is waited for.
  while (ReadAll(mount.Path("a")) != "new!") std::this_thread::yield();
}

TEST_F(SessionTest, InvalidatedNamesAreLookedUpAgain) {
  dispatcher_.AddFile("a", "x");
  TestMount mount(dispatcher_);
  struct stat st{};
  ASSERT_EQ(stat(mount.Path("a").c_str(), &st), 0);
  const int before = dispatcher_.lookups();
  mount.session().InvalidateEntry(fs::kRootInode, "a");
  while (dispatcher_.lookups() == before) {
    stat(mount.Path("a").c_str(), &st);
  }
}

// An invalidation waits for the pages being read: reads must go on meanwhile.
TEST_F(SessionTest, InvalidationDuringReadsDoesNotDeadlock) {
  const fs::InodeNumber ino = dispatcher_.AddFile("a", Pattern(kMiB));
  TestMount mount(dispatcher_);
  dispatcher_.HoldReads(true);
  std::thread reader(
      [&] { EXPECT_EQ(ReadAll(mount.Path("a")), Pattern(kMiB)); });
  dispatcher_.AwaitHeld(1);
  for (int i = 0; i < 8; ++i) mount.session().InvalidateInode(ino);
  dispatcher_.HoldReads(false);
  dispatcher_.ReleaseHeld();
  reader.join();
}

TEST_F(SessionTest, IsShownInTheMountTable) {
  TestMount mount(dispatcher_, {.source = "s3://bucket/a,b c"});
  const auto entry = FindMount(mount.session().mount_point());
  ASSERT_TRUE(entry.has_value());
  EXPECT_EQ(entry->type, "fuse.ckptfs");
  EXPECT_EQ(entry->source, "s3://bucket/a,b c");
}

TEST_F(SessionTest, ReadOnlyMountRefusesWrites) {
  dispatcher_.AddFile("a", "x");
  TestMount mount(dispatcher_, {.read_only = true});
  File file(mount.Path("a"), O_WRONLY);
  EXPECT_EQ(file.fd(), -1);
  EXPECT_EQ(errno, EROFS);
  EXPECT_EQ(ReadAll(mount.Path("a")), "x");
}

TEST_F(SessionTest, UnmountIsRefusedWhileInUse) {
  dispatcher_.AddFile("a", "x");
  TestMount mount(dispatcher_);
  {
    File file(mount.Path("a"), O_RDONLY);
    const Result<void> busy = mount.session().Unmount(UnmountMode::kIfUnused);
    ASSERT_FALSE(busy.has_value());
    EXPECT_EQ(busy.error().code(), ErrorCode::kConflict);
  }
  // The kernel sends RELEASE behind close(); until then the file is in use.
  while (!mount.session().Unmount(UnmountMode::kIfUnused).has_value()) {
    std::this_thread::yield();
  }
  mount.session().Wait();
  EXPECT_TRUE(mount.session().Unmount(UnmountMode::kIfUnused).has_value())
      << "nothing is mounted any more";
}

TEST_F(SessionTest, LazyUnmountLetsOpenFilesEnd) {
  dispatcher_.AddFile("a", "content");
  TestMount mount(dispatcher_);
  {
    File file(mount.Path("a"), O_RDONLY);
    ASSERT_TRUE(mount.session().Unmount(UnmountMode::kLazy).has_value());
    char text[7];
    EXPECT_EQ(read(file.fd(), text, 7), 7);
  }
  // The connection ends with the last file. RELEASE is not part of the promise:
  // the kernel drops those that nobody has read by then.
  mount.session().Wait();
}

TEST_F(SessionTest, ForcedEndFreesWhoeverWaits) {
  dispatcher_.set_direct_io(true);
  dispatcher_.AddFile("a", "content");
  std::thread reader;
  int error = 0;
  {
    TestMount mount(dispatcher_);
    dispatcher_.HoldReads(true);
    reader = std::thread([&error, path = mount.Path("a")] {
      File file(path, O_RDONLY);
      char text[7];
      if (read(file.fd(), text, 7) < 0) error = errno;
    });
    dispatcher_.AwaitHeld(1);
  }
  reader.join();
  EXPECT_EQ(error, ECONNABORTED);
  // An answer after the end leads nowhere, and does no harm.
  dispatcher_.ReleaseHeld();
}

TEST_F(SessionTest, StopEndsTheDispatcherCallsAtOnce) {
  TestMount mount(dispatcher_);
  mount.session().Stop();
  mount.session().Stop();
  mount.session().Wait();
}

TEST_F(SessionTest, ASessionThatWasNeverStartedUnmounts) {
  TemporaryDirectory directory;
  SlabPool slabs(1);
  ThreadPool work("work", 1);
  {
    auto session =
        Session::Create({.mount_point = directory.path()}, slabs, work);
    ASSERT_TRUE(session.has_value()) << session.error().ToString();
    EXPECT_TRUE(FindMount(directory.path().native()).has_value());
  }
  EXPECT_FALSE(FindMount(directory.path().native()).has_value());
}

ErrorCode CreateError(const std::string& mount_point) {
  SlabPool slabs(1);
  ThreadPool work("work", 1);
  auto session = Session::Create({.mount_point = mount_point}, slabs, work);
  if (session.has_value()) return ErrorCode::kInternal;
  EXPECT_THAT(session.error().message(), ::testing::HasSubstr(mount_point));
  return session.error().code();
}

TEST(SessionErrors, MountPointIsMissingOrNoDirectory) {
  const TemporaryDirectory directory;
  const std::string file = directory.path() / "file";
  EXPECT_EQ(CreateError(file), ErrorCode::kNotFound);
  std::ofstream(file) << "x";
  EXPECT_EQ(CreateError(file), ErrorCode::kNotDirectory);
  EXPECT_EQ(CreateError(file + "/below"), ErrorCode::kNotDirectory);
  std::filesystem::remove(file);
}

TEST_F(SessionTest, MountPointIsTaken) {
  TestMount mount(dispatcher_);
  EXPECT_EQ(CreateError(mount.session().mount_point()), ErrorCode::kConflict);
}

TEST_F(SessionTest, MountPointOfADeadDaemon) {
  const TemporaryDirectory directory;
  MountRequest request;
  request.mount_point = directory.path();
  request.source = "s3://gone";
  Result<FileDescriptor> device = MountFuse(request);
  ASSERT_TRUE(device.has_value());
  device->Close();
  EXPECT_EQ(CreateError(directory.path()), ErrorCode::kConflict);
  EXPECT_TRUE(UnmountFuse(directory.path(), true).has_value());
}

}  // namespace
}  // namespace ckptfs::fuse

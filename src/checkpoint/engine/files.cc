#include "checkpoint/engine/files.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include "checkpoint/io/file_error.h"
#include "checkpoint/io/file_sink.h"
#include "checkpoint/io/file_source.h"
#include "checkpoint/io/object_sink.h"
#include "checkpoint/io/object_source.h"
#include "checkpoint/io/run_on.h"
#include "checkpoint/io/string_destination.h"
#include "common/log.h"
#include "transfer/object_writer.h"

namespace ckptfs {

namespace {

Result<bool> FileExists(const std::string& path) {
  struct stat st{};
  if (stat(path.c_str(), &st) == 0) return !S_ISDIR(st.st_mode);
  if (errno == ENOENT || errno == ENOTDIR) return false;
  return Fail(FileError(errno, "stat " + path));
}

Result<void> RemoveFile(const std::string& path) {
  if (unlink(path.c_str()) == 0 || errno == ENOENT) return {};
  return Fail(FileError(errno, "unlink " + path));
}

Result<void> RenameFile(const std::string& from, const std::string& to) {
  if (rename(from.c_str(), to.c_str()) == 0) return {};
  return Fail(FileError(errno, "rename " + from + " to " + to));
}

// By which a file system on this machine has it; empty: none does.
const std::string& PlainPath(const Location& location) {
  return location.kind == Location::Kind::kFile ? location.path
                                                : location.mounted_path;
}

Result<void> MakeFolders(const std::string& path) {
  for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string part = path.substr(0, end);
    if (mkdir(part.c_str(), 0777) != 0 && errno != EEXIST) {
      return Fail(FileError(errno, "mkdir " + part));
    }
    if (end == std::string::npos) break;
  }
  struct stat st{};
  if (stat(path.c_str(), &st) != 0) {
    return Fail(FileError(errno, "stat " + path));
  }
  if (!S_ISDIR(st.st_mode)) return Fail(FileError(ENOTDIR, "mkdir " + path));
  return {};
}

Result<std::vector<std::string>> FilesIn(const std::string& folder) {
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(folder.c_str()),
                                                closedir);
  if (dir == nullptr) return Fail(FileError(errno, "opendir " + folder));
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = readdir(dir.get())) {
    bool file = entry->d_type == DT_REG;
    if (entry->d_type == DT_UNKNOWN || entry->d_type == DT_LNK) {
      const Result<bool> is_file = FileExists(JoinPath(folder, entry->d_name));
      CKPTFS_RETURN_IF_ERROR(is_file);
      file = *is_file;
    }
    if (file) names.push_back(entry->d_name);
    errno = 0;
  }
  if (errno != 0) return Fail(FileError(errno, "readdir " + folder));
  std::sort(names.begin(), names.end());
  return names;
}

Task<Result<std::vector<std::string>>> ObjectsIn(ObjectStore* store,
                                                 std::string prefix,
                                                 std::stop_token stop) {
  std::vector<std::string> names;
  ListRequest request;
  request.options.stop = std::move(stop);
  request.prefix = prefix;
  request.delimiter = "/";
  while (true) {
    Result<ListResult> page = co_await store->List(request);
    CKPTFS_CO_RETURN_IF_ERROR(page);
    for (const ObjectInfo& object : page->objects) {
      // The key of the folder itself is its marker.
      if (object.key.size() > prefix.size()) {
        names.push_back(object.key.substr(prefix.size()));
      }
    }
    if (!page->truncated) co_return names;
    request.continuation_token = page->next_continuation_token;
  }
}

// Of one bucket.
Task<Result<void>> RenameObject(ObjectStore* store, Executor* executor,
                                std::string from, std::string to) {
  HeadRequest head;
  head.key = from;
  Result<ObjectInfo> source = co_await store->Head(std::move(head));
  CKPTFS_CO_RETURN_IF_ERROR(source);
  if (from == to) co_return Result<void>();  // not even removed
  WriteCondition unconditional;
  CopyOptions options;
  Result<ObjectInfo> copied =
      co_await CopyObject(*store, *executor, *std::move(source), std::move(to),
                          std::move(unconditional), options);
  CKPTFS_CO_RETURN_IF_ERROR(copied);
  DeleteRequest remove;
  remove.key = std::move(from);
  Result<void> removed = co_await store->Delete(std::move(remove));
  co_return removed;
}

// An object that was named by its path below a mount, which is told of it.
class MountedObjectSink final : public ByteSink {
 public:
  MountedObjectSink(std::unique_ptr<ByteSink> object, Location location,
                    Executor& pool)
      : object_(std::move(object)),
        location_(std::move(location)),
        pool_(pool) {}

  const std::string& name() const override { return object_->name(); }
  void OnArrival(std::function<void(std::uint64_t)> fn) override {
    object_->OnArrival(std::move(fn));
  }
  std::uint64_t part_bytes() const override { return object_->part_bytes(); }
  Task<Result<void>> Write(Payload part) override {
    return object_->Write(std::move(part));
  }
  Task<Result<void>> Commit(WriteCondition condition) override {
    Result<void> committed = co_await object_->Commit(std::move(condition));
    CKPTFS_CO_RETURN_IF_ERROR(committed);
    Future<void> telling =
        RunOn<void>(pool_, [location = location_]() -> Result<void> {
          TellMount(location);
          return {};
        });
    Result<void> told = co_await std::move(telling);
    (void)told;  // TellMount logs what fails
    co_return committed;
  }
  Task<Result<void>> Abort() override { return object_->Abort(); }

 private:
  const std::unique_ptr<ByteSink> object_;
  const Location location_;
  Executor& pool_;
};

}  // namespace

// A mount of AWS names no endpoint, and neither must this engine then.
bool Files::ReachesAs(const Location& location) const {
  if (!location.endpoint_url.empty()) return true;
  const auto set = [](const char* name) {
    const char* const value = std::getenv(name);
    return value != nullptr && *value != '\0';
  };
  return runtime_.options().s3.endpoint_url.empty() &&
         !set("AWS_ENDPOINT_URL_S3") && !set("AWS_ENDPOINT_URL");
}

Task<Result<Location>> Files::Locate(std::string path) {
  Result<Location> location = ParseFileLocation(path);
  CKPTFS_CO_RETURN_IF_ERROR(location);
  if (location->kind == Location::Kind::kFile &&
      runtime_.options().bypass_mounts) {
    Location plain = *location;
    Future<Location> asking = RunOn<Location>(
        runtime_.pool(),
        [plain]() -> Result<Location> { return BypassMount(plain); });
    location = co_await std::move(asking);
    CKPTFS_CO_RETURN_IF_ERROR(location);
    // Without credentials of its own, or with another endpoint in its
    // environment, the caller goes through the mount.
    if (location->kind == Location::Kind::kObject &&
        (!ReachesAs(*location) || !StoreOf(*location))) {
      location = std::move(plain);
    }
  }
  if (location->kind == Location::Kind::kObject) {
    const Result<ObjectStore*> store = StoreOf(*location);
    CKPTFS_CO_RETURN_IF_ERROR(store);
  }
  co_return std::move(location);
}

Task<Result<std::unique_ptr<ByteSource>>> Files::Source(std::string path) {
  Result<Location> at = co_await Locate(std::move(path));
  CKPTFS_CO_RETURN_IF_ERROR(at);
  if (at->kind == Location::Kind::kFile) {
    co_return std::make_unique<FileSource>(at->path, runtime_.pool());
  }
  const Result<ObjectStore*> store = StoreOf(*at);
  CKPTFS_CO_RETURN_IF_ERROR(store);
  ObjectReaderOptions options;
  options.range_bytes = runtime_.options().range_bytes;
  options.max_ranges_in_flight = runtime_.options().ranges_in_flight;
  co_return std::make_unique<ObjectSource>(**store, runtime_.strand(), at->key,
                                           at->name, options);
}

Task<Result<std::unique_ptr<ByteSink>>> Files::Sink(std::string path,
                                                    std::uint64_t size) {
  Result<Location> at = co_await Locate(std::move(path));
  CKPTFS_CO_RETURN_IF_ERROR(at);
  if (at->kind == Location::Kind::kFile) {
    Result<std::unique_ptr<FileSink>> file =
        co_await FileSink::Create(at->path, size, runtime_.pool());
    CKPTFS_CO_RETURN_IF_ERROR(file);
    co_return *std::move(file);
  }
  const Result<ObjectStore*> store = StoreOf(*at);
  CKPTFS_CO_RETURN_IF_ERROR(store);
  ObjectSinkOptions options;
  options.part_bytes = runtime_.options().part_bytes;
  options.parts_in_flight = runtime_.options().parts_in_flight;
  Result<std::unique_ptr<ObjectSink>> object = ObjectSink::Create(
      **store, runtime_.strand(), at->key, at->name, size, std::move(options));
  CKPTFS_CO_RETURN_IF_ERROR(object);
  if (at->mounted_path.empty()) co_return *std::move(object);
  co_return std::make_unique<MountedObjectSink>(
      *std::move(object), *std::move(at), runtime_.pool());
}

Task<Result<void>> Files::Put(std::string path, std::string bytes,
                              WriteCondition condition) {
  const auto owner = std::make_shared<const std::string>(std::move(bytes));
  Result<std::unique_ptr<ByteSink>> sink =
      co_await Sink(std::move(path), owner->size());
  CKPTFS_CO_RETURN_IF_ERROR(sink);
  Result<void> done;
  const std::uint64_t part = (*sink)->part_bytes();
  for (std::uint64_t at = 0; done && at < owner->size(); at += part) {
    Payload payload;
    payload.owner = owner;
    payload.segments.push_back(std::as_bytes(std::span(*owner))
                                   .subspan(at)
                                   .first(std::min(part, owner->size() - at)));
    done = co_await (*sink)->Write(std::move(payload));
  }
  if (done) done = co_await (*sink)->Commit(std::move(condition));
  if (!done) {
    Result<void> undone = co_await (*sink)->Abort();
    if (!undone) LogWarning(undone.error().ToString());
  }
  co_return done;
}

Task<Result<std::string>> Files::GetAll(std::string path,
                                        std::uint64_t max_bytes,
                                        std::stop_token stop) {
  Result<std::unique_ptr<ByteSource>> source = co_await Source(std::move(path));
  CKPTFS_CO_RETURN_IF_ERROR(source);
  constexpr std::uint64_t kFirstBytes = 1 << 20;
  const auto bytes =
      std::make_shared<std::string>(std::min(max_bytes, kFirstBytes), '\0');
  Destination first = IntoString(bytes);
  Result<std::uint64_t> size = co_await (*source)->Open(std::move(first), stop);
  CKPTFS_CO_RETURN_IF_ERROR(size);
  if (*size > max_bytes) {
    co_return Fail(ErrorCode::kTooLarge,
                   (*source)->name() + " has " + std::to_string(*size) +
                       " bytes; at most " + std::to_string(max_bytes) +
                       " are read of such a file");
  }
  const std::uint64_t have = std::min<std::uint64_t>(bytes->size(), *size);
  bytes->resize(*size);
  if (have < *size) {
    Destination rest;
    rest.owner = bytes;
    rest.segments.push_back(
        std::as_writable_bytes(std::span(*bytes)).subspan(have));
    Result<void> read =
        co_await (*source)->Read(have, std::move(rest), std::move(stop));
    CKPTFS_CO_RETURN_IF_ERROR(read);
  }
  co_return std::move(*bytes);
}

Task<Result<bool>> Files::Exists(std::string path, std::stop_token stop) {
  if (path.ends_with('/')) {
    const Result<Location> folder = ParseLocation(path);
    CKPTFS_CO_RETURN_IF_ERROR(folder);
    if (!folder->key.empty() || folder->kind == Location::Kind::kFile) {
      co_return false;
    }
  }
  Result<Location> at = co_await Locate(std::move(path));
  CKPTFS_CO_RETURN_IF_ERROR(at);
  if (at->kind == Location::Kind::kFile) {
    Future<bool> asking = RunOn<bool>(
        runtime_.pool(), [path = at->path] { return FileExists(path); });
    Result<bool> exists = co_await std::move(asking);
    co_return exists;
  }
  const Result<ObjectStore*> store = StoreOf(*at);
  CKPTFS_CO_RETURN_IF_ERROR(store);
  HeadRequest head;
  head.key = at->key;
  head.options.stop = std::move(stop);
  Result<ObjectInfo> info = co_await (*store)->Head(std::move(head));
  if (info) co_return true;
  if (info.error().code() == ErrorCode::kNotFound) co_return false;
  co_return Fail(info.error().WithContext(at->name));
}

Task<Result<void>> Files::Remove(std::string path, std::stop_token stop) {
  Result<Location> at = co_await Locate(std::move(path));
  CKPTFS_CO_RETURN_IF_ERROR(at);
  if (at->kind == Location::Kind::kFile) {
    Future<void> removing = RunOn<void>(
        runtime_.pool(), [path = at->path] { return RemoveFile(path); });
    Result<void> removed = co_await std::move(removing);
    co_return removed;
  }
  const Result<ObjectStore*> store = StoreOf(*at);
  CKPTFS_CO_RETURN_IF_ERROR(store);
  DeleteRequest request;
  request.key = at->key;
  request.options.stop = std::move(stop);
  Result<void> removed = co_await (*store)->Delete(std::move(request));
  if (!removed) co_return Fail(removed.error().WithContext(at->name));
  co_await Tell(*std::move(at));
  co_return removed;
}

Task<Result<void>> Files::Rename(std::string from, std::string to) {
  Result<Location> source = co_await Locate(std::move(from));
  CKPTFS_CO_RETURN_IF_ERROR(source);
  Result<Location> target = co_await Locate(std::move(to));
  CKPTFS_CO_RETURN_IF_ERROR(target);
  // A name that a mount holds back is renamed there, whatever the other is.
  const bool by_mount = (source->kind == Location::Kind::kFile ||
                         target->kind == Location::Kind::kFile) &&
                        !PlainPath(*source).empty() &&
                        !PlainPath(*target).empty();
  if (by_mount) {
    Future<void> renaming = RunOn<void>(
        runtime_.pool(), [from = PlainPath(*source), to = PlainPath(*target)] {
          return RenameFile(from, to);
        });
    Result<void> renamed = co_await std::move(renaming);
    co_return renamed;
  }
  if (source->kind != target->kind || source->bucket != target->bucket ||
      source->endpoint_url != target->endpoint_url) {
    co_return Fail(ErrorCode::kInvalidArgument,
                   source->name + " cannot be renamed to " + target->name +
                       ": they lie in different places; save it there again");
  }
  const Result<ObjectStore*> store = StoreOf(*source);
  CKPTFS_CO_RETURN_IF_ERROR(store);
  Result<void> renamed = co_await RenameObject(*store, &runtime_.strand(),
                                               source->key, target->key);
  if (!renamed) co_return Fail(renamed.error().WithContext(source->name));
  co_await Tell(*std::move(source));
  co_await Tell(*std::move(target));
  co_return renamed;
}

Task<Result<void>> Files::MakeFolder(std::string path) {
  Result<Location> at = ParseLocation(path);
  CKPTFS_CO_RETURN_IF_ERROR(at);
  if (at->kind == Location::Kind::kObject) co_return Result<void>();
  Future<void> making = RunOn<void>(
      runtime_.pool(), [path = at->path] { return MakeFolders(path); });
  Result<void> made = co_await std::move(making);
  co_return made;
}

Task<Result<std::vector<std::string>>> Files::List(std::string folder,
                                                   std::stop_token stop) {
  // Of a mount, the mount knows: names that it has not published yet count.
  Result<Location> at = ParseLocation(folder);
  CKPTFS_CO_RETURN_IF_ERROR(at);
  if (at->kind == Location::Kind::kFile) {
    Future<std::vector<std::string>> listing = RunOn<std::vector<std::string>>(
        runtime_.pool(), [path = at->path] { return FilesIn(path); });
    Result<std::vector<std::string>> names = co_await std::move(listing);
    co_return names;
  }
  const Result<ObjectStore*> store = StoreOf(*at);
  CKPTFS_CO_RETURN_IF_ERROR(store);
  std::string prefix = at->key;
  if (!prefix.empty()) prefix += '/';
  Result<std::vector<std::string>> names =
      co_await ObjectsIn(*store, std::move(prefix), std::move(stop));
  if (!names) co_return Fail(names.error().WithContext(at->name));
  co_return names;
}

Task<void> Files::Tell(Location location) {
  if (location.mounted_path.empty()) co_return;
  Future<void> telling =
      RunOn<void>(runtime_.pool(), [location]() -> Result<void> {
        TellMount(location);
        return {};
      });
  Result<void> told = co_await std::move(telling);
  (void)told;  // TellMount logs what fails
}

}  // namespace ckptfs

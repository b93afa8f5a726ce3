#include "checkpoint/engine/location.h"

#include <sys/xattr.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "common/log.h"

namespace ckptfs {

namespace {

constexpr std::string_view kS3 = "s3://";
constexpr std::string_view kFile = "file://";
// Amazon S3 User Guide, "Naming Amazon S3 objects".
constexpr std::size_t kMaxKeyBytes = 1024;

tl::unexpected<Error> Invalid(std::string_view path, std::string_view what) {
  return Fail(ErrorCode::kInvalidArgument,
              "\"" + std::string(path) + "\" " + std::string(what) +
                  "; write s3://bucket/key or the path of a file");
}

// "gs://name" has one; "/odd/gs://name" and "./gs://name" are plain paths.
bool HasScheme(std::string_view path) {
  const std::size_t colon = path.find("://");
  return colon != std::string_view::npos && path.find('/') == colon + 1;
}

// Nullopt: no such file or attribute, or no mount of ckptfs.
std::optional<std::string> Attribute(const std::string& path,
                                     const char* name) {
  char value[2048];  // a key has at most 1,024 bytes
  const ssize_t n = getxattr(path.c_str(), name, value, sizeof value);
  if (n < 0) return std::nullopt;
  return std::string(value, static_cast<std::size_t>(n));
}

std::string_view WithoutSlashes(std::string_view text) {
  while (text.size() > 1 && text.back() == '/') text.remove_suffix(1);
  return text;
}

std::pair<std::string, std::string> FolderAndName(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {".", path};
  return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

}  // namespace

Result<Location> ParseLocation(std::string_view path) {
  Location location;
  location.name = path;
  if (path.find('\0') != std::string_view::npos) {
    return Invalid(std::string_view(path.data(), std::strlen(path.data())),
                   "has a NUL byte");
  }
  if (path.starts_with(kS3)) {
    const std::string_view rest = path.substr(kS3.size());
    const std::size_t slash = rest.find('/');
    location.kind = Location::Kind::kObject;
    location.bucket = rest.substr(0, slash);
    if (location.bucket.empty()) return Invalid(path, "names no bucket");
    if (slash != std::string_view::npos) {
      std::string_view key = rest.substr(slash + 1);
      // One: "a//" is the folder of "a//b", and not that of "a/b".
      if (key.ends_with('/')) key.remove_suffix(1);
      location.key = key;
    }
    if (location.key.size() > kMaxKeyBytes) {
      return Invalid(path, "has a key of more than 1,024 bytes");
    }
    return location;
  }
  if (path.starts_with(kFile)) {
    path.remove_prefix(kFile.size());
    if (!path.starts_with('/')) {
      return Invalid(location.name, "is a file URI without an absolute path");
    }
  } else if (HasScheme(path)) {
    return Invalid(path, "has a scheme that is not served");
  }
  if (path.empty()) return Invalid(path, "is empty");
  location.path = WithoutSlashes(path);
  return location;
}

Result<Location> ParseFileLocation(std::string_view path) {
  Result<Location> location = ParseLocation(path);
  CKPTFS_RETURN_IF_ERROR(location);
  if (location->kind == Location::Kind::kObject &&
      location->key.find_first_not_of('/') == std::string::npos) {
    return Invalid(path, "names a bucket and no object");
  }
  if (path.ends_with('/')) {
    return Fail(ErrorCode::kInvalidArgument,
                std::string(path) + " names a folder; add the name of a file");
  }
  return location;
}

std::string JoinPath(std::string_view folder, std::string_view name) {
  std::string path(folder);
  if (!path.empty() && path.back() != '/') path += '/';
  path += name;
  return path;
}

Location BypassMount(Location location) {
  if (location.kind != Location::Kind::kFile) return location;
  std::optional<std::string> uri = Attribute(location.path, "user.ckptfs.uri");
  std::string asked = location.path;
  if (uri) {
    // A folder has neither; its object, if any, is a marker.
    if (Attribute(asked, "user.ckptfs.durable") != "1" ||
        Attribute(asked, "user.ckptfs.open") != "0") {
      return location;
    }
  } else {
    if (errno != ENOENT) return location;
    const auto [folder, name] = FolderAndName(location.path);
    uri = Attribute(folder, "user.ckptfs.uri");
    if (!uri) return location;
    asked = folder;
    uri = JoinPath(*uri, name);
  }
  Result<Location> object = ParseLocation(*uri);
  if (!object) return location;
  object->endpoint_url =
      Attribute(asked, "user.ckptfs.endpoint").value_or(std::string());
  object->name = location.name;
  object->mounted_path = location.path;
  return *std::move(object);
}

void TellMount(const Location& location) {
  if (location.mounted_path.empty()) return;
  // The name may be new to the mount: then the folder is what it has to forget.
  const auto [folder, name] = FolderAndName(location.mounted_path);
  for (const std::string& path : {folder, location.mounted_path}) {
    if (setxattr(path.c_str(), "user.ckptfs.changed", "", 0, 0) == 0) continue;
    if (errno == ENOENT) continue;
    LogWarning("the mount was not told that " + location.name +
               " was changed: " + std::strerror(errno));
  }
}

}  // namespace ckptfs

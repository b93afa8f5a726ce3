// Location: what a path of a checkpoint means: an object or a plain file.
#pragma once

#include <ckptfs/result.h>

#include <string>
#include <string_view>

namespace ckptfs {

struct Location {
  enum class Kind { kObject, kFile };
  Kind kind = Kind::kFile;
  // The path as it was given, for messages.
  std::string name;

  // kObject.
  std::string bucket;
  std::string key;
  // Empty: the engine's. A mount's endpoint where the object was found by one.
  std::string endpoint_url;
  // The path below a mount by which the object was named, which is told of
  // changes; empty for an s3:// URI.
  std::string mounted_path;

  // kFile.
  std::string path;
};

// s3://bucket/key, file:///path, or a plain path, each taken letter by letter.
// Folders may end in a slash, which is dropped; the key of a bucket's root is
// empty. kInvalidArgument: another scheme, no bucket, a NUL byte, an empty
// path, a key beyond 1,024 bytes. Looks at the text alone.
Result<Location> ParseLocation(std::string_view path);
// Likewise of a file. kInvalidArgument: the root of a bucket, or a slash at the
// end: without it the name would be another file's.
Result<Location> ParseFileLocation(std::string_view path);

// A file of a folder: "a/b" + "c" -> "a/b/c". `name` may hold slashes.
std::string JoinPath(std::string_view folder, std::string_view name);

// Replaces a plain path below a mount of ckptfs by the object it stands for, if
// the mount says so (user.ckptfs.uri) and has no unpublished bytes of it and
// nobody has it open (user.ckptfs.durable, user.ckptfs.open). Everything else
// comes back unchanged. Blocks: for the pool.
Location BypassMount(Location location);

// Tells the mount, if there is one, that the object was changed directly.
// Blocks. What fails is logged: the mount then finds out within a second.
void TellMount(const Location& location);

}  // namespace ckptfs

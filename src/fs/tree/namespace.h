// Namespace: names over S3, with what this mount has created, renamed and
// removed on top. Finds and lists names; knows keys.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/task.h"
#include "fs/context.h"
#include "fs/tree/inode.h"

namespace ckptfs::fs {

// Strand only. An inode that a Task holds across a wait is held by shared_ptr.
class Namespace {
 public:
  explicit Namespace(Context& context);

  const std::shared_ptr<Directory>& root() const { return root_; }
  InodeTable& inodes() { return inodes_; }
  const InodeTable& inodes() const { return inodes_; }

  // prefix + path; directories end in '/'. Unlinked inodes have no key.
  std::string Key(const Inode& inode) const;
  std::string ChildKey(const Directory& directory,
                       const std::string& name) const;
  // The path below the mount, for messages.
  std::string Path(const Inode& inode) const;
  // A key below the reserved prefix.
  std::string ReservedKey(const std::string& name) const;
  Result<void> CheckNewName(const Directory& directory,
                            const std::string& name) const;

  // What `name` is now. kNotFound if it does not exist.
  Task<Result<std::shared_ptr<Inode>>> Resolve(std::shared_ptr<Directory> dir,
                                               std::string name);
  // True if a complete listing at most listing_ttl old lacks `name`.
  bool AbsentFromListing(const Directory& dir, const std::string& name) const;
  // The same, or a lookup at most listing_ttl ago did not find it. Good enough
  // to create the name, with a condition where something could be lost; never
  // to answer that it does not exist: another mount may have made it since.
  bool KnownAbsent(const Directory& dir, const std::string& name) const;
  // Checks a clean file against S3. kStale: it was replaced or removed there;
  // the inode is detached then.
  Task<Result<void>> Revalidate(std::shared_ptr<File> file);
  // Every name, S3 and local changes merged: name -> is it a directory.
  Task<Result<std::map<std::string, bool>>> List(
      std::shared_ptr<Directory> dir);
  // Whether nothing but its marker lies below the directory.
  Task<Result<bool>> IsEmpty(std::shared_ptr<Directory> dir);

  // New inodes, attached under a free name.
  std::shared_ptr<File> AddFile(Directory& dir, const std::string& name,
                                mode_t mode, uid_t uid, gid_t gid);
  std::shared_ptr<Directory> AddDirectory(Directory& dir,
                                          const std::string& name, mode_t mode,
                                          uid_t uid, gid_t gid);
  // Takes the name away from the inode; open handles keep it alive.
  void Detach(Inode& inode);
  void Attach(Directory& dir, const std::string& name,
              std::shared_ptr<Inode> inode);
  // Records what this mount just did to a name, and touches the directory.
  void NoteChange(Directory& dir, const std::string& name, bool exists);

  // What S3 has under the name is not known any more: the next lookup asks.
  void Forget(Directory& dir, const std::string& name);

  // Forgets an inode that neither the kernel nor a handle nor a child needs.
  void DropIfUnused(const std::shared_ptr<Inode>& inode);

  // Takes over the attributes an object carries.
  void ApplyStored(Inode& inode, const ObjectInfo& info) const;

  Attributes AttributesOf(const Inode& inode) const;

 private:
  Task<Result<std::shared_ptr<Inode>>> ResolveRemote(
      std::shared_ptr<Directory> dir, std::string name, bool want_object,
      bool want_prefix);
  std::shared_ptr<Inode> AdoptObject(Directory& dir, const std::string& name,
                                     ObjectInfo info);
  std::shared_ptr<Inode> AdoptPrefix(Directory& dir, const std::string& name,
                                     bool has_marker, ObjectInfo marker);
  // Names that only this mount knows of lie below it: it exists, whatever S3
  // says.
  bool HasLocalTruth(const Directory& dir) const;
  std::shared_ptr<Inode> Child(const Directory& dir,
                               const std::string& name) const;
  void HideOnce(const std::string& key);

  Context& context_;
  InodeTable inodes_;
  std::shared_ptr<Directory> root_;
  std::set<std::string> hidden_logged_;
};

}  // namespace ckptfs::fs

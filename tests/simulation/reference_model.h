// ReferenceModel: what the promise allows, kept beside the file system under
// test and compared with it at every effect on the bucket and at every answer.
//
// A file has versions: what it held on this mount, one after each change. A
// version is published when the bucket holds it under the file's name.
//
// At each effect on the bucket that a mount makes:
//   E1  An object below a name gets only a version of that file that is at
//       least as new as the published one; never a torn or mixed one.
//   E2  Somebody vouches for it at that moment: a close() in flight by a group
//       that lives and opened or wrote the description (one that cannot be
//       seen counts as living), an fsync, a rename, a truncate of the path, or
//       the end of the last handle if mapped pages came or a group that wrote
//       lives.
//   E3  Of a file whose last writer to speak was killed a rename vouches for
//       the published version alone, unless another writer of it lives.
//   E4  A removed or replaced file is never published.
//   E5  With O_EXCL nobody's object is replaced; with bytes kept from an older
//       object only that object is. RENAME_NOREPLACE replaces nothing.
//   E6  An object is deleted only by an unlink of its name, or by a rename
//       whose new name has the bytes already.
// At each answer:
//   A1  close() by a living group that wrote some of what is unpublished and
//       has no other descriptor for writing, fsync, rename, truncate of a path
//       of a file without unpublished bytes: success means that the bucket has
//       what the file held at the call, or newer, unless another client came
//       behind it. After a rename the old name is gone.
//   A2  A failed close, fsync or rename changed nothing that S3 holds (or, with
//       kOutcomeUnknown, perhaps). After a rename whose DELETE was refused
//       both names may have the bytes. While it lasts a rename may put bytes
//       under the old name, if it puts the older ones back when it fails.
//   A3  After a failed write, close or fsync every close and fsync of a
//       descriptor for writing fails, until the file is cut to nothing or its
//       last descriptor for writing is gone.
//   A4  A read gives what the file held at some moment between call and
//       answer. ESTALE only if another client changed the object.
//   A5  An error has a cause: an injected fault, another client, an earlier
//       failure of the file, or a limit that SEMANTICS.md names.
//   A6  A name that exists is found; one that was removed is not.
// The end of the last handle for writing throws unpublished bytes away, and so
// does the death of the last group that could vouch for them: then handles that
// are left are lost, and writes through them fail.
#pragma once

#include <ckptfs/object_store.h>

#include <fcntl.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "fs/types.h"
#include "simulation/content.h"

namespace ckptfs::sim {

struct ModelFile {
  int mount = 0;
  fs::InodeNumber ino{};
  std::string key;
  std::string other_key;  // where a rename of unknown outcome may have put it
  bool linked = true;     // the name is still this file's
  bool foreign = false;   // another client changed the object since
  bool outcome_unknown = false;  // a publish may have happened or not
  std::vector<Content> versions;
  int published = -1;  // index into versions; -1: there is no object
  // Of versions with the same bytes it may be an older one that was published.
  int surely_published = -1;
  std::optional<Content> pending;  // a change whose answer is not there
  bool pending_cut = false;        // it is one to nothing
  std::optional<Content> base;     // what a discard goes back to
  std::set<WriteId> base_ids;      // writes that came with an older object
  bool exclusive = false;
  bool failed = false;
  std::uint64_t cut_count = 0;
  bool torn = false;
  bool tearing = false;   // a dying group's FLUSH is in flight
  bool mapped = false;    // mapped pages since the last publish
  bool limited = false;   // large: some operations are not served
  bool given_up = false;  // unpublished bytes of it were thrown away once
  bool lost = false;      // a fault left open what the mount thinks of it
  std::map<int, int> last_write;  // group serial -> version
  std::uint64_t faults_at_clean = 0;
  int handles = 0;           // opened, and not released yet
  int writable_handles = 0;  // those for writing

  int current() const { return static_cast<int>(versions.size()) - 1; }
  const Content& now() const { return versions.back(); }
  bool unpublished() const { return surely_published < current() || pending; }
};

// An operation of a program that is in flight.
struct ModelOp {
  enum class Kind {
    kClose,
    kFsync,
    kRename,
    kTruncate,
    kRelease,
    kUnlink,
    kDirectory,
    kRead,
    kWrite,
    kOther
  };
  std::uint64_t id = 0;
  Kind kind = Kind::kOther;
  int mount = 0;
  std::shared_ptr<ModelFile> file;
  std::string key;
  std::string new_key;  // of renames
  bool no_replace = false;
  bool vouches = false;
  // Asked at each effect, since it can change while the operation runs.
  std::function<bool()> still_vouches;
  // Of renames: a group that lives wrote some of what is unpublished.
  std::function<bool()> writer_lives;
  bool must_publish = false;  // success is a promise
  int version = 0;            // of the file when it began
  std::uint64_t began = 0;
  std::uint64_t faults = 0;  // of the mount when it began
  std::uint64_t cuts = 0;
  bool failed_before = false;
  bool eligible = false;  // to be told of a failure that stays
  int first_version = 0;
  std::vector<Content> window;    // what the file held since (reads)
  std::optional<Content> before;  // what the bucket had under the names
  std::optional<Content> new_before;
  bool published = false;   // an effect of this file since it began
  bool overlapped = false;  // by another publish of the file
};

class ReferenceModel {
 public:
  explicit ReferenceModel(ObjectStore& bucket) : bucket_(bucket) {}

  // What the bucket holds, as far as files go.
  struct Object {
    Content content;
    std::string etag;
    int writer = -1;  // mount, or -1
    std::uint64_t since = 0;
  };
  const std::map<std::string, Object>& objects() const { return objects_; }
  std::uint64_t step = 0;
  std::vector<std::string> violations;
  std::vector<std::string> trace;
  void Trace(std::string what);
  void Violate(std::string what);

  // Another client.
  void ForeignPut(const std::string& key, const Content& content,
                  std::string etag);
  void ForeignDelete(const std::string& key);
  // A call of mount `mount` took effect.
  void Effect(int mount, const std::string& operation, const std::string& key,
              const std::string& source);
  void Fault(int mount) { ++faults_[mount]; }
  void MountDied(int mount);

  // The file with that number, made known by a lookup or an open.
  std::shared_ptr<ModelFile> Known(int mount, fs::InodeNumber ino) const;
  std::shared_ptr<ModelFile> Found(int mount, fs::InodeNumber ino,
                                   const std::string& key,
                                   const std::string& etag, std::uint64_t size,
                                   const ModelOp& op);
  std::shared_ptr<ModelFile> Created(int mount, fs::InodeNumber ino,
                                     const std::string& key, int flags,
                                     int group);
  std::shared_ptr<ModelFile> At(int mount, const std::string& key) const;

  ModelOp& Begin(ModelOp op);
  ModelOp* Find(std::uint64_t id);
  // Ends the operation; nullopt: it succeeded.
  void End(std::uint64_t id, const std::optional<Error>& error);

  // Changes of content. They exclude each other for one file.
  void BeginChange(ModelFile& file, Content content);
  void EndChange(ModelFile& file, bool ok, int group);
  // The last handle for writing is gone and the bytes were thrown away.
  void Discarded(ModelFile& file);
  void CheckRead(const ModelOp& op, std::uint64_t offset, std::size_t size,
                 const Payload& got);
  // A lookup found nothing.
  void CheckAbsent(const ModelOp& op);
  void CheckSize(const ModelOp& op, std::uint64_t size);

  // Whether the bucket has version `version` of the file, or a newer one.
  bool Holds(const ModelFile& file, const std::string& key, int version) const;
  bool shared_bucket = false;  // other clients write as well
  std::uint64_t faults(int mount) const {
    const auto it = faults_.find(mount);
    return it == faults_.end() ? 0 : it->second;
  }
  std::size_t in_flight() const { return ops_.size(); }
  std::set<std::string> uncertain;  // keys a failed operation left open

 private:
  struct KeyHistory {
    std::uint64_t last_change = 0;
  };
  std::optional<Object> ReadObject(const std::string& key);
  // The newest version with these bytes that is not older than the published
  // one.
  bool MatchVersion(ModelFile& file, const Content* content,
                    const std::string& bytes, int* version) const;
  void Publish(int mount, const std::string& key, const Object* source);
  void Removed(int mount, const std::string& key);
  void Touch(int mount, const std::string& key);
  bool Busy(const std::string& key, int mount) const;
  bool Moving(const std::shared_ptr<ModelFile>& file) const;
  bool Going(const ModelFile& file) const;
  void CheckEnd(ModelOp& op, const std::optional<Error>& error);
  bool Excused(const ModelOp& op, const Error& error) const;

  ObjectStore& bucket_;
  std::map<std::string, Object> objects_;
  std::map<std::string, std::uint64_t> changed_;  // key -> step
  // key + etag -> content, of all that ever was.
  std::map<std::pair<std::string, std::string>, Content> history_;
  std::map<std::pair<int, fs::InodeNumber>, std::shared_ptr<ModelFile>> files_;
  std::map<std::pair<int, std::string>, std::shared_ptr<ModelFile>> names_;
  std::map<std::uint64_t, ModelOp> ops_;
  std::map<int, std::uint64_t> faults_;
  std::uint64_t next_op_ = 1;
};

}  // namespace ckptfs::sim

#include "fs/tree/namespace.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "fs/tree/name_rules.h"

namespace ckptfs::fs {

namespace {

// The bits a bucket may set: suid, sgid and sticky of a stranger's object are
// never honoured.
constexpr mode_t kPermissionBits = 0777;

}  // namespace

Namespace::Namespace(Context& context)
    : context_(context),
      inodes_(context.options.first_inode),
      root_(std::make_shared<Directory>(
          kRootInode, S_IFDIR | context.options.directory_mode)) {
  root_->is_root = true;
  root_->uid = context.options.uid;
  root_->gid = context.options.gid;
  root_->mtime = root_->ctime = root_->atime = context.clock.WallNow();
  root_->lookups = 1;  // the kernel never forgets the root
  inodes_.Add(root_);
}

std::string Namespace::ChildKey(const Directory& directory,
                                const std::string& name) const {
  return Key(directory) + name;
}

std::string Namespace::Key(const Inode& inode) const {
  return context_.options.prefix + Path(inode);
}

std::string Namespace::Path(const Inode& inode) const {
  std::vector<const Inode*> chain;
  const Inode* at = &inode;
  while (at->number != kRootInode) {
    chain.push_back(at);
    if (at->parent == nullptr) break;
    at = at->parent;
  }
  std::string path;
  for (auto it = chain.rbegin(); it != chain.rend(); ++it) {
    path += (*it)->name;
    if (S_ISDIR((*it)->mode)) path += '/';
  }
  return path;
}

std::string Namespace::ReservedKey(const std::string& name) const {
  return context_.options.prefix + std::string(kReservedName) + "/" + name;
}

Result<void> Namespace::CheckNewName(const Directory& directory,
                                     const std::string& name) const {
  CKPTFS_RETURN_IF_ERROR(CheckName(name));
  if (directory.is_root && name == kReservedName) {
    return Fail(ErrorCode::kPermissionDenied,
                "the name " + name + " is reserved in the mount's root");
  }
  // One byte for the '/' of a directory's marker.
  const std::size_t length = ChildKey(directory, name).size() + 1;
  if (length > kMaxKeyBytes) {
    return Fail(ErrorCode::kNameTooLong,
                "the key would have " + std::to_string(length) +
                    " bytes; S3 allows " + std::to_string(kMaxKeyBytes));
  }
  return {};
}

bool Namespace::AbsentFromListing(const Directory& dir,
                                  const std::string& name) const {
  if (dir.listing == nullptr || context_.clock.Now() - dir.listing->taken >
                                    context_.options.listing_ttl) {
    return false;
  }
  const auto change = dir.local_changes.find(name);
  if (change != dir.local_changes.end() &&
      change->second.when >= dir.listing->taken) {
    return !change->second.exists;
  }
  return dir.listing->items.count(name) == 0;
}

bool Namespace::KnownAbsent(const Directory& dir,
                            const std::string& name) const {
  const auto absent = dir.absent.find(name);
  if (absent != dir.absent.end() &&
      context_.clock.Now() - absent->second <= context_.options.listing_ttl) {
    const auto change = dir.local_changes.find(name);
    if (change == dir.local_changes.end() ||
        change->second.when < absent->second || !change->second.exists) {
      return true;
    }
  }
  return AbsentFromListing(dir, name);
}

Task<Result<std::shared_ptr<Inode>>> Namespace::Resolve(
    std::shared_ptr<Directory> dir, std::string name) {
  Result<void> valid = CheckName(name);
  CKPTFS_CO_RETURN_IF_ERROR(valid);
  const Error absent(ErrorCode::kNotFound, name + " does not exist");
  if ((dir->is_root && name == kReservedName) ||
      ChildKey(*dir, name).size() > kMaxKeyBytes) {
    co_return Fail(absent);
  }
  const auto child = dir->children.find(name);
  if (child != dir->children.end()) {
    std::shared_ptr<Inode> known = child->second;
    File* file = known->AsFile();
    if (file != nullptr && file->local_truth()) co_return known;
    if (file == nullptr && known->AsDirectory()->sticky) co_return known;
  }
  if (AbsentFromListing(*dir, name)) co_return Fail(absent);

  bool want_object = true;
  bool want_prefix = true;
  if (child != dir->children.end()) {
    // A known name keeps its kind far more often than not: one request, and
    // the other kind only when that finds nothing.
    (child->second->AsFile() != nullptr ? want_prefix : want_object) = false;
  } else if (dir->listing != nullptr &&
             context_.clock.Now() - dir->listing->taken <=
                 context_.options.listing_ttl) {
    const auto item = dir->listing->items.find(name);
    if (item != dir->listing->items.end()) {
      (item->second.directory ? want_object : want_prefix) = false;
    }
  }
  const SteadyTime asked = context_.clock.Now();
  Result<std::shared_ptr<Inode>> found =
      co_await ResolveRemote(dir, name, want_object, want_prefix);
  if (!found && found.error().code() == ErrorCode::kNotFound &&
      !(want_object && want_prefix)) {
    found = co_await ResolveRemote(dir, name, !want_object, !want_prefix);
  }
  if (!found && found.error().code() == ErrorCode::kNotFound) {
    if (dir->absent.size() > 4096) dir->absent.clear();
    dir->absent[name] = asked;
  }
  co_return found;
}

Task<Result<std::shared_ptr<Inode>>> Namespace::ResolveRemote(
    std::shared_ptr<Directory> dir, std::string name, bool want_object,
    bool want_prefix) {
  const std::string key = ChildKey(*dir, name);
  const SteadyTime asked = context_.clock.Now();
  const std::shared_ptr<Inode> asked_of = Child(*dir, name);
  const std::uint64_t asked_moves =
      asked_of != nullptr && asked_of->AsFile() != nullptr
          ? asked_of->AsFile()->content.moves()
          : 0;
  // Both requests are on the way before either is awaited.
  Future<ObjectInfo> head;
  Future<ListResult> list;
  if (want_object) head = HeadObject(context_.store, key);
  if (want_prefix) {
    ListRequest request;
    request.prefix = key + "/";
    request.max_keys = 1;
    list = context_.store.List(std::move(request));
  }
  std::optional<ObjectInfo> object;
  if (want_object) {
    Result<ObjectInfo> r = co_await std::move(head);
    if (r) {
      object = *std::move(r);
    } else if (r.error().code() != ErrorCode::kNotFound) {
      co_return Fail(r.error());
    }
  }
  bool is_prefix = false;
  bool has_marker = false;
  if (want_prefix) {
    Result<ListResult> r = co_await std::move(list);
    CKPTFS_CO_RETURN_IF_ERROR(r);
    is_prefix = !r->objects.empty();
    has_marker = is_prefix && r->objects.front().key == key + "/";
  }
  ObjectInfo marker;
  const std::shared_ptr<Inode> so_far = Child(*dir, name);
  if (has_marker && (so_far == nullptr || so_far->AsDirectory() == nullptr)) {
    Result<ObjectInfo> r = co_await HeadObject(context_.store, key + "/");
    if (r) {
      marker = *std::move(r);
    } else if (r.error().code() != ErrorCode::kNotFound) {
      co_return Fail(r.error());
    }
  }

  // This mount may have changed the name while the requests were under way:
  // then its own view is the newer one.
  const auto child = dir->children.find(name);
  if (child != dir->children.end()) {
    std::shared_ptr<Inode> known = child->second;
    File* file = known->AsFile();
    if (file != nullptr &&
        (file->local_truth() ||
         (known == asked_of && file->content.moves() != asked_moves))) {
      co_return known;
    }
  }
  const auto change = dir->local_changes.find(name);
  if (change != dir->local_changes.end() && change->second.when >= asked) {
    if (child != dir->children.end()) {
      std::shared_ptr<Inode> known = child->second;
      co_return known;
    }
    if (!change->second.exists) {
      co_return Fail(ErrorCode::kNotFound, name + " was just removed");
    }
  }

  // Another request for the name was answered meanwhile, and says otherwise:
  // which of the two is the newer one, only a third can tell.
  const std::shared_ptr<Inode> now_there = Child(*dir, name);
  if (now_there != asked_of && now_there != nullptr) {
    const File* file = now_there->AsFile();
    const bool agrees =
        is_prefix ? file == nullptr
                  : object && file != nullptr && file->content.base() &&
                        file->content.base()->etag == object->etag;
    if (!agrees) {
      Result<std::shared_ptr<Inode>> again = co_await Resolve(dir, name);
      co_return again;
    }
  }

  if (now_there != nullptr && now_there->AsDirectory() != nullptr &&
      !is_prefix && HasLocalTruth(*now_there->AsDirectory())) {
    co_return now_there;
  }

  // A key that is also a prefix: the directory wins.
  if (is_prefix) {
    co_return AdoptPrefix(*dir, name, has_marker, std::move(marker));
  }
  if (object) co_return AdoptObject(*dir, name, *std::move(object));
  if (child != dir->children.end() && want_object && want_prefix) {
    Detach(*child->second);
  } else if (child != dir->children.end() &&
             (child->second->AsFile() != nullptr) == want_object) {
    Detach(*child->second);
  }
  co_return Fail(ErrorCode::kNotFound, name + " does not exist");
}

std::shared_ptr<Inode> Namespace::AdoptObject(Directory& dir,
                                              const std::string& name,
                                              ObjectInfo info) {
  const auto child = dir.children.find(name);
  if (child != dir.children.end()) {
    std::shared_ptr<Inode> known = child->second;
    File* file = known->AsFile();
    if (file != nullptr && file->content.base() &&
        file->content.base()->etag == info.etag) {
      return known;
    }
    // Replaced by somebody else: a new Version with a new number, because the
    // kernel's page cache belongs to the number.
    Detach(*known);
    DropIfUnused(known);
  }
  auto file = std::make_shared<File>(
      inodes_.NextNumber(), S_IFREG | context_.options.file_mode, info);
  ApplyStored(*file, info);
  inodes_.Add(file);
  Attach(dir, name, file);
  return file;
}

std::shared_ptr<Inode> Namespace::AdoptPrefix(Directory& dir,
                                              const std::string& name,
                                              bool has_marker,
                                              ObjectInfo marker) {
  std::shared_ptr<Inode> known = Child(dir, name);
  if (known != nullptr && known->AsDirectory() != nullptr) {
    known->AsDirectory()->has_marker |= has_marker;
    return known;
  }
  if (known != nullptr) {
    Detach(*known);
    DropIfUnused(known);
  }
  auto made = std::make_shared<Directory>(
      inodes_.NextNumber(), S_IFDIR | context_.options.directory_mode);
  made->has_marker = has_marker;
  if (marker.last_modified == WallTime{}) {
    marker.last_modified = root_->ctime;
  }
  ApplyStored(*made, marker);
  inodes_.Add(made);
  Attach(dir, name, made);
  return made;
}

bool Namespace::HasLocalTruth(const Directory& dir) const {
  for (const auto& [name, inode] : dir.children) {
    const File* file = inode->AsFile();
    const bool local = file != nullptr
                           ? file->local_truth()
                           : inode->AsDirectory()->sticky ||
                                 HasLocalTruth(*inode->AsDirectory());
    if (local) return true;
  }
  return false;
}

std::shared_ptr<Inode> Namespace::Child(const Directory& dir,
                                        const std::string& name) const {
  const auto child = dir.children.find(name);
  return child == dir.children.end() ? nullptr : child->second;
}

Task<Result<void>> Namespace::Revalidate(std::shared_ptr<File> file) {
  if (file->local_truth() || file->parent == nullptr ||
      file->content.preserved()) {
    co_return Result<void>();
  }
  const std::string key = Key(*file);
  const std::uint64_t moves = file->content.moves();
  Result<ObjectInfo> head = co_await HeadObject(context_.store, key);
  // What this mount did meanwhile is newer than the answer.
  if (file->local_truth() || file->parent == nullptr ||
      moves != file->content.moves()) {
    co_return Result<void>();
  }
  const bool gone = !head && head.error().code() == ErrorCode::kNotFound;
  if (!head && !gone) co_return Fail(head.error());
  if (gone || head->etag != file->content.base()->etag) {
    const std::string path = Path(*file);
    Detach(*file);
    co_return Fail(
        ErrorCode::kStale,
        path + " was " + (gone ? "removed" : "replaced") + " in the bucket");
  }
  co_return Result<void>();
}

Task<Result<std::map<std::string, bool>>> Namespace::List(
    std::shared_ptr<Directory> dir) {
  const std::string prefix = dir->is_root ? context_.options.prefix : Key(*dir);
  auto listing = std::make_shared<Listing>();
  listing->taken = context_.clock.Now();
  std::string token;
  bool marker_seen = false;
  while (true) {
    ListRequest request;
    request.prefix = prefix;
    request.delimiter = "/";
    request.continuation_token = token;
    Result<ListResult> page = co_await context_.store.List(std::move(request));
    CKPTFS_CO_RETURN_IF_ERROR(page);
    for (ObjectInfo& object : page->objects) {
      const std::string name = object.key.substr(prefix.size());
      if (name.empty()) {
        marker_seen = true;
        continue;
      }
      if (!IsVisibleName(name) || (dir->is_root && name == kReservedName)) {
        HideOnce(object.key);
        continue;
      }
      listing->items.try_emplace(
          name, Listing::Item{false, object.size, std::move(object.etag),
                              object.last_modified});
    }
    for (const std::string& common : page->common_prefixes) {
      std::string name = common.substr(prefix.size());
      if (!name.empty()) name.pop_back();
      if (dir->is_root && name == kReservedName) continue;
      if (!IsVisibleName(name)) {
        HideOnce(common);
        continue;
      }
      // A key that is also a prefix: the directory wins.
      listing->items[name] = Listing::Item{true, 0, {}, {}};
    }
    if (!page->truncated) break;
    if (page->next_continuation_token.empty() ||
        page->next_continuation_token == token) {
      co_return Fail(ErrorCode::kDataLoss,
                     "the listing of " + prefix +
                         " does not advance; the endpoint repeats its "
                         "continuation token");
    }
    token = std::move(page->next_continuation_token);
  }
  // Of two that overlap, the one that was asked for later is the newer one.
  if (dir->listing == nullptr || dir->listing->taken <= listing->taken) {
    dir->has_marker = marker_seen;
    dir->listing = listing;
  }

  std::map<std::string, bool> names;
  for (const auto& [name, item] : listing->items) {
    names[name] = item.directory;
  }
  for (auto it = dir->local_changes.begin(); it != dir->local_changes.end();) {
    // A listing that was asked for after the change has seen it: S3 lists with
    // strong consistency.
    if (it->second.when < listing->taken) {
      it = dir->local_changes.erase(it);
      continue;
    }
    if (!it->second.exists) names.erase(it->first);
    ++it;
  }
  for (const auto& [name, inode] : dir->children) {
    const File* file = inode->AsFile();
    const bool changed = dir->local_changes.count(name) != 0;
    if (file != nullptr ? (file->local_truth() || changed)
                        : (changed || inode->AsDirectory()->sticky)) {
      names[name] = file == nullptr;
    }
  }
  co_return names;
}

Task<Result<bool>> Namespace::IsEmpty(std::shared_ptr<Directory> dir) {
  const std::string prefix = Key(*dir);
  const SteadyTime asked = context_.clock.Now();
  ListRequest request;
  request.prefix = prefix;
  request.max_keys = 2;
  Result<ListResult> page = co_await context_.store.List(std::move(request));
  CKPTFS_CO_RETURN_IF_ERROR(page);
  for (const auto& [name, inode] : dir->children) {
    const File* file = inode->AsFile();
    if (file != nullptr ? file->local_truth() : inode->AsDirectory()->sticky) {
      co_return false;
    }
  }
  // Published while the listing was under way.
  for (const auto& [name, change] : dir->local_changes) {
    if (change.exists && change.when >= asked) co_return false;
  }
  for (const ObjectInfo& object : page->objects) {
    if (object.key != prefix) co_return false;
    dir->has_marker = true;
  }
  co_return true;
}

std::shared_ptr<File> Namespace::AddFile(Directory& dir,
                                         const std::string& name, mode_t mode,
                                         uid_t uid, gid_t gid) {
  auto file = std::make_shared<File>(inodes_.NextNumber(),
                                     S_IFREG | (mode & kPermissionBits));
  file->uid = uid;
  file->gid = gid;
  file->mtime = file->ctime = file->atime = context_.clock.WallNow();
  inodes_.Add(file);
  Attach(dir, name, file);
  return file;
}

std::shared_ptr<Directory> Namespace::AddDirectory(Directory& dir,
                                                   const std::string& name,
                                                   mode_t mode, uid_t uid,
                                                   gid_t gid) {
  auto made = std::make_shared<Directory>(inodes_.NextNumber(),
                                          S_IFDIR | (mode & kPermissionBits));
  made->uid = uid;
  made->gid = gid;
  made->mtime = made->ctime = made->atime = context_.clock.WallNow();
  inodes_.Add(made);
  Attach(dir, name, made);
  return made;
}

void Namespace::Attach(Directory& dir, const std::string& name,
                       std::shared_ptr<Inode> inode) {
  inode->parent = &dir;
  inode->name = name;
  dir.children[name] = std::move(inode);
}

void Namespace::Detach(Inode& inode) {
  if (inode.parent == nullptr) return;
  Directory& dir = *std::exchange(inode.parent, nullptr);
  const auto it = dir.children.find(inode.name);
  // Keeps the inode alive through the erase: the table holds it too.
  if (it != dir.children.end() && it->second.get() == &inode) {
    dir.children.erase(it);
  }
}

void Namespace::NoteChange(Directory& dir, const std::string& name,
                           bool exists) {
  dir.local_changes[name] = {context_.clock.Now(), exists};
  dir.absent.erase(name);
  const WallTime now = context_.clock.WallNow();
  // Never backwards: trainers rotate checkpoints by directory mtime.
  dir.mtime = std::max(dir.mtime, now);
  dir.ctime = std::max(dir.ctime, now);
  if (!exists && !dir.is_root && !dir.has_marker) dir.sticky = true;
}

void Namespace::Forget(Directory& dir, const std::string& name) {
  const auto child = dir.children.find(name);
  if (child != dir.children.end()) {
    const std::shared_ptr<Inode> inode = child->second;
    Detach(*inode);
  }
  dir.local_changes.erase(name);
  dir.absent.erase(name);
  dir.listing.reset();
}

void Namespace::DropIfUnused(const std::shared_ptr<Inode>& inode) {
  if (inode->lookups > 0 || inode->number == kRootInode) return;
  Directory* parent = inode->parent;
  if (File* file = inode->AsFile()) {
    if (file->open_handles > 0 || file->mutex.locked() ||
        file->content.storing_attributes()) {
      return;
    }
    if (file->content.state() != PublishState::kClean &&
        file->content.state() != PublishState::kGone) {
      return;
    }
  } else {
    Directory* dir = inode->AsDirectory();
    if (!dir->children.empty() || dir->mutex.locked()) return;
    if (dir->sticky && dir->parent != nullptr) return;
  }
  Detach(*inode);
  inodes_.Erase(inode->number);
  if (parent != nullptr) {
    const std::shared_ptr<Inode> up = inodes_.Find(parent->number);
    if (up != nullptr) DropIfUnused(up);
  }
}

void Namespace::ApplyStored(Inode& inode, const ObjectInfo& info) const {
  const StoredAttributes stored = DecodeAttributes(info.metadata);
  const mode_t type = inode.mode & S_IFMT;
  const mode_t fallback = type == S_IFDIR ? context_.options.directory_mode
                                          : context_.options.file_mode;
  inode.mode = type | (stored.mode.value_or(fallback) & kPermissionBits);
  inode.uid = stored.uid.value_or(context_.options.uid);
  inode.gid = stored.gid.value_or(context_.options.gid);
  inode.mtime = stored.mtime.value_or(info.last_modified);
  inode.ctime = inode.mtime;
  inode.atime = stored.atime.value_or(inode.mtime);
}

Attributes Namespace::AttributesOf(const Inode& inode) const {
  Attributes out;
  out.ino = inode.number;
  out.mode = inode.mode;
  out.uid = inode.uid;
  out.gid = inode.gid;
  out.mtime = inode.mtime;
  out.ctime = inode.ctime;
  out.atime = inode.atime;
  const bool linked = inode.parent != nullptr || inode.number == kRootInode;
  if (S_ISDIR(inode.mode)) {
    // Two is what file systems without a link count per directory report, and
    // find(1) then does not optimise by it.
    out.nlink = linked ? 2 : 0;
  } else {
    out.nlink = linked ? 1 : 0;
    out.size = static_cast<const File&>(inode).size();
  }
  return out;
}

void Namespace::HideOnce(const std::string& key) {
  if (hidden_logged_.size() >= 1000 || !hidden_logged_.insert(key).second) {
    return;
  }
  LogWarning("hidden: no path can name the key \"" + key + "\"");
}

}  // namespace ckptfs::fs

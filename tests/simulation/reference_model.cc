#include "simulation/reference_model.h"

#include <algorithm>

namespace ckptfs::sim {

namespace {

bool Reserved(const std::string& key) { return key.rfind(".ckptfs/", 0) == 0; }
bool Marker(const std::string& key) { return key.ends_with("/"); }

bool Publishes(ModelOp::Kind kind) {
  using K = ModelOp::Kind;
  return kind == K::kClose || kind == K::kFsync || kind == K::kRename ||
         kind == K::kTruncate || kind == K::kRelease;
}

std::string Name(const ModelFile& f) {
  return "file " + std::to_string(static_cast<std::uint64_t>(f.ino) & 0xffffff) +
         " (" + f.key + ", mount " + std::to_string(f.mount) + ", published " +
         std::to_string(f.published) + " of " + std::to_string(f.current()) +
         ")";
}

}  // namespace

void ReferenceModel::Trace(std::string what) {
  trace.push_back(std::to_string(step) + " " + std::move(what));
}

void ReferenceModel::Violate(std::string what) {
  Trace("VIOLATION " + what);
  violations.push_back(std::move(what));
}

std::optional<ReferenceModel::Object> ReferenceModel::ReadObject(
    const std::string& key) {
  Result<ObjectInfo> head = bucket_.Head({.key = key, .options = {}}).Get();
  if (!head) return std::nullopt;
  Object out;
  out.etag = head->etag.value;
  out.since = step;
  return out;
}

void ReferenceModel::Touch(int mount, const std::string& key) {
  changed_[key] = step;
  for (auto& [id, file] : files_) {
    if (file->mount != mount && file->linked && file->key == key) {
      file->foreign = true;
    }
  }
}

void ReferenceModel::ForeignPut(const std::string& key, const Content& content,
                                std::string etag) {
  history_[{key, etag}] = content;
  objects_[key] = {content, std::move(etag), -1, step};
  Touch(-1, key);
}

void ReferenceModel::ForeignDelete(const std::string& key) {
  objects_.erase(key);
  Touch(-1, key);
}

void ReferenceModel::Effect(int mount, const std::string& operation,
                            const std::string& key,
                            const std::string& source) {
  const bool writes = operation == "Put" || operation == "CompleteMultipart" ||
                      operation == "Copy";
  if (!writes && operation != "Delete") return;
  if (Marker(key)) return;
  if (operation == "Delete") {
    if (!Reserved(key)) {
      Removed(mount, key);
    } else {
      objects_.erase(key);
    }
    return;
  }
  std::optional<Object> from;
  if (operation == "Copy") {
    const auto it = objects_.find(source);
    if (it != objects_.end()) from = it->second;
  }
  std::optional<Object> now = ReadObject(key);
  if (!now) return;
  if (from && (Reserved(key) || source == key)) {
    // Kept for readers, or the same bytes with other attributes.
    now->content = from->content;
    now->writer = source == key ? from->writer : mount;
    now->since = source == key ? from->since : step;
    history_[{key, now->etag}] = now->content;
    objects_[key] = *now;
    if (source == key) Touch(mount, key);
    return;
  }
  Publish(mount, key, from ? &*from : nullptr);
}

void ReferenceModel::Publish(int mount, const std::string& key,
                             const Object* source) {
  Object now = *ReadObject(key);
  now.writer = mount;
  std::string bytes;
  if (source == nullptr) {
    const ObjectInfo info =
        *bucket_.Head({.key = key, .options = {}}).Get();
    auto buffer = std::make_shared<std::string>(info.size, '\0');
    GetRequest get;
    get.key = key;
    get.destination.segments.emplace_back(
        reinterpret_cast<std::byte*>(buffer->data()), buffer->size());
    get.destination.owner = buffer;
    (void)bucket_.Get(std::move(get)).Get();
    bytes = std::move(*buffer);
  }
  const std::string what = "object " + key + " written by mount " +
                           std::to_string(mount);
  bool seen = false;
  bool vouched = false;
  std::string candidates;
  std::string torn;
  bool renamed_as_found = false;
  std::shared_ptr<ModelFile> restores;
  std::shared_ptr<ModelFile> matched;
  int version = -1;
  const ModelOp* voucher = nullptr;
  for (auto& [id, op] : ops_) {
    if (op.mount != mount || op.file == nullptr || !Publishes(op.kind)) continue;
    const bool renames = op.kind == ModelOp::Kind::kRename;
    if (op.file->key != key && op.file->other_key != key &&
        !(renames && op.new_key == key) && op.key != key) {
      continue;
    }
    seen = true;
    const bool counts =
        op.vouches && (!op.still_vouches || op.still_vouches());
    if (!counts) continue;
    vouched = true;
    candidates += " " + Name(*op.file);
    int at = -1;
    // Of a name that another client has taken, or that a lost answer left open,
    // the mount renames what it finds there.
    if (renames && source != nullptr && key == op.new_key &&
        (shared_bucket || op.file->outcome_unknown || op.file->lost) &&
        objects_.count(op.key) != 0 &&
        objects_[op.key].content == source->content) {
      renamed_as_found = true;
    }
    if (renames && source != nullptr && key == op.key && op.before &&
        source->content == *op.before) {
      restores = op.file;
    }
    if (!MatchVersion(*op.file, source != nullptr ? &source->content : nullptr,
                      bytes, &at)) {
      continue;
    }
    const ModelFile& f = *op.file;
    const Content& held = at <= f.current() ? f.versions[at] : *f.pending;
    // A rename does not vouch for what a killed writer left.
    if (renames && f.torn && !f.tearing && at > f.published &&
        !(f.base && held == *f.base)) {
      torn = "E3 " + what + ": torn bytes were renamed into place: " +
             held.Describe() + " of " + Name(f);
      continue;
    }
    // Of several that would do, the one that breaks no rule.
    if (matched != nullptr &&
        (!f.linked || (matched->linked &&
                       voucher->kind != ModelOp::Kind::kRename))) {
      continue;
    }
    matched = op.file;
    version = at;
    voucher = &op;
  }
  if (matched == nullptr && restores != nullptr) {
    now.content = source->content;
    ModelFile& f = *restores;
    f.base = now.content;
    f.published = f.surely_published = -1;
    for (int i = 0; i <= f.current(); ++i) {
      if (f.versions[static_cast<std::size_t>(i)] == now.content) {
        f.published = f.surely_published = i;
      }
    }
    Trace("  mount " + std::to_string(mount) + " put back " + key + ": " +
          now.content.Describe());
  } else if (matched == nullptr && renamed_as_found) {
    now.content = source->content;
  } else if (matched == nullptr) {
    if (!torn.empty()) {
      Violate(torn);
    } else if (!vouched) {
      Violate("E2 " + what + (seen ? ": nobody vouches for it"
                                   : ": nothing in flight could publish it"));
    } else if (source == nullptr) {
      Violate("E1 " + what + " is no version of" + candidates + ": " +
              DescribeBytes(0, {reinterpret_cast<const std::byte*>(bytes.data()),
                                bytes.size()}));
    } else {
      Violate("E1 " + what + " is no version of" + candidates + ": " +
              source->content.Describe());
    }
    if (source != nullptr) now.content = source->content;
  } else {
    ModelFile& f = *matched;
    now.content = version <= f.current() ? f.versions[version] : *f.pending;
    if (!f.linked) Violate("E4 " + what + " is removed: " + Name(f));
    const auto old = objects_.find(key);
    const bool renames = voucher->kind == ModelOp::Kind::kRename;
    if (old != objects_.end()) {
      if (renames && voucher->no_replace && key == voucher->new_key &&
          !voucher->published) {
        Violate("E5 " + what + " replaced one that was there");
      }
      if (!renames && f.exclusive && f.published < 0 && !f.outcome_unknown &&
          old->second.writer != mount) {
        Violate("E5 " + what + " replaced another client's");
      }
    }
    if (!renames && f.foreign) {
      for (const Content::Run& run : now.content.runs()) {
        if (f.base_ids.count(run.id) != 0) {
          Violate("E5 " + what +
                  " keeps bytes of an object that was replaced: " +
                  now.content.Describe());
          break;
        }
      }
    }
    f.published = std::max(f.published, version);
    int oldest = std::min(version, f.current());
    while (oldest > std::max(0, f.surely_published) &&
           f.versions[static_cast<std::size_t>(oldest - 1)] == now.content) {
      --oldest;
    }
    if (f.versions[static_cast<std::size_t>(oldest)] != now.content) {
      oldest = version;  // of the change that is not answered yet
    }
    f.surely_published = std::max(f.surely_published, oldest);
    f.base = now.content;
    if (key == f.key) f.foreign = false;
    for (auto& [id, op] : ops_) {
      if (op.file == matched) op.published = true;
    }
    Trace("  mount " + std::to_string(mount) + " published " + key +
          " version " + std::to_string(version) + ": " +
          now.content.Describe());
  }
  history_[{key, now.etag}] = now.content;
  objects_[key] = std::move(now);
  Touch(mount, key);
}

bool ReferenceModel::MatchVersion(ModelFile& file, const Content* content,
                                  const std::string& bytes,
                                  int* version) const {
  const auto same = [&](const Content& c) {
    if (content != nullptr) return c == *content;
    return c.size() == bytes.size() &&
           c.Matches(0, {reinterpret_cast<const std::byte*>(bytes.data()),
                         bytes.size()});
  };
  if (file.pending && same(*file.pending)) {
    *version = file.current() + 1;
    return true;
  }
  for (int i = file.current(); i >= std::max(0, file.published); --i) {
    if (same(file.versions[static_cast<std::size_t>(i)])) {
      *version = i;
      return true;
    }
  }
  return false;
}

void ReferenceModel::Removed(int mount, const std::string& key) {
  if (objects_.find(key) == objects_.end()) return;
  bool allowed = false;
  for (const auto& [id, op] : ops_) {
    if (op.mount != mount || op.key != key) continue;
    if (op.kind == ModelOp::Kind::kUnlink) allowed = true;
    if (op.kind == ModelOp::Kind::kRename && op.file != nullptr) {
      const auto there = objects_.find(op.new_key);
      if (shared_bucket || op.file->lost ||
          (there != objects_.end() &&
           (there->second.content == objects_[key].content ||
            Holds(*op.file, op.new_key, std::max(0, op.file->published))))) {
        allowed = true;
      }
    }
  }
  if (!allowed) {
    Violate("E6 mount " + std::to_string(mount) + " deleted " + key +
            ", and no unlink or finished rename wants it");
  }
  Trace("  mount " + std::to_string(mount) + " deleted " + key);
  objects_.erase(key);
  Touch(mount, key);
}

void ReferenceModel::MountDied(int mount) {
  std::erase_if(ops_, [&](const auto& e) { return e.second.mount == mount; });
  std::erase_if(files_, [&](const auto& e) { return e.first.first == mount; });
  std::erase_if(names_, [&](const auto& e) { return e.first.first == mount; });
}

std::shared_ptr<ModelFile> ReferenceModel::Known(int mount,
                                                 fs::InodeNumber ino) const {
  const auto it = files_.find({mount, ino});
  return it == files_.end() ? nullptr : it->second;
}

std::shared_ptr<ModelFile> ReferenceModel::At(int mount,
                                              const std::string& key) const {
  const auto it = names_.find({mount, key});
  return it == names_.end() || !it->second->linked ? nullptr : it->second;
}

bool ReferenceModel::Busy(const std::string& key, int mount) const {
  return std::any_of(ops_.begin(), ops_.end(), [&](const auto& e) {
    const ModelOp& op = e.second;
    return op.mount == mount && op.kind != ModelOp::Kind::kOther &&
           op.kind != ModelOp::Kind::kRead && (op.key == key || op.new_key == key);
  });
}

// An unlink or a rename over it is in flight.
bool ReferenceModel::Going(const ModelFile& file) const {
  return std::any_of(ops_.begin(), ops_.end(), [&](const auto& e) {
    const ModelOp& op = e.second;
    if (op.mount != file.mount) return false;
    if (op.kind == ModelOp::Kind::kUnlink) return op.key == file.key;
    return op.kind == ModelOp::Kind::kRename && op.new_key == file.key &&
           op.file.get() != &file;
  });
}

bool ReferenceModel::Moving(const std::shared_ptr<ModelFile>& file) const {
  return std::any_of(ops_.begin(), ops_.end(), [&](const auto& e) {
    return e.second.kind == ModelOp::Kind::kRename && e.second.file == file;
  });
}

std::shared_ptr<ModelFile> ReferenceModel::Found(int mount,
                                                 fs::InodeNumber ino,
                                                 const std::string& key,
                                                 const std::string& etag,
                                                 std::uint64_t size,
                                                 const ModelOp& op) {
  const bool quiet = !shared_bucket && !Busy(key, mount) &&
                     uncertain.count(key) == 0 &&
                     (changed_.count(key) == 0 || changed_[key] < op.began);
  std::shared_ptr<ModelFile> file = Known(mount, ino);
  if (file != nullptr) {
    if (quiet && !file->lost && (!file->linked || file->key != key)) {
      Violate("A6 the name " + key + " leads to " + Name(*file) +
              (file->linked ? "" : ", which was removed"));
    }
    if (file->linked && file->key != key && uncertain.count(key) != 0 &&
        !Moving(file)) {
      // A rename failed, and went all the same, as far as the mount knows.
      names_.erase({mount, file->key});
      file->key = key;
      names_[{mount, key}] = file;
    }
    return file;
  }
  file = std::make_shared<ModelFile>();
  file->mount = mount;
  file->ino = ino;
  file->key = key;
  file->faults_at_clean = faults(mount);
  const auto known = history_.find({key, etag});
  if (known == history_.end()) {
    file->lost = true;
    file->versions.emplace_back();
    file->versions.back().Resize(size);
  } else {
    file->versions.push_back(known->second);
    const auto object = objects_.find(key);
    if (object == objects_.end() || object->second.etag != etag) {
      file->foreign = shared_bucket;
      if (quiet) Violate("A6 " + key + " shows an object that is gone");
    }
  }
  file->published = file->surely_published = 0;
  file->base = file->versions.back();
  file->limited = file->versions.back().size() > (5u << 20);
  for (const auto& run : file->versions.back().runs()) {
    file->base_ids.insert(run.id);
  }
  file->base_ids.erase(0);
  files_[{mount, ino}] = file;
  const auto before = names_.find({mount, key});
  if (before != names_.end() && Moving(before->second)) {
    // On its way to another name; what is found here is about to go.
    file->lost = true;
    return file;
  }
  if (before != names_.end() && before->second->linked) {
    // The mount took up the object anew. That is for objects that another
    // client replaced.
    const ModelFile& old = *before->second;
    if (!shared_bucket && uncertain.count(key) == 0 && !old.lost &&
        !old.outcome_unknown && !Busy(key, mount) &&
        (old.unpublished() || old.handles > 0)) {
      Violate("A6 " + key + " got a second inode beside " + Name(old));
    }
    before->second->linked = false;
  }
  names_[{mount, key}] = file;
  return file;
}

std::shared_ptr<ModelFile> ReferenceModel::Created(int mount,
                                                   fs::InodeNumber ino,
                                                   const std::string& key,
                                                   int flags, int group) {
  auto file = std::make_shared<ModelFile>();
  file->mount = mount;
  file->ino = ino;
  file->key = key;
  file->versions.emplace_back();
  file->last_write[group] = 0;
  file->faults_at_clean = faults(mount);
  file->exclusive = (flags & O_EXCL) != 0 || (flags & O_TRUNC) == 0;
  const std::shared_ptr<ModelFile> before = At(mount, key);
  if (before != nullptr && uncertain.count(key) == 0) {
    if (!shared_bucket && uncertain.count(key) == 0 && !before->lost &&
        !Busy(key, mount)) {
      Violate("A6 " + key + " was made anew over " + Name(*before));
    }
    before->linked = false;
  }
  files_[{mount, ino}] = file;
  names_[{mount, key}] = file;
  return file;
}

ModelOp& ReferenceModel::Begin(ModelOp op) {
  op.id = next_op_++;
  op.began = step;
  op.faults = faults(op.mount);
  if (op.key.empty() && op.file != nullptr) op.key = op.file->key;
  if (op.file != nullptr) {
    const ModelFile& f = *op.file;
    op.version = op.first_version = f.current();
    op.failed_before = f.failed;
    op.cuts = f.cut_count;
    if (f.pending) {
      op.window.push_back(*f.pending);
      if (f.pending_cut) op.failed_before = false;
    }
    if (Publishes(op.kind)) {
      for (auto& [id, other] : ops_) {
        if (other.file == op.file && Publishes(other.kind)) {
          other.overlapped = op.overlapped = true;
        }
      }
    }
  }
  const auto held = [&](const std::string& key) -> std::optional<Content> {
    const auto it = objects_.find(key);
    if (it == objects_.end()) return std::nullopt;
    return it->second.content;
  };
  op.before = held(op.key);
  op.new_before = held(op.new_key);
  const std::uint64_t id = op.id;
  return ops_.emplace(id, std::move(op)).first->second;
}

ModelOp* ReferenceModel::Find(std::uint64_t id) {
  const auto it = ops_.find(id);
  return it == ops_.end() ? nullptr : &it->second;
}

void ReferenceModel::End(std::uint64_t id, const std::optional<Error>& error) {
  const auto it = ops_.find(id);
  if (it == ops_.end()) return;  // its mount died
  ModelOp op = std::move(it->second);
  ops_.erase(it);
  CheckEnd(op, error);
}

bool ReferenceModel::Holds(const ModelFile& file, const std::string& key,
                           int version) const {
  const auto it = objects_.find(key);
  if (it == objects_.end()) return false;
  for (int i = version; i <= file.current(); ++i) {
    if (file.versions[static_cast<std::size_t>(i)] == it->second.content) {
      return true;
    }
  }
  return file.pending && *file.pending == it->second.content;
}

bool ReferenceModel::Excused(const ModelOp& op, const Error& error) const {
  using K = ModelOp::Kind;
  const ErrorCode code = error.code();
  const bool fault = faults(op.mount) > op.faults;
  if (op.kind == K::kOther || op.kind == K::kUnlink ||
      op.kind == K::kDirectory || op.file == nullptr) {
    switch (code) {
      case ErrorCode::kNotFound:
      case ErrorCode::kAlreadyExists:
      case ErrorCode::kIsDirectory:
      case ErrorCode::kNotDirectory:
      case ErrorCode::kNotEmpty: return true;
      case ErrorCode::kStale:
        return shared_bucket || fault ||
               (op.file != nullptr && op.file->outcome_unknown);
      default: break;
    }
    if (fault) return true;
    if (op.file == nullptr) return false;
  }
  const ModelFile& f = *op.file;
  if (f.lost || f.failed) return true;
  // What was removed is read all the same; nobody promises more of it.
  if (!f.linked && op.kind != K::kRead) return true;
  switch (code) {
    case ErrorCode::kStale:
      return f.foreign || f.outcome_unknown || (f.exclusive && shared_bucket);
    case ErrorCode::kAlreadyExists:
      if (op.no_replace) return true;
      return f.foreign || f.outcome_unknown || (f.exclusive && shared_bucket);
    case ErrorCode::kIsDirectory: return op.kind == K::kRename;
    case ErrorCode::kNotFound:
      if (op.kind == K::kRename) {
        return f.torn || f.tearing || shared_bucket || f.outcome_unknown ||
               uncertain.count(op.key) != 0;
      }
      break;
    case ErrorCode::kUnsupported:
    case ErrorCode::kResourceExhausted:
      if (f.limited) return true;
      break;
    default: break;
  }
  return fault || faults(op.mount) > f.faults_at_clean;
}

void ReferenceModel::CheckEnd(ModelOp& op, const std::optional<Error>& error) {
  using K = ModelOp::Kind;
  const std::string errors = error ? error->ToString() : "";
  if (error && !Excused(op, *error)) {
    Violate("A5 an error without a cause: " + errors +
            (op.file ? " of " + Name(*op.file) : ""));
  }
  if (op.file == nullptr) return;
  ModelFile& f = *op.file;
  if (op.kind == K::kUnlink) {
    if (!error) {
      const auto there = objects_.find(op.key);
      if (there != objects_.end() && there->second.since < op.began &&
          !shared_bucket) {
        Violate("A1 " + op.key + " was unlinked and is there");
      }
      const std::shared_ptr<ModelFile> at = At(op.mount, op.key);
      if (at != nullptr) at->linked = false;
      names_.erase({op.mount, op.key});
      uncertain.erase(op.key);
    } else {
      uncertain.insert(op.key);
      f.outcome_unknown |= faults(op.mount) > op.faults;
    }
    changed_[op.key] = step;
    return;
  }
  if (f.lost) return;
  switch (op.kind) {
    case K::kClose:
    case K::kFsync:
    case K::kTruncate: {
      if (!error) {
        if (op.failed_before && op.eligible && f.failed &&
            f.cut_count == op.cuts && f.linked && !f.pending_cut) {
          Violate("A3 success after an earlier failure: " + Name(f));
          return;
        }
        if (!op.must_publish || !f.linked || Going(f)) return;
        const bool once = f.published >= op.version ||
                          Holds(f, f.key, op.version) ||
                          Holds(f, f.other_key, op.version);
        const bool now = f.foreign || shared_bucket || Holds(f, f.key, op.version) ||
                         (f.key != op.key && Holds(f, op.key, op.version)) ||
                         Holds(f, f.other_key, op.version) || Busy(f.key, op.mount);
        if (!once || !now) {
          const auto there = objects_.find(f.key);
          Violate("A1 success, and the bucket has not version " +
                  std::to_string(op.version) + " (" +
                  f.versions[op.version].Describe() + ") of " + Name(f) +
                  " but " +
                  (there == objects_.end() ? "nothing"
                                           : there->second.content.Describe()));
          return;
        }
        if (f.published >= f.current()) f.faults_at_clean = faults(f.mount);
        f.outcome_unknown = false;
        return;
      }
      if (error->code() == ErrorCode::kOutcomeUnknown) {
        f.outcome_unknown = true;
      } else if (op.published && !op.overlapped && !f.outcome_unknown) {
        Violate("A2 " + errors + ", and yet it was published: " + Name(f));
      }
      if (op.kind != K::kTruncate && op.eligible && f.cut_count == op.cuts) {
        f.failed = true;
      }
      return;
    }
    case K::kRename: {
      changed_[op.key] = changed_[op.new_key] = step;
      const auto there = objects_.find(op.new_key);
      const auto old = objects_.find(op.key);
      if (!error) {
        if (op.key == op.new_key) return;
        const std::shared_ptr<ModelFile> replaced = At(op.mount, op.new_key);
        if (replaced != nullptr && replaced != op.file) replaced->linked = false;
        if (At(op.mount, op.key) == op.file) {
          names_.erase({op.mount, op.key});
        }
        names_[{op.mount, op.new_key}] = op.file;
        uncertain.erase(op.key);
        uncertain.erase(op.new_key);
        const bool was_foreign = f.foreign;
        f.key = op.new_key;
        f.other_key.clear();
        f.exclusive = false;
        f.foreign = false;
        f.base_ids.clear();
        if (shared_bucket && (was_foreign || there == objects_.end())) {
          f.lost = true;
          return;
        }
        if ((f.torn || f.tearing) && f.base && there != objects_.end() &&
            there->second.content == *f.base) {
          Discarded(f);
        } else if (!Holds(f, op.new_key, op.version) &&
                   !(shared_bucket && op.published)) {
          Violate("A1 rename succeeded, and " + op.new_key + " has not version " +
                  std::to_string(op.version) + " (" +
                  f.versions[op.version].Describe() + ") of " + Name(f) +
                  " but " +
                  (there == objects_.end()
                       ? "nothing"
                       : there->second.content.Describe()));
          return;
        }
        if (old != objects_.end() && !shared_bucket &&
            At(op.mount, op.key) == nullptr) {
          Violate("A1 rename succeeded, and the old name " + op.key +
                  " is still there");
        }
        if (f.published >= f.current()) f.faults_at_clean = faults(f.mount);
        return;
      }
      const auto now = [&](auto it) -> std::optional<Content> {
        if (it == objects_.end()) return std::nullopt;
        return it->second.content;
      };
      const auto text = [](const std::optional<Content>& c) {
        return c ? c->Describe() : "nothing";
      };
      // It failed, and the new name has been taken all the same.
      const std::shared_ptr<ModelFile> target = At(op.mount, op.new_key);
      if (target != nullptr && target != op.file && op.published &&
          there != objects_.end() && Holds(f, op.new_key, op.version)) {
        target->linked = false;
      }
      if (error->code() == ErrorCode::kOutcomeUnknown) {
        uncertain.insert(op.key);
        uncertain.insert(op.new_key);
        f.outcome_unknown = true;
        f.other_key = op.new_key;
        if (target != nullptr) target->outcome_unknown = true;
        return;
      }
      if (shared_bucket || op.overlapped) {
        uncertain.insert(op.key);
        uncertain.insert(op.new_key);
        return;
      }
      const bool moved = now(there) != op.new_before &&
                         Holds(f, op.new_key, op.version);
      const bool fault = faults(op.mount) > op.faults;
      // The answer to the DELETE may be what was lost.
      const bool gone = old == objects_.end() && moved && fault;
      const bool both = moved && fault && Holds(f, op.key, op.version);
      if (now(old) != op.before && !gone && !both) {
        Violate("A2 rename failed (" + errors + "), and the old name " +
                op.key + " has " + text(now(old)) + " instead of " +
                text(op.before));
      }
      if (now(there) != op.new_before) {
        uncertain.insert(op.key);
        uncertain.insert(op.new_key);
        // Others may have published there meanwhile; effects are checked when
        // they happen.
        if (there == objects_.end() || (moved && !fault)) {
          Violate("A2 rename failed (" + errors + "), and the new name " +
                  op.new_key + " has " + text(now(there)) + " instead of " +
                  text(op.new_before));
        }
      }
      return;
    }
    case K::kWrite:
      if (error) f.failed = true;
      return;
    default: return;
  }
}

void ReferenceModel::BeginChange(ModelFile& file, Content content) {
  file.limited |= content.size() > (5u << 20);
  file.pending_cut = content.size() == 0;
  file.pending = std::move(content);
}

void ReferenceModel::EndChange(ModelFile& file, bool ok, int group) {
  if (!file.pending) return;
  // Published before it was answered: then it is a version whatever the answer.
  if (ok || file.published > file.current()) {
    if (file.pending_cut) {
      file.failed = false;
      ++file.cut_count;
      file.base_ids.clear();
    }
    file.versions.push_back(*std::move(file.pending));
    if (group > 0) file.last_write[group] = file.current();
    file.torn = false;
  }
  file.pending.reset();
  file.pending_cut = false;
}

void ReferenceModel::Discarded(ModelFile& file) {
  file.failed = file.torn = file.mapped = false;
  ++file.cut_count;
  if (file.base) {
    file.versions.push_back(*file.base);
    file.published = file.surely_published = file.current();
  } else {
    file.versions.emplace_back();
    file.linked = false;
    const auto it = names_.find({file.mount, file.key});
    if (it != names_.end() && it->second.get() == &file) names_.erase(it);
    changed_[file.key] = step;
  }
  file.faults_at_clean = faults(file.mount);
}

void ReferenceModel::CheckRead(const ModelOp& op, std::uint64_t offset,
                               std::size_t size, const Payload& got) {
  const ModelFile& f = *op.file;
  if (f.lost || f.outcome_unknown) return;
  std::vector<const Content*> window;
  for (const Content& c : op.window) window.push_back(&c);
  for (int i = op.first_version; i <= f.current(); ++i) {
    window.push_back(&f.versions[static_cast<std::size_t>(i)]);
  }
  if (f.pending) window.push_back(&*f.pending);
  bool length = false;
  std::set<std::uint64_t> cuts;
  for (const Content* c : window) {
    const std::uint64_t most =
        c->size() <= offset ? 0
                            : std::min<std::uint64_t>(size, c->size() - offset);
    length |= most == got.size();
    for (const auto& run : c->runs()) cuts.insert(run.end);
  }
  std::uint64_t at = offset;
  bool right = true;
  std::string found;
  for (const auto& segment : got.segments) {
    found += " " + DescribeBytes(at, segment);
    std::span<const std::byte> left = segment;
    while (!left.empty()) {
      const auto cut = cuts.upper_bound(at);
      const std::size_t n =
          cut == cuts.end() ? left.size()
                            : std::min<std::uint64_t>(left.size(), *cut - at);
      right &= std::any_of(window.begin(), window.end(), [&](const Content* c) {
        return c->Matches(at, left.first(n));
      });
      at += n;
      left = left.subspan(n);
    }
  }
  if (!length || !right) {
    Violate("A4 read of " + std::to_string(size) + " at " +
            std::to_string(offset) + " of " + Name(f) + " gave" + found +
            " instead of " + f.now().Describe());
  }
}

void ReferenceModel::CheckAbsent(const ModelOp& op) {
  if (shared_bucket || uncertain.count(op.key) != 0) return;
  if (Busy(op.key, op.mount) || faults(op.mount) > op.faults) return;
  if (changed_.count(op.key) != 0 && changed_[op.key] >= op.began) return;
  const std::shared_ptr<ModelFile> file = At(op.mount, op.key);
  if (file != nullptr && (file->lost || !file->linked)) return;
  if (objects_.count(op.key) != 0 || (file != nullptr && file->unpublished())) {
    Violate("A6 " + op.key + " is there and was not found");
  }
}

void ReferenceModel::CheckSize(const ModelOp& op, std::uint64_t size) {
  const ModelFile& f = *op.file;
  if (f.lost || f.outcome_unknown) return;
  bool right = f.pending && f.pending->size() == size;
  for (const Content& c : op.window) right |= c.size() == size;
  for (int i = op.first_version; i <= f.current(); ++i) {
    right |= f.versions[static_cast<std::size_t>(i)].size() == size;
  }
  if (!right) {
    Violate("A4 " + Name(f) + " shows " + std::to_string(size) +
            " bytes instead of " + std::to_string(f.now().size()));
  }
}

}  // namespace ckptfs::sim

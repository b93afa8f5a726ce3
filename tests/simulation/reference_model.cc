#include "simulation/reference_model.h"
#include "simulation/model_names.h"

#include <algorithm>

namespace ckptfs::sim {

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
           op.kind != ModelOp::Kind::kRead &&
           (op.key == key || op.new_key == key);
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

std::shared_ptr<ModelFile> ReferenceModel::Found(int mount, fs::InodeNumber ino,
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
        (old.published < old.current() || old.handles > 0)) {
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
  file.given_up = true;
  // Whether a change that is under way came before or behind it is not known.
  if (file.pending) file.lost = true;
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

}  // namespace ckptfs::sim

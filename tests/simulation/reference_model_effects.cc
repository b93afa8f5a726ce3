// ReferenceModel: rules E1 to E6, at each effect on the bucket.
#include <algorithm>

#include "simulation/model_names.h"
#include "simulation/reference_model.h"

namespace ckptfs::sim {

void ReferenceModel::Effect(int mount, const std::string& operation,
                            const std::string& key, const std::string& source) {
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
    const ObjectInfo info = *bucket_.Head({.key = key, .options = {}}).Get();
    auto buffer = std::make_shared<std::string>(info.size, '\0');
    GetRequest get;
    get.key = key;
    get.destination.segments.emplace_back(
        reinterpret_cast<std::byte*>(buffer->data()), buffer->size());
    get.destination.owner = buffer;
    (void)bucket_.Get(std::move(get)).Get();
    bytes = std::move(*buffer);
  }
  const std::string what =
      "object " + key + " written by mount " + std::to_string(mount);
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
    if (op.mount != mount || op.file == nullptr || !Publishes(op.kind))
      continue;
    const bool renames = op.kind == ModelOp::Kind::kRename;
    if (op.file->key != key && op.file->other_key != key &&
        !(renames && op.new_key == key) && op.key != key) {
      continue;
    }
    seen = true;
    const bool counts = op.vouches && (!op.still_vouches || op.still_vouches());
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
        !(op.writer_lives && op.writer_lives()) &&
        !(f.base && held == *f.base)) {
      torn = "E3 " + what +
             ": torn bytes were renamed into place: " + held.Describe() +
             " of " + Name(f);
      continue;
    }
    // Of several that would do, the one that breaks no rule.
    if (matched != nullptr &&
        (!f.linked ||
         (matched->linked && voucher->kind != ModelOp::Kind::kRename))) {
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
      Violate("E2 " + what +
              (seen ? ": nobody vouches for it"
                    : ": nothing in flight could publish it"));
    } else if (source == nullptr) {
      Violate(
          "E1 " + what + " is no version of" + candidates + ": " +
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

}  // namespace ckptfs::sim

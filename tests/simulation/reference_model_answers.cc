// ReferenceModel: rules A1 to A6, at each answer.
#include <algorithm>

#include "simulation/model_names.h"
#include "simulation/reference_model.h"

namespace ckptfs::sim {

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
    // What its writer lost is told to every descriptor that it came through.
    case ErrorCode::kDataLoss:
      if (f.given_up || f.torn || f.tearing) return true;
      break;
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
  if (op.kind == K::kRename && !error && op.key != op.new_key) {
    const std::shared_ptr<ModelFile> replaced = At(op.mount, op.new_key);
    if (replaced != nullptr && replaced != op.file) replaced->linked = false;
  }
  if (f.lost) return;
  switch (op.kind) {
    case K::kClose:
    case K::kFsync:
    case K::kTruncate: {
      if (!error) {
        if (op.failed_before && op.eligible && f.failed &&
            f.cut_count == op.cuts && f.linked && !f.pending_cut && !Going(f)) {
          Violate("A3 success after an earlier failure: " + Name(f));
          return;
        }
        if (!op.must_publish || !f.linked || Going(f)) return;
        const bool once = f.published >= op.version ||
                          Holds(f, f.key, op.version) ||
                          Holds(f, f.other_key, op.version);
        const bool now =
            f.foreign || shared_bucket || Holds(f, f.key, op.version) ||
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
          Violate("A1 rename succeeded, and " + op.new_key +
                  " has not version " + std::to_string(op.version) + " (" +
                  f.versions[op.version].Describe() + ") of " + Name(f) +
                  " but " +
                  (there == objects_.end() ? "nothing"
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
      const bool moved =
          now(there) != op.new_before && Holds(f, op.new_key, op.version);
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

// GroupSet: some thread groups, each as far as it could be told.
// Strand only.
#pragma once

#include <algorithm>
#include <vector>

#include "fs/process_oracle.h"

namespace ckptfs::fs {

class GroupSet {
 public:
  void Add(const ProcessGroup& group) {
    if (std::find(groups_.begin(), groups_.end(), group) == groups_.end()) {
      groups_.push_back(group);
    }
  }
  // What cannot be told counts as yes; see MayBeSame.
  bool MayInclude(const ProcessGroup& group) const {
    return std::any_of(groups_.begin(), groups_.end(),
                       [&](const auto& g) { return MayBeSame(g, group); });
  }
  // Only the one that is surely meant.
  void Remove(const ProcessGroup& group) { std::erase(groups_, group); }
  bool empty() const { return groups_.empty(); }
  void clear() { groups_.clear(); }
  auto begin() const { return groups_.begin(); }
  auto end() const { return groups_.end(); }

 private:
  std::vector<ProcessGroup> groups_;  // no two are equal
};

}  // namespace ckptfs::fs

// How the reference model tells keys and operations apart, and names a file in
// what it says.
#pragma once

#include <string>

#include "simulation/reference_model.h"

namespace ckptfs::sim {

inline bool Reserved(const std::string& key) {
  return key.rfind(".ckptfs/", 0) == 0;
}
inline bool Marker(const std::string& key) { return key.ends_with("/"); }

inline bool Publishes(ModelOp::Kind kind) {
  using K = ModelOp::Kind;
  return kind == K::kClose || kind == K::kFsync || kind == K::kRename ||
         kind == K::kTruncate || kind == K::kRelease;
}

inline std::string Name(const ModelFile& f) {
  return "file " +
         std::to_string(static_cast<std::uint64_t>(f.ino) & 0xffffff) + " (" +
         f.key + ", mount " + std::to_string(f.mount) + ", published " +
         std::to_string(f.published) + " of " + std::to_string(f.current()) +
         ")";
}

}  // namespace ckptfs::sim

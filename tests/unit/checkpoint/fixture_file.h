// The files below data/, made by data/make_fixtures.py with torch 2.13.0.
#pragma once

#include <fstream>
#include <iterator>
#include <string>

namespace ckptfs {

inline std::string FixturePath(const std::string& name) {
  return std::string(CKPTFS_CHECKPOINT_FIXTURES) + "/" + name;
}

inline std::string FixtureBytes(const std::string& name) {
  std::ifstream in(FixturePath(name), std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

}  // namespace ckptfs

// ItemSource: one item of a data file as a file of its own, of which some bytes
// have been fetched before.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "checkpoint/io/byte_source.h"

namespace ckptfs {

// Stretches of a file that are in memory, by offset; disjoint.
class FetchedRanges {
 public:
  void Add(std::uint64_t offset, std::shared_ptr<const std::string> bytes) {
    ranges_[offset] = std::move(bytes);
  }
  // Copies [offset, offset + destination.size()) if one stretch holds it all.
  bool CopyTo(std::uint64_t offset, const Destination& destination) const;

 private:
  std::map<std::uint64_t, std::shared_ptr<const std::string>> ranges_;
};

class ItemSource final : public ByteSource {
 public:
  // [offset, offset + length) of `file`, which is open and outlives this, as
  // does `fetched`. `name`: for messages.
  ItemSource(ByteSource& file, const FetchedRanges& fetched, std::string name,
             std::uint64_t offset, std::uint64_t length)
      : file_(file),
        fetched_(fetched),
        name_(std::move(name)),
        offset_(offset),
        length_(length) {}

  const std::string& name() const override { return name_; }
  Task<Result<std::uint64_t>> Open(Destination first,
                                   std::stop_token stop) override;
  Task<Result<void>> Read(std::uint64_t offset, Destination destination,
                          std::stop_token stop) override;

 private:
  ByteSource& file_;
  const FetchedRanges& fetched_;
  const std::string name_;
  const std::uint64_t offset_;
  const std::uint64_t length_;
};

}  // namespace ckptfs

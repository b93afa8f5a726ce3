// ZipVerifier: compares the records of a zip with their checksums while its
// bytes stream past.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/zip/zip_directory.h"

namespace ckptfs {

struct Damage {
  std::string record;  // empty: the file
  std::uint64_t offset = 0;
  std::string what;
};

// Bounded memory whatever the records hold. Not thread-safe.
class ZipVerifier {
 public:
  // `entries`: by offset, as ParseZipDirectory checked them. Records of one
  // room each, the last one's ends at `directory_offset`.
  ZipVerifier(std::vector<ZipEntry> entries, std::uint64_t directory_offset);
  ~ZipVerifier();
  ZipVerifier(const ZipVerifier&) = delete;
  ZipVerifier& operator=(const ZipVerifier&) = delete;

  // The next bytes of the file: all up to the directory, in order, from 0.
  void Feed(std::span<const std::byte> bytes);

  // In the order of the file; the first kMaxDamages of them.
  const std::vector<Damage>& damages() const { return damages_; }
  std::uint64_t damage_count() const { return damage_count_; }
  static constexpr std::size_t kMaxDamages = 1000;

 private:
  class Inflation;
  std::uint64_t RoomEnd() const;
  // Takes what it can of `bytes`, and returns how many.
  std::size_t TakeHeader(std::span<const std::byte> bytes);
  std::size_t TakePayload(std::span<const std::byte> bytes);
  void EndRecord();
  void NextRecord();
  void Report(std::uint64_t offset, std::string what);

  const std::vector<ZipEntry> entries_;
  const std::uint64_t directory_offset_;
  std::uint64_t at_ = 0;                  // of the next byte that is fed
  std::size_t index_ = 0;                 // the record that at_ is in or before
  std::string header_;                    // as far as it has come
  std::optional<std::uint64_t> payload_;  // where it begins, once known
  std::uint32_t crc_ = 0;                 // of what has come of the payload
  std::unique_ptr<Inflation> inflation_;  // of a deflated record
  std::vector<Damage> damages_;
  std::uint64_t damage_count_ = 0;
};

}  // namespace ckptfs

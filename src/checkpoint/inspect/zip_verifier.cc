#include "checkpoint/inspect/zip_verifier.h"

#include <zlib.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "checkpoint/zip/crc32.h"

namespace ckptfs {

namespace {

std::string Hex(std::uint32_t crc) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%08x", crc);
  return text;
}

}  // namespace

// A deflated record, inflated piece by piece and thrown away.
class ZipVerifier::Inflation {
 public:
  explicit Inflation(std::uint64_t most) : most_(most) {
    ready_ = inflateInit2(&stream_, -MAX_WBITS) == Z_OK;
  }
  ~Inflation() { inflateEnd(&stream_); }
  Inflation(const Inflation&) = delete;
  Inflation& operator=(const Inflation&) = delete;

  void Feed(std::span<const std::byte> stored) {
    // zlib's next_in is non-const and only read.
    stream_.next_in =
        reinterpret_cast<Bytef*>(const_cast<std::byte*>(stored.data()));
    stream_.avail_in = static_cast<uInt>(stored.size());
    // What inflates to more than it says is not followed to its end.
    while (ready_ && !ended_ && produced_ <= most_) {
      std::byte out[32 << 10];
      stream_.next_out = reinterpret_cast<Bytef*>(out);
      stream_.avail_out = sizeof out;
      const int status = inflate(&stream_, Z_NO_FLUSH);
      const std::size_t n = sizeof out - stream_.avail_out;
      crc_ = Crc32Combine(crc_, Crc32(std::span(out).first(n)), n);
      produced_ += n;
      ended_ = status == Z_STREAM_END;
      // Z_BUF_ERROR: all input is used, and no output was left over.
      if (status != Z_OK && status != Z_BUF_ERROR && !ended_) ready_ = false;
      if (stream_.avail_in == 0 && stream_.avail_out > 0) break;
    }
  }

  // Of the whole record. Empty: it inflates to what it says.
  std::string Problem() const {
    if (produced_ > most_) return "it inflates to more than it says";
    if (!ready_) return "it does not inflate";
    if (!ended_) return "it does not inflate to its end";
    if (produced_ < most_) {
      return "it inflates to " + std::to_string(produced_) +
             " bytes and says " + std::to_string(most_);
    }
    return {};
  }
  std::uint32_t crc() const { return crc_; }

 private:
  const std::uint64_t most_;
  z_stream stream_{};
  bool ready_ = false;
  bool ended_ = false;
  std::uint64_t produced_ = 0;
  std::uint32_t crc_ = 0;
};

ZipVerifier::ZipVerifier(std::vector<ZipEntry> entries,
                         std::uint64_t directory_offset)
    : entries_(std::move(entries)), directory_offset_(directory_offset) {}

ZipVerifier::~ZipVerifier() = default;

std::uint64_t ZipVerifier::RoomEnd() const {
  return index_ + 1 < entries_.size() ? entries_[index_ + 1].header_offset
                                      : directory_offset_;
}

void ZipVerifier::Feed(std::span<const std::byte> bytes) {
  while (!bytes.empty() && index_ < entries_.size()) {
    const std::uint64_t next =
        payload_ ? *payload_ : entries_[index_].header_offset + header_.size();
    std::size_t n = 0;
    if (at_ < next) {
      n = std::min<std::uint64_t>(next - at_, bytes.size());
      at_ += n;
    } else {
      n = payload_ ? TakePayload(bytes) : TakeHeader(bytes);
    }
    bytes = bytes.subspan(n);
  }
}

std::size_t ZipVerifier::TakeHeader(std::span<const std::byte> bytes) {
  const ZipEntry& entry = entries_[index_];
  const std::uint64_t wanted = kLocalHeaderBytes + entry.name.size();
  const std::size_t n =
      std::min<std::uint64_t>(wanted - header_.size(), bytes.size());
  header_.append(reinterpret_cast<const char*>(bytes.data()), n);
  at_ += n;
  if (header_.size() < wanted) return n;
  const Result<std::uint64_t> payload =
      ZipPayloadOffset(entry, std::as_bytes(std::span(header_)), RoomEnd());
  if (!payload) {
    // The message begins with the record, which Damage has by itself.
    std::string what = payload.error().message();
    const std::string prefix = "record \"" + entry.name + "\": ";
    if (what.starts_with(prefix)) what.erase(0, prefix.size());
    Report(entry.header_offset, std::move(what));
    NextRecord();
    return n;
  }
  payload_ = *payload;
  if (entry.deflated) inflation_ = std::make_unique<Inflation>(entry.bytes);
  if (entry.stored_bytes == 0) EndRecord();
  return n;
}

std::size_t ZipVerifier::TakePayload(std::span<const std::byte> bytes) {
  const ZipEntry& entry = entries_[index_];
  const std::uint64_t left = *payload_ + entry.stored_bytes - at_;
  const std::size_t n = std::min<std::uint64_t>(left, bytes.size());
  if (inflation_ != nullptr) {
    inflation_->Feed(bytes.first(n));
  } else {
    crc_ = Crc32Combine(crc_, Crc32(bytes.first(n)), n);
  }
  at_ += n;
  if (n == left) EndRecord();
  return n;
}

void ZipVerifier::EndRecord() {
  const ZipEntry& entry = entries_[index_];
  std::string problem;
  if (inflation_ != nullptr) {
    problem = inflation_->Problem();
    crc_ = inflation_->crc();
  }
  if (problem.empty() && crc_ != entry.crc32) {
    problem = "its checksum is " + Hex(crc_) + ", and the directory says " +
              Hex(entry.crc32);
  }
  if (!problem.empty()) Report(*payload_, std::move(problem));
  NextRecord();
}

void ZipVerifier::NextRecord() {
  ++index_;
  header_.clear();
  payload_.reset();
  crc_ = 0;
  inflation_.reset();
}

void ZipVerifier::Report(std::uint64_t offset, std::string what) {
  ++damage_count_;
  if (damages_.size() < kMaxDamages) {
    damages_.push_back({entries_[index_].name, offset, std::move(what)});
  }
}

}  // namespace ckptfs

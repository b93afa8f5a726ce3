#include <ckptfs/checkpoint/dcp/prefix_strategy.h>

#include <algorithm>
#include <utility>

#include "checkpoint/dcp/check_metadata.h"

namespace ckptfs {

namespace {

constexpr int kMaxPrefixLength = 512;

std::string RankName(int rank) { return "__" + std::to_string(rank) + "_"; }

std::string EpochFolder(const std::optional<std::int64_t>& epoch) {
  return epoch ? "epoch_" + std::to_string(*epoch) + "/" : "";
}

class DefaultPrefixes final : public DcpPrefixStrategy {
 public:
  std::string PrefixOf(int rank) const override { return RankName(rank); }
};

class NumericPrefixes final : public DcpPrefixStrategy {
 public:
  NumericPrefixes(unsigned base, DcpNumericPrefixOptions options)
      : base_(base), options_(options) {}

  std::string PrefixOf(int rank) const override {
    // The digits in reverse: least significant first, zeros behind. No number
    // has more than are needed for the largest.
    auto left = static_cast<unsigned>(rank % options_.prefix_count);
    std::string digits;
    for (; left > 0; left /= base_) {
      digits.push_back("0123456789abcdef"[left % base_]);
    }
    const std::size_t length = std::max(Needed(), options_.min_prefix_length);
    digits.resize(length, '0');
    return digits + "/" + EpochFolder(options_.epoch) + RankName(rank);
  }

 private:
  int Needed() const {
    int length = 1;
    for (std::uint64_t size = base_;
         size < static_cast<std::uint64_t>(options_.prefix_count);
         size *= base_) {
      ++length;
    }
    return length;
  }

  const unsigned base_;
  const DcpNumericPrefixOptions options_;
};

Result<std::shared_ptr<const DcpPrefixStrategy>> Numeric(
    unsigned base, DcpNumericPrefixOptions options) {
  if (options.prefix_count < 1 || options.min_prefix_length < 1 ||
      options.min_prefix_length > kMaxPrefixLength) {
    return Fail(ErrorCode::kInvalidArgument,
                "prefix_count must be at least 1 and min_prefix_length between "
                "1 and " +
                    std::to_string(kMaxPrefixLength));
  }
  return std::make_shared<const NumericPrefixes>(base, options);
}

class RoundRobinPrefixes final : public DcpPrefixStrategy {
 public:
  RoundRobinPrefixes(std::vector<std::string> prefixes,
                     std::optional<std::int64_t> epoch)
      : prefixes_(std::move(prefixes)), epoch_(epoch) {}

  std::string PrefixOf(int rank) const override {
    return prefixes_[static_cast<std::size_t>(rank) % prefixes_.size()] + "/" +
           EpochFolder(epoch_) + RankName(rank);
  }

 private:
  const std::vector<std::string> prefixes_;
  const std::optional<std::int64_t> epoch_;
};

}  // namespace

std::shared_ptr<const DcpPrefixStrategy> DefaultDcpPrefixes() {
  return std::make_shared<const DefaultPrefixes>();
}

Result<std::shared_ptr<const DcpPrefixStrategy>> BinaryDcpPrefixes(
    DcpNumericPrefixOptions options) {
  return Numeric(2, options);
}

Result<std::shared_ptr<const DcpPrefixStrategy>> HexDcpPrefixes(
    DcpNumericPrefixOptions options) {
  return Numeric(16, options);
}

Result<std::shared_ptr<const DcpPrefixStrategy>> RoundRobinDcpPrefixes(
    std::vector<std::string> prefixes, std::optional<std::int64_t> epoch) {
  if (prefixes.empty()) {
    return Fail(ErrorCode::kInvalidArgument, "no prefixes");
  }
  for (const std::string& prefix : prefixes) {
    if (!StaysInFolder(prefix)) {
      return Fail(ErrorCode::kInvalidArgument,
                  "the prefix " + prefix +
                      " is not a path below the checkpoint's folder");
    }
  }
  return std::make_shared<const RoundRobinPrefixes>(std::move(prefixes), epoch);
}

}  // namespace ckptfs

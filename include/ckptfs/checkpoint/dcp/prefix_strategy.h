// DcpPrefixStrategy: how the data files of a rank are named, so that many ranks
// write below many prefixes of a bucket. The strategies of s3torchconnector
// 1.5 (s3torchconnector/dcp), with equal results.
#pragma once

#include <ckptfs/export.h>
#include <ckptfs/result.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace ckptfs {

// Immutable and thread-safe.
class CKPTFS_EXPORT DcpPrefixStrategy {
 public:
  virtual ~DcpPrefixStrategy() = default;
  // Relative to the folder of the checkpoint; "0.distcp", "1.distcp", ...
  // follow. Each rank needs its own.
  virtual std::string PrefixOf(int rank) const = 0;
};

using DcpPrefixes = std::shared_ptr<const DcpPrefixStrategy>;

// "__{rank}_"
CKPTFS_EXPORT DcpPrefixes DefaultDcpPrefixes();

struct DcpNumericPrefixOptions {
  std::optional<std::int64_t> epoch;  // adds "epoch_{epoch}/"
  int min_prefix_length = 10;         // digits; at least 1
  int prefix_count = 1;               // at least 1; usually the world size
};
// "{digits}/[epoch_{epoch}/]__{rank}_", where the digits are those of
// rank % prefix_count, in reverse. kInvalidArgument: a count or length below 1,
// or lengths beyond 512.
CKPTFS_EXPORT Result<DcpPrefixes> BinaryDcpPrefixes(
    DcpNumericPrefixOptions options);
CKPTFS_EXPORT Result<DcpPrefixes> HexDcpPrefixes(
    DcpNumericPrefixOptions options);

// "{prefixes[rank % n]}/[epoch_{epoch}/]__{rank}_". kInvalidArgument: no
// prefixes, or one that is absolute or has `..` or empty components.
CKPTFS_EXPORT Result<DcpPrefixes> RoundRobinDcpPrefixes(
    std::vector<std::string> prefixes, std::optional<std::int64_t> epoch = {});

}  // namespace ckptfs

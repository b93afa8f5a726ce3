// The s3://bucket[/prefix] argument.
#pragma once

#include <ckptfs/result.h>

#include <string>
#include <string_view>

namespace ckptfs::cli {

struct BucketUri {
  std::string bucket;
  std::string prefix;  // "" or "a/b/": what keys of the mount begin with
};

// kInvalidArgument says what is wrong. A prefix that no path can name (empty
// or dotted components) is refused: the mount could not show what is below it.
Result<BucketUri> ParseBucketUri(std::string_view text);

}  // namespace ckptfs::cli

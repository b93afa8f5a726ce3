#include "cli/bucket_uri.h"

namespace ckptfs::cli {

namespace {

constexpr std::string_view kScheme = "s3://";
// A key has at most 1,024 bytes; the rest is for the path below the prefix.
constexpr std::size_t kMaxPrefixBytes = 900;

tl::unexpected<Error> Invalid(std::string_view text, std::string_view what) {
  return Fail(ErrorCode::kInvalidArgument,
              "\"" + std::string(text) + "\" " + std::string(what) +
                  "; write s3://bucket or s3://bucket/prefix");
}

}  // namespace

Result<BucketUri> ParseBucketUri(std::string_view text) {
  if (text.substr(0, kScheme.size()) != kScheme) {
    return Invalid(text, "does not begin with s3://");
  }
  const std::string_view rest = text.substr(kScheme.size());
  const std::size_t slash = rest.find('/');
  BucketUri uri;
  uri.bucket = rest.substr(0, slash);
  if (uri.bucket.empty()) return Invalid(text, "names no bucket");
  if (slash == std::string_view::npos) return uri;

  std::string_view prefix = rest.substr(slash + 1);
  if (prefix.size() > 1 && prefix.back() == '/') prefix.remove_suffix(1);
  if (prefix.empty()) return uri;
  if (prefix.size() > kMaxPrefixBytes) {
    return Invalid(text, "has a prefix of more than 900 bytes");
  }
  for (std::size_t begin = 0; begin <= prefix.size();) {
    std::size_t end = prefix.find('/', begin);
    if (end == std::string_view::npos) end = prefix.size();
    const std::string_view part = prefix.substr(begin, end - begin);
    if (part.empty() || part == "." || part == "..") {
      return Invalid(text, "has an empty, \".\" or \"..\" part in its prefix");
    }
    begin = end + 1;
  }
  uri.prefix = std::string(prefix) + "/";
  return uri;
}

}  // namespace ckptfs::cli

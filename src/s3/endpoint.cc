#include "s3/endpoint.h"

#include <algorithm>
#include <cctype>

#include "s3/uri.h"

namespace ckptfs {

namespace {

Result<void> CheckBucket(std::string_view bucket, bool aws) {
  const auto fail = [&](const std::string& why) {
    return Fail(ErrorCode::kInvalidArgument,
                "\"" + std::string(bucket) + "\" is not a bucket name: " + why);
  };
  if (bucket.empty()) return fail("it is empty");
  // Stores other than AWS take up to 255 characters and upper case.
  if (bucket.size() < 3 || bucket.size() > (aws ? 63u : 255u)) {
    return fail("it has " + std::to_string(bucket.size()) +
                " characters; 3 to 63 are allowed");
  }
  for (const char c : bucket) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.';
    const bool lenient = !aws && ((c >= 'A' && c <= 'Z') || c == '_');
    if (!plain && !lenient) {
      return fail(std::string("it contains '") + c +
                  "'; use lower-case letters, digits, '-' and '.'");
    }
  }
  const auto edge = [](char c) { return c == '-' || c == '.'; };
  if (edge(bucket.front()) || edge(bucket.back()) ||
      bucket.find("..") != std::string_view::npos) {
    return fail("'-' and '.' must stand between letters or digits");
  }
  return {};
}

}  // namespace

Result<Endpoint> Endpoint::Create(std::string_view url, std::string_view region,
                                  std::string_view bucket,
                                  std::optional<bool> force_path_style) {
  Endpoint e;
  e.bucket_ = std::string(bucket);
  e.is_aws_ = url.empty();
  CKPTFS_RETURN_IF_ERROR(CheckBucket(bucket, e.is_aws_));
  for (const char c : region) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '-' &&
        c != '_') {
      return Fail(ErrorCode::kInvalidArgument,
                  "\"" + std::string(region) + "\" is not a region name");
    }
  }
  if (e.is_aws_) {
    // A bucket name with dots does not match the wildcard certificate of
    // virtual-host style.
    e.path_style_ =
        force_path_style.value_or(bucket.find('.') != std::string_view::npos);
    e.host_ = AwsHost(region);
    if (!e.path_style_) e.host_ = e.bucket_ + "." + e.host_;
    return e;
  }
  const auto fail = [&](const std::string& why) {
    return Fail(ErrorCode::kInvalidArgument,
                "\"" + std::string(url) + "\" is not an endpoint URL: " + why +
                    "; write it as https://host[:port]");
  };
  const std::size_t scheme_end = url.find("://");
  if (scheme_end == std::string_view::npos) return fail("it has no scheme");
  const std::string_view scheme = url.substr(0, scheme_end);
  if (scheme != "http" && scheme != "https") {
    return fail("its scheme is neither http nor https");
  }
  e.tls_ = scheme == "https";
  std::string_view rest = url.substr(scheme_end + 3);
  const std::size_t slash = rest.find('/');
  std::string_view authority = rest.substr(0, slash);
  std::string_view path =
      slash == std::string_view::npos ? std::string_view() : rest.substr(slash);
  while (path.ends_with('/')) path.remove_suffix(1);
  if (authority.empty() || authority.front() == ':') {
    return fail("it names no host");
  }
  if (authority.find('@') != std::string_view::npos) {
    return fail("it must not contain credentials");
  }
  for (const char c : authority) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 &&
        std::string_view(".-_:[]").find(c) == std::string_view::npos) {
      return fail(std::string("its host contains '") + c + "'");
    }
  }
  if (path.find_first_of("?# ") != std::string_view::npos) {
    return fail("it must not contain a query");
  }
  // An IPv6 literal has colons of its own, inside brackets.
  const std::size_t colon = authority.rfind(':');
  if (colon != std::string_view::npos &&
      authority.find(']', colon) == std::string_view::npos) {
    const std::string_view port = authority.substr(colon + 1);
    const bool digits = !port.empty() && port.size() <= 5 &&
                        std::all_of(port.begin(), port.end(), [](char c) {
                          return c >= '0' && c <= '9';
                        });
    if (!digits || std::stoi(std::string(port)) > 65535 ||
        std::stoi(std::string(port)) == 0) {
      return fail("its port is not a number from 1 to 65535");
    }
    // libcurl leaves the scheme's own port out of the Host header, which is
    // signed.
    if (port == (e.tls_ ? "443" : "80")) authority = authority.substr(0, colon);
  }
  e.host_ = std::string(authority);
  e.base_path_ = std::string(path);
  e.path_style_ = force_path_style.value_or(true);
  if (!e.path_style_) e.host_ = e.bucket_ + "." + e.host_;
  return e;
}

std::string Endpoint::AwsHost(std::string_view region) {
  // A partition of its own, with a domain of its own.
  const bool china = region.starts_with("cn-");
  return "s3." + std::string(region) +
         (china ? ".amazonaws.com.cn" : ".amazonaws.com");
}

std::string Endpoint::Path(std::string_view key) const {
  std::string out = base_path_;
  if (path_style_) out += "/" + UriEncode(bucket_, true);
  if (!key.empty() || !path_style_) out += "/" + UriEncode(key, true);
  return out;
}

std::string Endpoint::Uri(std::string_view key) const {
  return "s3://" + bucket_ + (key.empty() ? "" : "/" + std::string(key));
}

}  // namespace ckptfs

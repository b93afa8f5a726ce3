// Endpoint: where requests for one bucket go, and how its objects are
// addressed. Immutable value.
#pragma once

#include <ckptfs/result.h>

#include <optional>
#include <string>
#include <string_view>

namespace ckptfs {

class Endpoint {
 public:
  // `url` empty: AWS in `region`. Otherwise scheme://host[:port][/path], http
  // or https. kInvalidArgument names what is wrong with url or bucket.
  static Result<Endpoint> Create(std::string_view url, std::string_view region,
                                 std::string_view bucket,
                                 std::optional<bool> force_path_style);

  const std::string& bucket() const { return bucket_; }
  const std::string& host() const { return host_; }  // the Host header
  bool tls() const { return tls_; }
  bool is_aws() const { return is_aws_; }
  // The host of S3 itself in a region of AWS.
  static std::string AwsHost(std::string_view region);
  // scheme://host, for messages and URLs.
  std::string origin() const { return (tls_ ? "https://" : "http://") + host_; }
  // The encoded path of an object, or of the bucket when `key` is empty.
  std::string Path(std::string_view key) const;
  // "s3://bucket/key", for messages.
  std::string Uri(std::string_view key) const;

 private:
  Endpoint() = default;
  std::string bucket_;
  std::string host_;
  std::string base_path_;  // of the endpoint URL, without a final '/'
  bool tls_ = true;
  bool is_aws_ = false;
  bool path_style_ = false;
};

}  // namespace ckptfs

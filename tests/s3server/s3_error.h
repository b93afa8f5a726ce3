// S3Error: a refusal as S3 words it (HTTP status, code, message), and Reply<T>,
// a value or such a refusal.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

namespace ckptfs::s3server {

struct S3Error {
  int status = 500;
  std::string code;
  std::string message;
  // Further elements of the error document, e.g. {"Region", "us-east-1"}.
  std::vector<std::pair<std::string, std::string>> details = {};
};

template <class T>
using Reply = tl::expected<T, S3Error>;

inline tl::unexpected<S3Error> Refuse(int status, std::string code,
                                      std::string message) {
  return tl::unexpected<S3Error>(
      S3Error{status, std::move(code), std::move(message)});
}
inline tl::unexpected<S3Error> Refuse(S3Error error) {
  return tl::unexpected<S3Error>(std::move(error));
}

}  // namespace ckptfs::s3server

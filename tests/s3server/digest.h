// MD5, SHA-256 and HMAC on OpenSSL, and their text forms. An OpenSSL failure
// (no such algorithm, no memory) throws std::runtime_error: nothing useful can
// be served then.
#pragma once

#include <openssl/evp.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace ckptfs::s3server {

class Content;

// Bytes in, digest out; one use each. Not thread-safe.
class Digest {
 public:
  explicit Digest(const EVP_MD* algorithm);
  void Update(std::string_view bytes);
  std::string Finish();  // raw bytes

 private:
  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> context_;
};

std::string Md5(std::string_view bytes);                                 // raw
std::string Md5(const Content& content);                                 // raw
std::string Sha256(std::string_view bytes);                              // raw
std::string HmacSha256(std::string_view key, std::string_view message);  // raw

std::string Hex(std::string_view bytes);  // lower case
std::string Base64(std::string_view bytes);
// Null if not hex.
std::optional<std::string> FromHex(std::string_view text);

}  // namespace ckptfs::s3server

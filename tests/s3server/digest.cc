#include "s3server/digest.h"

#include <openssl/hmac.h>

#include <stdexcept>

#include "s3server/content.h"

namespace ckptfs::s3server {
namespace {

void Require(bool ok, const char* what) {
  if (!ok) throw std::runtime_error(std::string("OpenSSL: ") + what);
}

}  // namespace

Digest::Digest(const EVP_MD* algorithm) : context_(EVP_MD_CTX_new()) {
  Require(context_ != nullptr, "no digest context");
  Require(EVP_DigestInit_ex(context_.get(), algorithm, nullptr) == 1,
          "digest not available");
}

void Digest::Update(std::string_view bytes) {
  Require(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1,
          "digest failed");
}

std::string Digest::Finish() {
  unsigned char raw[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  Require(EVP_DigestFinal_ex(context_.get(), raw, &size) == 1, "digest failed");
  return std::string(reinterpret_cast<char*>(raw), size);
}

std::string Md5(std::string_view bytes) {
  Digest digest(EVP_md5());
  digest.Update(bytes);
  return digest.Finish();
}

std::string Md5(const Content& content) {
  Digest digest(EVP_md5());
  content.ForEach([&digest](std::string_view bytes) { digest.Update(bytes); });
  return digest.Finish();
}

std::string Sha256(std::string_view bytes) {
  Digest digest(EVP_sha256());
  digest.Update(bytes);
  return digest.Finish();
}

std::string HmacSha256(std::string_view key, std::string_view message) {
  unsigned char raw[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  Require(HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
               reinterpret_cast<const unsigned char*>(message.data()),
               message.size(), raw, &size) != nullptr,
          "HMAC failed");
  return std::string(reinterpret_cast<char*>(raw), size);
}

std::string Hex(std::string_view bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

std::string Base64(std::string_view bytes) {
  std::string out((bytes.size() + 2) / 3 * 4 + 1, '\0');
  const int size =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                      reinterpret_cast<const unsigned char*>(bytes.data()),
                      static_cast<int>(bytes.size()));
  out.resize(static_cast<std::size_t>(size));
  return out;
}

std::optional<std::string> FromHex(std::string_view text) {
  if (text.size() % 2 != 0) return std::nullopt;
  std::string out;
  for (std::size_t i = 0; i < text.size(); i += 2) {
    int value = 0;
    for (const char c : text.substr(i, 2)) {
      value *= 16;
      if (c >= '0' && c <= '9') {
        value += c - '0';
      } else if (c >= 'a' && c <= 'f') {
        value += c - 'a' + 10;
      } else {
        return std::nullopt;
      }
    }
    out += static_cast<char>(value);
  }
  return out;
}

}  // namespace ckptfs::s3server

#include "s3/digest.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <cstdlib>
#include <memory>

namespace ckptfs {

namespace {

struct MdCtxDeleter {
  void operator()(EVP_MD_CTX* c) const { EVP_MD_CTX_free(c); }
};
using MdCtx = std::unique_ptr<EVP_MD_CTX, MdCtxDeleter>;

// Fetched once: an implicit fetch takes a lock at every use (OpenSSL 3.0).
const EVP_MD* FetchedSha256() {
  static EVP_MD* const md = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return md;
}

// A digest that fails means a broken or FIPS-restricted OpenSSL; a request
// signed with garbage would only hide that.
void Require(bool ok) {
  if (!ok) std::abort();
}

}  // namespace

Sha256Digest Sha256(std::string_view data) {
  Sha256Digest out;
  Require(EVP_Digest(data.data(), data.size(), out.data(), nullptr,
                     FetchedSha256(), nullptr) == 1);
  return out;
}

Sha256Digest Sha256(const Payload& payload) {
  MdCtx ctx(EVP_MD_CTX_new());
  Require(ctx != nullptr &&
          EVP_DigestInit_ex2(ctx.get(), FetchedSha256(), nullptr) == 1);
  for (const auto& segment : payload.segments) {
    Require(EVP_DigestUpdate(ctx.get(), segment.data(), segment.size()) == 1);
  }
  Sha256Digest out;
  Require(EVP_DigestFinal_ex(ctx.get(), out.data(), nullptr) == 1);
  return out;
}

Sha256Digest HmacSha256(std::string_view key, std::string_view data) {
  Sha256Digest out;
  unsigned int size = out.size();
  Require(HMAC(FetchedSha256(), key.data(), static_cast<int>(key.size()),
               reinterpret_cast<const unsigned char*>(data.data()), data.size(),
               out.data(), &size) != nullptr);
  return out;
}

std::string_view AsBytes(const Sha256Digest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

std::string Hex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  out.reserve(2 * bytes.size());
  for (const unsigned char c : bytes) {
    out += kDigits[c >> 4];
    out += kDigits[c & 15];
  }
  return out;
}

std::string ContentMd5(std::string_view data) {
  std::array<unsigned char, 16> md5;
  Require(EVP_Digest(data.data(), data.size(), md5.data(), nullptr, EVP_md5(),
                     nullptr) == 1);
  std::array<unsigned char, 25> text;
  const int n = EVP_EncodeBlock(text.data(), md5.data(), md5.size());
  return std::string(reinterpret_cast<const char*>(text.data()),
                     static_cast<std::size_t>(n));
}

}  // namespace ckptfs

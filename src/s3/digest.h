// The digests S3 requests need, over OpenSSL. Pure functions, thread-safe.
#pragma once

#include <ckptfs/object_store.h>

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

namespace ckptfs {

using Sha256Digest = std::array<unsigned char, 32>;

Sha256Digest Sha256(std::string_view data);
// Costs about 0.85 CPU-seconds per GB.
Sha256Digest Sha256(const Payload& payload);
Sha256Digest HmacSha256(std::string_view key, std::string_view data);
std::string_view AsBytes(const Sha256Digest& digest);

std::string Hex(std::string_view bytes);
// base64(MD5(data)), the value of a Content-MD5 header.
std::string ContentMd5(std::string_view data);

}  // namespace ckptfs

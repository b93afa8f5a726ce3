// The nonce by which a writer recognises its own object after a lost reply.
#pragma once

#include <string>

namespace ckptfs {

// 128 random bits in hexadecimal. Thread-safe.
std::string MakeNonce();

}  // namespace ckptfs

// TLS of the server on OpenSSL: the context (certificate and key) and the
// stream of one connection.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>
#include <tl/expected.hpp>

#include "s3server/stream.h"

namespace ckptfs::s3server {

// Immutable after creation; thread-safe.
class TlsContext {
 public:
  // The error is a message that names the file.
  static tl::expected<std::unique_ptr<TlsContext>, std::string> FromFiles(
      const std::string& certificate, const std::string& key);

  // Does the handshake (blocks); null if it failed.
  std::unique_ptr<Stream> Accept(int socket) const;

 private:
  struct Free {
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  };
  explicit TlsContext(std::unique_ptr<SSL_CTX, Free> context)
      : context_(std::move(context)) {}
  const std::unique_ptr<SSL_CTX, Free> context_;
};

// Writes a new CA (ca.pem), and a certificate of it for localhost, 127.0.0.1
// and ::1 (cert.pem, key.pem), to `directory`. Valid for ten days; the CA's key
// is not kept.
tl::expected<void, std::string> WriteSelfSigned(const std::string& directory);

}  // namespace ckptfs::s3server

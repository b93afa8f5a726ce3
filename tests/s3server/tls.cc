#include "s3server/tls.h"

#include <errno.h>
#include <openssl/err.h>

#include <algorithm>
#include <climits>

namespace ckptfs::s3server {
namespace {

std::string OpensslMessage() {
  char text[256] = "unknown error";
  const unsigned long code = ERR_get_error();
  if (code != 0) ERR_error_string_n(code, text, sizeof(text));
  ERR_clear_error();
  return text;
}

class TlsStream final : public Stream {
 public:
  struct Free {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
  };
  explicit TlsStream(std::unique_ptr<SSL, Free> ssl) : ssl_(std::move(ssl)) {}

  ssize_t Read(char* out, std::size_t size) override {
    ERR_clear_error();
    const int n = SSL_read(ssl_.get(), out, Clamp(size));
    if (n > 0) return n;
    broken_ = SSL_get_error(ssl_.get(), n) != SSL_ERROR_ZERO_RETURN;
    return broken_ ? -1 : 0;
  }

  ssize_t Write(const iovec* pieces, int count) override {
    while (count > 1 && pieces->iov_len == 0) {
      ++pieces;
      --count;
    }
    ERR_clear_error();
    const int n =
        SSL_write(ssl_.get(), pieces->iov_base, Clamp(pieces->iov_len));
    if (n <= 0) broken_ = true;
    return n > 0 ? n : -1;
  }

  void Finish() override {
    if (!broken_) SSL_shutdown(ssl_.get());
    ERR_clear_error();
  }

 private:
  static int Clamp(std::size_t size) {
    return static_cast<int>(std::min<std::size_t>(size, INT_MAX));
  }
  const std::unique_ptr<SSL, Free> ssl_;
  bool broken_ = false;  // OpenSSL forbids SSL_shutdown then
};

}  // namespace

tl::expected<std::unique_ptr<TlsContext>, std::string> TlsContext::FromFiles(
    const std::string& certificate, const std::string& key) {
  std::unique_ptr<SSL_CTX, Free> context(SSL_CTX_new(TLS_server_method()));
  if (!context) return tl::unexpected("TLS: " + OpensslMessage());
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  if (SSL_CTX_use_certificate_chain_file(context.get(), certificate.c_str()) !=
      1) {
    return tl::unexpected(certificate + ": " + OpensslMessage());
  }
  if (SSL_CTX_use_PrivateKey_file(context.get(), key.c_str(),
                                  SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(context.get()) != 1) {
    return tl::unexpected(key + ": " + OpensslMessage());
  }
  return std::unique_ptr<TlsContext>(new TlsContext(std::move(context)));
}

std::unique_ptr<Stream> TlsContext::Accept(int socket) const {
  std::unique_ptr<SSL, TlsStream::Free> ssl(SSL_new(context_.get()));
  if (!ssl || SSL_set_fd(ssl.get(), socket) != 1 ||
      SSL_accept(ssl.get()) != 1) {
    ERR_clear_error();
    return nullptr;
  }
  return std::make_unique<TlsStream>(std::move(ssl));
}

}  // namespace ckptfs::s3server

// Stream: the two byte streams of a connection, plain or TLS, blocking. Does
// not own the socket. Used by one thread.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>

namespace ckptfs::s3server {

class Stream {
 public:
  virtual ~Stream() = default;
  // > 0: bytes read; 0: end of stream; < 0: broken. Blocks.
  virtual ssize_t Read(char* out, std::size_t size) = 0;
  // > 0: bytes written, maybe fewer than given; < 0: broken. Blocks.
  // REQUIRES: some bytes are given.
  virtual ssize_t Write(const iovec* pieces, int count) = 0;
  // Tells the peer that no more comes. Errors do not matter: the socket is
  // closed next.
  virtual void Finish() = 0;
};

class PlainStream final : public Stream {
 public:
  explicit PlainStream(int socket) : socket_(socket) {}
  ssize_t Read(char* out, std::size_t size) override;
  ssize_t Write(const iovec* pieces, int count) override;
  void Finish() override;

 private:
  const int socket_;
};

}  // namespace ckptfs::s3server

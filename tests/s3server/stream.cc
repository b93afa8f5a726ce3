#include "s3server/stream.h"

#include <errno.h>
#include <sys/socket.h>

namespace ckptfs::s3server {

ssize_t PlainStream::Read(char* out, std::size_t size) {
  ssize_t n;
  do {
    n = ::recv(socket_, out, size, 0);
  } while (n < 0 && errno == EINTR);
  return n;
}

ssize_t PlainStream::Write(const iovec* pieces, int count) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(pieces);
  message.msg_iovlen = static_cast<std::size_t>(count);
  ssize_t n;
  do {
    n = ::sendmsg(socket_, &message, MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  return n;
}

void PlainStream::Finish() { ::shutdown(socket_, SHUT_WR); }

}  // namespace ckptfs::s3server

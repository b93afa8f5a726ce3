#include "s3server/http_connection.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace ckptfs::s3server {
namespace {

constexpr std::size_t kMaxHeadBytes = 64 << 10;
constexpr std::size_t kHeadReadBytes = 16 << 10;
// What is digested is read in pieces that stay in the second-level cache.
constexpr std::size_t kDigestRunBytes = 256 << 10;
constexpr std::size_t kScratchBytes = 1 << 20;

// Bytes that may move at once under a limit: two milliseconds' worth.
std::size_t PacedRun(std::size_t size, std::int64_t bytes_per_s) {
  if (bytes_per_s <= 0) return size;
  const auto run = static_cast<std::size_t>(bytes_per_s / 500);
  return std::min(size, std::clamp<std::size_t>(run, 1024, 1 << 20));
}

}  // namespace

bool HttpConnection::Pace::Spend(FaultPlan& plan, std::size_t bytes,
                                 std::int64_t bytes_per_s) {
  if (bytes_per_s <= 0) return true;
  const auto now = std::chrono::steady_clock::now();
  // Sleeps last a little longer than asked for; a few milliseconds may be made
  // up for, but an idle connection saves up no more than that.
  next_ =
      std::max(next_, now - std::chrono::milliseconds(5)) +
      std::chrono::nanoseconds(static_cast<std::int64_t>(
          1e9 * static_cast<double>(bytes) / static_cast<double>(bytes_per_s)));
  const auto wait = next_ - now;
  // Sleeping for less is less exact than running ahead by it.
  if (wait < std::chrono::milliseconds(1)) return true;
  return plan.Sleep(wait);
}

HttpConnection::HttpConnection(int socket, Stream& stream, FaultPlan& plan,
                               std::shared_ptr<BufferPool> pool)
    : socket_(socket), stream_(stream), plan_(plan), pool_(std::move(pool)) {}

ssize_t HttpConnection::Read(char* out, std::size_t size) {
  if (begin_ < buffered_.size()) {
    const std::size_t take = std::min(size, buffered_.size() - begin_);
    std::memcpy(out, buffered_.data() + begin_, take);
    begin_ += take;
    return static_cast<ssize_t>(take);
  }
  const std::int64_t limit = plan_.conn_bytes_per_s.load();
  const ssize_t n = stream_.Read(out, PacedRun(size, limit));
  if (n > 0 && !in_pace_.Spend(plan_, static_cast<std::size_t>(n), limit)) {
    return -1;
  }
  return n;
}

bool HttpConnection::WriteAll(iovec* pieces, int count) {
  while (count > 0) {
    if (pieces->iov_len == 0) {
      ++pieces;
      --count;
      continue;
    }
    const std::int64_t limit = plan_.conn_bytes_per_s.load();
    iovec paced{pieces->iov_base, PacedRun(pieces->iov_len, limit)};
    ssize_t n =
        limit > 0 ? stream_.Write(&paced, 1) : stream_.Write(pieces, count);
    if (n < 0) return false;
    if (!out_pace_.Spend(plan_, static_cast<std::size_t>(n), limit)) {
      return false;
    }
    while (n > 0) {
      const auto take = std::min(static_cast<std::size_t>(n), pieces->iov_len);
      pieces->iov_base = static_cast<char*>(pieces->iov_base) + take;
      pieces->iov_len -= take;
      n -= static_cast<ssize_t>(take);
      if (pieces->iov_len == 0) {
        ++pieces;
        --count;
      }
    }
  }
  return true;
}

bool HttpConnection::WriteAll(std::string_view bytes) {
  iovec piece{const_cast<char*>(bytes.data()), bytes.size()};
  return WriteAll(&piece, 1);
}

HttpConnection::ReadResult HttpConnection::ReadRequest(Request* request) {
  bytes_in_ = bytes_out_ = 0;
  buffered_.erase(0, begin_);
  begin_ = 0;
  std::size_t end;
  while ((end = buffered_.find("\r\n\r\n")) == std::string::npos) {
    if (buffered_.size() > kMaxHeadBytes) return ReadResult::kMalformed;
    const std::size_t have = buffered_.size();
    buffered_.resize(have + kHeadReadBytes);
    const ssize_t n = stream_.Read(buffered_.data() + have, kHeadReadBytes);
    buffered_.resize(have + static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
    if (n <= 0) return ReadResult::kClosed;
  }
  auto parsed = ParseHead(std::string_view(buffered_).substr(0, end));
  begin_ = end + 4;
  if (!parsed) return ReadResult::kMalformed;
  *request = std::move(*parsed);
  return ReadResult::kOk;
}

std::optional<std::string> HttpConnection::ReadLine() {
  constexpr std::size_t kMaxLine = 4096;
  std::string line;
  char c;
  while (line.size() < kMaxLine && Read(&c, 1) == 1) {
    if (c == '\n') {
      if (!line.empty() && line.back() == '\r') line.pop_back();
      return line;
    }
    line += c;
  }
  return std::nullopt;
}

HttpConnection::ReadResult HttpConnection::ReceiveRun(std::uint64_t size,
                                                      const BodyPlan& plan,
                                                      Content* content) {
  const bool keep = plan.storage == BodyPlan::Storage::kKeep;
  std::shared_ptr<Buffer> buffer;
  if (keep) {
    buffer = std::make_shared<Buffer>(pool_, size);
  } else if (!scratch_) {
    scratch_.reset(new char[kScratchBytes]);
  }
  for (std::uint64_t done = 0; done < size;) {
    std::uint64_t want = size - done;
    if (plan.digest) want = std::min<std::uint64_t>(want, kDigestRunBytes);
    if (!keep) want = std::min<std::uint64_t>(want, kScratchBytes);
    if (plan.stop_at) {
      if (bytes_in_ >= *plan.stop_at) return ReadResult::kStopped;
      want = std::min(want, *plan.stop_at - bytes_in_);
    }
    char* out = keep ? buffer->data() + done : scratch_.get();
    const ssize_t n = Read(out, want);
    if (n <= 0) return ReadResult::kClosed;
    const auto got = static_cast<std::size_t>(n);
    if (plan.digest) plan.digest->Update({out, got});
    done += got;
    bytes_in_ += got;
  }
  if (plan.stop_at && bytes_in_ >= *plan.stop_at) return ReadResult::kStopped;
  if (keep) content->Append(Piece{std::move(buffer), 0, size});
  return ReadResult::kOk;
}

HttpConnection::ReadResult HttpConnection::ReceiveChunked(const BodyPlan& plan,
                                                          Content* content) {
  while (true) {
    const auto line = ReadLine();
    if (!line) return ReadResult::kClosed;
    const std::string_view digits =
        Trim(std::string_view(*line).substr(0, line->find(';')));
    std::uint64_t size = 0;
    const auto [stop, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), size, 16);
    if (error != std::errc() || digits.empty() ||
        stop != digits.data() + digits.size()) {
      return ReadResult::kMalformed;
    }
    if (size > kMaxBodyBytes || bytes_in_ + size > kMaxBodyBytes) {
      return ReadResult::kTooLarge;
    }
    if (size == 0) break;
    const ReadResult result = ReceiveRun(size, plan, content);
    if (result != ReadResult::kOk) return result;
    const auto end = ReadLine();
    if (!end) return ReadResult::kClosed;
    if (!end->empty()) return ReadResult::kMalformed;
  }
  while (true) {  // trailers
    const auto line = ReadLine();
    if (!line) return ReadResult::kClosed;
    if (line->empty()) return ReadResult::kOk;
  }
}

HttpConnection::ReadResult HttpConnection::ReadBody(Request* request,
                                                    const BodyPlan& plan) {
  const std::string* length = request->Header("content-length");
  const std::string* coding = request->Header("transfer-encoding");
  std::uint64_t size = 0;
  if (coding) {
    // Both at once is request smuggling (RFC 9112 6.3).
    if (length || LowerCase(*coding) != "chunked")
      return ReadResult::kMalformed;
  } else if (length) {
    const auto parsed = ParseNumber(*length);
    if (!parsed) return ReadResult::kMalformed;
    size = *parsed;
    if (size > kMaxBodyBytes) return ReadResult::kTooLarge;
  }
  if (LowerCase(request->HeaderOr("expect", "")) == "100-continue" &&
      !WriteAll("HTTP/1.1 100 Continue\r\n\r\n")) {
    return ReadResult::kClosed;
  }
  Content content;
  if (coding) {
    const ReadResult result = ReceiveChunked(plan, &content);
    if (result != ReadResult::kOk) return result;
  } else if (size > 0 || plan.stop_at) {
    const ReadResult result = ReceiveRun(size, plan, &content);
    if (result != ReadResult::kOk) return result;
  }
  request->body = plan.storage == BodyPlan::Storage::kPattern
                      ? Content::Pattern(0, bytes_in_)
                      : std::move(content);
  return ReadResult::kOk;
}

bool HttpConnection::Send(const Response& response, bool keep_alive,
                          bool with_body,
                          std::optional<std::uint64_t> stop_at) {
  const std::string head = RenderHead(response, keep_alive);
  std::uint64_t left = with_body ? response.body.size() : 0;
  if (stop_at) left = std::min(left, *stop_at);
  // The head goes along with the first bytes of the body.
  iovec pieces[2] = {{const_cast<char*>(head.data()), head.size()},
                     {nullptr, 0}};
  bool head_sent = false;
  const auto send = [&](const char* data, std::size_t size) {
    iovec rest[2] = {head_sent ? iovec{nullptr, 0} : pieces[0],
                     {const_cast<char*>(data), size}};
    head_sent = true;
    if (!WriteAll(rest, 2)) return false;
    bytes_out_ += size;
    left -= size;
    return true;
  };
  for (const Piece& piece : response.body.pieces()) {
    if (left == 0) break;
    const std::uint64_t length = std::min(piece.length, left);
    if (piece.buffer) {
      if (!send(piece.buffer->data() + piece.offset, length)) return false;
      continue;
    }
    if (!pattern_) pattern_ = std::make_unique<PatternBlock>();
    for (std::uint64_t done = 0; done < length;) {
      const PatternBlock::Bytes bytes = pattern_->At(piece.offset + done);
      const std::uint64_t run =
          std::min<std::uint64_t>(bytes.size, length - done);
      if (!send(bytes.data, run)) return false;
      done += run;
    }
  }
  return head_sent || WriteAll(head);
}

void HttpConnection::PrepareReset() {
  for (int tries = 0; tries < 1000; ++tries) {
    int unsent = 0;
    if (::ioctl(socket_, SIOCOUTQ, &unsent) != 0 || unsent == 0) break;
    if (!plan_.Sleep(std::chrono::milliseconds(1))) break;
  }
  const linger now{1, 0};
  ::setsockopt(socket_, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

}  // namespace ckptfs::s3server

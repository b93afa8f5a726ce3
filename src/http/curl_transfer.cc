#include "http/curl_transfer.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <utility>

#include "http/proxy_settings.h"

namespace ckptfs {

namespace {

// Idle connections that a PUT or POST may reuse. S3 drops idle connections
// after about 5 s; a request body sent into a connection that is being closed
// is replayed by libcurl or lost.
constexpr long kMaxIdleForWrites = 4;
constexpr long kMaxIdleForReads = 60;

// libcurl reads a body in pieces of this size. One send() per event and buffer:
// 512 KiB cost as little CPU per GiB as the maximum of 2 MiB
// (bench/s3_client.cc), and 64 connections hold 32 MiB of them rather than 128.
constexpr long kUploadBuffer = 512L << 10;

// Pauses shorter than this need no look at the kernel's buffer.
constexpr std::chrono::seconds kShortPause{1};

template <typename T>
bool Set(CURL* easy, CURLoption option, T value) {
  return curl_easy_setopt(easy, option, value) == CURLE_OK;
}

std::string_view Trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) {
    s.remove_prefix(1);
  }
  while (!s.empty() && std::isspace(static_cast<unsigned char>(s.back()))) {
    s.remove_suffix(1);
  }
  return s;
}

}  // namespace

CurlEasy NewEasyHandle(const CurlHandleSettings& settings) {
  CurlEasy easy(curl_easy_init());
  if (easy == nullptr) return nullptr;
  CURL* e = easy.get();
  bool ok = true;
  // HTTP/2 would put every transfer of a thread on one TCP stream.
  ok &= Set(e, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  ok &= Set(e, CURLOPT_NOSIGNAL, 1L);
  ok &= Set(e, CURLOPT_PATH_AS_IS, 1L);
  ok &= Set(e, CURLOPT_TCP_NODELAY, 1L);
  ok &= Set(e, CURLOPT_TCP_KEEPALIVE, 1L);
  ok &= Set(e, CURLOPT_TCP_KEEPIDLE, 30L);
  ok &= Set(e, CURLOPT_TCP_KEEPINTVL, 10L);
  // Write callbacks stay at 16 KiB whatever this says, but one recv() fills
  // the whole buffer; 512 KiB is the most before 7.88.
  ok &= Set(e, CURLOPT_BUFFERSIZE, 512L << 10);
  ok &= Set(e, CURLOPT_UPLOAD_BUFFERSIZE, kUploadBuffer);
  ok &= Set(e, CURLOPT_FOLLOWLOCATION, 0L);  // a redirect must be signed anew
  ok &= Set(e, CURLOPT_NOPROGRESS, 1L);
  ok &= Set(e, CURLOPT_USERAGENT, "ckptfs");
  ok &= curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK;
  // A CAPATH, which Debian sets by default, turns off the cache of parsed CA
  // certificates (7.87+), and every handshake then costs 36-40 ms of CPU.
  const char* bundle = settings.ca_file.empty()
                           ? curl_version_info(CURLVERSION_NOW)->cainfo
                           : settings.ca_file.c_str();
  // A proxy's reply to CONNECT is not the server's: its headers would pass for
  // those of the object.
  ok &= Set(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  // Which proxy is ProxySettings' decision alone.
  ok &= Set(e, CURLOPT_NOPROXY, "");
  if (bundle != nullptr) {
    ok &= Set(e, CURLOPT_CAINFO, bundle);
    ok &= Set(e, CURLOPT_PROXY_CAINFO, bundle);
    ok &= Set(e, CURLOPT_CAPATH, static_cast<const char*>(nullptr));
  }
  return ok ? std::move(easy) : nullptr;
}

CurlTransfer::CurlTransfer(HttpRequest request, Promise<HttpResponse> promise)
    : request_(std::move(request)),
      promise_(std::move(promise)),
      read_cursor_(request_.body.segments),
      write_cursor_(request_.destination.segments) {
  // So that the cursor is at its end as soon as the last byte was read.
  std::erase_if(request_.body.segments,
                [](const auto& s) { return s.empty(); });
}

bool CurlTransfer::Attach(CurlEasy easy, const std::string& proxy,
                          const TimePoint* loop_now) {
  easy_ = std::move(easy);
  loop_now_ = loop_now;
  last_activity_ = *loop_now;
  response_.queued = std::max(last_activity_ - created_, TimePoint::duration());
  response_.proxy = WithoutCredentials(proxy);
  CURL* e = easy_.get();
  bool ok = true;

  const bool upload = request_.method == "PUT" || request_.method == "POST";
  // HTTPGET first: it undoes UPLOAD and NOBODY of the handle's last transfer.
  ok &= Set(e, CURLOPT_HTTPGET, 1L);
  ok &= Set(e, CURLOPT_CUSTOMREQUEST, static_cast<const char*>(nullptr));
  if (upload) {
    ok &= Set(e, CURLOPT_UPLOAD, 1L);
    ok &= Set(e, CURLOPT_INFILESIZE_LARGE,
              static_cast<curl_off_t>(request_.body.size()));
    ok &= Set(e, CURLOPT_READFUNCTION, &CurlTransfer::OnRead);
    ok &= Set(e, CURLOPT_READDATA, static_cast<void*>(this));
    ok &= Set(e, CURLOPT_SEEKFUNCTION, &CurlTransfer::OnSeek);
    ok &= Set(e, CURLOPT_SEEKDATA, static_cast<void*>(this));
  }
  if (request_.method == "HEAD") {
    ok &= Set(e, CURLOPT_NOBODY, 1L);
  } else if (request_.method != "GET" && request_.method != "PUT") {
    ok &= Set(e, CURLOPT_CUSTOMREQUEST, request_.method.c_str());
  }
  ok &= Set(e, CURLOPT_MAXAGE_CONN,
            upload ? kMaxIdleForWrites : kMaxIdleForReads);
  ok &= Set(e, CURLOPT_URL, request_.url.c_str());
  ok &= Set(e, CURLOPT_PROXY, proxy.c_str());  // "": none
  ok &= Set(e, CURLOPT_CONNECTTIMEOUT_MS,
            static_cast<long>(request_.connect_timeout.count()));

  curl_slist* list = nullptr;
  bool list_ok = true;
  const auto append = [&](const std::string& line) {
    curl_slist* next = curl_slist_append(list, line.c_str());
    if (next == nullptr) {
      list_ok = false;
    } else {
      list = next;
    }
  };
  // Up to 7.88 every non-empty PUT would wait for "100 Continue".
  append("Expect:");
  append("Accept-Encoding: identity");
  append("Accept:");
  for (const auto& [name, value] : request_.headers) {
    // "Name;" is libcurl's spelling of a header with an empty value.
    append(value.empty() ? name + ";" : name + ": " + value);
  }
  header_list_.reset(list);
  ok &= list_ok;
  ok &= Set(e, CURLOPT_HTTPHEADER, header_list_.get());

  ok &= Set(e, CURLOPT_HEADERFUNCTION, &CurlTransfer::OnHeader);
  ok &= Set(e, CURLOPT_HEADERDATA, static_cast<void*>(this));
  ok &= Set(e, CURLOPT_WRITEFUNCTION, &CurlTransfer::OnWrite);
  ok &= Set(e, CURLOPT_WRITEDATA, static_cast<void*>(this));
  ok &= Set(e, CURLOPT_PREREQFUNCTION, &CurlTransfer::OnRequestStart);
  ok &= Set(e, CURLOPT_PREREQDATA, static_cast<void*>(this));
  ok &= Set(e, CURLOPT_ERRORBUFFER, error_buffer_);
  ok &= Set(e, CURLOPT_PRIVATE, static_cast<void*>(this));
  return ok;
}

CurlEasy CurlTransfer::Detach() {
  if (easy_ != nullptr) {
    // Its old targets are this object's members.
    Set(easy_.get(), CURLOPT_ERRORBUFFER, static_cast<char*>(nullptr));
    Set(easy_.get(), CURLOPT_HTTPHEADER, static_cast<curl_slist*>(nullptr));
    Set(easy_.get(), CURLOPT_PRIVATE, static_cast<void*>(nullptr));
  }
  return std::move(easy_);
}

void CurlTransfer::RecordFailure(TransportFailure failure, std::string text) {
  if (response_.failure != TransportFailure::kNone) return;
  response_.failure = failure;
  response_.failure_text = std::move(text);
}

void CurlTransfer::RecordResult(CURLcode code) {
  NoticeSending(*loop_now_);
  // Its peer is gone, or has answered: nothing is on its way any more.
  in_kernel_ = 0;
  RecordProxy(code);
  if (code == CURLE_OK) {
    long status = 0;
    curl_easy_getinfo(easy_.get(), CURLINFO_RESPONSE_CODE, &status);
    response_.status = static_cast<int>(status);
    return;
  }
  TransportFailure failure =
      starts_ > 0 ? TransportFailure::kBroken : TransportFailure::kConnect;
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
      failure = TransportFailure::kResolve;
      break;
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:  // only the connect timeout is curl's
      failure = TransportFailure::kConnect;
      break;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
      failure = TransportFailure::kCertificate;
      break;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CIPHER: failure = TransportFailure::kTls; break;
    case CURLE_PARTIAL_FILE: failure = TransportFailure::kShortBody; break;
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_BAD_CONTENT_ENCODING:
      failure = TransportFailure::kMalformed;
      break;
    case CURLE_OUT_OF_MEMORY:
    case CURLE_FAILED_INIT:
    case CURLE_BAD_FUNCTION_ARGUMENT:
      failure = TransportFailure::kInternal;
      break;
    default: break;
  }
  RecordFailure(failure, error_buffer_[0] != 0 ? error_buffer_
                                               : curl_easy_strerror(code));
}

void CurlTransfer::RecordProxy(CURLcode code) {
  if (response_.proxy.empty() || starts_ > 0 || code == CURLE_OK) return;
  long status = 0;
  curl_easy_getinfo(easy_.get(), CURLINFO_HTTP_CONNECTCODE, &status);
  if (status < 300 && code != CURLE_PROXY) return;
  response_.proxy_status = static_cast<int>(status);
  RecordFailure(TransportFailure::kProxy, error_buffer_[0] != 0
                                              ? error_buffer_
                                              : curl_easy_strerror(code));
}

// libcurl asks for the body's next bytes only when its buffer is empty, which
// on a slow line is once in minutes, and the kernel holds megabytes behind it.
void CurlTransfer::NoticeSending(TimePoint now) {
  if (easy_ == nullptr) return;
  curl_off_t written = 0;
  curl_easy_getinfo(easy_.get(), CURLINFO_SIZE_UPLOAD_T, &written);
  int in_kernel = 0;
  if (socket_ >= 0 && ioctl(socket_, SIOCOUTQ, &in_kernel) != 0) in_kernel = 0;
  if (written == written_ && in_kernel == in_kernel_) return;
  written_ = written;
  in_kernel_ = in_kernel;
  last_activity_ = now;
}

std::optional<TransportFailure> CurlTransfer::ExpiredTimer(TimePoint now) {
  if (now >= request_.deadline) return TransportFailure::kDeadline;
  if (starts_ == 0) return std::nullopt;  // connecting: libcurl's timer
  if (now - last_activity_ >= kShortPause) NoticeSending(now);
  const auto idle = now - last_activity_;
  const bool body_sent = read_cursor_.at_end();
  if (body_sent && !answering_) {
    if (idle > request_.first_byte_timeout) {
      return TransportFailure::kFirstByteTimeout;
    }
    return std::nullopt;
  }
  if (idle > request_.stall_timeout) return TransportFailure::kStallTimeout;
  return std::nullopt;
}

std::string CurlTransfer::TimerText(TransportFailure failure) const {
  switch (failure) {
    case TransportFailure::kDeadline: return "the deadline passed";
    case TransportFailure::kFirstByteTimeout:
      return "no answer within " +
             std::to_string(request_.first_byte_timeout.count()) + " ms";
    default:
      return "no byte moved for " +
             std::to_string(request_.stall_timeout.count()) + " ms";
  }
}

void CurlTransfer::Finish() {
  response_.request_sent = whole_;
  response_.bytes_sent = static_cast<std::uint64_t>(
      std::max<std::int64_t>(0, written_ - in_kernel_));
  request_.body = {};
  request_.destination = {};
  request_.observer.reset();
  promise_.Set(std::move(response_));
}

std::size_t CurlTransfer::OnRead(char* to, std::size_t size, std::size_t count,
                                 void* self) noexcept {
  auto* t = static_cast<CurlTransfer*>(self);
  t->last_activity_ = *t->loop_now_;
  const std::size_t n =
      t->read_cursor_.Read(reinterpret_cast<std::byte*>(to), size * count);
  t->whole_ = t->whole_ || t->read_cursor_.at_end();
  return n;
}

int CurlTransfer::OnSeek(void* self, curl_off_t offset, int origin) noexcept {
  auto* t = static_cast<CurlTransfer*>(self);
  if (origin != SEEK_SET || offset < 0) return CURL_SEEKFUNC_FAIL;
  return t->read_cursor_.Seek(static_cast<std::uint64_t>(offset))
             ? CURL_SEEKFUNC_OK
             : CURL_SEEKFUNC_FAIL;
}

int CurlTransfer::OnRequestStart(void* self, char*, char*, int, int) noexcept {
  auto* t = static_cast<CurlTransfer*>(self);
  ++t->starts_;
  t->response_.replayed = t->response_.replayed || t->whole_;
  t->whole_ = t->whole_ || t->read_cursor_.at_end();  // no body
  t->answering_ = false;
  t->last_activity_ = *t->loop_now_;
  return CURL_PREREQFUNC_OK;
}

std::size_t CurlTransfer::OnHeader(char* from, std::size_t size,
                                   std::size_t count, void* self) noexcept {
  auto* t = static_cast<CurlTransfer*>(self);
  t->last_activity_ = *t->loop_now_;
  t->answering_ = true;
  return t->TakeHeader(std::string_view(from, size * count));
}

std::size_t CurlTransfer::TakeHeader(std::string_view line) {
  const std::size_t taken = line.size();
  if (head_done_) return taken;  // a trailer
  if (line.starts_with("HTTP/")) {
    response_.headers.clear();
    const std::size_t space = line.find(' ');
    response_.status =
        space == std::string_view::npos
            ? 0
            : std::atoi(std::string(line.substr(space + 1, 3)).c_str());
    return taken;
  }
  line = Trim(line);
  if (!line.empty()) {
    const std::size_t colon = line.find(':');
    if (colon != std::string_view::npos) {
      response_.headers.Add(std::string(Trim(line.substr(0, colon))),
                            std::string(Trim(line.substr(colon + 1))));
    }
    return taken;
  }
  if (response_.status < 200) return taken;  // interim response
  head_done_ = true;
  if (request_.observer != nullptr) {
    plan_ = request_.observer->OnHead(response_.status, response_.headers);
  }
  if (plan_.sink == BodyPlan::Sink::kRefuse) {
    RecordFailure(TransportFailure::kRefused, "the response was refused");
    return 0;
  }
  return taken;
}

std::size_t CurlTransfer::OnWrite(char* from, std::size_t size,
                                  std::size_t count, void* self) noexcept {
  auto* t = static_cast<CurlTransfer*>(self);
  t->last_activity_ = *t->loop_now_;
  return t->TakeBody(reinterpret_cast<const std::byte*>(from), size * count);
}

std::size_t CurlTransfer::TakeBody(const std::byte* from, std::size_t size) {
  const std::size_t taken = size;
  if (plan_.sink == BodyPlan::Sink::kBuffer) {
    if (response_.body.size() + size > request_.max_buffered_body) {
      RecordFailure(TransportFailure::kBodyTooLarge,
                    "the response exceeds " +
                        std::to_string(request_.max_buffered_body) + " bytes");
      return 0;
    }
    response_.body.append(reinterpret_cast<const char*>(from), size);
    response_.bytes_received += size;
    return taken;
  }
  const std::size_t skip =
      static_cast<std::size_t>(std::min<std::uint64_t>(plan_.skip, size));
  plan_.skip -= skip;
  from += skip;
  size -= skip;
  const std::size_t stored = write_cursor_.Write(from, size);
  response_.bytes_received += stored;
  if (stored > 0 && request_.observer != nullptr) {
    request_.observer->OnBytes(std::span(from, stored));
  }
  if (stored < size) {
    RecordFailure(TransportFailure::kBodyTooLarge,
                  "the response is longer than what was asked for");
    return 0;
  }
  return taken;
}

}  // namespace ckptfs

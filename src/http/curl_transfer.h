// CurlTransfer: one exchange on one easy handle, with the callbacks libcurl
// makes for it. Belongs to CurlTransport; touched by one loop thread at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "http/curl_handle.h"
#include "http/gather.h"
#include "http/http_transport.h"

namespace ckptfs {

class CurlLoop;

class CurlTransfer {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  CurlTransfer(HttpRequest request, Promise<HttpResponse> promise);

  // Puts the request on `easy`, whose connection-independent options were set
  // by NewEasyHandle, to go through `proxy` (empty: directly). False: libcurl
  // refused an option.
  bool Attach(CurlEasy easy, const std::string& proxy,
              const TimePoint* loop_now);
  // Takes the handle back, to be reused. Nothing of the request is referenced
  // by it once it is out of its multi handle.
  CurlEasy Detach();
  CURL* easy() const { return easy_.get(); }

  // The typed failure for libcurl's verdict on this transfer.
  void RecordResult(CURLcode code);
  void RecordFailure(TransportFailure failure, std::string text);
  // The failure of the timer that has run out by `now`, if any.
  std::optional<TransportFailure> ExpiredTimer(TimePoint now);
  std::string TimerText(TransportFailure failure) const;

  // libcurl begins, or ends, to wait for that socket on behalf of this.
  void WaitsFor(int socket) { socket_ = socket; }
  void WaitsNoMoreFor(int socket) {
    if (socket_ == socket) socket_ = -1;
  }

  // Lets go of the caller's memory, then fulfils the promise. Once.
  void Finish();

  const HttpRequest& request() const { return request_; }

  // --- guarded by CurlTransport::mu_ ---
  CurlLoop* loop = nullptr;  // null while queued
  bool queued = false;
  std::list<std::shared_ptr<CurlTransfer>>::iterator queue_position;
  // --- destroyed outside that lock, before Finish ---
  std::optional<std::stop_callback<std::function<void()>>> on_stop;

 private:
  static std::size_t OnRead(char* to, std::size_t size, std::size_t count,
                            void* self) noexcept;
  static int OnSeek(void* self, curl_off_t offset, int origin) noexcept;
  static std::size_t OnHeader(char* from, std::size_t size, std::size_t count,
                              void* self) noexcept;
  static std::size_t OnWrite(char* from, std::size_t size, std::size_t count,
                             void* self) noexcept;
  static int OnRequestStart(void* self, char*, char*, int, int) noexcept;

  void NoticeSending(TimePoint now);
  void RecordProxy(CURLcode code);
  std::size_t TakeHeader(std::string_view line);
  std::size_t TakeBody(const std::byte* from, std::size_t size);

  HttpRequest request_;
  Promise<HttpResponse> promise_;
  HttpResponse response_;
  CurlEasy easy_;
  CurlSlist header_list_;
  const TimePoint created_ = std::chrono::steady_clock::now();
  const TimePoint* loop_now_ = nullptr;
  TimePoint last_activity_{};
  GatherCursor read_cursor_;
  ScatterCursor write_cursor_;
  BodyPlan plan_;
  int starts_ = 0;
  bool whole_ = false;  // libcurl has had all of the request
  int socket_ = -1;
  // As last seen by NoticeSending.
  std::int64_t written_ = 0;  // body bytes that the kernel took
  int in_kernel_ = 0;         // bytes there that the peer has not acknowledged
  bool answering_ = false;    // some byte of a response arrived
  bool head_done_ = false;
  char error_buffer_[CURL_ERROR_SIZE] = {};
};

struct CurlHandleSettings {
  std::string ca_file;  // empty: libcurl's built-in bundle
};

// An easy handle with everything set that does not change from one transfer to
// the next. Null: out of memory.
CurlEasy NewEasyHandle(const CurlHandleSettings& settings);

}  // namespace ckptfs

#include "http/curl_loop.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include "http/curl_transport.h"

namespace ckptfs {

namespace {

using std::chrono::milliseconds;

// How often the transfers' own timers are looked at. Also a watchdog: libcurl
// has lost socket events in several releases (curl #10146, #14898), and a
// timeout action makes it look again.
constexpr milliseconds kCheckInterval{100};

}  // namespace

CurlLoop::CurlLoop(CurlTransport& transport, CurlHandleSettings settings,
                   int index, std::size_t max_connections)
    : transport_(transport),
      settings_(std::move(settings)),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      wake_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
      multi_(curl_multi_init()) {
  if (epoll_ < 0 || wake_ < 0 || multi_ == nullptr) {
    const int error = epoll_ < 0 || wake_ < 0 ? errno : ENOMEM;
    CloseDescriptors();
    throw std::system_error(error, std::generic_category(),
                            "cannot make an event loop for HTTP");
  }
  CURLM* m = multi_.get();
  curl_multi_setopt(m, CURLMOPT_SOCKETFUNCTION, &CurlLoop::OnSocket);
  curl_multi_setopt(m, CURLMOPT_SOCKETDATA, static_cast<void*>(this));
  curl_multi_setopt(m, CURLMOPT_TIMERFUNCTION, &CurlLoop::OnTimer);
  curl_multi_setopt(m, CURLMOPT_TIMERDATA, static_cast<void*>(this));
  // The default follows the number of running transfers and closes pooled
  // connections whenever the load ebbs.
  curl_multi_setopt(m, CURLMOPT_MAXCONNECTS,
                    static_cast<long>(2 * max_connections));
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = wake_;
  epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_, &event);
  try {
    thread_ = std::thread([this] { Run(); });
  } catch (...) {
    CloseDescriptors();
    throw;
  }
  const std::string name = "ckptfs-http-" + std::to_string(index);
  pthread_setname_np(thread_.native_handle(), name.substr(0, 15).c_str());
}

CurlLoop::~CurlLoop() {
  Shutdown();
  thread_.join();
  CloseDescriptors();
}

void CurlLoop::CloseDescriptors() {
  multi_.reset();  // before the descriptors its callbacks use
  if (wake_ >= 0) close(wake_);
  if (epoll_ >= 0) close(epoll_);
}

void CurlLoop::Shutdown() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
  }
  Wake();
}

void CurlLoop::Start(TransferPtr transfer) {
  {
    MutexLock lock(mu_);
    starts_.push_back(std::move(transfer));
  }
  Wake();
}

void CurlLoop::Cancel(TransferPtr transfer) {
  {
    MutexLock lock(mu_);
    cancels_.push_back(std::move(transfer));
  }
  Wake();
}

void CurlLoop::Wake() {
  const std::uint64_t one = 1;
  // EAGAIN means the counter is full, so the thread will wake anyway.
  [[maybe_unused]] const ssize_t n = write(wake_, &one, sizeof one);
}

int CurlLoop::OnSocket(CURL*, curl_socket_t fd, int what, void* self,
                       void*) noexcept {
  auto* loop = static_cast<CurlLoop*>(self);
  epoll_event event{};
  event.data.fd = fd;
  if (what == CURL_POLL_REMOVE) {
    epoll_ctl(loop->epoll_, EPOLL_CTL_DEL, fd, &event);
    return 0;
  }
  if ((what & CURL_POLL_IN) != 0) event.events |= EPOLLIN;
  if ((what & CURL_POLL_OUT) != 0) event.events |= EPOLLOUT;
  if (epoll_ctl(loop->epoll_, EPOLL_CTL_MOD, fd, &event) != 0) {
    epoll_ctl(loop->epoll_, EPOLL_CTL_ADD, fd, &event);
  }
  return 0;
}

int CurlLoop::OnTimer(CURLM*, long timeout_ms, void* self) noexcept {
  auto* loop = static_cast<CurlLoop*>(self);
  if (timeout_ms < 0) {
    loop->curl_timer_.reset();
  } else {
    loop->curl_timer_ =
        std::chrono::steady_clock::now() + milliseconds(timeout_ms);
  }
  return 0;
}

int CurlLoop::WaitMilliseconds() const {
  std::optional<TimePoint> due = curl_timer_;
  if (!active_.empty() && (!due.has_value() || next_check_ < *due)) {
    due = next_check_;
  }
  if (!due.has_value()) return -1;
  const auto left = *due - std::chrono::steady_clock::now();
  if (left <= left.zero()) return 0;
  return static_cast<int>(std::chrono::ceil<milliseconds>(left).count());
}

void CurlLoop::Run() {
  std::array<epoll_event, 64> events;
  while (true) {
    const int n =
        epoll_wait(epoll_, events.data(), static_cast<int>(events.size()),
                   WaitMilliseconds());
    now_ = std::chrono::steady_clock::now();
    int running = 0;
    for (int i = 0; i < n; ++i) {
      if (events[i].data.fd == wake_) {
        std::uint64_t count;
        [[maybe_unused]] const ssize_t r = read(wake_, &count, sizeof count);
        continue;
      }
      int mask = 0;
      if ((events[i].events & EPOLLIN) != 0) mask |= CURL_CSELECT_IN;
      if ((events[i].events & EPOLLOUT) != 0) mask |= CURL_CSELECT_OUT;
      if ((events[i].events & (EPOLLERR | EPOLLHUP)) != 0) {
        mask |= CURL_CSELECT_ERR;
      }
      curl_multi_socket_action(multi_.get(), events[i].data.fd, mask, &running);
    }
    if (curl_timer_.has_value() && *curl_timer_ <= now_) {
      curl_timer_.reset();
      curl_multi_socket_action(multi_.get(), CURL_SOCKET_TIMEOUT, 0, &running);
    }
    CollectFinished();
    if (now_ >= next_check_) CheckTimers();
    if (TakeInbox()) return;
  }
}

bool CurlLoop::TakeInbox() {
  std::vector<TransferPtr> starts;
  std::vector<TransferPtr> cancels;
  bool stopping;
  {
    MutexLock lock(mu_);
    starts.swap(starts_);
    cancels.swap(cancels_);
    stopping = stopping_;
  }
  for (TransferPtr& t : starts) Begin(std::move(t));
  for (TransferPtr& t : cancels) {
    if (!active_.contains(t.get())) continue;  // finished meanwhile
    t->RecordFailure(TransportFailure::kCancelled, "cancelled");
    End(std::move(t));
  }
  if (stopping) {
    while (!active_.empty()) {
      TransferPtr t = active_.begin()->second;
      t->RecordFailure(TransportFailure::kCancelled, "the client shut down");
      End(std::move(t));
    }
  }
  return stopping;
}

void CurlLoop::Begin(TransferPtr transfer) {
  CurlEasy easy;
  if (!idle_.empty()) {
    easy = std::move(idle_.back());
    idle_.pop_back();
  } else {
    easy = NewEasyHandle(settings_);
  }
  now_ = std::chrono::steady_clock::now();
  if (active_.empty()) next_check_ = now_ + kCheckInterval;
  active_.emplace(transfer.get(), transfer);
  if (transfer->request().stop.stop_requested()) {
    transfer->RecordFailure(TransportFailure::kCancelled, "cancelled");
    End(std::move(transfer));
    return;
  }
  if (easy == nullptr || !transfer->Attach(std::move(easy), &now_)) {
    transfer->RecordFailure(TransportFailure::kInternal,
                            "libcurl refused the request's options");
    End(std::move(transfer));
    return;
  }
  if (curl_multi_add_handle(multi_.get(), transfer->easy()) != CURLM_OK) {
    transfer->RecordFailure(TransportFailure::kInternal,
                            "libcurl refused the transfer");
    End(std::move(transfer));
  }
}

void CurlLoop::End(TransferPtr transfer) {
  active_.erase(transfer.get());
  if (transfer->easy() != nullptr) {
    // Of a handle that is not in the multi it is a harmless no-op. In
    // mid-transfer it closes the connection.
    curl_multi_remove_handle(multi_.get(), transfer->easy());
    idle_.push_back(transfer->Detach());
  }
  transport_.Release(transfer);
  transfer->on_stop.reset();
  transfer->Finish();
}

void CurlLoop::CollectFinished() {
  int left = 0;
  while (CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    const CURLcode code = message->data.result;
    char* self = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &self);
    const auto it = active_.find(reinterpret_cast<CurlTransfer*>(self));
    if (it == active_.end()) continue;
    TransferPtr transfer = it->second;
    transfer->RecordResult(code);
    End(std::move(transfer));
  }
}

void CurlLoop::CheckTimers() {
  next_check_ = now_ + kCheckInterval;
  if (!active_.empty()) {
    int running = 0;
    curl_multi_socket_action(multi_.get(), CURL_SOCKET_TIMEOUT, 0, &running);
    CollectFinished();
  }
  std::vector<TransferPtr> expired;
  for (const auto& [_, transfer] : active_) {
    const auto failure = transfer->ExpiredTimer(now_);
    if (!failure.has_value()) continue;
    transfer->RecordFailure(*failure, transfer->TimerText(*failure));
    expired.push_back(transfer);
  }
  for (TransferPtr& t : expired) End(std::move(t));
  for (TransferPtr& t : transport_.TakeExpired(now_)) {
    t->on_stop.reset();
    t->Finish();
  }
}

}  // namespace ckptfs

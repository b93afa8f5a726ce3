#include "http/curl_loop.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
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

tl::unexpected<Error> NoResource(const std::string& what, int error) {
  return Fail(ErrorCode::kResourceExhausted,
              "cannot make an event loop for HTTP: " + what + ": " +
                  std::generic_category().message(error));
}

}  // namespace

CurlLoop::CurlLoop(CurlTransport& transport, CurlHandleSettings settings,
                   FileDescriptor epoll, FileDescriptor wake, CurlMulti multi)
    : transport_(transport),
      settings_(std::move(settings)),
      epoll_(std::move(epoll)),
      wake_(std::move(wake)),
      multi_(std::move(multi)) {}

Result<std::unique_ptr<CurlLoop>> CurlLoop::Create(
    CurlTransport& transport, CurlHandleSettings settings, int index,
    std::size_t max_connections) {
  FileDescriptor epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) return NoResource("epoll_create1", errno);
  FileDescriptor wake(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!wake.valid()) return NoResource("eventfd", errno);
  CurlMulti multi(curl_multi_init());
  if (multi == nullptr) return NoResource("curl_multi_init", ENOMEM);
  std::unique_ptr<CurlLoop> loop(new CurlLoop(transport, std::move(settings),
                                              std::move(epoll), std::move(wake),
                                              std::move(multi)));
  CKPTFS_RETURN_IF_ERROR(loop->SetUp(max_connections));
  CKPTFS_RETURN_IF_ERROR(loop->StartThread(index));
  return loop;
}

Result<void> CurlLoop::SetUp(std::size_t max_connections) {
  CURLM* m = multi_.get();
  const bool taken =
      curl_multi_setopt(m, CURLMOPT_SOCKETFUNCTION, &CurlLoop::OnSocket) ==
          CURLM_OK &&
      curl_multi_setopt(m, CURLMOPT_SOCKETDATA, static_cast<void*>(this)) ==
          CURLM_OK &&
      curl_multi_setopt(m, CURLMOPT_TIMERFUNCTION, &CurlLoop::OnTimer) ==
          CURLM_OK &&
      curl_multi_setopt(m, CURLMOPT_TIMERDATA, static_cast<void*>(this)) ==
          CURLM_OK &&
      // The default follows the number of running transfers and closes pooled
      // connections whenever the load ebbs.
      curl_multi_setopt(m, CURLMOPT_MAXCONNECTS,
                        static_cast<long>(2 * max_connections)) == CURLM_OK;
  if (!taken) return NoResource("curl_multi_setopt", EINVAL);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = wake_.get();
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event) != 0) {
    return NoResource("epoll_ctl", errno);
  }
  return {};
}

Result<void> CurlLoop::StartThread(int index) {
  try {
    thread_ = std::thread([this] { Run(); });
  } catch (const std::system_error& e) {
    return NoResource("a thread", e.code().value());
  }
  const std::string name = "ckptfs-http-" + std::to_string(index);
  pthread_setname_np(thread_.native_handle(), name.substr(0, 15).c_str());
  return {};
}

CurlLoop::~CurlLoop() {
  Shutdown();
  if (thread_.joinable()) thread_.join();
  multi_.reset();  // before the descriptors its callbacks use
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
  [[maybe_unused]] const ssize_t n = write(wake_.get(), &one, sizeof one);
}

CurlTransfer* CurlLoop::TransferOf(CURL* easy) const {
  char* self = nullptr;
  curl_easy_getinfo(easy, CURLINFO_PRIVATE, &self);
  const auto it = active_.find(reinterpret_cast<CurlTransfer*>(self));
  return it == active_.end() ? nullptr : it->first;
}

bool CurlLoop::Watch(int fd, int what) {
  epoll_event event{};
  event.data.fd = fd;
  if ((what & CURL_POLL_IN) != 0) event.events |= EPOLLIN;
  if ((what & CURL_POLL_OUT) != 0) event.events |= EPOLLOUT;
  return epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) == 0 ||
         epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

int CurlLoop::OnSocket(CURL* easy, curl_socket_t fd, int what, void* self,
                       void*) noexcept {
  auto* loop = static_cast<CurlLoop*>(self);
  CurlTransfer* transfer = loop->TransferOf(easy);
  if (what == CURL_POLL_REMOVE) {
    if (transfer != nullptr) transfer->WaitsNoMoreFor(fd);
    epoll_event event{};
    epoll_ctl(loop->epoll_.get(), EPOLL_CTL_DEL, fd, &event);
    return 0;
  }
  if (transfer != nullptr) transfer->WaitsFor(fd);
  if (!loop->Watch(fd, what) && transfer != nullptr) {
    transfer->RecordFailure(TransportFailure::kInternal,
                            "the socket cannot be watched: " +
                                std::generic_category().message(errno));
    // libcurl allows no removal of a handle in a callback.
    loop->unwatched_.push_back(loop->active_.at(transfer));
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
        epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()),
                   WaitMilliseconds());
    now_ = std::chrono::steady_clock::now();
    int running = 0;
    for (int i = 0; i < n; ++i) {
      if (events[i].data.fd == wake_.get()) {
        std::uint64_t count;
        [[maybe_unused]] const ssize_t r =
            read(wake_.get(), &count, sizeof count);
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
  if (easy == nullptr ||
      !transfer->Attach(std::move(easy),
                        transport_.ProxyFor(transfer->request().url), &now_)) {
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
    CurlTransfer* of = TransferOf(message->easy_handle);
    if (of == nullptr) continue;
    TransferPtr transfer = active_.at(of);
    transfer->RecordResult(code);
    End(std::move(transfer));
  }
  std::vector<TransferPtr> unwatched = std::exchange(unwatched_, {});
  for (TransferPtr& t : unwatched) {
    if (active_.contains(t.get())) End(std::move(t));
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

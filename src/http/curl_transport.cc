#include "http/curl_transport.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "http/curl_loop.h"

namespace ckptfs {

CurlTransport::CurlTransport(std::size_t max_connections, ProxySettings proxies)
    : max_connections_(max_connections), proxies_(std::move(proxies)) {}

Result<std::unique_ptr<CurlTransport>> CurlTransport::Create(Options options) {
  if (!EnsureCurlInitialised()) {
    return Fail(ErrorCode::kResourceExhausted,
                "cannot start the HTTP client: curl_global_init failed");
  }
  const auto connections =
      static_cast<std::size_t>(std::max(1, options.max_connections));
  std::unique_ptr<CurlTransport> transport(
      new CurlTransport(connections, std::move(options.proxies)));
  const int threads = std::max(1, options.threads);
  for (int i = 0; i < threads; ++i) {
    CKPTFS_ASSIGN_OR_RETURN(
        std::unique_ptr<CurlLoop> loop,
        CurlLoop::Create(*transport, CurlHandleSettings{options.ca_file}, i,
                         connections));
    transport->loops_.push_back(std::move(loop));
  }
  return transport;
}

CurlTransport::~CurlTransport() {
  std::list<TransferPtr> queued;
  {
    MutexLock lock(mu_);
    queued.swap(queue_);
    for (const TransferPtr& t : queued) t->queued = false;
  }
  for (const TransferPtr& t : queued) {
    t->RecordFailure(TransportFailure::kCancelled, "the client shut down");
    t->on_stop.reset();
    t->Finish();
  }
  for (const auto& loop : loops_) loop->Shutdown();
  loops_.clear();
}

Future<HttpResponse> CurlTransport::Send(HttpRequest request) {
  Promise<HttpResponse> promise;
  Future<HttpResponse> future = promise.GetFuture();
  std::stop_token stop = request.stop;
  auto transfer =
      std::make_shared<CurlTransfer>(std::move(request), std::move(promise));
  if (stop.stop_possible()) {
    // Made before the transfer can finish: Finish's caller destroys it. A stop
    // that comes before the transfer is dispatched is seen there.
    transfer->on_stop.emplace(
        std::move(stop), [this, weak = std::weak_ptr<CurlTransfer>(transfer)] {
          if (TransferPtr t = weak.lock()) Cancel(t);
        });
  }
  MutexLock lock(mu_);
  // A transfer that is stopped already must not wait for its turn to say so.
  if (transfer->request().stop.stop_requested() ||
      (on_wire_ < max_connections_ && queue_.empty())) {
    DispatchLocked(transfer);
  } else {
    transfer->queued = true;
    transfer->queue_position = queue_.insert(queue_.end(), transfer);
  }
  return future;
}

void CurlTransport::DispatchLocked(const TransferPtr& transfer) {
  CurlLoop* best = loops_.front().get();
  for (const auto& loop : loops_) {
    if (loop->load < best->load) best = loop.get();
  }
  ++on_wire_;
  ++best->load;
  transfer->loop = best;
  best->Start(transfer);
}

void CurlTransport::Cancel(const TransferPtr& transfer) {
  MutexLock lock(mu_);
  if (transfer->loop != nullptr) {
    transfer->loop->Cancel(transfer);
  } else if (transfer->queued) {
    // It jumps the queue to be ended by a loop, whose Begin sees the stop:
    // this thread may hold locks of the caller's.
    queue_.erase(transfer->queue_position);
    transfer->queued = false;
    DispatchLocked(transfer);
  }
  // Neither: Send has yet to dispatch it.
}

void CurlTransport::Release(const TransferPtr& transfer) {
  MutexLock lock(mu_);
  assert(transfer->loop != nullptr);
  --on_wire_;
  --transfer->loop->load;
  while (on_wire_ < max_connections_ && !queue_.empty()) {
    TransferPtr next = std::move(queue_.front());
    queue_.pop_front();
    next->queued = false;
    DispatchLocked(next);
  }
}

std::vector<CurlTransport::TransferPtr> CurlTransport::TakeExpired(
    CurlTransfer::TimePoint now) {
  std::vector<TransferPtr> expired;
  MutexLock lock(mu_);
  for (auto it = queue_.begin(); it != queue_.end();) {
    if (now < (*it)->request().deadline) {
      ++it;
      continue;
    }
    (*it)->RecordFailure(TransportFailure::kDeadline, "the deadline passed");
    (*it)->queued = false;
    expired.push_back(std::move(*it));
    it = queue_.erase(it);
  }
  return expired;
}

}  // namespace ckptfs

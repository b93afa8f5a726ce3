// CurlTransport: HttpTransport over libcurl. A few threads, each with its own
// multi handle, epoll set and connection pool; nothing is shared between them,
// because libcurl does not support sharing connections across threads.
#pragma once

#include <ckptfs/result.h>

#include <cstddef>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "common/mutex.h"
#include "http/curl_transfer.h"
#include "http/http_transport.h"
#include "http/proxy_settings.h"

namespace ckptfs {

class CurlLoop;

// Thread-safe. At most max_connections exchanges are on the wire; the others
// wait here, first come first served (libcurl's own pending queue is quadratic
// in its length up to 8.15). Futures are fulfilled from the loop threads, and
// no continuation ever runs on them.
class CurlTransport final : public HttpTransport {
 public:
  struct Options {
    int threads = 2;
    int max_connections = 64;
    std::string ca_file;  // empty: libcurl's built-in bundle
    ProxySettings proxies = {};
  };

  // kResourceExhausted: no descriptors, memory or threads are left.
  static Result<std::unique_ptr<CurlTransport>> Create(Options options);
  ~CurlTransport() override;

  Future<HttpResponse> Send(HttpRequest request) override;

 private:
  friend class CurlLoop;
  using TransferPtr = std::shared_ptr<CurlTransfer>;

  CurlTransport(std::size_t max_connections, ProxySettings proxies);

  std::string ProxyFor(const std::string& url) const {
    return proxies_.ProxyFor(url);
  }
  // The stop callback of a transfer; from any thread.
  void Cancel(const TransferPtr& transfer);
  // A loop is done with `transfer`: makes room for the next in the queue.
  void Release(const TransferPtr& transfer);
  // Queued transfers whose deadline passed or that were cancelled.
  std::vector<TransferPtr> TakeExpired(CurlTransfer::TimePoint now);
  void DispatchLocked(const TransferPtr& transfer) CKPTFS_REQUIRES(mu_);

  const std::size_t max_connections_;
  const ProxySettings proxies_;
  Mutex mu_;  // taken before CurlLoop::mu_
  std::list<TransferPtr> queue_ CKPTFS_GUARDED_BY(mu_);
  std::size_t on_wire_ CKPTFS_GUARDED_BY(mu_) = 0;
  // Constant after construction.
  std::vector<std::unique_ptr<CurlLoop>> loops_;
};

}  // namespace ckptfs

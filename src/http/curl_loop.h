// CurlLoop: one thread that drives one libcurl multi handle with epoll.
#pragma once

#include <ckptfs/result.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "common/file_descriptor.h"
#include "common/mutex.h"
#include "http/curl_handle.h"
#include "http/curl_transfer.h"

namespace ckptfs {

class CurlTransport;

// Start, Cancel and load are for CurlTransport; the rest happens on the loop's
// own thread. The destructor cancels what is in flight and joins.
class CurlLoop {
 public:
  using TransferPtr = std::shared_ptr<CurlTransfer>;

  // kResourceExhausted: no descriptors, memory or threads are left.
  static Result<std::unique_ptr<CurlLoop>> Create(CurlTransport& transport,
                                                  CurlHandleSettings settings,
                                                  int index,
                                                  std::size_t max_connections);
  ~CurlLoop();

  // Thread-safe, non-blocking.
  void Start(TransferPtr transfer);
  void Cancel(TransferPtr transfer);
  // Asks the thread to cancel everything and end; the destructor joins it.
  void Shutdown();

  // Transfers given to this loop. Guarded by CurlTransport::mu_, which the
  // analysis cannot name from here.
  std::size_t load = 0;

 private:
  using TimePoint = CurlTransfer::TimePoint;

  CurlLoop(CurlTransport& transport, CurlHandleSettings settings,
           FileDescriptor epoll, FileDescriptor wake, CurlMulti multi);
  Result<void> SetUp(std::size_t max_connections);
  Result<void> StartThread(int index);

  void Wake();
  void Run();
  // True at the end: the loop was stopped before this looked, so that whatever
  // was started is in what it took, and has ended.
  bool TakeInbox();
  void Begin(TransferPtr transfer);
  void End(TransferPtr transfer);
  void CollectFinished();
  void CheckTimers();
  int WaitMilliseconds() const;
  static int OnSocket(CURL* easy, curl_socket_t fd, int what, void* self,
                      void*) noexcept;
  // Of a handle that is in the multi; null: none of this loop's.
  CurlTransfer* TransferOf(CURL* easy) const;
  // Whether the kernel tells of `fd` from now on.
  bool Watch(int fd, int what);
  static int OnTimer(CURLM*, long timeout_ms, void* self) noexcept;

  CurlTransport& transport_;
  const CurlHandleSettings settings_;
  const FileDescriptor epoll_;
  const FileDescriptor wake_;  // eventfd

  Mutex mu_;
  std::vector<TransferPtr> starts_ CKPTFS_GUARDED_BY(mu_);
  std::vector<TransferPtr> cancels_ CKPTFS_GUARDED_BY(mu_);
  bool stopping_ CKPTFS_GUARDED_BY(mu_) = false;

  // The thread's own.
  CurlMulti multi_;
  std::vector<CurlEasy> idle_;
  std::unordered_map<CurlTransfer*, TransferPtr> active_;
  // Those whose socket the kernel does not watch: they would hang.
  std::vector<TransferPtr> unwatched_;
  TimePoint now_{};
  TimePoint next_check_{};
  std::optional<TimePoint> curl_timer_;

  std::thread thread_;
};

}  // namespace ckptfs

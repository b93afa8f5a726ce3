// Statistics: what the server was asked, for tests and benchmarks to read.
// Thread-safe.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>

#include "s3server/operation.h"

namespace ckptfs::s3server {

class Statistics {
 public:
  // One finished request, as the log keeps it.
  struct Record {
    OperationKind kind = OperationKind::kUnknown;
    std::string bucket = {};
    std::string key = {};
    int part = 0;
    std::string range = {};   // of the Range header
    bool authorized = false;  // with an Authorization header
    // Who pays, encryption, storage class: x-amz-* name -> value.
    std::map<std::string, std::string> options = {};
    int status = 0;  // 0: no answer was sent
    std::uint64_t bytes_in = 0;
    std::uint64_t bytes_out = 0;
    // Since the server started; so the log shows what ran side by side.
    std::chrono::nanoseconds began{0};
    std::chrono::nanoseconds ended{0};
  };

  void ConnectionOpened();
  void ConnectionClosed();
  // Counts the request as in flight and stamps record->began.
  void Begin(OperationKind kind, Record* record);
  void End(Record record);
  // All counters to 0; what is in flight or open stays counted as such.
  void Reset();

  nlohmann::json ToJson() const;
  // The last requests, oldest first (at most kLogLength).
  nlohmann::json LogToJson() const;

  static constexpr std::size_t kLogLength = 10000;

 private:
  struct Counter {
    std::uint64_t requests = 0;
    std::uint64_t errors = 0;
    std::uint64_t in_flight = 0;
    std::uint64_t max_in_flight = 0;
    std::uint64_t bytes_in = 0;
    std::uint64_t bytes_out = 0;
    void Begin();
    void End(const Record& record);
    void Reset();
    nlohmann::json ToJson() const;
  };
  const std::chrono::steady_clock::time_point start_ =
      std::chrono::steady_clock::now();
  mutable std::mutex mu_;  // leaf; guards the rest
  Counter all_;
  std::array<Counter, kOperationKinds> by_kind_;
  std::uint64_t connections_ = 0;
  std::uint64_t max_connections_ = 0;
  std::uint64_t total_connections_ = 0;
  std::deque<Record> log_;
};

}  // namespace ckptfs::s3server

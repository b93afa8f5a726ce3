// FaultPlan: the faults the server shall show, and its pace. Thread-safe.
//
// A fault is matched against each request as it arrives; the first that fits
// and has some count left is used. Grammar of one fault, as query parameters:
//   action=fail|slow_down|hold|reset|truncate|lose_reply|error200|
//          corrupt_range|corrupt_etag|corrupt_body          (required)
//   op=UploadPart      only this operation
//   bucket=NAME        only this bucket
//   key=TEXT           only keys that contain it
//   part=N             only this part number
//   skip=N             let the first N that fit pass
//   count=N            how many requests it hits, -1 for all (default 1)
//   status=N code=TEXT what fail answers (500 InternalError)
//   retry_after=N      seconds that fail names in a Retry-After header
//   at_byte=N          where reset, truncate and corrupt_body strike
//   side=request|response   which body that byte is of (request if it has one)
//   when=before|after  hold before the operation is done, or before its reply
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "s3server/operation.h"
#include "s3server/uri.h"

namespace ckptfs::s3server {

enum class FaultAction {
  kFail,          // answer an error, do nothing
  kHold,          // wait for Release
  kReset,         // RST in the middle of a body
  kTruncate,      // orderly close in the middle of a body
  kLoseReply,     // do it, then close without an answer
  kError200,      // 200 with an Error document, do nothing
  kCorruptRange,  // wrong Content-Range
  kCorruptETag,   // an ETag that is not the object's
  kCorruptBody,   // one bit of the body's byte at_byte is wrong
};

struct Fault {
  int id = 0;
  FaultAction action = FaultAction::kFail;
  std::string action_name = {};
  std::string op = {};
  std::string bucket = {};
  std::string key = {};
  int part = 0;
  std::int64_t skip = 0;
  std::int64_t count = 1;
  int status = 500;
  std::string code = {};
  int retry_after = 0;  // 0: no such header
  std::uint64_t at_byte = 0;
  std::optional<bool> on_response = std::nullopt;  // null: by the request
  bool after = false;
};

class FaultPlan {
 public:
  // Returns the fault's id, or what is wrong with the parameters.
  tl::expected<int, std::string> Add(const QueryParameters& parameters);
  // Uses up one count of the fault that fits, if any does.
  std::optional<Fault> Take(const Operation& operation);
  std::vector<Fault> List() const;

  // Blocks until Release, Clear or Stop; not at all if the fault was cleared
  // since it was taken. False if stopped.
  bool Hold(const Fault& fault);
  // Lets all requests go that are held now.
  void Release();
  // Forgets all faults and lets held requests go.
  void Clear();
  int held() const;
  // Blocks until at least `count` requests are held, or the timeout; false
  // then.
  bool WaitHeld(int count, std::chrono::milliseconds timeout);

  // Blocks for that time, or until Stop: false then.
  bool Sleep(std::chrono::nanoseconds time);
  // Nothing blocks from now on.
  void Stop();

  // The pace; read by connections at any time.
  std::atomic<std::int64_t> latency_ms{0};
  std::atomic<std::int64_t> conn_bytes_per_s{0};  // 0: no limit
  std::atomic<std::int64_t> clock_offset_s{0};

 private:
  mutable std::mutex mu_;  // leaf; guards the rest
  std::condition_variable changed_;
  std::vector<Fault> faults_;
  int next_id_ = 1;
  int held_ = 0;
  std::uint64_t releases_ = 0;
  bool stopped_ = false;
};

}  // namespace ckptfs::s3server

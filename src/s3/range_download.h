// RangeDownload: the bytes [offset, offset + size) of one version of an object
// on their way into the caller's memory, over as many attempts as it takes.
#pragma once

#include <ckptfs/object_store.h>

#include <cstdint>
#include <optional>
#include <string>

#include "http/http_transport.h"
#include "s3/s3_error.h"

namespace ckptfs {

// OnHead runs on an HTTP thread while the owner waits for the response; all
// else on the owner's executor. So there is no lock.
class RangeDownload final : public ResponseObserver {
 public:
  // REQUIRES: destination.size() > 0.
  RangeDownload(std::string key, std::uint64_t offset, Destination destination,
                ETag if_match);

  // Adds Range and If-Match for what is missing, and where it goes.
  void Prepare(HttpHeaders& headers, Destination& destination);

  // Checks the head of a reply: a 206 must be exactly the range asked for, of
  // the pinned version and of an unchanged size, and so must a 200 that has a
  // Content-Range. Any other 200 means the server ignored Range; it is taken
  // only if the object ends within the range.
  BodyPlan OnHead(int status, const HttpHeaders& headers) noexcept override;

  // Accounts for a reply, whole or broken. `failure` is what Classify said; the
  // result is what it means for the download, nullopt if it is finished.
  std::optional<S3Failure> Absorb(const HttpResponse& response,
                                  std::optional<S3Failure> failure,
                                  const std::string& subject);

  // Bytes arrived in the last attempt.
  bool progressed() const { return progressed_; }
  // The object ends at or before the offset (416).
  bool past_end() const { return past_end_; }
  std::uint64_t received() const { return received_; }
  const ObjectInfo& info() const { return info_; }
  ETag pin() const;

 private:
  struct Rejection {
    ErrorClass error_class;
    ErrorCode code;
    std::string why;
  };
  std::optional<Rejection> CheckHead(int status, const HttpHeaders& headers,
                                     BodyPlan& plan);
  std::uint64_t Wanted() const;

  const std::string key_;
  const std::uint64_t offset_;
  const std::uint64_t limit_;
  Destination destination_;
  const ETag if_match_;
  std::uint64_t received_ = 0;
  bool pinned_ = false;  // info_ is that of a first good response
  bool progressed_ = false;
  bool past_end_ = false;
  ObjectInfo info_;
  std::optional<Rejection> rejection_;  // of the current attempt
};

// An ETag as some stores want it.
std::string_view Unquoted(std::string_view etag);

// True if both name the same generation; some stores leave the quotes out.
bool SameETag(std::string_view a, std::string_view b);

}  // namespace ckptfs

// RequestHandler: serves the requests of one connection, from head to reply:
// identification, signature, body, faults, operation. Used by one thread.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "s3server/control_api.h"
#include "s3server/fault_plan.h"
#include "s3server/http_connection.h"
#include "s3server/options.h"
#include "s3server/s3_operations.h"
#include "s3server/statistics.h"

namespace ckptfs::s3server {

// What all connections share; outlives them.
struct Shared {
  const Options& options;
  ObjectTable& table;
  FaultPlan& plan;
  Statistics& statistics;
  const S3Operations& operations;
  const ControlApi& control;
  const SigV4Verifier& verifier;
  std::shared_ptr<BufferPool> pool;
};

class RequestHandler {
 public:
  RequestHandler(Shared& shared, HttpConnection& connection)
      : shared_(shared), connection_(connection) {}

  // Until the connection is done. True if it is to end orderly, false if it is
  // broken or shall look so.
  bool ServeAll();

 private:
  enum class After { kNext, kClose, kAbandon };
  After ServeControl(Request* request);
  After ServeS3(Request* request);
  // Receives the body where the operation wants it, and checks it against its
  // digests. Sets *refusal if it is not what was signed.
  HttpConnection::ReadResult Receive(const Operation& operation,
                                     const std::optional<Fault>& fault,
                                     std::optional<S3Error>* refusal,
                                     Request* request, std::string* etag);
  Reply<Response> Answer(const std::optional<Fault>& fault, const Call& call);
  After SendReply(const Request& request, Reply<Response> reply,
                  const std::optional<Fault>& fault,
                  Statistics::Record* record);
  // For requests that cannot be understood or received; ends the connection.
  After SendComplaint(HttpConnection::ReadResult result);
  void Decorate(const Request& request, Response* response);

  Shared& shared_;
  HttpConnection& connection_;
};

}  // namespace ckptfs::s3server

#include "s3server/request_handler.h"

#include <atomic>
#include <cstdio>
#include <new>

#include "s3server/aws_chunked.h"
#include "s3server/xml_writer.h"

namespace ckptfs::s3server {
namespace {

using ReadResult = HttpConnection::ReadResult;

std::string NextRequestId() {
  static std::atomic<std::uint64_t> next{1};
  char text[24];
  std::snprintf(text, sizeof(text), "%016llX",
                static_cast<unsigned long long>(next.fetch_add(1)));
  return text;
}

bool KeepsAlive(const Request& request) {
  return LowerCase(request.HeaderOr("connection", "")) != "close";
}

bool IsObjectData(OperationKind kind) {
  return kind == OperationKind::kPutObject ||
         kind == OperationKind::kUploadPart;
}

bool BreaksBody(const std::optional<Fault>& fault) {
  return fault && (fault->action == FaultAction::kReset ||
                   fault->action == FaultAction::kTruncate);
}

bool HasBody(const Request& request) {
  return request.HeaderOr("content-length", "0") != "0" ||
         request.Header("transfer-encoding") != nullptr;
}

bool BreaksRequest(const std::optional<Fault>& fault, const Request& request) {
  return BreaksBody(fault) && !fault->on_response.value_or(!HasBody(request));
}

}  // namespace

bool RequestHandler::ServeAll() {
  while (true) {
    Request request;
    const ReadResult read = connection_.ReadRequest(&request);
    if (read == ReadResult::kClosed) return false;
    After after;
    if (read != ReadResult::kOk) {
      after = SendComplaint(read);
    } else if (ControlApi::Serves(request)) {
      after = ServeControl(&request);
    } else {
      after = ServeS3(&request);
    }
    if (after == After::kAbandon) return false;
    if (after == After::kClose || !KeepsAlive(request)) return true;
  }
}

RequestHandler::After RequestHandler::ServeControl(Request* request) {
  const ReadResult read = connection_.ReadBody(request, {});
  if (read != ReadResult::kOk) return SendComplaint(read);
  Response response = shared_.control.Handle(*request);
  Decorate(*request, &response);
  return connection_.Send(response, KeepsAlive(*request), true)
             ? After::kNext
             : After::kAbandon;
}

RequestHandler::After RequestHandler::ServeS3(Request* request) {
  const auto identified = Identify(*request, [this](const std::string& bucket) {
    return shared_.table.HasBucket(bucket);
  });
  const Operation operation = identified.value_or(Operation{});
  Statistics::Record record;
  record.bucket = operation.bucket;
  record.key = operation.key;
  record.part = operation.part;
  record.range = request->HeaderOr("range", "");
  record.authorized = request->Header("authorization") != nullptr;
  for (const auto& [name, value] : request->headers) {
    if (name == "x-amz-request-payer" || IsStoredOption(name)) {
      record.options[name] = value;
    }
  }
  shared_.statistics.Begin(operation.kind, &record);

  const SystemTime now =
      std::chrono::system_clock::now() +
      std::chrono::seconds(shared_.plan.clock_offset_s.load());
  std::optional<S3Error> refusal;
  if (!identified) {
    refusal = identified.error();
  } else if (!shared_.options.no_auth) {
    refusal = shared_.verifier.Verify(*request, now);
  }
  if (!refusal && shared_.options.requester_pays &&
      request->HeaderOr("x-amz-request-payer", "") != "requester") {
    refusal = S3Error{403, "AccessDenied", "Access Denied"};
  }
  std::optional<Fault> fault;
  if (!refusal) fault = shared_.plan.Take(operation);

  const auto finish = [&](After after) {
    record.bytes_in = connection_.bytes_in();
    record.bytes_out = connection_.bytes_out();
    shared_.statistics.End(std::move(record));
    return after;
  };
  std::string etag;
  const ReadResult read = Receive(operation, fault, &refusal, request, &etag);
  if (read == ReadResult::kStopped) {
    if (fault->action == FaultAction::kReset) connection_.PrepareReset();
    return finish(fault->action == FaultAction::kReset ? After::kAbandon
                                                       : After::kClose);
  }
  if (read != ReadResult::kOk) return finish(SendComplaint(read));

  const std::int64_t latency = shared_.plan.latency_ms.load();
  if (latency > 0 && !shared_.plan.Sleep(std::chrono::milliseconds(latency))) {
    return finish(After::kAbandon);
  }
  const bool holds = fault && fault->action == FaultAction::kHold;
  if (holds && !fault->after && !shared_.plan.Hold(*fault)) {
    return finish(After::kAbandon);
  }
  Reply<Response> reply =
      refusal ? Reply<Response>(Refuse(*refusal))
              : Answer(fault, Call{operation, *request, std::move(etag), now});
  request->body = {};
  if (holds && fault->after && !shared_.plan.Hold(*fault)) {
    return finish(After::kAbandon);
  }
  if (fault && fault->action == FaultAction::kLoseReply) {
    return finish(After::kClose);
  }
  return finish(SendReply(*request, std::move(reply), fault, &record));
}

ReadResult RequestHandler::Receive(const Operation& operation,
                                   const std::optional<Fault>& fault,
                                   std::optional<S3Error>* refusal,
                                   Request* request, std::string* etag) {
  using Storage = HttpConnection::BodyPlan::Storage;
  const Options& options = shared_.options;
  const std::string payload =
      request->HeaderOr("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
  const bool framed = payload == "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
  if (!*refusal && !framed && payload.starts_with("STREAMING-")) {
    *refusal = S3Error{501, "NotImplemented",
                       "Signed chunks (" + payload + ") are not implemented"};
  }
  const bool data = IsObjectData(operation.kind);
  const bool digests = !options.bench && !options.discard_bodies;
  std::optional<Digest> md5;
  HttpConnection::BodyPlan plan;
  if (*refusal) {
    plan.storage = Storage::kDrop;
  } else if (data && options.discard_bodies && !framed) {
    plan.storage = Storage::kPattern;
  } else if (data && digests && !framed) {
    plan.digest = &md5.emplace(EVP_md5());
  }
  if (BreaksRequest(fault, *request)) plan.stop_at = fault->at_byte;
  const ReadResult read = connection_.ReadBody(request, plan);
  if (read != ReadResult::kOk || *refusal) return read;

  if (framed) {
    auto decoded = DecodeAwsChunked(request->body);
    const std::string* length = request->Header("x-amz-decoded-content-length");
    if (decoded && length && *length != std::to_string(decoded->size())) {
      decoded =
          Refuse(400, "IncompleteBody",
                 "The decoded length is not x-amz-decoded-content-length");
    }
    if (!decoded) {
      *refusal = decoded.error();
      return read;
    }
    request->body = data && options.discard_bodies ? decoded->AsPattern()
                                                   : std::move(*decoded);
  }
  if (!digests) return read;
  if (!options.no_auth && !framed && payload != "UNSIGNED-PAYLOAD") {
    Digest sha256(EVP_sha256());
    request->body.ForEach(
        [&sha256](std::string_view bytes) { sha256.Update(bytes); });
    if (Hex(sha256.Finish()) != payload) {
      *refusal = S3Error{400, "XAmzContentSHA256Mismatch",
                         "The provided 'x-amz-content-sha256' header does not "
                         "match what was computed."};
      return read;
    }
  }
  const std::string* wanted = request->Header("content-md5");
  if (!data && !wanted) return read;
  const std::string digest = md5 ? md5->Finish() : Md5(request->body);
  if (wanted && *wanted != Base64(digest)) {
    *refusal = S3Error{400, "BadDigest",
                       "The Content-MD5 you specified did not match what we "
                       "received."};
  }
  if (data) *etag = Hex(digest);
  return read;
}

Reply<Response> RequestHandler::Answer(const std::optional<Fault>& fault,
                                       const Call& call) {
  if (fault && fault->action == FaultAction::kFail) {
    return Refuse(fault->status, fault->code,
                  fault->code == "SlowDown" ? "Please reduce your request rate."
                                            : "A fault that a test asked for.");
  }
  if (fault && fault->action == FaultAction::kError200) {
    // S3 starts its 200 before the work is done, keeps the connection alive
    // with blanks, and may then end in an error.
    std::string document =
        ErrorDocument({200, fault->code, "A fault that a test asked for."},
                      call.request.path, NextRequestId());
    document.insert(document.find('\n') + 1, "   \n");
    Response response;
    response.Set("Content-Type", "application/xml");
    response.body = Content::FromString(document);
    return response;
  }
  return shared_.operations.Execute(call);
}

RequestHandler::After RequestHandler::SendReply(
    const Request& request, Reply<Response> reply,
    const std::optional<Fault>& fault, Statistics::Record* record) {
  const bool head = request.method == "HEAD";
  Response response;
  if (reply) {
    response = std::move(*reply);
    Decorate(request, &response);
  } else {
    const S3Error& error = reply.error();
    response.status = error.status;
    Decorate(request, &response);
    response.Set("Content-Type", "application/xml");
    for (const auto& [name, value] : error.details) {
      if (name == "Region") response.Set("x-amz-bucket-region", value);
      if (name == "ActualObjectSize") {
        response.Set("Content-Range", "bytes */" + value);
      }
    }
    if (!head) {
      response.body = Content::FromString(
          ErrorDocument(error, request.path, response.headers.front().second));
    }
  }
  std::optional<std::uint64_t> stop_at;
  if (fault) {
    switch (fault->action) {
      case FaultAction::kFail:
        if (fault->retry_after > 0) {
          response.Set("Retry-After", std::to_string(fault->retry_after));
        }
        break;
      case FaultAction::kCorruptRange:
        if (response.status == 206) {
          response.Set("Content-Range",
                       "bytes 1-" + std::to_string(response.body.size()) +
                           "/99999999999");
        }
        break;
      case FaultAction::kCorruptETag:
        response.Set("ETag", "\"corrupt-0123456789abcdef\"");
        break;
      case FaultAction::kCorruptBody: {
        std::string bytes = response.body.ToString();
        if (fault->at_byte < bytes.size()) bytes[fault->at_byte] ^= 1;
        response.body = Content::FromString(bytes);
        break;
      }
      default:
        if (BreaksBody(fault) && !BreaksRequest(fault, request)) {
          stop_at = fault->at_byte;
        }
    }
  }
  const bool keep_alive = KeepsAlive(request);
  record->status = response.status;
  if (!connection_.Send(response, keep_alive, !head, stop_at)) {
    return After::kAbandon;
  }
  if (!stop_at) return After::kNext;
  if (fault->action != FaultAction::kReset) return After::kClose;
  connection_.PrepareReset();
  return After::kAbandon;
}

RequestHandler::After RequestHandler::SendComplaint(ReadResult result) {
  if (result == ReadResult::kClosed || result == ReadResult::kStopped) {
    return After::kAbandon;
  }
  const S3Error error =
      result == ReadResult::kTooLarge
          ? S3Error{400, "EntityTooLarge",
                    "Your proposed upload exceeds the maximum allowed size"}
          : S3Error{400, "BadRequest",
                    "An error occurred when parsing the HTTP request."};
  Response response;
  response.status = error.status;
  response.Set("x-amz-request-id", NextRequestId());
  response.Set("Content-Type", "application/xml");
  response.body = Content::FromString(
      ErrorDocument(error, "", response.headers.front().second));
  return connection_.Send(response, false, true) ? After::kClose
                                                 : After::kAbandon;
}

void RequestHandler::Decorate(const Request& request, Response* response) {
  // First, because SendReply finds it there.
  response->headers.insert(response->headers.begin(),
                           {"x-amz-request-id", NextRequestId()});
  response->Set("x-amz-id-2", "s3server");
  response->Set("Server", "ckptfs-s3server");
  response->Set(
      "Date",
      HttpDate(std::chrono::system_clock::now() +
               std::chrono::seconds(shared_.plan.clock_offset_s.load())));
  if (!KeepsAlive(request)) response->Set("Connection", "close");
}

}  // namespace ckptfs::s3server

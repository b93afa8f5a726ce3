// ScriptedTransport: answers requests from a list, at once, and keeps them.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "http/gather.h"
#include "http/http_transport.h"

namespace ckptfs {

class ScriptedTransport final : public HttpTransport {
 public:
  struct Answer {
    int status = 200;
    HttpHeaders headers = {};
    std::string body = {};
    TransportFailure failure = TransportFailure::kNone;
    bool replayed = false;
    // Unset: unless the failure says that it was not.
    std::optional<bool> request_sent = {};
    std::uint64_t bytes_sent = 0;
    std::string proxy = {};
    int proxy_status = 0;
    // Runs before the answer is given.
    std::function<void()> meanwhile = {};
  };
  struct Seen {
    std::string method;
    std::string url;
    HttpHeaders headers;
    std::string body;
  };

  void Add(Answer answer) { answers_.push_back(std::move(answer)); }
  void AddFirst(Answer answer) { answers_.push_front(std::move(answer)); }

  Future<HttpResponse> Send(HttpRequest request) override {
    Seen seen{request.method, request.url, request.headers, {}};
    for (const auto& s : request.body.segments) {
      seen.body.append(reinterpret_cast<const char*>(s.data()), s.size());
    }
    this->seen.push_back(std::move(seen));
    HttpResponse response;
    if (answers_.empty() && otherwise) answers_.push_back(otherwise());
    if (answers_.empty()) {
      response.failure = TransportFailure::kInternal;
      response.failure_text = "the script is over";
      return Result<HttpResponse>(std::move(response));
    }
    Answer answer = std::move(answers_.front());
    answers_.pop_front();
    response.status = answer.status;
    response.headers = answer.headers;
    response.failure = answer.failure;
    response.failure_text = "scripted";
    response.replayed = answer.replayed;
    response.request_sent = answer.request_sent.value_or(Sent(answer.failure));
    response.bytes_sent = answer.bytes_sent;
    response.proxy = answer.proxy;
    response.proxy_status = answer.proxy_status;
    if (answer.meanwhile) answer.meanwhile();
    BodyPlan plan;
    if (request.observer != nullptr && answer.status != 0) {
      plan = request.observer->OnHead(answer.status, answer.headers);
    }
    if (plan.sink == BodyPlan::Sink::kRefuse) {
      response.failure = TransportFailure::kRefused;
    } else if (plan.sink == BodyPlan::Sink::kDestination) {
      ScatterCursor cursor(request.destination.segments);
      const std::string body = answer.body.substr(plan.skip);
      response.bytes_received = cursor.Write(
          reinterpret_cast<const std::byte*>(body.data()), body.size());
    } else {
      response.body = answer.body;
      response.bytes_received = answer.body.size();
    }
    return Result<HttpResponse>(std::move(response));
  }

  std::vector<Seen> seen;
  // What is answered when the list is at its end.
  std::function<Answer()> otherwise;

 private:
  static bool Sent(TransportFailure failure) {
    switch (failure) {
      case TransportFailure::kNone:
      case TransportFailure::kFirstByteTimeout:
      case TransportFailure::kBroken:
      case TransportFailure::kShortBody:
      case TransportFailure::kMalformed: return true;
      default: return false;
    }
  }

  std::deque<Answer> answers_;
};

}  // namespace ckptfs

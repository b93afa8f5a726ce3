#include "s3/range_download.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "s3/object_calls.h"

namespace ckptfs {

namespace {

struct ContentRange {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  std::uint64_t total = 0;
};

bool ReadNumber(std::string_view& text, std::uint64_t& out) {
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return true;
}

bool ReadChar(std::string_view& text, char c) {
  if (!text.starts_with(c)) return false;
  text.remove_prefix(1);
  return true;
}

// "bytes 0-99/1234" (RFC 9110, 14.4)
std::optional<ContentRange> ParseContentRange(std::string_view text) {
  ContentRange r;
  if (!text.starts_with("bytes ")) return std::nullopt;
  text.remove_prefix(6);
  if (!ReadNumber(text, r.first) || !ReadChar(text, '-') ||
      !ReadNumber(text, r.last) || !ReadChar(text, '/') ||
      !ReadNumber(text, r.total) || !text.empty() || r.last < r.first ||
      r.last >= r.total) {
    return std::nullopt;
  }
  return r;
}

}  // namespace

std::string_view Unquoted(std::string_view etag) {
  if (etag.size() >= 2 && etag.front() == '"' && etag.back() == '"') {
    return etag.substr(1, etag.size() - 2);
  }
  return etag;
}

bool SameETag(std::string_view a, std::string_view b) {
  return Unquoted(a) == Unquoted(b);
}

RangeDownload::RangeDownload(std::string key, std::uint64_t offset,
                             Destination destination, ETag if_match)
    : key_(std::move(key)),
      offset_(offset),
      limit_(destination.size()),
      destination_(std::move(destination)),
      if_match_(std::move(if_match)) {}

ETag RangeDownload::pin() const {
  return pinned_ && !info_.etag.empty() ? info_.etag : if_match_;
}

std::uint64_t RangeDownload::Wanted() const {
  if (!pinned_) return limit_;
  return info_.size <= offset_ ? 0 : std::min(limit_, info_.size - offset_);
}

void RangeDownload::Prepare(HttpHeaders& headers, Destination& destination) {
  rejection_.reset();
  progressed_ = false;
  headers.Set("Range", "bytes=" + std::to_string(offset_ + received_) + "-" +
                           std::to_string(offset_ + limit_ - 1));
  const ETag etag = pin();
  if (!etag.empty()) headers.Set("If-Match", etag.value);
  destination = {};
  destination.owner = destination_.owner;
  std::uint64_t skip = received_;
  for (const auto& segment : destination_.segments) {
    if (skip >= segment.size()) {
      skip -= segment.size();
      continue;
    }
    destination.segments.push_back(
        segment.subspan(static_cast<std::size_t>(skip)));
    skip = 0;
  }
}

BodyPlan RangeDownload::OnHead(int status,
                               const HttpHeaders& headers) noexcept {
  BodyPlan plan;
  if (status != 200 && status != 206) return plan;  // buffered error
  plan.sink = BodyPlan::Sink::kDestination;
  rejection_ = CheckHead(status, headers, plan);
  if (rejection_.has_value()) plan.sink = BodyPlan::Sink::kRefuse;
  return plan;
}

std::optional<RangeDownload::Rejection> RangeDownload::CheckHead(
    int status, const HttpHeaders& headers, BodyPlan& plan) {
  ObjectInfo info = ParseObjectHeaders(key_, headers);
  // rclone's `serve s3` sends the part asked for, with Content-Range, as a 200.
  if (status == 206 || headers.Find("Content-Range").has_value()) {
    const auto range = ParseContentRange(headers.Get("Content-Range"));
    if (!range.has_value() || range->first != offset_ + received_ ||
        range->last >= offset_ + limit_) {
      return Rejection{ErrorClass::kCorrupted, ErrorCode::kDataLoss,
                       "asked for bytes from " +
                           std::to_string(offset_ + received_) +
                           ", got Content-Range \"" +
                           std::string(headers.Get("Content-Range")) + "\""};
    }
    if (info.size != range->last - range->first + 1 &&
        (status != 206 || ContentLength(headers).has_value())) {
      return Rejection{ErrorClass::kCorrupted, ErrorCode::kDataLoss,
                       "Content-Length and Content-Range disagree"};
    }
    info.size = range->total;
  } else {
    if (!ContentLength(headers).has_value() || info.size > offset_ + limit_) {
      return Rejection{ErrorClass::kTerminal, ErrorCode::kUnsupported,
                       "the server ignores Range"};
    }
    plan.skip = offset_ + received_;
  }
  // Servers that ignore If-Match exist.
  if (pinned_) {
    if (!SameETag(info.etag.value, info_.etag.value) ||
        info.size != info_.size) {
      return Rejection{ErrorClass::kTerminal, ErrorCode::kStale,
                       "the object was replaced during the read"};
    }
    return std::nullopt;
  }
  if (!if_match_.empty() && !info.etag.empty() &&
      !SameETag(info.etag.value, if_match_.value)) {
    return Rejection{ErrorClass::kCondition, ErrorCode::kPreconditionFailed,
                     "the object is no longer version " + if_match_.value};
  }
  pinned_ = true;
  info_ = std::move(info);
  return std::nullopt;
}

std::optional<S3Failure> RangeDownload::Absorb(const HttpResponse& response,
                                               std::optional<S3Failure> failure,
                                               const std::string& subject) {
  const auto fail = [&](ErrorClass c, ErrorCode code, const std::string& why) {
    Error::Detail d;
    d.message = subject + ": " + why;
    d.http_status = response.status;
    d.request_id = response.headers.Get("x-amz-request-id");
    d.key = key_;
    return S3Failure{c, Error(code, std::move(d)), std::nullopt};
  };
  if (rejection_.has_value()) {
    return fail(rejection_->error_class, rejection_->code, rejection_->why);
  }
  if (response.status == 200 || response.status == 206) {
    progressed_ = response.bytes_received > 0;
    received_ += response.bytes_received;
    // A broken connection no longer matters once all is here.
    if (pinned_ && received_ == Wanted()) {
      past_end_ = info_.size <= offset_;
      return std::nullopt;
    }
    if (failure.has_value()) return failure;
    return fail(ErrorClass::kLost, ErrorCode::kUnavailable,
                "the body ended after " + std::to_string(received_) + " of " +
                    std::to_string(Wanted()) + " bytes");
  }
  if (response.complete() && response.status == 416 && !pinned_) {
    past_end_ = true;
    return std::nullopt;
  }
  if (pinned_ && failure.has_value() && response.complete() &&
      (response.status == 412 || response.status == 404 ||
       response.status == 416)) {
    return fail(ErrorClass::kTerminal, ErrorCode::kStale,
                "the object was replaced or deleted during the read");
  }
  return failure;
}

}  // namespace ckptfs

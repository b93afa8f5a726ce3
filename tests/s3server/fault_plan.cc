#include "s3server/fault_plan.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace ckptfs::s3server {
namespace {

constexpr std::pair<std::string_view, FaultAction> kActions[] = {
    {"fail", FaultAction::kFail},
    {"slow_down", FaultAction::kFail},
    {"hold", FaultAction::kHold},
    {"reset", FaultAction::kReset},
    {"truncate", FaultAction::kTruncate},
    {"lose_reply", FaultAction::kLoseReply},
    {"error200", FaultAction::kError200},
    {"corrupt_range", FaultAction::kCorruptRange},
    {"corrupt_etag", FaultAction::kCorruptETag},
    {"corrupt_body", FaultAction::kCorruptBody},
};

template <class T>
bool ParseInteger(const std::string& text, T* out) {
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, *out);
  return error == std::errc() && stop == end;
}

bool IsOperation(std::string_view name) {
  for (int kind = 1; kind < kOperationKinds; ++kind) {
    if (NameOf(static_cast<OperationKind>(kind)) == name) return true;
  }
  return false;
}

bool Fits(const Fault& fault, const Operation& operation) {
  return (fault.op.empty() || fault.op == NameOf(operation.kind)) &&
         (fault.bucket.empty() || fault.bucket == operation.bucket) &&
         (fault.part == 0 || fault.part == operation.part) &&
         operation.key.find(fault.key) != std::string::npos;
}

// "" or what is wrong with the parameter.
std::string Apply(const std::string& name, const std::string& value,
                  Fault* fault) {
  bool ok = true;
  if (name == "action") {
    ok = false;
    for (const auto& [text, action] : kActions) {
      if (value != text) continue;
      ok = true;
      fault->action = action;
      fault->action_name = value;
      if (value == "slow_down") {
        fault->status = 503;
        fault->code = "SlowDown";
      }
    }
  } else if (name == "op") {
    ok = IsOperation(value);
    fault->op = value;
  } else if (name == "bucket") {
    fault->bucket = value;
  } else if (name == "key") {
    fault->key = value;
  } else if (name == "part") {
    ok = ParseInteger(value, &fault->part);
  } else if (name == "skip") {
    ok = ParseInteger(value, &fault->skip);
  } else if (name == "count") {
    ok = ParseInteger(value, &fault->count);
  } else if (name == "status") {
    ok = ParseInteger(value, &fault->status) && fault->status >= 200 &&
         fault->status < 600;
  } else if (name == "code") {
    fault->code = value;
  } else if (name == "retry_after") {
    ok = ParseInteger(value, &fault->retry_after) && fault->retry_after >= 0;
  } else if (name == "at_byte") {
    ok = ParseInteger(value, &fault->at_byte);
  } else if (name == "side") {
    ok = value == "request" || value == "response";
    fault->on_response = value == "response";
  } else if (name == "when") {
    ok = value == "before" || value == "after";
    fault->after = value == "after";
  } else {
    return "unknown fault parameter '" + name + "'";
  }
  return ok ? "" : "fault parameter " + name + " cannot be '" + value + "'";
}

}  // namespace

tl::expected<int, std::string> FaultPlan::Add(
    const QueryParameters& parameters) {
  Fault fault;
  for (const auto& [name, value] : parameters) {
    std::string problem = Apply(name, value, &fault);
    if (!problem.empty()) return tl::unexpected(std::move(problem));
  }
  if (fault.action_name.empty()) {
    return tl::unexpected(std::string("a fault needs an action"));
  }
  if (fault.code.empty()) {
    fault.code = fault.status == 503 ? "SlowDown" : "InternalError";
  }
  std::lock_guard lock(mu_);
  fault.id = next_id_++;
  faults_.push_back(std::move(fault));
  return faults_.back().id;
}

std::optional<Fault> FaultPlan::Take(const Operation& operation) {
  std::lock_guard lock(mu_);
  for (Fault& fault : faults_) {
    if (fault.count == 0 || !Fits(fault, operation)) continue;
    if (fault.skip > 0) {
      --fault.skip;
      continue;
    }
    if (fault.count > 0) --fault.count;
    return fault;
  }
  return std::nullopt;
}

std::vector<Fault> FaultPlan::List() const {
  std::lock_guard lock(mu_);
  return faults_;
}

bool FaultPlan::Hold(const Fault& fault) {
  std::unique_lock lock(mu_);
  const bool cleared = std::none_of(
      faults_.begin(), faults_.end(),
      [&fault](const Fault& other) { return other.id == fault.id; });
  if (cleared) return !stopped_;
  const std::uint64_t before = releases_;
  ++held_;
  changed_.notify_all();
  changed_.wait(lock, [&] { return stopped_ || releases_ != before; });
  --held_;
  return !stopped_;
}

void FaultPlan::Release() {
  std::lock_guard lock(mu_);
  ++releases_;
  changed_.notify_all();
}

void FaultPlan::Clear() {
  std::lock_guard lock(mu_);
  faults_.clear();
  ++releases_;
  changed_.notify_all();
}

int FaultPlan::held() const {
  std::lock_guard lock(mu_);
  return held_;
}

bool FaultPlan::WaitHeld(int count, std::chrono::milliseconds timeout) {
  std::unique_lock lock(mu_);
  return changed_.wait_for(lock, timeout, [&] {
    return stopped_ || held_ >= count;
  }) && !stopped_;
}

bool FaultPlan::Sleep(std::chrono::nanoseconds time) {
  std::unique_lock lock(mu_);
  return !changed_.wait_for(lock, time, [this] { return stopped_; });
}

void FaultPlan::Stop() {
  std::lock_guard lock(mu_);
  stopped_ = true;
  changed_.notify_all();
}

}  // namespace ckptfs::s3server

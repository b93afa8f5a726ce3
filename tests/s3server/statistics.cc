#include "s3server/statistics.h"

#include <algorithm>
#include <utility>

namespace ckptfs::s3server {

void Statistics::Counter::Begin() {
  ++requests;
  max_in_flight = std::max(max_in_flight, ++in_flight);
}

void Statistics::Counter::End(const Record& record) {
  --in_flight;
  if (record.status == 0 || record.status >= 400) ++errors;
  bytes_in += record.bytes_in;
  bytes_out += record.bytes_out;
}

void Statistics::Counter::Reset() {
  *this = Counter{.in_flight = in_flight, .max_in_flight = in_flight};
}

nlohmann::json Statistics::Counter::ToJson() const {
  return {{"requests", requests},   {"errors", errors},
          {"in_flight", in_flight}, {"max_in_flight", max_in_flight},
          {"bytes_in", bytes_in},   {"bytes_out", bytes_out}};
}

void Statistics::ConnectionOpened() {
  std::lock_guard lock(mu_);
  ++total_connections_;
  max_connections_ = std::max(max_connections_, ++connections_);
}

void Statistics::ConnectionClosed() {
  std::lock_guard lock(mu_);
  --connections_;
}

void Statistics::Begin(OperationKind kind, Record* record) {
  record->kind = kind;
  record->began = std::chrono::steady_clock::now() - start_;
  std::lock_guard lock(mu_);
  all_.Begin();
  by_kind_[static_cast<std::size_t>(kind)].Begin();
}

void Statistics::End(Record record) {
  record.ended = std::chrono::steady_clock::now() - start_;
  std::lock_guard lock(mu_);
  all_.End(record);
  by_kind_[static_cast<std::size_t>(record.kind)].End(record);
  log_.push_back(std::move(record));
  if (log_.size() > kLogLength) log_.pop_front();
}

void Statistics::Reset() {
  std::lock_guard lock(mu_);
  all_.Reset();
  for (Counter& counter : by_kind_) counter.Reset();
  total_connections_ = max_connections_ = connections_;
  log_.clear();
}

nlohmann::json Statistics::ToJson() const {
  std::lock_guard lock(mu_);
  nlohmann::json json = all_.ToJson();
  json["connections"] = connections_;
  json["max_connections"] = max_connections_;
  json["total_connections"] = total_connections_;
  nlohmann::json operations = nlohmann::json::object();
  for (std::size_t kind = 0; kind < by_kind_.size(); ++kind) {
    if (by_kind_[kind].requests == 0 && by_kind_[kind].in_flight == 0) continue;
    operations[std::string(NameOf(static_cast<OperationKind>(kind)))] =
        by_kind_[kind].ToJson();
  }
  json["operations"] = std::move(operations);
  return json;
}

nlohmann::json Statistics::LogToJson() const {
  std::lock_guard lock(mu_);
  nlohmann::json list = nlohmann::json::array();
  const auto micros = [](std::chrono::nanoseconds time) {
    return std::chrono::duration_cast<std::chrono::microseconds>(time).count();
  };
  for (const Record& record : log_) {
    list.push_back({{"op", NameOf(record.kind)},
                    {"bucket", record.bucket},
                    {"key", record.key},
                    {"part", record.part},
                    {"range", record.range},
                    {"authorized", record.authorized},
                    {"options", record.options},
                    {"status", record.status},
                    {"bytes_in", record.bytes_in},
                    {"bytes_out", record.bytes_out},
                    {"began_us", micros(record.began)},
                    {"ended_us", micros(record.ended)}});
  }
  return list;
}

}  // namespace ckptfs::s3server

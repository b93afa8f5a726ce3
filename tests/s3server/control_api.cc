#include "s3server/control_api.h"

#include <charconv>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

namespace ckptfs::s3server {
namespace {

constexpr std::string_view kRoot = "/_control/";

Response Json(const nlohmann::json& json, int status = 200) {
  Response response;
  response.status = status;
  response.Set("Content-Type", "application/json");
  // Keys may be any bytes; JSON may not.
  response.body = Content::FromString(
      json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) +
      "\n");
  return response;
}

Response Complaint(int status, std::string message) {
  return Json({{"error", std::move(message)}}, status);
}

std::string Parameter(const Request& request, std::string_view name) {
  const std::string* value = request.Query(name);
  return value ? *value : std::string();
}

template <class T>
std::optional<T> Number(const std::string& text) {
  T value{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

}  // namespace

bool ControlApi::Serves(const Request& request) {
  return request.path.starts_with(kRoot);
}

Response ControlApi::Handle(const Request& request) const {
  const std::string name = request.path.substr(kRoot.size());
  if (request.method == "GET") return Get(request, name);
  if (request.method == "POST") return Post(request, name);
  return Complaint(405, "control requests are GET or POST");
}

Response ControlApi::Get(const Request& request,
                         const std::string& name) const {
  if (name == "stats") {
    nlohmann::json json = statistics_.ToJson();
    json["held"] = plan_.held();
    return Json(json);
  }
  if (name == "log") return Json(statistics_.LogToJson());
  if (name == "uploads") return Uploads(request);
  if (name == "keys") return Keys(request);
  if (name == "object") return ObjectBytes(request);
  if (name == "faults") {
    nlohmann::json list = nlohmann::json::array();
    for (const Fault& fault : plan_.List()) {
      list.push_back({{"id", fault.id},
                      {"action", fault.action_name},
                      {"op", fault.op},
                      {"bucket", fault.bucket},
                      {"key", fault.key},
                      {"part", fault.part},
                      {"skip", fault.skip},
                      {"count", fault.count}});
    }
    return Json(list);
  }
  if (name == "wait-held") {
    const auto count =
        request.Query("count") ? Number<int>(Parameter(request, "count")) : 1;
    const auto timeout = request.Query("timeout_ms")
                             ? Number<int>(Parameter(request, "timeout_ms"))
                             : 10000;
    if (!count || !timeout) return Complaint(400, "not a number");
    const bool held =
        plan_.WaitHeld(*count, std::chrono::milliseconds(*timeout));
    return Json({{"held", plan_.held()}}, held ? 200 : 504);
  }
  return Complaint(404, "no such control: GET " + name);
}

Response ControlApi::Post(const Request& request,
                          const std::string& name) const {
  if (name == "fault") {
    const auto id = plan_.Add(request.query);
    if (!id) return Complaint(400, id.error());
    return Json({{"id", *id}});
  }
  if (name == "release") {
    plan_.Release();
    return Json(nlohmann::json::object());
  }
  if (name == "clear") {
    plan_.Clear();
    return Json(nlohmann::json::object());
  }
  if (name == "set") return Set(request);
  if (name == "reset-stats") {
    statistics_.Reset();
    return Json(nlohmann::json::object());
  }
  if (name == "pattern") return MakePattern(request);
  return Complaint(404, "no such control: POST " + name);
}

Response ControlApi::Uploads(const Request& request) const {
  const auto uploads = table_.Uploads(Parameter(request, "bucket"), "");
  if (!uploads) return Complaint(404, uploads.error().message);
  nlohmann::json list = nlohmann::json::array();
  for (const UploadInfo& upload : *uploads) {
    nlohmann::json parts = nlohmann::json::array();
    for (const auto& [number, part] : upload.parts) {
      parts.push_back({{"number", number}, {"size", part.content.size()}});
    }
    list.push_back({{"key", upload.key},
                    {"upload_id", upload.id},
                    {"initiated", IsoDate(upload.initiated)},
                    {"parts", std::move(parts)}});
  }
  return Json(list);
}

Response ControlApi::Keys(const Request& request) const {
  ListQuery query;
  query.prefix = Parameter(request, "prefix");
  nlohmann::json list = nlohmann::json::array();
  for (bool more = true; more;) {
    const auto page = table_.List(Parameter(request, "bucket"), query);
    if (!page) return Complaint(404, page.error().message);
    for (const ListPage::Entry& entry : page->entries) {
      list.push_back(entry.key);
    }
    more = page->truncated;
    query.after = page->last;
  }
  return Json(list);
}

Response ControlApi::ObjectBytes(const Request& request) const {
  const auto object =
      table_.Get(Parameter(request, "bucket"), Parameter(request, "key"));
  if (!object) return Complaint(404, object.error().message);
  Response response;
  response.Set("Content-Type", "application/octet-stream");
  response.Set("ETag", '"' + (*object)->etag + '"');
  response.body = (*object)->content;
  return response;
}

Response ControlApi::Set(const Request& request) const {
  for (const auto& [name, text] : request.query) {
    const auto whole = Number<std::int64_t>(text);
    const auto real = Number<double>(text);
    if (name == "latency_ms" && whole && *whole >= 0) {
      plan_.latency_ms = *whole;
    } else if (name == "clock_offset_s" && whole) {
      plan_.clock_offset_s = *whole;
    } else if (name == "conn_mibs" && real && *real >= 0) {
      plan_.conn_bytes_per_s = std::llround(*real * (1 << 20));
    } else {
      return Complaint(400, "cannot set " + name + " to '" + text + "'");
    }
  }
  return Json({{"latency_ms", plan_.latency_ms.load()},
               {"clock_offset_s", plan_.clock_offset_s.load()},
               {"conn_bytes_per_s", plan_.conn_bytes_per_s.load()}});
}

Response ControlApi::MakePattern(const Request& request) const {
  const auto size = Number<std::uint64_t>(Parameter(request, "size"));
  const std::string key = Parameter(request, "key");
  if (!size || key.empty()) return Complaint(400, "key and size are needed");
  const auto put =
      table_.Put(Parameter(request, "bucket"), key, Content::Pattern(0, *size),
                 "", {}, {}, std::chrono::system_clock::now());
  if (!put) return Complaint(404, put.error().message);
  return Json({{"etag", (*put)->etag}});
}

}  // namespace ckptfs::s3server

// HTTP/1.1 requests and replies as the server sees them, and the parser of a
// request's head. Values; no I/O.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "s3server/content.h"
#include "s3server/uri.h"

namespace ckptfs::s3server {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct Request {
  std::string method;
  std::string target;  // as received
  std::string path;    // of the target, still percent-coded
  QueryParameters query;
  Headers headers;  // names in lower case, values trimmed
  Content body;

  // First header of that (lower-case) name.
  const std::string* Header(std::string_view name) const;
  std::string HeaderOr(std::string_view name, std::string_view fallback) const;
  const std::string* Query(std::string_view name) const;
};

struct Response {
  int status = 200;
  Headers headers = {};
  Content body = {};
  // Content-Length to announce where no body is sent (HEAD).
  std::optional<std::uint64_t> announced_length = std::nullopt;

  void Set(std::string name, std::string value);
};

// `head` is everything up to, not including, the empty line. Null if malformed.
std::optional<Request> ParseHead(std::string_view head);
// Status line and headers, with the empty line.
std::string RenderHead(const Response& response, bool keep_alive);

// ASCII only, as header names are.
std::string LowerCase(std::string_view text);
std::string_view Trim(std::string_view text);
std::optional<std::uint64_t> ParseNumber(std::string_view text);

}  // namespace ckptfs::s3server

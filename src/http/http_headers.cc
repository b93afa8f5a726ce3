#include <strings.h>

#include <algorithm>

#include "http/http_transport.h"

namespace ckptfs {

namespace {

bool SameName(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace

void HttpHeaders::Set(std::string_view name, std::string value) {
  std::erase_if(fields_,
                [&](const Field& f) { return SameName(f.first, name); });
  fields_.emplace_back(std::string(name), std::move(value));
}

std::optional<std::string_view> HttpHeaders::Find(std::string_view name) const {
  const auto it =
      std::find_if(fields_.begin(), fields_.end(),
                   [&](const Field& f) { return SameName(f.first, name); });
  if (it == fields_.end()) return std::nullopt;
  return it->second;
}

}  // namespace ckptfs

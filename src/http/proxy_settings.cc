#include "http/proxy_settings.h"

#include <arpa/inet.h>
#include <strings.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <initializer_list>
#include <optional>

namespace ckptfs {

namespace {

std::string FirstOf(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const char* value = std::getenv(name);
    if (value != nullptr && *value != '\0') return value;
  }
  return "";
}

bool StartsWithScheme(std::string_view url, std::string_view scheme) {
  return url.size() >= scheme.size() &&
         strncasecmp(url.data(), scheme.data(), scheme.size()) == 0;
}

// Of "scheme://user@host:port/path"; an IPv6 address without its brackets.
std::string_view HostOf(std::string_view url) {
  const std::size_t scheme = url.find("://");
  if (scheme != std::string_view::npos) url.remove_prefix(scheme + 3);
  url = url.substr(0, url.find_first_of("/?#"));
  const std::size_t user = url.rfind('@');
  if (user != std::string_view::npos) url.remove_prefix(user + 1);
  if (url.starts_with('[')) {
    const std::size_t end = url.find(']');
    return end == std::string_view::npos ? url : url.substr(1, end - 1);
  }
  return url.substr(0, url.rfind(':'));
}

struct Address {
  std::array<unsigned char, 16> bytes{};
  int bits = 0;  // 0: not an address
};

Address ParseAddress(std::string_view text) {
  const std::string name(text);
  Address out;
  if (inet_pton(AF_INET, name.c_str(), out.bytes.data()) == 1) {
    out.bits = 32;
  } else if (inet_pton(AF_INET6, name.c_str(), out.bytes.data()) == 1) {
    out.bits = 128;
  }
  return out;
}

bool SamePrefix(const Address& a, const Address& b, int bits) {
  for (int i = 0; i < bits; i += 8) {
    const int mask = 0xff << (8 - std::min(8, bits - i)) & 0xff;
    const auto at = static_cast<std::size_t>(i / 8);
    if (((a.bytes[at] ^ b.bytes[at]) & mask) != 0) return false;
  }
  return true;
}

// Of an address, and an address or network.
bool Within(const Address& address, std::string_view entry) {
  int bits = address.bits;
  const std::size_t slash = entry.find('/');
  if (slash != std::string_view::npos) {
    const std::string_view text = entry.substr(slash + 1);
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), bits);
    if (error != std::errc() || end != text.data() + text.size() || bits < 0 ||
        bits > address.bits) {
      return false;
    }
    entry = entry.substr(0, slash);
  }
  if (entry.starts_with('[') && entry.ends_with(']')) {
    entry = entry.substr(1, entry.size() - 2);
  }
  const Address other = ParseAddress(entry);
  return other.bits == address.bits && SamePrefix(address, other, bits);
}

std::string_view WithoutDots(std::string_view name, bool leading) {
  if (leading && name.starts_with('.')) name.remove_prefix(1);
  if (name.ends_with('.')) name.remove_suffix(1);
  return name;
}

bool SameOrBelow(std::string_view host, std::string_view domain) {
  host = WithoutDots(host, false);
  domain = WithoutDots(domain, true);
  if (domain.empty() || host.size() < domain.size()) return false;
  const std::string_view tail = host.substr(host.size() - domain.size());
  if (strncasecmp(tail.data(), domain.data(), domain.size()) != 0) {
    return false;
  }
  return tail.size() == host.size() ||
         host[host.size() - domain.size() - 1] == '.';
}

}  // namespace

ProxySettings ProxySettings::FromEnvironment() {
  return ProxySettings(
      FirstOf({"http_proxy", "all_proxy", "ALL_PROXY"}),
      FirstOf({"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"}),
      FirstOf({"no_proxy", "NO_PROXY"}));
}

bool ProxySettings::Excluded(std::string_view host) const {
  if (no_proxy_ == "*") return true;
  const Address address = ParseAddress(host);
  std::string_view rest = no_proxy_;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find_first_of(", \t"), rest.size());
    const std::string_view entry = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (entry.empty()) continue;
    if (address.bits != 0 ? Within(address, entry) : SameOrBelow(host, entry)) {
      return true;
    }
  }
  return false;
}

std::string ProxySettings::ProxyFor(std::string_view url) const {
  const std::string& proxy = StartsWithScheme(url, "https:") ? https_ : http_;
  if (proxy.empty() || Excluded(HostOf(url))) return "";
  return proxy;
}

std::string WithoutCredentials(std::string_view proxy) {
  const std::size_t scheme = proxy.find("://");
  const std::size_t start = scheme == std::string_view::npos ? 0 : scheme + 3;
  const std::size_t user = proxy.rfind('@');
  if (user == std::string_view::npos || user < start) return std::string(proxy);
  return std::string(proxy.substr(0, start)) +
         std::string(proxy.substr(user + 1));
}

}  // namespace ckptfs

// ProxySettings: through which proxy a URL is reached, as the environment says.
// Read once and decided here rather than in libcurl: an error can then name the
// proxy, and no thread reads the environment while a program changes it.
#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace ckptfs {

// Immutable; the rules are those of curl(1).
class ProxySettings {
 public:
  ProxySettings() = default;  // no proxy
  ProxySettings(std::string http, std::string https, std::string no_proxy)
      : http_(std::move(http)),
        https_(std::move(https)),
        no_proxy_(std::move(no_proxy)) {}

  // http_proxy (in small letters only: HTTP_PROXY may be a header that a CGI
  // client sent), https_proxy, HTTPS_PROXY; for either all_proxy, ALL_PROXY;
  // and no_proxy, NO_PROXY.
  static ProxySettings FromEnvironment();

  // Empty: none.
  std::string ProxyFor(std::string_view url) const;

 private:
  // no_proxy: "*", or names (of a host, or a domain and all below it), and
  // addresses and networks ("10.0.0.0/8"), separated by commas or blanks.
  bool Excluded(std::string_view host) const;

  std::string http_;
  std::string https_;
  std::string no_proxy_;
};

// A proxy's URL as it may be shown: without user and password.
std::string WithoutCredentials(std::string_view proxy);

}  // namespace ckptfs

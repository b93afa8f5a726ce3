#include "http/proxy_settings.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace ckptfs {
namespace {

constexpr char kProxy[] = "http://proxy:3128";

bool Excluded(const std::string& no_proxy, const std::string& host) {
  const ProxySettings settings(kProxy, kProxy, no_proxy);
  EXPECT_EQ(settings.ProxyFor("http://" + host + "/k").empty(),
            settings.ProxyFor("https://" + host + ":9000/k?a=b@c").empty());
  return settings.ProxyFor("https://" + host + "/k").empty();
}

TEST(ProxySettings, EachSchemeHasItsOwn) {
  const ProxySettings settings("http://a:1", "http://b:2", "");
  EXPECT_EQ(settings.ProxyFor("http://host/"), "http://a:1");
  EXPECT_EQ(settings.ProxyFor("HTTPS://host/"), "http://b:2");
  EXPECT_EQ(ProxySettings("", "http://b:2", "").ProxyFor("http://host/"), "");
  EXPECT_EQ(ProxySettings().ProxyFor("https://host/"), "");
}

TEST(ProxySettings, NoProxy) {
  EXPECT_FALSE(Excluded("", "host"));
  EXPECT_TRUE(Excluded("*", "host"));
  EXPECT_TRUE(Excluded("host", "host"));
  EXPECT_TRUE(Excluded("Host.", "hOST"));
  EXPECT_TRUE(Excluded("a, example.org b", "s3.example.org"));
  EXPECT_TRUE(Excluded(".example.org", "s3.example.org"));
  EXPECT_TRUE(Excluded(".example.org", "example.org"));
  EXPECT_FALSE(Excluded("example.org", "badexample.org"));
  EXPECT_FALSE(Excluded("example.org", "example.org.evil"));
  EXPECT_FALSE(Excluded("s3.example.org", "example.org"));
}

TEST(ProxySettings, NoProxyOfAddresses) {
  EXPECT_TRUE(Excluded("10.1.2.3", "10.1.2.3"));
  EXPECT_FALSE(Excluded("10.1.2.3", "110.1.2.3"));
  EXPECT_FALSE(Excluded("2.3", "10.1.2.3"));
  EXPECT_TRUE(Excluded("10.0.0.0/8", "10.1.2.3"));
  EXPECT_TRUE(Excluded("10.1.2.0/23", "10.1.3.255"));
  EXPECT_FALSE(Excluded("10.1.2.0/23", "10.1.4.0"));
  EXPECT_TRUE(Excluded("0.0.0.0/0", "10.1.4.0"));
  EXPECT_FALSE(Excluded("10.0.0.0/x,10.0.0.0/33", "10.0.0.0"));
  EXPECT_TRUE(Excluded("::1", "[::1]"));
  EXPECT_TRUE(Excluded("[::1]", "[::1]"));
  EXPECT_TRUE(Excluded("fd00::/8", "[fd12::3]"));
  EXPECT_FALSE(Excluded("fd00::/8", "[fe80::3]"));
  EXPECT_FALSE(Excluded("fd00::/8", "10.1.2.3"));
}

TEST(ProxySettings, TheEnvironment) {
  for (const char* name : {"http_proxy", "https_proxy", "HTTPS_PROXY",
                           "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"}) {
    unsetenv(name);
  }
  const auto proxy_of = [](const char* url) {
    return ProxySettings::FromEnvironment().ProxyFor(url);
  };
  setenv("HTTP_PROXY", "http://a", 1);  // may come from a CGI client
  EXPECT_EQ(proxy_of("http://host/"), "");
  unsetenv("HTTP_PROXY");
  setenv("ALL_PROXY", "http://b", 1);
  EXPECT_EQ(proxy_of("http://host/"), "http://b");
  setenv("HTTPS_PROXY", "http://c", 1);
  setenv("http_proxy", "http://d", 1);
  EXPECT_EQ(proxy_of("https://host/"), "http://c");
  EXPECT_EQ(proxy_of("http://host/"), "http://d");
  setenv("https_proxy", "http://e", 1);
  EXPECT_EQ(proxy_of("https://host/"), "http://e");
  setenv("NO_PROXY", "host", 1);
  EXPECT_EQ(proxy_of("https://host/"), "");
  for (const char* name :
       {"http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"}) {
    unsetenv(name);
  }
}

TEST(ProxySettings, CredentialsAreNotShown) {
  EXPECT_EQ(WithoutCredentials("http://user:p@ss@proxy:1"), "http://proxy:1");
  EXPECT_EQ(WithoutCredentials("user:pass@proxy:1"), "proxy:1");
  EXPECT_EQ(WithoutCredentials("http://proxy:1"), "http://proxy:1");
}

}  // namespace
}  // namespace ckptfs

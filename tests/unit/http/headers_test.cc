#include <gtest/gtest.h>

#include "http/http_transport.h"

namespace ckptfs {
namespace {

TEST(HttpHeaders, NamesCompareWithoutCase) {
  HttpHeaders h{{"ETag", "\"x\""}, {"Content-Length", "5"}};
  EXPECT_EQ(h.Get("etag"), "\"x\"");
  EXPECT_EQ(h.Get("CONTENT-LENGTH"), "5");
  EXPECT_FALSE(h.Find("Content").has_value());
  EXPECT_EQ(h.Get("absent"), "");
}

TEST(HttpHeaders, SetReplacesAndAddKeeps) {
  HttpHeaders h;
  h.Add("A", "1");
  h.Add("a", "2");
  EXPECT_EQ(h.Get("a"), "1");
  h.Set("A", "3");
  EXPECT_EQ(std::distance(h.begin(), h.end()), 1);
  EXPECT_EQ(h.Get("a"), "3");
}

}  // namespace
}  // namespace ckptfs

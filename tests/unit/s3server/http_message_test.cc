#include "s3server/http_message.h"

#include <gtest/gtest.h>

namespace ckptfs::s3server {
namespace {

TEST(ParseHeadTest, ReadsLineQueryAndHeaders) {
  const auto request = ParseHead(
      "PUT /b/a%20b//../x?partNumber=2&uploadId=a%2Fb&flag HTTP/1.1\r\n"
      "Host: h:1\r\nX-Amz-Meta-A:  v  w \r\nEmpty:");
  ASSERT_TRUE(request);
  EXPECT_EQ(request->method, "PUT");
  EXPECT_EQ(request->path, "/b/a%20b//../x");
  EXPECT_EQ(*request->Query("partNumber"), "2");
  EXPECT_EQ(*request->Query("uploadId"), "a/b");
  EXPECT_EQ(*request->Query("flag"), "");
  EXPECT_EQ(request->Query("none"), nullptr);
  EXPECT_EQ(*request->Header("host"), "h:1");
  EXPECT_EQ(*request->Header("x-amz-meta-a"), "v  w");
  EXPECT_EQ(*request->Header("empty"), "");
  EXPECT_EQ(request->HeaderOr("none", "x"), "x");
}

TEST(ParseHeadTest, RefusesWhatIsNotHttp) {
  for (const char* head :
       {"", "GET", "GET /", "GET / HTTP/2.0", "GET / HTTP/1.0",
        "GET b HTTP/1.1", "GET /?a=%zz HTTP/1.1", "GET / HTTP/1.1\r\nno colon",
        "GET / HTTP/1.1\r\n: v", "\x16\x03\x01"}) {
    EXPECT_FALSE(ParseHead(head)) << head;
  }
}

TEST(RenderHeadTest, AnnouncesTheLength) {
  Response response;
  response.Set("ETag", "\"x\"");
  response.Set("etag", "\"y\"");
  response.body = Content::FromString("four");
  EXPECT_EQ(RenderHead(response, true),
            "HTTP/1.1 200 OK\r\nETag: \"y\"\r\nContent-Length: 4\r\n\r\n");
  response.announced_length = 17;
  EXPECT_NE(RenderHead(response, true).find("Content-Length: 17\r\n"),
            std::string::npos);
  response.status = 204;
  EXPECT_EQ(RenderHead(response, false),
            "HTTP/1.1 204 No Content\r\nETag: \"y\"\r\n"
            "Connection: close\r\n\r\n");
}

}  // namespace
}  // namespace ckptfs::s3server

// URI encoding, dates, XML, endpoints.
#include <gtest/gtest.h>

#include "s3/endpoint.h"
#include "s3/time_format.h"
#include "s3/uri.h"
#include "s3/xml.h"

namespace ckptfs {
namespace {

TEST(Uri, EncodesAllButUnreserved) {
  EXPECT_EQ(UriEncode("a/b c+%~-._", true), "a/b%20c%2B%25~-._");
  EXPECT_EQ(UriEncode("a/b", false), "a%2Fb");
  EXPECT_EQ(UriEncode("\xC3\xA4\x01", true), "%C3%A4%01");
}

TEST(Uri, DecodesBothSpellingsOfSpace) {
  EXPECT_EQ(UriDecode("a+b%20c%2Bd"), "a b c+d");
  EXPECT_EQ(UriDecode("100%"), "100%");
  EXPECT_EQ(UriDecode("%zz%4"), "%zz%4");
  std::string all;
  for (int c = 0; c < 256; ++c) all += static_cast<char>(c);
  EXPECT_EQ(UriDecode(UriEncode(all, false)), all);
}

TEST(Time, ReadsAndWrites) {
  const auto t = ParseIso8601("2013-05-24T01:02:03.456Z");
  ASSERT_TRUE(t.has_value());
  EXPECT_EQ(FormatAmzDate(*t), "20130524T010203Z");
  EXPECT_EQ(*t - *ParseIso8601("2013-05-24T01:02:03Z"),
            std::chrono::milliseconds(456));
  EXPECT_EQ(ParseHttpDate("Fri, 24 May 2013 01:02:03 GMT"),
            ParseIso8601("2013-05-24T01:02:03Z"));
  for (const char* bad :
       {"", "yesterday", "2013-13-01T00:00:00Z", "2013-05-24T25:00:00Z"}) {
    EXPECT_FALSE(ParseIso8601(bad).has_value()) << bad;
  }
  EXPECT_FALSE(ParseHttpDate("Fri, 24 Xxx 2013 01:02:03 GMT").has_value());
}

TEST(Xml, ReadsElementsAndDropsNamespaces) {
  const auto xml = ParseXml(
      "<?xml version=\"1.0\"?><a:R xmlns:a=\"urn:x\"><a:K>x &amp; &#65;</a:K>"
      "<K><![CDATA[<y>]]></K></a:R>");
  ASSERT_TRUE(xml.has_value()) << xml.error().ToString();
  EXPECT_EQ(xml->name, "R");
  EXPECT_EQ(xml->ChildText("K"), "x & A");
  ASSERT_EQ(xml->children.size(), 2u);
  EXPECT_EQ(xml->children[1].text, "<y>");
  EXPECT_EQ(xml->Child("None"), nullptr);
}

TEST(Xml, AcceptsTheWhiteSpaceOfSlowReplies) {
  EXPECT_TRUE(ParseXml("<?xml version=\"1.0\"?>\n   \n\n  <R><K>1</K></R>")
                  .has_value());
}

TEST(Xml, RefusesWhatItMust) {
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += "<a>";
  for (int i = 0; i < 100; ++i) deep += "</a>";
  for (const std::string& bad :
       {std::string(), std::string("<a>"), std::string("plain"), deep,
        std::string("<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>"),
        std::string("<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><a/>"),
        std::string(17u << 20, ' ')}) {
    const auto xml = ParseXml(bad);
    ASSERT_FALSE(xml.has_value()) << bad.substr(0, 50);
    EXPECT_EQ(xml.error().code(), ErrorCode::kDataLoss);
  }
}

TEST(Xml, EscapesAndKnowsItsLimits) {
  EXPECT_EQ(XmlEscape("a&b<c>\"\r\n"), "a&amp;b&lt;c&gt;&quot;&#13;&#10;");
  EXPECT_TRUE(XmlCanCarry("plain \xC3\xA4 \r\n\t"));
  EXPECT_FALSE(XmlCanCarry("\x01"));
  EXPECT_FALSE(XmlCanCarry("\xFF\xFE"));
  EXPECT_FALSE(XmlCanCarry("\xEF\xBF\xBF"));
  EXPECT_FALSE(XmlCanCarry(std::string(1, '\0')));
}

TEST(Endpoint, Addressing) {
  const auto aws = Endpoint::Create("", "eu-west-1", "bucket", std::nullopt);
  ASSERT_TRUE(aws.has_value());
  EXPECT_EQ(aws->origin(), "https://bucket.s3.eu-west-1.amazonaws.com");
  EXPECT_EQ(aws->Path("a b/c"), "/a%20b/c");
  EXPECT_EQ(aws->Path(""), "/");
  EXPECT_EQ(aws->Uri("k"), "s3://bucket/k");

  const auto dots =
      Endpoint::Create("", "us-east-1", "my.bucket", std::nullopt);
  ASSERT_TRUE(dots.has_value());
  EXPECT_EQ(dots->host(), "s3.us-east-1.amazonaws.com");
  EXPECT_EQ(dots->Path("k"), "/my.bucket/k");

  const auto own =
      Endpoint::Create("http://[::1]:9000/base/", "r", "bucket", std::nullopt);
  ASSERT_TRUE(own.has_value()) << own.error().ToString();
  EXPECT_EQ(own->origin(), "http://[::1]:9000");
  EXPECT_EQ(own->Path("../x//y"), "/base/bucket/../x//y");
  EXPECT_EQ(own->Path(""), "/base/bucket");
  EXPECT_FALSE(own->tls());

  const auto hosted =
      Endpoint::Create("https://s3.example.com:443", "r", "bucket", false);
  ASSERT_TRUE(hosted.has_value());
  EXPECT_EQ(hosted->host(), "bucket.s3.example.com");
}

TEST(Endpoint, RefusesNonsense) {
  const std::pair<const char*, const char*> bad[] = {
      {"localhost:9000", "bucket"},
      {"ftp://host", "bucket"},
      {"http://", "bucket"},
      {"http://host:99999", "bucket"},
      {"http://host:", "bucket"},
      {"http://u:p@host", "bucket"},
      {"http://ho st", "bucket"},
      {"http://host/?q", "bucket"},
      {"http://host", ""},
      {"http://host", "ab"},
      {"http://host", "a/b/c"},
      {"", "UpperCase"},
      {"", "under_score"},
      {"", "-bucket"},
      {"", "buc..ket"}};
  for (const auto& [url, bucket] : bad) {
    const auto e = Endpoint::Create(url, "us-east-1", bucket, std::nullopt);
    ASSERT_FALSE(e.has_value()) << url << " " << bucket;
    EXPECT_EQ(e.error().code(), ErrorCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace ckptfs

// Percent-coding, XML, dates, entity tags.
#include <gtest/gtest.h>

#include "s3server/conditions.h"
#include "s3server/dates.h"
#include "s3server/digest.h"
#include "s3server/uri.h"
#include "s3server/xml_reader.h"
#include "s3server/xml_writer.h"

namespace ckptfs::s3server {
namespace {

std::string AllBytes() {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  return bytes;
}

TEST(UriTest, AllBytesSurvive) {
  const std::string bytes = AllBytes();
  EXPECT_EQ(PercentDecode(PercentEncode(bytes, false)), bytes);
  EXPECT_EQ(PercentDecode(PercentEncode(bytes, true)), bytes);
  EXPECT_EQ(PercentDecode(ListingEncode(bytes), true), bytes);
}

TEST(UriTest, EncodesAsSigV4Wants) {
  EXPECT_EQ(PercentEncode("a/b c+~\xc3\xa9", false), "a%2Fb%20c%2B~%C3%A9");
  EXPECT_EQ(PercentEncode("a/b", true), "a/b");
  EXPECT_EQ(ListingEncode("a/b c+"), "a/b+c%2B");
}

TEST(UriTest, RefusesBrokenEscapes) {
  for (const char* text : {"%", "%1", "%g0", "a%0"}) {
    EXPECT_FALSE(PercentDecode(text)) << text;
  }
}

TEST(UriTest, QueryKeepsOrderAndEmptyValues) {
  const auto query = ParseQuery("b=1&&a=x%26y&c&d=e=f");
  ASSERT_TRUE(query);
  const QueryParameters expected = {
      {"b", "1"}, {"a", "x&y"}, {"c", ""}, {"d", "e=f"}};
  EXPECT_EQ(*query, expected);
}

TEST(XmlTest, WritesWhatItCanReadBack) {
  XmlWriter xml("Root");
  xml.Open("Item");
  xml.Element("Key", "a&b<c>\"d' \t\n \xc3\xa9");
  xml.Element("Empty", "");
  const auto root = ParseXml(xml.Finish());
  ASSERT_TRUE(root);
  EXPECT_EQ(root->name, "Root");
  ASSERT_TRUE(root->Child("Item"));
  EXPECT_EQ(root->Child("Item")->ChildText("Key"), "a&b<c>\"d' \t\n \xc3\xa9");
  EXPECT_TRUE(root->Child("Item")->Child("Empty"));
  EXPECT_FALSE(root->Child("Item")->Child("Other"));
}

TEST(XmlTest, ControlCharactersAreReferences) {
  EXPECT_EQ(XmlEscape("\x01 \x7f\r"), "&#x1; &#x7F;&#xD;");
}

TEST(XmlTest, RefusesBrokenAndDeepDocuments) {
  EXPECT_FALSE(ParseXml(""));
  EXPECT_FALSE(ParseXml("<a><b></a>"));
  std::string deep = "x";
  for (int i = 0; i < 100; ++i) deep = "<a>" + deep + "</a>";
  EXPECT_FALSE(ParseXml(deep));
}

TEST(XmlTest, EntitiesAreNotExpanded) {
  const auto root = ParseXml(
      "<!DOCTYPE a [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><a>&e;</a>");
  ASSERT_TRUE(root);
  EXPECT_EQ(root->text, "");
}

TEST(XmlTest, ErrorDocumentHasItsDetails) {
  const auto root = ParseXml(ErrorDocument(
      {400, "Code", "Message & more", {{"Region", "r"}}}, "/b/k", "ID"));
  ASSERT_TRUE(root);
  EXPECT_EQ(root->ChildText("Code"), "Code");
  EXPECT_EQ(root->ChildText("Message"), "Message & more");
  EXPECT_EQ(root->ChildText("Region"), "r");
  EXPECT_EQ(root->ChildText("RequestId"), "ID");
}

TEST(DatesTest, AllForms) {
  const auto time = ParseAmzDate("20130524T000000Z");
  ASSERT_TRUE(time);
  EXPECT_EQ(HttpDate(*time), "Fri, 24 May 2013 00:00:00 GMT");
  EXPECT_EQ(IsoDate(*time + std::chrono::milliseconds(42)),
            "2013-05-24T00:00:00.042Z");
  EXPECT_EQ(ParseHttpDate("Fri, 24 May 2013 00:00:00 GMT"), time);
  EXPECT_FALSE(ParseAmzDate("2013-05-24"));
  EXPECT_FALSE(ParseHttpDate("yesterday"));
}

TEST(ConditionsTest, TagsMatchWithAndWithoutQuotes) {
  EXPECT_TRUE(MatchesETag("\"abc\"", "abc"));
  EXPECT_TRUE(MatchesETag("abc", "abc"));
  EXPECT_TRUE(MatchesETag("*", "abc"));
  EXPECT_TRUE(MatchesETag("\"x\", \"abc\"", "abc"));
  EXPECT_FALSE(MatchesETag("\"x\", \"y\"", "abc"));
  EXPECT_FALSE(MatchesETag("\"ab\"", "abc"));
}

TEST(DigestTest, TextForms) {
  EXPECT_EQ(Hex(Sha256("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Base64("any carnal pleas"), "YW55IGNhcm5hbCBwbGVhcw==");
  EXPECT_EQ(FromHex("00ff7a"), std::string("\0\xffz", 3));
  EXPECT_FALSE(FromHex("0"));
  EXPECT_FALSE(FromHex("zz"));
}

}  // namespace
}  // namespace ckptfs::s3server

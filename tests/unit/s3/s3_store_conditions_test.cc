// Conditions on what is deleted and replaced, on endpoints that know them,
// refuse them or ignore them. [S-39]
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "unit/s3/s3_store_fixture.h"

namespace ckptfs {
namespace {

constexpr char kCopied[] =
    "<CopyObjectResult><ETag>\"e2\"</ETag></CopyObjectResult>";

class S3Conditions : public S3Store {
 protected:
  Result<void> DeleteVersion(const std::string& etag) {
    DeleteRequest request;
    request.key = "k";
    request.if_match = ETag{"\"" + etag + "\""};
    return store_->Delete(std::move(request)).Get();
  }
  Result<PutResult> CopyOntoItself() {
    CopyRequest request;
    request.source_key = request.key = "k";
    request.source_if_match = ETag{"\"e1\""};
    request.replace_attributes.emplace();
    return store_->Copy(std::move(request)).Get();
  }
  void LoseReply() { transport_->Add({0, {}, "", TransportFailure::kBroken}); }
  // "HEAD DELETE" since the last call.
  std::string Methods() {
    std::string out;
    for (; told_ < seen().size(); ++told_) {
      if (!out.empty()) out += ' ';
      out += seen()[told_].method;
    }
    return out;
  }
  std::string LastIfMatch() const {
    return std::string(seen().back().headers.Get("If-Match"));
  }

 private:
  std::size_t told_ = 0;
};

TEST_F(S3Conditions, OnAwsADeleteIsOneRequestWithItsCondition) {
  Open("");
  Answer(204);
  EXPECT_TRUE(DeleteVersion("e1").has_value());
  EXPECT_EQ(Methods(), "DELETE");
  EXPECT_EQ(LastIfMatch(), "\"e1\"");
  EXPECT_TRUE(store_->capabilities().conditional_delete);

  Answer(404, {}, "<Error><Code>NoSuchKey</Code></Error>");
  EXPECT_TRUE(DeleteVersion("e1").has_value());

  Answer(412);
  Answer(200, Object("e2", "5"));
  EXPECT_EQ(DeleteVersion("e1").error().code(), ErrorCode::kPreconditionFailed);

  Answer(404, {}, "<Error><Code>NoSuchBucket</Code></Error>");
  EXPECT_EQ(DeleteVersion("e1").error().code(), ErrorCode::kNotFound);
}

TEST_F(S3Conditions, TheFirstDeleteFindsOutThatTheEndpointKnowsConditions) {
  Answer(200, Object("e1", "5"));
  Answer(412);  // to a version that never was
  Answer(204);
  EXPECT_TRUE(DeleteVersion("e1").has_value());
  EXPECT_EQ(Methods(), "HEAD DELETE DELETE");
  EXPECT_NE(seen()[1].headers.Get("If-Match"), "\"e1\"");
  EXPECT_FALSE(seen()[1].headers.Get("If-Match").empty());
  EXPECT_EQ(LastIfMatch(), "\"e1\"");
  Answer(204);
  EXPECT_TRUE(DeleteVersion("e1").has_value());
  EXPECT_EQ(Methods(), "DELETE");
  EXPECT_TRUE(store_->capabilities().conditional_delete);
}

TEST_F(S3Conditions, WhereTheEndpointIgnoresThemTheObjectIsLookedAtFirst) {
  // The wrong version is not touched by what finds out.
  Answer(412);
  EXPECT_EQ(DeleteVersion("e1").error().code(), ErrorCode::kPreconditionFailed);
  EXPECT_EQ(Methods(), "HEAD");

  Answer(200, Object("e1", "5"));
  Answer(204);  // deleted in spite of the condition
  EXPECT_TRUE(DeleteVersion("e1").has_value());
  EXPECT_EQ(Methods(), "HEAD DELETE");
  EXPECT_FALSE(store_->capabilities().conditional_delete);

  Answer(200, Object("e2", "5"));  // ignores it on HEAD, too
  EXPECT_EQ(DeleteVersion("e1").error().code(), ErrorCode::kPreconditionFailed);
  EXPECT_EQ(Methods(), "HEAD");
  Answer(404);
  EXPECT_TRUE(DeleteVersion("e1").has_value());
  EXPECT_EQ(Methods(), "HEAD");
  Answer(200, Object("e1", "5"));
  Answer(204);
  EXPECT_TRUE(DeleteVersion("e1").has_value());
  EXPECT_EQ(Methods(), "HEAD DELETE");
  EXPECT_EQ(LastIfMatch(), "");
}

TEST_F(S3Conditions, WhereTheEndpointRefusesThemTheObjectIsLookedAtFirst) {
  struct Refusal {
    int status;
    std::string code;
  };
  for (const Refusal& refusal :
       {Refusal{501, "NotImplemented"}, Refusal{400, "NotImplemented"},
        Refusal{400, "InvalidArgument"}, Refusal{400, "InvalidRequest"},
        Refusal{501, ""}, Refusal{400, ""}}) {
    SCOPED_TRACE(std::to_string(refusal.status) + refusal.code);
    Open("http://host:9");
    const std::size_t before = seen().size();
    Answer(200, Object("e1", "5"));
    Answer(refusal.status, {},
           refusal.code.empty()
               ? ""
               : "<Error><Code>" + refusal.code + "</Code></Error>");
    Answer(204);
    EXPECT_TRUE(DeleteVersion("e1").has_value());
    EXPECT_EQ(seen().size() - before, 3u);
    EXPECT_EQ(LastIfMatch(), "");
    EXPECT_FALSE(store_->capabilities().conditional_delete);
    Answer(200, Object("e1", "5"));
    Answer(204);
    EXPECT_TRUE(DeleteVersion("e1").has_value());
    EXPECT_EQ(seen().size() - before, 5u);
  }
}

TEST_F(S3Conditions, ARefusalOfTheDeleteItselfIsNoRefusalOfItsCondition) {
  Answer(200, Object("e1", "5"));
  Answer(403, {}, "<Error><Code>AccessDenied</Code></Error>");
  EXPECT_EQ(DeleteVersion("e1").error().code(), ErrorCode::kPermissionDenied);
  EXPECT_EQ(Methods(), "HEAD DELETE");
  Answer(200, Object("e1", "5"));
  Answer(400, {}, "<Error><Code>InvalidRequest</Code></Error>");
  Answer(400, {}, "<Error><Code>InvalidRequest</Code></Error>");
  EXPECT_EQ(DeleteVersion("e1").error().code(), ErrorCode::kInvalidArgument);
  EXPECT_TRUE(store_->capabilities().conditional_delete);
}

TEST_F(S3Conditions, ADeleteWhoseReplyGotLostIsSettledByLooking) {
  Open("");
  // The retry finds nothing: it was deleted.
  LoseReply();
  Answer(404, {}, "<Error><Code>NoSuchKey</Code></Error>");
  EXPECT_TRUE(DeleteVersion("e1").has_value());
  // The same, by an endpoint that answers 412 for absent keys. The first look
  // asks whether it wants If-Match without quotes.
  LoseReply();
  Answer(412);
  Answer(404);
  Answer(404);
  EXPECT_TRUE(DeleteVersion("e1").has_value());
  // The key is another version, whoever did away with e1.
  LoseReply();
  Answer(412);
  Answer(200, Object("e2", "5"));
  Answer(200, Object("e2", "5"));
  EXPECT_EQ(DeleteVersion("e1").error().code(), ErrorCode::kPreconditionFailed);
  // All replies lost, the object gone, untouched, replaced, or not to be seen.
  const auto lose_all = [this] {
    for (int i = 0; i < 10; ++i) LoseReply();
  };
  lose_all();
  Answer(404);
  EXPECT_TRUE(DeleteVersion("e1").has_value());
  lose_all();
  Answer(200, Object("e1", "5"));
  EXPECT_EQ(DeleteVersion("e1").error().code(), ErrorCode::kUnavailable);
  lose_all();
  Answer(200, Object("e2", "5"));
  EXPECT_EQ(DeleteVersion("e1").error().code(), ErrorCode::kPreconditionFailed);
  lose_all();
  Answer(403);
  EXPECT_EQ(DeleteVersion("e1").error().code(), ErrorCode::kOutcomeUnknown);
  // Unconditional ones likewise.
  DeleteRequest plain;
  plain.key = "k";
  lose_all();
  Answer(404);
  EXPECT_TRUE(store_->Delete(plain).Get().has_value());
  lose_all();
  Answer(200, Object("e1", "5"));
  EXPECT_EQ(store_->Delete(plain).Get().error().code(),
            ErrorCode::kUnavailable);
}

TEST_F(S3Conditions, AProbeWhoseReplyGotLostIsSettledLikeADelete) {
  Answer(200, Object("e1", "5"));
  LoseReply();
  Answer(404);  // the first attempt deleted it
  EXPECT_TRUE(DeleteVersion("e1").has_value());
  EXPECT_EQ(Methods(), "HEAD DELETE DELETE");
}

TEST_F(S3Conditions, AnUnquotedIfMatchIsTriedOnDeletes) {
  Answer(200, Object("e1", "5"));
  Answer(412);  // the probe
  Answer(412);  // to the right version
  Answer(200, Object("e1", "5"));
  Answer(204);
  EXPECT_TRUE(DeleteVersion("e1").has_value());
  EXPECT_EQ(Methods(), "HEAD DELETE DELETE HEAD DELETE");
  EXPECT_EQ(LastIfMatch(), "e1");
}

TEST_F(S3Conditions, ACopyOntoItselfReplacesOnlyTheVersionItCopies) {
  Open("");
  Answer(200, {}, kCopied);
  ASSERT_TRUE(CopyOntoItself().has_value());
  EXPECT_EQ(Methods(), "PUT");
  EXPECT_EQ(LastIfMatch(), "\"e1\"");
  EXPECT_EQ(seen().back().headers.Get("x-amz-copy-source-if-match"), "\"e1\"");
}

TEST_F(S3Conditions, WhereCopiesRefuseConditionsTheDestinationIsLookedAt) {
  Answer(200, Object("e1", "5"));
  Answer(501, {}, "<Error><Code>NotImplemented</Code></Error>");
  Answer(200, {}, kCopied);
  ASSERT_TRUE(CopyOntoItself().has_value());
  EXPECT_EQ(Methods(), "HEAD PUT PUT");
  EXPECT_EQ(LastIfMatch(), "");
  EXPECT_FALSE(store_->capabilities().conditional_copy);
  Answer(412);
  EXPECT_EQ(CopyOntoItself().error().code(), ErrorCode::kPreconditionFailed);
  EXPECT_EQ(Methods(), "HEAD");

  CopyRequest absent;
  absent.source_key = "s";
  absent.key = "k";
  absent.condition.if_none_match = true;
  Answer(200, Object("e1", "5"));
  EXPECT_EQ(store_->Copy(absent).Get().error().code(),
            ErrorCode::kPreconditionFailed);
  EXPECT_EQ(Methods(), "HEAD");
  Answer(404);
  Answer(200, {}, kCopied);
  EXPECT_TRUE(store_->Copy(absent).Get().has_value());
  EXPECT_EQ(seen().back().headers.Get("If-None-Match"), "");
}

TEST_F(S3Conditions, AnotherRefusalOfACopyIsNotTakenForOne) {
  Answer(200, Object("e1", "5"));
  Answer(400, {}, "<Error><Code>InvalidRequest</Code></Error>");
  Answer(400, {}, "<Error><Code>InvalidRequest</Code></Error>");
  EXPECT_EQ(CopyOntoItself().error().code(), ErrorCode::kInvalidArgument);
  EXPECT_TRUE(store_->capabilities().conditional_copy);
}

TEST_F(S3Conditions, TagsAreReadAndRefusedWhereThereAreNone) {
  GetTagsRequest get;
  get.key = "k";
  Answer(200, {},
         "<Tagging><TagSet><Tag><Key>a b</Key><Value>1&amp;2</Value></Tag>"
         "<Tag><Key>e</Key><Value/></Tag></TagSet></Tagging>");
  auto tags = store_->GetTags(get).Get();
  ASSERT_TRUE(tags.has_value()) << tags.error().ToString();
  EXPECT_EQ(*tags, (ObjectTags{{"a b", "1&2"}, {"e", ""}}));
  EXPECT_NE(seen().back().url.find("?tagging"), std::string::npos);

  Answer(404, {}, "<Error><Code>NoSuchTagSet</Code></Error>");
  tags = store_->GetTags(get).Get();
  EXPECT_TRUE(tags.has_value() && tags->empty());
  Answer(403, {}, "<Error><Code>AccessDenied</Code></Error>");
  EXPECT_EQ(store_->GetTags(get).Get().error().code(),
            ErrorCode::kPermissionDenied);

  CreateMultipartRequest create;
  create.key = "k";
  create.attributes.tags = {{"a b", "1&2"}, {"e", ""}};
  create.attributes.headers.expires = "0";
  Answer(200, {}, "<R><UploadId>u</UploadId></R>");
  ASSERT_TRUE(store_->CreateMultipart(create).Get().has_value());
  EXPECT_EQ(seen().back().headers.Get("x-amz-tagging"), "a%20b=1%262&e=");
  EXPECT_EQ(seen().back().headers.Get("Expires"), "0");

  Answer(501);
  EXPECT_EQ(store_->GetTags(get).Get().error().code(), ErrorCode::kUnsupported);
  EXPECT_FALSE(store_->capabilities().tagging);
  EXPECT_EQ(store_->CreateMultipart(create).Get().error().code(),
            ErrorCode::kUnsupported);
}

TEST_F(S3Conditions, HeadTellsTheHeadersThatACopyMustKeep) {
  HttpHeaders headers = Object("e", "5");
  headers.Set("Content-Encoding", "aws-chunked,gzip");
  headers.Set("Cache-Control", "max-age=60, public");
  headers.Set("Content-Disposition", "attachment; filename=\"a.gz\"");
  headers.Set("Content-Language", "de");
  headers.Set("Expires", "0");
  headers.Set("x-amz-tagging-count", "2");
  Answer(200, headers);
  const auto info = store_->Head({"k", {}}).Get();
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->headers,
            (SystemHeaders{"gzip", "max-age=60, public",
                           "attachment; filename=\"a.gz\"", "de", "0"}));
  EXPECT_EQ(info->tag_count, 2);
}

}  // namespace
}  // namespace ckptfs

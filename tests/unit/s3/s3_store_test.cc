// The S3 store on a scripted endpoint: what real servers do that AWS does not.
#include <gtest/gtest.h>

#include "unit/s3/s3_store_fixture.h"

namespace ckptfs {
namespace {

TEST_F(S3Store, APinnedReadBeyondTheEndIsCheckedWhereTheServerDoesNot) {
  const auto read = [this] {
    auto buffer = std::make_shared<std::string>(5, '-');
    GetRequest get;
    get.key = "k";
    get.offset = 50;
    get.if_match = ETag{"\"e1\""};
    get.destination.segments = {std::as_writable_bytes(std::span(*buffer))};
    get.destination.owner = buffer;
    return store_->Get(std::move(get)).Get();
  };
  Answer(416);
  Answer(200, Object("e2", "10"));
  auto replaced = read();
  ASSERT_FALSE(replaced.has_value());
  EXPECT_EQ(replaced.error().code(), ErrorCode::kPreconditionFailed);
  Answer(416);
  Answer(200, Object("e1", "10"));
  EXPECT_TRUE(read().has_value());
}

// radosgw 16.
TEST_F(S3Store, AnETagThatCompleteDoesNotTellIsLookedUp) {
  CompleteMultipartRequest complete;
  complete.upload = {"k", "id"};
  complete.parts = {{1, ETag{"\"p\""}, 5}};
  complete.nonce = "mine";
  const auto run = [&] { return store_->CompleteMultipart(complete).Get(); };
  const std::string reply =
      "<CompleteMultipartUploadResult><ETag></ETag>"
      "</CompleteMultipartUploadResult>";
  Answer(200, {}, reply);
  Answer(200, Object("e-1", "5", "mine"));
  auto done = run();
  ASSERT_TRUE(done.has_value()) << done.error().ToString();
  EXPECT_EQ(done->etag.value, "\"e-1\"");
  EXPECT_EQ(seen().back().method, "HEAD");

  const std::vector<ScriptedTransport::Answer> not_ours = {
      {200, Object("e-1", "5", "other's"), ""},
      {200, Object("e-1", "6", "mine"), ""},
      {404, {}, ""}};
  for (const auto& head : not_ours) {
    Answer(200, {}, reply);
    transport_->Add(head);
    done = run();
    ASSERT_FALSE(done.has_value());
    EXPECT_EQ(done.error().code(), ErrorCode::kConflict);
  }
}

TEST_F(S3Store, AnETagThatCopyDoesNotTellIsLookedUp) {
  CopyRequest copy;
  copy.source_key = "s";
  copy.key = "t";
  Answer(200, {}, "<CopyObjectResult><ETag/></CopyObjectResult>");
  Answer(200, Object("e1", "5"));
  auto done = store_->Copy(copy).Get();
  ASSERT_TRUE(done.has_value()) << done.error().ToString();
  EXPECT_EQ(done->etag.value, "\"e1\"");
}

// radosgw 16: the upload's lock outlives the upload.
TEST_F(S3Store, ACompleteThatFailsForGoodAfterALostReplyIsSettled) {
  CompleteMultipartRequest complete;
  complete.upload = {"k", "id"};
  complete.parts = {{1, ETag{"\"p\""}, 5}};
  complete.nonce = "mine";
  transport_->Add({0, {}, "", TransportFailure::kBroken});
  for (int i = 1; i < kAttempts; ++i) {
    Answer(500, {}, "<Error><Code>InternalError</Code></Error>");
  }
  Answer(200, Object("e-1", "5", "mine"));
  auto done = store_->CompleteMultipart(complete).Get();
  ASSERT_TRUE(done.has_value()) << done.error().ToString();
  EXPECT_EQ(done->etag.value, "\"e-1\"");
}

// Every attempt may have been carried out: one look at the object decides.
TEST_F(S3Store, AWriteWhoseRepliesAllGetLostIsSettled) {
  const auto run = [this](const std::vector<ScriptedTransport::Answer>& look) {
    for (int i = 0; i < kAttempts; ++i) {
      transport_->Add({0, {}, "", TransportFailure::kBroken});
    }
    for (const auto& answer : look) transport_->Add(answer);
    PutRequest put;
    put.key = "k";
    put.attributes.metadata[kNonceMetadataName] = "mine";
    return store_->Put(std::move(put)).Get();
  };
  auto ours = run({{200, Object("e", "0", "mine"), ""}});
  ASSERT_TRUE(ours.has_value()) << ours.error().ToString();
  EXPECT_EQ(ours->etag.value, "\"e\"");
  EXPECT_EQ(seen().back().method, "HEAD");
  // The older object is still there: nothing was carried out.
  EXPECT_EQ(run({{200, Object("e", "0", "other's"), ""}}).error().code(),
            ErrorCode::kUnavailable);
  EXPECT_EQ(run({{404, {}, ""}}).error().code(), ErrorCode::kUnavailable);
  // Nobody can tell.
  const auto unknown = run({{403, {}, ""}});
  EXPECT_EQ(unknown.error().code(), ErrorCode::kOutcomeUnknown);
  EXPECT_NE(unknown.error().message().find("not known"), std::string::npos);
}

TEST_F(S3Store, AWriteThatNeverReachedTheServerIsNotLookedFor) {
  for (int i = 0; i < kAttempts; ++i) {
    transport_->Add({0, {}, "", TransportFailure::kConnect});
  }
  PutRequest put;
  put.key = "k";
  put.attributes.metadata[kNonceMetadataName] = "mine";
  EXPECT_EQ(store_->Put(std::move(put)).Get().error().code(),
            ErrorCode::kUnavailable);
  EXPECT_NE(seen().back().method, "HEAD");
}

// The copy carries its source's nonce.
TEST_F(S3Store, AConditionalCopyWhoseReplyGotLostIsSettled) {
  CopyRequest copy;
  copy.source_key = "s";
  copy.key = "t";
  copy.nonce = "source's";
  copy.condition.if_none_match = true;
  Answer(404);  // the destination is looked at first
  transport_->Add({0, {}, "", TransportFailure::kBroken});
  Answer(412);
  Answer(200, Object("e", "5", "source's"));
  auto done = store_->Copy(copy).Get();
  ASSERT_TRUE(done.has_value()) << done.error().ToString();
  Answer(404);
  transport_->Add({0, {}, "", TransportFailure::kBroken});
  Answer(412);
  Answer(200, Object("e", "5", "other's"));
  EXPECT_EQ(store_->Copy(copy).Get().error().code(),
            ErrorCode::kPreconditionFailed);
}

TEST_F(S3Store, UploadsAreListedPlainlyWhereTheEncodingIsUnclear) {
  const auto page = [](const std::string& key, const std::string& more = "") {
    return "<ListMultipartUploadsResult>" + more + "<Upload><Key>" + key +
           "</Key><UploadId>u</UploadId></Upload>"
           "</ListMultipartUploadsResult>";
  };
  Answer(200, {}, page("a%20b%25"));
  Answer(200, {}, page("a b%"));
  auto listed = store_->ListMultipartUploads({}).Get();
  ASSERT_TRUE(listed.has_value()) << listed.error().ToString();
  ASSERT_EQ(listed->uploads.size(), 1u);
  EXPECT_EQ(listed->uploads[0].upload.key, "a b%");
  ASSERT_EQ(seen().size(), 2u);
  EXPECT_NE(seen()[0].url.find("encoding-type=url"), std::string::npos);
  EXPECT_EQ(seen()[1].url.find("encoding-type"), std::string::npos);

  Answer(200, {}, page("a%20b", "<EncodingType>url</EncodingType>"));
  listed = store_->ListMultipartUploads({}).Get();
  ASSERT_TRUE(listed.has_value()) << listed.error().ToString();
  EXPECT_EQ(listed->uploads[0].upload.key, "a b");
  Answer(200, {}, page("a+b"));
  listed = store_->ListMultipartUploads({}).Get();
  ASSERT_TRUE(listed.has_value()) << listed.error().ToString();
  EXPECT_EQ(listed->uploads[0].upload.key, "a+b");
  EXPECT_EQ(seen().size(), 4u);
}

// radosgw 16 compares If-Match of a PUT with its ETag without quotes.
TEST_F(S3Store, AnUnquotedIfMatchIsTriedWhereTheObjectIsThatVersion) {
  const auto put = [this] {
    PutRequest request;
    request.key = "k";
    request.condition.if_match = ETag{"\"e1\""};
    return store_->Put(std::move(request)).Get();
  };
  Answer(412);
  Answer(412);  // the HEAD
  auto lost = put();
  ASSERT_FALSE(lost.has_value());
  EXPECT_EQ(lost.error().code(), ErrorCode::kPreconditionFailed);
  ASSERT_EQ(seen().size(), 2u);

  Answer(412);
  Answer(200, Object("e1", "5"));
  Answer(200, {{"ETag", "\"e2\""}});
  auto done = put();
  ASSERT_TRUE(done.has_value()) << done.error().ToString();
  ASSERT_EQ(seen().size(), 5u);
  EXPECT_EQ(seen()[2].headers.Get("If-Match"), "\"e1\"");
  EXPECT_EQ(seen()[4].headers.Get("If-Match"), "e1");

  Answer(412);
  EXPECT_FALSE(put().has_value());
  EXPECT_EQ(seen().size(), 6u);
  EXPECT_EQ(seen()[5].headers.Get("If-Match"), "e1");
}

// radosgw ignores x-amz-copy-source-if-match.
TEST_F(S3Store, TheSourceOfACopyIsCheckedWhereTheServerDoesNot) {
  CopyRequest copy;
  copy.source_key = "s";
  copy.key = "t";
  copy.source_if_match = ETag{"\"e1\""};
  const auto reply = [](const std::string& etag) {
    return "<CopyObjectResult><ETag>" + etag + "</ETag></CopyObjectResult>";
  };
  Answer(200, {}, reply("e2"));
  Answer(200, Object("e2", "5"));
  auto copied = store_->Copy(copy).Get();
  ASSERT_FALSE(copied.has_value());
  EXPECT_EQ(copied.error().code(), ErrorCode::kPreconditionFailed);
  Answer(200, {}, reply("e1"));
  EXPECT_TRUE(store_->Copy(copy).Get().has_value());
  EXPECT_EQ(seen().size(), 3u);

  UploadPartCopyRequest part;
  part.upload = {"t", "id"};
  part.part_number = 1;
  part.source_key = "s";
  part.source_if_match = ETag{"\"e1\""};
  part.length = 5;
  for (const char* now : {"e1", "e2"}) {
    Answer(200, {}, "<CopyPartResult><ETag>p</ETag></CopyPartResult>");
    Answer(200, Object(now, "5"));
    EXPECT_EQ(store_->UploadPartCopy(part).Get().has_value(),
              std::string(now) == "e1");
  }
}

// radosgw 16 decodes the source of a part twice.
TEST_F(S3Store, PartsOfASourceWithAPercentSignComeFromThatSource) {
  UploadPartCopyRequest part;
  part.upload = {"t", "id"};
  part.part_number = 1;
  part.source_key = "a%20b";
  part.length = 5;
  const std::string reply = "<CopyPartResult><ETag>p</ETag></CopyPartResult>";
  const auto copy = [&] { return store_->UploadPartCopy(part).Get(); };
  const auto source = [&] {
    return std::string(seen().back().headers.Get("x-amz-copy-source"));
  };
  // Both readings name an object.
  Answer(200, Object("other", "9"));
  auto copied = copy();
  ASSERT_FALSE(copied.has_value());
  EXPECT_EQ(copied.error().code(), ErrorCode::kUnsupported);
  EXPECT_EQ(seen().back().url, "http://host:9/bucket/a%252520b");
  // A server that decodes twice; known from then on.
  Answer(404);
  Answer(200, {}, reply);
  ASSERT_TRUE(copy().has_value());
  EXPECT_EQ(source(), "/bucket/a%252520b");
  Answer(200, {}, reply);
  ASSERT_TRUE(copy().has_value());
  EXPECT_EQ(source(), "/bucket/a%252520b");
  EXPECT_EQ(seen().size(), 4u);
  part.source_key = "a b";
  Answer(200, {}, reply);
  ASSERT_TRUE(copy().has_value());
  EXPECT_EQ(source(), "/bucket/a%20b");
}

TEST_F(S3Store, PartsOfASourceWithAPercentSignWhereNamesAreDecodedOnce) {
  UploadPartCopyRequest part;
  part.upload = {"t", "id"};
  part.part_number = 1;
  part.source_key = "a%20b";
  part.length = 5;
  const std::string reply = "<CopyPartResult><ETag>p</ETag></CopyPartResult>";
  Answer(404);
  Answer(404, {}, "<Error><Code>NoSuchKey</Code></Error>");
  for (int i = 0; i < 2; ++i) {
    Answer(200, {}, reply);
    ASSERT_TRUE(store_->UploadPartCopy(part).Get().has_value());
    EXPECT_EQ(seen().back().headers.Get("x-amz-copy-source"),
              "/bucket/a%2520b");
  }
  EXPECT_EQ(seen().size(), 4u);
}

}  // namespace
}  // namespace ckptfs

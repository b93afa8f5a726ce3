// What the S3 store makes of writes and deletes that may have been carried out
// and then fail in any way: never "failed, untouched" where that is not so.
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "unit/s3/s3_store_fixture.h"

namespace ckptfs {
namespace {

using Reply = ScriptedTransport::Answer;

class LostReply : public S3Store {
 protected:
  using S3Store::S3Store;

  static Reply Lost() { return {0, {}, "", TransportFailure::kBroken}; }
  static Reply Refused(int status, const std::string& code) {
    return {status, {}, "<Error><Code>" + code + "</Code></Error>"};
  }
  static Reply Head(const std::string& etag, const std::string& nonce,
                    const std::string& size = "5") {
    return {200, Object(etag, size, nonce), ""};
  }
  // The reply gets lost, `end` ends the retries, and `looks` answer the heads.
  template <typename Run>
  auto After(Run run, Reply end, const std::vector<Reply>& looks) {
    transport_->Add(Lost());
    transport_->Add(std::move(end));
    for (const Reply& look : looks) transport_->Add(look);
    auto result = run();
    EXPECT_EQ(seen().size(), seen_ + 2 + looks.size());
    seen_ = seen().size();
    return result;
  }

  Result<PutResult> Put(WriteCondition condition = {},
                        const std::string& nonce = "mine",
                        RequestOptions options = {}) {
    PutRequest put;
    put.key = "k";
    put.condition = std::move(condition);
    put.options = std::move(options);
    if (!nonce.empty()) put.attributes.metadata[kNonceMetadataName] = nonce;
    return store_->Put(std::move(put)).Get();
  }
  Result<PutResult> Complete() {
    CompleteMultipartRequest complete;
    complete.upload = {"k", "id"};
    complete.parts = {{1, ETag{"\"p\""}, 5}};
    complete.nonce = "mine";
    return store_->CompleteMultipart(complete).Get();
  }

  std::size_t seen_ = 0;
};

// Whatever comes after a lost reply. [S-02]
TEST_F(LostReply, IsSettledHoweverTheRetriesEnd) {
  for (const Reply& end :
       {Refused(400, "ExpiredToken"), Refused(403, "AccessDenied"),
        Refused(404, "NoSuchUpload"), Refused(412, "PreconditionFailed"),
        Refused(501, "NotImplemented"),
        Reply{0, {}, "", TransportFailure::kCertificate},
        Reply{0, {}, "", TransportFailure::kInternal}}) {
    const auto run = [this] { return Complete(); };
    const auto ours = After(run, end, {Head("e", "mine")});
    ASSERT_TRUE(ours.has_value()) << ours.error().ToString();
    EXPECT_EQ(ours->etag.value, "\"e\"");
    EXPECT_EQ(After(run, end, {Reply{403}}).error().code(),
              ErrorCode::kOutcomeUnknown);
    const auto theirs = After(run, end, {Head("e", "other's")});
    EXPECT_FALSE(theirs.has_value());
    EXPECT_NE(theirs.error().code(), ErrorCode::kOutcomeUnknown);
  }
}

TEST_F(LostReply, OfAPutIsSettledHoweverTheRetriesEnd) {
  for (const Reply& end :
       {Refused(400, "ExpiredToken"), Refused(403, "AccessDenied"),
        Reply{0, {}, "", TransportFailure::kCertificate}}) {
    const auto run = [this] { return Put(); };
    EXPECT_TRUE(After(run, end, {Head("e", "mine", "0")}).has_value());
    EXPECT_EQ(After(run, end, {Reply{403}}).error().code(),
              ErrorCode::kOutcomeUnknown);
    EXPECT_FALSE(After(run, end, {Reply{404}}).has_value());
  }
}

// The upload is gone, so somebody completed or aborted it.
TEST_F(LostReply, OfACompleteWhoseUploadIsGoneIsAConflict) {
  for (const Reply& look : {Head("e", "other's"), Reply{404}}) {
    const auto gone = After([this] { return Complete(); },
                            Refused(404, "NoSuchUpload"), {look});
    EXPECT_EQ(gone.error().code(), ErrorCode::kConflict);
  }
}

TEST_F(LostReply, OfAPutWithoutANonce) {
  const auto plain = [this] { return Put({}, ""); };
  const Reply end = Refused(403, "AccessDenied");
  EXPECT_EQ(After(plain, end, {Reply{404}}).error().code(),
            ErrorCode::kPermissionDenied);
  EXPECT_EQ(After(plain, end, {Head("e", "")}).error().code(),
            ErrorCode::kOutcomeUnknown);
  // The object is still the one that was to be replaced.
  WriteCondition base;
  base.if_match = ETag{"\"e1\""};
  const auto conditional = [&] { return Put(base, ""); };
  EXPECT_EQ(After(conditional, end, {Head("e1", "")}).error().code(),
            ErrorCode::kPermissionDenied);
  EXPECT_EQ(After(conditional, end, {Head("e2", "")}).error().code(),
            ErrorCode::kOutcomeUnknown);
}

// The second attempt, with If-Match as radosgw wants it, does not forget what
// became of the first.
TEST_F(LostReply, OfTheQuotedIfMatchIsRememberedByTheUnquotedOne) {
  WriteCondition base;
  base.if_match = ETag{"\"e1\""};
  transport_->Add(Lost());
  Answer(412);
  transport_->Add(Head("e1", ""));  // still the base: the other spelling
  transport_->Add(Refused(403, "AccessDenied"));
  transport_->Add(Head("e2", "mine", "0"));
  const auto put = Put(base);
  ASSERT_TRUE(put.has_value()) << put.error().ToString();
  EXPECT_EQ(put->etag.value, "\"e2\"");
}

TEST_F(LostReply, OfADelete) {
  const auto run = [this] {
    DeleteRequest request;
    request.key = "k";
    return store_->Delete(request).Get();
  };
  const Reply end = Refused(403, "AccessDenied");
  EXPECT_TRUE(After(run, end, {Reply{404}}).has_value());
  EXPECT_EQ(After(run, end, {Head("e", "")}).error().code(),
            ErrorCode::kPermissionDenied);
  EXPECT_EQ(After(run, end, {Reply{403}}).error().code(),
            ErrorCode::kOutcomeUnknown);
}

TEST_F(LostReply, OfADeleteOfMany) {
  const auto run = [this](std::size_t keys) {
    DeleteManyRequest request;
    for (std::size_t i = 0; i < keys; ++i) {
      request.keys.push_back("k" + std::to_string(i));
    }
    return store_->DeleteMany(std::move(request)).Get();
  };
  transport_->Add(Lost());
  transport_->Add(Refused(403, "AccessDenied"));
  EXPECT_EQ(run(2).error().code(), ErrorCode::kOutcomeUnknown);
  // The first thousand are deleted: an error of the next must not hide it.
  Answer(200, {}, "<DeleteResult/>");
  transport_->Add(Refused(403, "AccessDenied"));
  const auto half = run(1002);
  ASSERT_TRUE(half.has_value());
  ASSERT_EQ(half->failures.size(), 2u);
  EXPECT_EQ(half->failures[0].key, "k1000");
  EXPECT_EQ(half->failures[0].error.code(), ErrorCode::kPermissionDenied);
  // A result that nobody can read.
  Answer(200, {}, "<html>");
  Answer(204);
  Answer(204);
  const auto again = run(2);
  ASSERT_TRUE(again.has_value()) << again.error().ToString();
  EXPECT_TRUE(again->failures.empty());
  EXPECT_EQ(seen().back().method, "DELETE");
}

TEST_F(LostReply, OfACreateMayLeaveAnUpload) {
  CreateMultipartRequest create;
  create.key = "k";
  transport_->Add(Lost());
  transport_->Add(Refused(400, "ExpiredToken"));
  EXPECT_EQ(store_->CreateMultipart(create).Get().error().code(),
            ErrorCode::kOutcomeUnknown);
  transport_->Add(Refused(400, "ExpiredToken"));
  EXPECT_EQ(store_->CreateMultipart(create).Get().error().code(),
            ErrorCode::kUnauthenticated);
}

// A copy onto itself that changes attributes is known by them.
TEST_F(LostReply, OfAnAttributeCopyIsSettledByTheAttributes) {
  CopyRequest copy;
  copy.source_key = copy.key = "k";
  copy.source_if_match = ETag{"\"e1\""};
  copy.replace_attributes.emplace();
  copy.replace_attributes->metadata = {{"file-mtime", "9"},
                                       {kNonceMetadataName, "n"}};
  const auto with = [](const std::string& mtime) {
    Reply there = Head("e2", "n");
    there.headers.Set("x-amz-meta-file-mtime", mtime);
    return there;
  };
  const auto run = [&](const Reply& end, const Reply& look) {
    transport_->Add(Head("e1", ""));  // before an endpoint's first copy
    transport_->Add(Lost());
    transport_->Add(end);
    transport_->Add(look);
    return store_->Copy(copy).Get();
  };
  const Reply end = Refused(403, "AccessDenied");
  const auto ours = run(end, with("9"));
  ASSERT_TRUE(ours.has_value()) << ours.error().ToString();
  EXPECT_EQ(ours->etag.value, "\"e2\"");
  EXPECT_EQ(run(end, with("8")).error().code(), ErrorCode::kOutcomeUnknown);
}

// The write was done; only its ETag is not known.
TEST_F(LostReply, AnETagThatCannotBeLookedUpLeavesTheOutcomeUnknown) {
  Answer(200, {},
         "<CompleteMultipartUploadResult><ETag></ETag>"
         "</CompleteMultipartUploadResult>");
  Answer(403);
  EXPECT_EQ(Complete().error().code(), ErrorCode::kOutcomeUnknown);
}

// A stop, or the end of the caller's time, cuts a request that may go on at the
// server: one look, and no claim.
class LateEffect : public LostReply {
 protected:
  LateEffect() : LostReply(std::chrono::minutes(10)) {}
};

TEST_F(LateEffect, OfAStoppedWriteIsNotDenied) {
  const auto stopped = [this](bool sent) {
    std::stop_source stop;
    RequestOptions options;
    options.stop = stop.get_token();
    Reply cut{0, {}, "", TransportFailure::kCancelled};
    cut.request_sent = sent;
    cut.meanwhile = [&] { stop.request_stop(); };
    transport_->AddFirst(cut);
    return Put({}, "mine", options);
  };
  transport_->Add(Head("e", "other's", "0"));
  EXPECT_EQ(stopped(true).error().code(), ErrorCode::kOutcomeUnknown);
  transport_->Add(Head("e", "mine", "0"));
  EXPECT_TRUE(stopped(true).has_value());
  // It had not all been sent: there is nothing to look for.
  EXPECT_EQ(stopped(false).error().code(), ErrorCode::kCancelled);
  EXPECT_EQ(seen().back().method, "PUT");
}

TEST_F(LateEffect, IsWaitedFor) {
  transport_->Add(Lost());
  transport_->Add(Refused(403, "AccessDenied"));
  transport_->Add(Head("e", "other's", "0"));
  transport_->Add(Head("e", "mine", "0"));
  EXPECT_TRUE(Put().has_value());
  EXPECT_EQ(seen().size(), 4u);
}

TEST_F(LateEffect, CannotBeWhereTheConditionRulesItOut) {
  WriteCondition absent;
  absent.if_none_match = true;
  transport_->Add(Lost());
  Answer(412);
  transport_->Add(Head("e", "other's", "0"));
  EXPECT_EQ(Put(absent).error().code(), ErrorCode::kPreconditionFailed);
}

}  // namespace
}  // namespace ckptfs

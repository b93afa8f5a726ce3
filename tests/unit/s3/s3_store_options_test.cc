// OpenS3Store: which options are refused, and that the error names them.
#include <ckptfs/object_store.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

namespace ckptfs {
namespace {

S3StoreOptions Valid() {
  S3StoreOptions options;
  options.bucket = "bucket";
  options.endpoint_url = "http://127.0.0.1:9";
  options.access_key_id = "AKID";
  options.secret_access_key = "SECRET";
  return options;
}

TEST(S3StoreOptions, MaxAttemptsIsFrom1To64) {
  for (const int good : {1, 64}) {
    S3StoreOptions options = Valid();
    options.max_attempts = good;
    EXPECT_TRUE(OpenS3Store(options).has_value()) << good;
  }
  for (const int bad : {-1, 0, 65}) {
    S3StoreOptions options = Valid();
    options.max_attempts = bad;
    auto store = OpenS3Store(options);
    ASSERT_FALSE(store.has_value()) << bad;
    EXPECT_EQ(store.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_NE(store.error().ToString().find("max_attempts"), std::string::npos);
  }
}

// S3EndpointUrl is what a mount tells the library about itself.
TEST(S3StoreOptions, TheEndpointOfAwsIsThatOfItsPartition) {
  const auto url = [](const std::string& region) {
    S3StoreOptions options = Valid();
    options.endpoint_url.clear();
    options.region = region;
    return S3EndpointUrl(options).value_or("failed");
  };
  unsetenv("AWS_ENDPOINT_URL");
  unsetenv("AWS_ENDPOINT_URL_S3");
  EXPECT_EQ(url("eu-west-1"), "https://s3.eu-west-1.amazonaws.com");
  EXPECT_EQ(url("cn-north-1"), "https://s3.cn-north-1.amazonaws.com.cn");
  EXPECT_EQ(url("cn-northwest-1"),
            "https://s3.cn-northwest-1.amazonaws.com.cn");
}

}  // namespace
}  // namespace ckptfs

// OpenS3Store: which options are refused, and that the error names them; and
// what it says where the machine has nothing left to run a store on.
#include <ckptfs/object_store.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/resource.h>

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <string>

#include "common/file_descriptor.h"

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

TEST(S3StoreOptions, MaxAttemptsIsFrom1To64OrUnset) {
  EXPECT_FALSE(S3StoreOptions().max_attempts.has_value());
  EXPECT_TRUE(OpenS3Store(Valid()).has_value());
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

TEST(S3StoreOptions, MaxAttemptsMayComeFromTheEnvironment) {
  for (const char* good : {"", "1", "64"}) {
    setenv("AWS_MAX_ATTEMPTS", good, 1);
    EXPECT_TRUE(OpenS3Store(Valid()).has_value()) << good;
  }
  for (const char* bad : {"0", "65", "-1", "1.5", "many"}) {
    setenv("AWS_MAX_ATTEMPTS", bad, 1);
    const auto store = OpenS3Store(Valid());
    ASSERT_FALSE(store.has_value()) << bad;
    EXPECT_EQ(store.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_NE(store.error().message().find("AWS_MAX_ATTEMPTS"),
              std::string::npos);
    S3StoreOptions own = Valid();
    own.max_attempts = 2;
    EXPECT_TRUE(OpenS3Store(own).has_value());
  }
  unsetenv("AWS_MAX_ATTEMPTS");
}

// Leaves the process `count` descriptors while it lives.
class FewDescriptors {
 public:
  explicit FewDescriptors(int count) {
    getrlimit(RLIMIT_NOFILE, &before_);
    FileDescriptor lowest(open("/dev/null", O_RDONLY | O_CLOEXEC));
    rlimit limit = before_;
    limit.rlim_cur = static_cast<rlim_t>(lowest.get() + count);
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  ~FewDescriptors() { setrlimit(RLIMIT_NOFILE, &before_); }
  FewDescriptors(const FewDescriptors&) = delete;
  FewDescriptors& operator=(const FewDescriptors&) = delete;

 private:
  rlimit before_{};
};

// Threads are asked for with a stack that no machine has.
class NoThreads {
 public:
  NoThreads() {
    pthread_getattr_default_np(&before_);
    pthread_attr_t huge;
    pthread_getattr_default_np(&huge);
    pthread_attr_setstacksize(&huge, std::size_t{1} << 47);
    pthread_setattr_default_np(&huge);
    pthread_attr_destroy(&huge);
  }
  ~NoThreads() {
    pthread_setattr_default_np(&before_);
    pthread_attr_destroy(&before_);
  }
  NoThreads(const NoThreads&) = delete;
  NoThreads& operator=(const NoThreads&) = delete;

 private:
  pthread_attr_t before_;
};

void ExpectExhausted(const Result<std::unique_ptr<ObjectStore>>& store) {
  ASSERT_FALSE(store.has_value());
  EXPECT_EQ(store.error().code(), ErrorCode::kResourceExhausted);
  EXPECT_NE(store.error().message().find("cannot "), std::string::npos)
      << store.error().ToString();
}

TEST(OpenS3Store, WithoutDescriptorsIsAnError) {
  int needed = 0;
  for (; needed < 64; ++needed) {
    FewDescriptors few(needed);
    const auto store = OpenS3Store(Valid());
    if (store.has_value()) break;
    ExpectExhausted(store);
  }
  // An epoll set and an event for each of two threads.
  EXPECT_GE(needed, 4);
  EXPECT_LT(needed, 64);
}

TEST(OpenS3Store, WithoutThreadsIsAnError) {
  ASSERT_TRUE(OpenS3Store(Valid()).has_value());
  {
    NoThreads none;
    ExpectExhausted(OpenS3Store(Valid()));
  }
  EXPECT_TRUE(OpenS3Store(Valid()).has_value());
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

#include "s3/request_headers.h"

#include <algorithm>
#include <cctype>
#include <string>
#include <string_view>
#include <utility>

namespace ckptfs {

namespace {

tl::unexpected<Error> Invalid(std::string why) {
  return Fail(ErrorCode::kInvalidArgument, std::move(why));
}

bool Holds(std::string_view text, std::string_view punctuation) {
  return std::all_of(text.begin(), text.end(), [punctuation](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
           punctuation.find(c) != std::string_view::npos;
  });
}

}  // namespace

Result<RequestHeaders> RequestHeadersOf(const S3StoreOptions& options) {
  RequestHeaders out;
  if (options.requester_pays) {
    if (options.unsigned_requests) {
      return Invalid(
          "requester_pays needs signed requests: unsigned_requests excludes "
          "it");
    }
    out.always.Set("x-amz-request-payer", "requester");
  }
  if (!options.storage_class.empty()) {
    // Not a closed set: other stores have classes of their own.
    if (!Holds(options.storage_class, "_-.")) {
      return Invalid(
          "storage_class must be letters, digits, '_', '-' and '.', e.g. "
          "STANDARD_IA");
    }
    out.creating.Set("x-amz-storage-class", options.storage_class);
  }
  const bool kms = options.sse == "aws:kms" || options.sse == "aws:kms:dsse";
  if (!options.sse.empty()) {
    if (!kms && options.sse != "AES256") {
      return Invalid("sse must be AES256, aws:kms or aws:kms:dsse");
    }
    out.creating.Set("x-amz-server-side-encryption", options.sse);
  }
  if (!options.sse_kms_key_id.empty()) {
    if (!kms) {
      return Invalid("sse_kms_key_id needs sse = aws:kms or aws:kms:dsse");
    }
    if (!Holds(options.sse_kms_key_id, ":/_-")) {
      return Invalid(
          "sse_kms_key_id is no key id, key ARN or alias: it holds other "
          "characters than letters, digits, ':', '/', '_' and '-'");
    }
    out.creating.Set("x-amz-server-side-encryption-aws-kms-key-id",
                     options.sse_kms_key_id);
  }
  if (options.sse_bucket_key.has_value()) {
    if (options.sse != "aws:kms") {
      return Invalid(
          "sse_bucket_key needs sse = aws:kms; S3 has no bucket keys for "
          "others");
    }
    out.creating.Set("x-amz-server-side-encryption-bucket-key-enabled",
                     *options.sse_bucket_key ? "true" : "false");
  }
  return out;
}

}  // namespace ckptfs

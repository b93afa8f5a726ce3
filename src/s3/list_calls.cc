#include "s3/list_calls.h"

#include <charconv>
#include <utility>

#include "s3/object_calls.h"
#include "s3/time_format.h"
#include "s3/uri.h"
#include "s3/xml.h"

namespace ckptfs {

S3Request BuildList(const ListRequest& request) {
  S3Request r;
  r.operation = "list";
  r.method = "GET";
  r.query.emplace_back("list-type", "2");
  // Keys may hold bytes that XML cannot.
  r.query.emplace_back("encoding-type", "url");
  r.query.emplace_back("max-keys", std::to_string(request.max_keys));
  if (!request.prefix.empty()) r.query.emplace_back("prefix", request.prefix);
  if (!request.delimiter.empty()) {
    r.query.emplace_back("delimiter", request.delimiter);
  }
  if (!request.continuation_token.empty()) {
    r.query.emplace_back("continuation-token", request.continuation_token);
  } else if (!request.start_after.empty()) {
    r.query.emplace_back("start-after", request.start_after);
  }
  return r;
}

Result<ListResult> ParseList(const HttpResponse& response,
                             const std::string& continuation_token) {
  CKPTFS_ASSIGN_OR_RETURN(XmlElement xml, ParseXml(response.body));
  if (xml.name != "ListBucketResult") {
    return Fail(ErrorCode::kDataLoss, "not a ListBucketResult");
  }
  // Some stores ignore encoding-type; then they do not repeat it either.
  const bool encoded = xml.ChildText("EncodingType") == "url";
  const auto decode = [&](std::string_view text) {
    return encoded ? UriDecode(text) : std::string(text);
  };
  ListResult out;
  for (XmlElement& e : xml.children) {
    if (e.name == "CommonPrefixes") {
      for (const XmlElement& p : e.children) {
        if (p.name == "Prefix") out.common_prefixes.push_back(decode(p.text));
      }
      continue;
    }
    if (e.name != "Contents") continue;
    ObjectInfo info;
    info.key = decode(e.ChildText("Key"));
    const std::string_view size = e.ChildText("Size");
    const auto [end, error] =
        std::from_chars(size.data(), size.data() + size.size(), info.size);
    if (info.key.empty() || error != std::errc() ||
        end != size.data() + size.size()) {
      return Fail(ErrorCode::kDataLoss, "an object without key or size");
    }
    info.etag = ParseETag(e.ChildText("ETag"));
    info.last_modified =
        ParseIso8601(e.ChildText("LastModified")).value_or(WallClockTime{});
    info.storage_class = e.ChildText("StorageClass");
    out.objects.push_back(std::move(info));
  }
  out.truncated = xml.ChildText("IsTruncated") == "true";
  if (out.truncated) {
    out.next_continuation_token = xml.ChildText("NextContinuationToken");
    if (out.next_continuation_token.empty() ||
        out.next_continuation_token == continuation_token) {
      return Fail(ErrorCode::kDataLoss,
                  "a truncated page without a new NextContinuationToken; does "
                  "the endpoint support ListObjectsV2?");
    }
  }
  return out;
}

}  // namespace ckptfs

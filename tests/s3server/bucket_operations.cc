// The operations on buckets, and those on many objects at once.
#include "s3server/digest.h"
#include "s3server/s3_operations.h"
#include "s3server/xml_reader.h"
#include "s3server/xml_writer.h"

namespace ckptfs::s3server {
namespace {

S3Error NoSuchBucket() {
  return {404, "NoSuchBucket", "The specified bucket does not exist"};
}
S3Error AccessDenied() { return {403, "AccessDenied", "Access Denied"}; }

}  // namespace

Reply<Response> S3Operations::ListBuckets() const {
  XmlWriter xml("ListAllMyBucketsResult");
  xml.Open("Buckets");
  for (const std::string& name : table_.Buckets()) {
    xml.Open("Bucket");
    xml.Element("Name", name);
    xml.Element("CreationDate", "2026-01-01T00:00:00.000Z");
    xml.Close();
  }
  xml.Close();
  return XmlResponse(xml.Finish());
}

Reply<Response> S3Operations::HeadBucket(const Call& call) const {
  if (!table_.HasBucket(call.operation.bucket)) return Refuse(NoSuchBucket());
  // HeadBucket is allowed by s3:ListBucket.
  if (options_.deny_list) return Refuse(AccessDenied());
  Response response;
  response.Set("x-amz-bucket-region",
               options_.region.empty() ? "us-east-1" : options_.region);
  return response;
}

Reply<Response> S3Operations::CreateBucket(const Call& call) const {
  if (!table_.CreateBucket(call.operation.bucket)) {
    return Refuse(409, "BucketAlreadyOwnedByYou",
                  "Your previous request to create the named bucket succeeded "
                  "and you already own it.");
  }
  Response response;
  response.Set("Location", "/" + call.operation.bucket);
  return response;
}

Reply<Response> S3Operations::DeleteBucket(const Call& call) const {
  const auto deleted = table_.DeleteBucket(call.operation.bucket);
  if (!deleted) return Refuse(deleted.error());
  return Response{.status = 204};
}

Reply<Response> S3Operations::GetBucketLocation(const Call& call) const {
  if (!table_.HasBucket(call.operation.bucket)) return Refuse(NoSuchBucket());
  XmlWriter xml("LocationConstraint");
  // The element itself holds the region; us-east-1 is the empty one.
  std::string document = xml.Finish();
  if (!options_.region.empty() && options_.region != "us-east-1") {
    document.insert(document.rfind("</"), XmlEscape(options_.region));
  }
  return XmlResponse(std::move(document));
}

Reply<Response> S3Operations::ListObjects(const Call& call) const {
  const Request& request = call.request;
  const bool v2 = call.operation.kind == OperationKind::kListObjectsV2;
  const auto parameter = [&request](std::string_view name) {
    const std::string* value = request.Query(name);
    return value ? *value : std::string();
  };
  if (!table_.HasBucket(call.operation.bucket)) return Refuse(NoSuchBucket());
  if (options_.deny_list) return Refuse(AccessDenied());
  const auto limit = LimitOf(request, "max-keys");
  if (!limit) return Refuse(limit.error());
  ListQuery query{parameter("prefix"), parameter("delimiter"),
                  parameter(v2 ? "start-after" : "marker"), *limit};
  const std::string token = parameter("continuation-token");
  if (v2 && !token.empty()) {
    const auto after = FromHex(token);
    if (!after) {
      return Refuse(400, "InvalidArgument",
                    "The continuation token provided is incorrect");
    }
    query.after = *after;
  }
  const auto page = table_.List(call.operation.bucket, query);
  if (!page) return Refuse(page.error());

  const auto listed = [&request](std::string_view name) {
    return ListedName(request, name);
  };
  XmlWriter xml("ListBucketResult");
  xml.Element("Name", call.operation.bucket);
  xml.Element("Prefix", listed(query.prefix));
  if (!query.delimiter.empty()) {
    xml.Element("Delimiter", listed(query.delimiter));
  }
  xml.Element("MaxKeys", std::to_string(*limit));
  if (request.Query("encoding-type")) xml.Element("EncodingType", "url");
  xml.Element("IsTruncated", page->truncated ? "true" : "false");
  if (v2) {
    xml.Element("KeyCount", std::to_string(page->entries.size() +
                                           page->common_prefixes.size()));
    if (!token.empty()) xml.Element("ContinuationToken", token);
    if (request.Query("start-after")) {
      xml.Element("StartAfter", listed(parameter("start-after")));
    }
    // Hex, so that it survives any client's handling.
    if (page->truncated) xml.Element("NextContinuationToken", Hex(page->last));
  } else {
    xml.Element("Marker", listed(query.after));
    if (page->truncated) xml.Element("NextMarker", listed(page->last));
  }
  for (const ListPage::Entry& entry : page->entries) {
    xml.Open("Contents");
    xml.Element("Key", listed(entry.key));
    xml.Element("LastModified", IsoDate(entry.object->last_modified));
    xml.Element("ETag", Quote(entry.object->etag));
    xml.Element("Size", std::to_string(entry.object->content.size()));
    xml.Element("StorageClass", "STANDARD");
    xml.Close();
  }
  for (const std::string& prefix : page->common_prefixes) {
    xml.Open("CommonPrefixes");
    xml.Element("Prefix", listed(prefix));
    xml.Close();
  }
  return XmlResponse(xml.Finish());
}

Reply<Response> S3Operations::DeleteObjects(const Call& call) const {
  constexpr std::size_t kMaxKeys = 1000;
  if (!table_.HasBucket(call.operation.bucket)) return Refuse(NoSuchBucket());
  const auto root = ParseXml(call.request.body.ToString());
  std::vector<const XmlElement*> objects;
  if (root && root->name == "Delete") {
    for (const XmlElement& child : root->children) {
      if (child.name == "Object") objects.push_back(&child);
    }
  }
  if (objects.empty() || objects.size() > kMaxKeys) {
    return Refuse(400, "MalformedXML",
                  "The XML you provided was not well-formed or did not "
                  "validate against our published schema");
  }
  const bool quiet = root->ChildText("Quiet") == "true";
  XmlWriter xml("DeleteResult");
  for (const XmlElement* object : objects) {
    const std::string key = object->ChildText("Key");
    Conditions conditions;
    if (const XmlElement* etag = object->Child("ETag")) {
      conditions.if_match = etag->text;
    }
    const auto deleted = table_.Delete(call.operation.bucket, key, conditions);
    if (!deleted) {
      xml.Open("Error");
      xml.Element("Key", key);
      xml.Element("Code", deleted.error().code);
      xml.Element("Message", deleted.error().message);
      xml.Close();
    } else if (!quiet) {
      xml.Open("Deleted");
      xml.Element("Key", key);
      xml.Close();
    }
  }
  return XmlResponse(xml.Finish());
}

}  // namespace ckptfs::s3server

// Tags of objects.
#include <utility>

#include "s3server/s3_operations.h"
#include "s3server/uri.h"
#include "s3server/xml_reader.h"
#include "s3server/xml_writer.h"

namespace ckptfs::s3server {
namespace {

using Tags = std::map<std::string, std::string>;

// S3's limits.
constexpr std::size_t kMaxTags = 10;
constexpr std::size_t kMaxNameBytes = 128;
constexpr std::size_t kMaxValueBytes = 256;

Reply<void> Add(std::string name, std::string value, Tags* tags) {
  if (name.empty() || name.size() > kMaxNameBytes) {
    return Refuse(400, "InvalidTag", "The TagKey you have provided is invalid");
  }
  if (value.size() > kMaxValueBytes) {
    return Refuse(400, "InvalidTag",
                  "The TagValue you have provided is invalid");
  }
  if (!tags->try_emplace(std::move(name), std::move(value)).second) {
    return Refuse(400, "InvalidTag",
                  "Cannot provide multiple Tags with the same key");
  }
  if (tags->size() > kMaxTags) {
    return Refuse(400, "BadRequest", "Object tags cannot be greater than 10");
  }
  return {};
}

}  // namespace

Reply<Tags> TagsOf(const Request& request) {
  Tags tags;
  const std::string* header = request.Header("x-amz-tagging");
  if (header == nullptr) return tags;
  const auto pairs = ParseQuery(*header);
  if (!pairs) {
    return Refuse(400, "InvalidArgument",
                  "The header 'x-amz-tagging' shall be encoded as UTF-8 then "
                  "URLEncoded URL query parameters without tag name "
                  "duplicates.");
  }
  for (const auto& [name, value] : *pairs) {
    if (auto added = Add(name, value, &tags); !added) {
      return Refuse(added.error());
    }
  }
  return tags;
}

Reply<Response> S3Operations::GetObjectTagging(const Call& call) const {
  const auto object = table_.Get(call.operation.bucket, call.operation.key);
  if (!object) return Refuse(object.error());
  XmlWriter xml("Tagging");
  xml.Open("TagSet");
  for (const auto& [name, value] : (*object)->metadata.tags) {
    xml.Open("Tag");
    xml.Element("Key", name);
    xml.Element("Value", value);
    xml.Close();
  }
  return XmlResponse(xml.Finish());
}

Reply<Response> S3Operations::PutObjectTagging(const Call& call) const {
  const auto root = ParseXml(call.request.body.ToString());
  const XmlElement* set = root ? root->Child("TagSet") : nullptr;
  if (set == nullptr || root->name != "Tagging") {
    return Refuse(400, "MalformedXML",
                  "The XML you provided was not well-formed or did not "
                  "validate against our published schema");
  }
  Tags tags;
  for (const XmlElement& tag : set->children) {
    if (auto added = Add(tag.ChildText("Key"), tag.ChildText("Value"), &tags);
        !added) {
      return Refuse(added.error());
    }
  }
  const auto done = table_.SetTags(call.operation.bucket, call.operation.key,
                                   std::move(tags));
  if (!done) return Refuse(done.error());
  return Response{};
}

Reply<Response> S3Operations::DeleteObjectTagging(const Call& call) const {
  const auto done =
      table_.SetTags(call.operation.bucket, call.operation.key, {});
  if (!done) return Refuse(done.error());
  return Response{.status = 204};
}

}  // namespace ckptfs::s3server

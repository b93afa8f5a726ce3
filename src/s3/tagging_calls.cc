#include "s3/tagging_calls.h"

#include <memory>
#include <span>
#include <utility>

#include "s3/digest.h"
#include "s3/object_calls.h"
#include "s3/uri.h"
#include "s3/xml.h"

namespace ckptfs {

std::string TaggingHeader(const ObjectTags& tags) {
  std::string out;
  for (const auto& [name, value] : tags) {
    if (!out.empty()) out += '&';
    out += UriEncode(name, false) + "=" + UriEncode(value, false);
  }
  return out;
}

Result<S3Request> BuildGetTags(const GetTagsRequest& request) {
  S3Request r;
  r.operation = "get tags of";
  r.method = "GET";
  r.key = request.key;
  CKPTFS_RETURN_IF_ERROR(CheckKey(request.key));
  r.query.emplace_back("tagging", "");
  if (!request.version_id.empty()) {
    r.query.emplace_back("versionId", request.version_id);
  }
  return r;
}

Result<S3Request> BuildPutTags(const std::string& key, const ObjectTags& tags) {
  S3Request r;
  r.operation = "put tags of";
  r.method = "PUT";
  r.key = key;
  CKPTFS_RETURN_IF_ERROR(CheckKey(key));
  r.query.emplace_back("tagging", "");
  auto xml = std::make_shared<std::string>("<Tagging><TagSet>");
  for (const auto& [name, value] : tags) {
    *xml += "<Tag><Key>" + XmlEscape(name) + "</Key><Value>" +
            XmlEscape(value) + "</Value></Tag>";
  }
  *xml += "</TagSet></Tagging>";
  r.headers.Set("Content-MD5", ContentMd5(*xml));
  r.headers.Set("Content-Type", "application/xml");
  r.body.segments.push_back(std::as_bytes(std::span(*xml)));
  r.body.owner = std::move(xml);
  return r;
}

Result<ObjectTags> ParseTags(const HttpResponse& response) {
  // radosgw 16, of an object without tags.
  if (response.body.empty()) return ObjectTags();
  CKPTFS_ASSIGN_OR_RETURN(XmlElement xml, ParseXml(response.body));
  if (xml.name != "Tagging") {
    return Fail(ErrorCode::kDataLoss, "not a Tagging document");
  }
  ObjectTags out;
  for (const XmlElement& set : xml.children) {
    if (set.name != "TagSet") continue;
    for (const XmlElement& tag : set.children) {
      if (tag.name != "Tag") continue;
      out[std::string(tag.ChildText("Key"))] = tag.ChildText("Value");
    }
  }
  return out;
}

}  // namespace ckptfs

#include "s3/delete_calls.h"

#include <memory>
#include <utility>

#include "s3/digest.h"
#include "s3/object_calls.h"
#include "s3/xml.h"

namespace ckptfs {

Result<S3Request> BuildDelete(const std::string& key, const ETag& if_match) {
  S3Request r;
  r.operation = "delete";
  r.method = "DELETE";
  r.key = key;
  r.answers_empty = true;
  // Whether the object is still there tells what a lost reply did not.
  r.idempotency = Idempotency::kReconcile;
  if (!if_match.empty()) r.headers.Set("If-Match", if_match.value);
  CKPTFS_RETURN_IF_ERROR(CheckKey(key));
  return r;
}

S3Request BuildDeleteMany(std::span<const std::string> keys) {
  S3Request r;
  r.operation = "delete " + std::to_string(keys.size()) + " objects in";
  r.method = "POST";
  r.query.emplace_back("delete", "");
  auto xml = std::make_shared<std::string>("<Delete><Quiet>true</Quiet>");
  for (const std::string& key : keys) {
    *xml += "<Object><Key>" + XmlEscape(key) + "</Key></Object>";
  }
  *xml += "</Delete>";
  // Required by AWS (this or another checksum), R2, GCS and older MinIO.
  r.headers.Set("Content-MD5", ContentMd5(*xml));
  r.headers.Set("Content-Type", "application/xml");
  r.body.segments.push_back(std::as_bytes(std::span(*xml)));
  r.body.owner = std::move(xml);
  return r;
}

Result<std::vector<DeleteFailure>> ParseDeleteMany(
    const HttpResponse& response) {
  std::vector<DeleteFailure> out;
  CKPTFS_ASSIGN_OR_RETURN(XmlElement xml, ParseXml(response.body));
  if (xml.name != "DeleteResult") {
    return Fail(ErrorCode::kDataLoss, "not a DeleteResult");
  }
  for (const XmlElement& e : xml.children) {
    if (e.name != "Error") continue;
    out.push_back({std::string(e.ChildText("Key")),
                   std::string(e.ChildText("Code")),
                   std::string(e.ChildText("Message"))});
  }
  return out;
}

}  // namespace ckptfs

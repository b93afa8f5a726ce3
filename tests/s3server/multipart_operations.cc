// The multipart operations.
#include "s3server/byte_range.h"
#include "s3server/s3_operations.h"
#include "s3server/xml_reader.h"
#include "s3server/xml_writer.h"

namespace ckptfs::s3server {

Reply<Response> S3Operations::CreateMultipartUpload(const Call& call) const {
  auto metadata = MetadataOf(call.request);
  if (!metadata) return Refuse(metadata.error());
  const auto id = table_.CreateUpload(call.operation.bucket, call.operation.key,
                                      std::move(*metadata), call.now);
  if (!id) return Refuse(id.error());
  XmlWriter xml("InitiateMultipartUploadResult");
  xml.Element("Bucket", call.operation.bucket);
  xml.Element("Key", call.operation.key);
  xml.Element("UploadId", *id);
  return XmlResponse(xml.Finish());
}

Reply<Response> S3Operations::UploadPart(const Call& call) const {
  const Operation& operation = call.operation;
  const auto etag = table_.PutPart(operation.bucket, operation.key,
                                   operation.upload_id, operation.part,
                                   call.request.body, call.body_etag, call.now);
  if (!etag) return Refuse(etag.error());
  Response response;
  response.Set("ETag", Quote(*etag));
  return response;
}

Reply<Response> S3Operations::UploadPartCopy(const Call& call) const {
  const Operation& operation = call.operation;
  if (const auto open = table_.CheckUpload(operation.bucket, operation.key,
                                           operation.upload_id);
      !open) {
    return Refuse(open.error());
  }
  const auto source = CopySource(call);
  if (!source) return Refuse(source.error());
  Content content = (*source)->content;
  if (const auto* header = call.request.Header("x-amz-copy-source-range")) {
    const auto range = ParseCopyRange(*header, content.size());
    if (!range) {
      return Refuse(400, "InvalidArgument",
                    "The x-amz-copy-source-range value must be of the form "
                    "bytes=first-last where first and last are the zero-based "
                    "offsets of the first and last bytes to copy");
    }
    content = content.Slice(range->first, range->length);
  }
  const auto etag =
      table_.PutPart(operation.bucket, operation.key, operation.upload_id,
                     operation.part, std::move(content), "", call.now);
  if (!etag) return Refuse(etag.error());
  XmlWriter xml("CopyPartResult");
  xml.Element("LastModified", IsoDate(call.now));
  xml.Element("ETag", Quote(*etag));
  return XmlResponse(xml.Finish());
}

Reply<Response> S3Operations::CompleteMultipartUpload(const Call& call) const {
  const Operation& operation = call.operation;
  const auto root = ParseXml(call.request.body.ToString());
  const S3Error malformed{400, "MalformedXML",
                          "The XML you provided was not well-formed or did not "
                          "validate against our published schema"};
  if (!root || root->name != "CompleteMultipartUpload") {
    return Refuse(malformed);
  }
  std::vector<NamedPart> parts;
  for (const XmlElement& child : root->children) {
    if (child.name != "Part") continue;
    const auto number = ParseNumber(child.ChildText("PartNumber"));
    if (!number || *number < 1 || *number > 10000 || !child.Child("ETag")) {
      return Refuse(malformed);
    }
    parts.push_back({static_cast<int>(*number), child.ChildText("ETag")});
  }
  const auto object = table_.CompleteUpload(
      operation.bucket, operation.key, operation.upload_id, parts,
      ConditionsOf(call.request), call.now);
  if (!object) return Refuse(object.error());
  XmlWriter xml("CompleteMultipartUploadResult");
  xml.Element("Location", "http://" + call.request.HeaderOr("host", "") + "/" +
                              PercentEncode(operation.bucket, false) + "/" +
                              PercentEncode(operation.key, true));
  xml.Element("Bucket", operation.bucket);
  xml.Element("Key", operation.key);
  xml.Element("ETag", Quote((*object)->etag));
  return XmlResponse(xml.Finish());
}

Reply<Response> S3Operations::AbortMultipartUpload(const Call& call) const {
  const auto aborted = table_.AbortUpload(
      call.operation.bucket, call.operation.key, call.operation.upload_id);
  if (!aborted) return Refuse(aborted.error());
  return Response{.status = 204};
}

Reply<Response> S3Operations::ListParts(const Call& call) const {
  const Operation& operation = call.operation;
  const auto limit = LimitOf(call.request, "max-parts");
  if (!limit) return Refuse(limit.error());
  const std::string* marker_text = call.request.Query("part-number-marker");
  const auto marker = ParseNumber(marker_text ? *marker_text : "0");
  if (!marker || *marker > 10000) {
    return Refuse(400, "InvalidArgument", "part-number-marker is not a number");
  }
  const auto upload =
      table_.GetUpload(operation.bucket, operation.key, operation.upload_id);
  if (!upload) return Refuse(upload.error());
  XmlWriter xml("ListPartsResult");
  xml.Element("Bucket", operation.bucket);
  xml.Element("Key", ListedName(call.request, operation.key));
  xml.Element("UploadId", operation.upload_id);
  xml.Element("StorageClass", "STANDARD");
  xml.Element("PartNumberMarker", std::to_string(*marker));
  xml.Element("MaxParts", std::to_string(*limit));
  std::size_t count = 0;
  auto it = upload->parts.upper_bound(static_cast<int>(*marker));
  int last = static_cast<int>(*marker);
  for (; it != upload->parts.end() && count < *limit; ++it, ++count) {
    xml.Open("Part");
    xml.Element("PartNumber", std::to_string(it->first));
    xml.Element("LastModified", IsoDate(it->second.last_modified));
    xml.Element("ETag", Quote(it->second.etag));
    xml.Element("Size", std::to_string(it->second.content.size()));
    xml.Close();
    last = it->first;
  }
  const bool truncated = it != upload->parts.end();
  xml.Element("IsTruncated", truncated ? "true" : "false");
  if (truncated) xml.Element("NextPartNumberMarker", std::to_string(last));
  return XmlResponse(xml.Finish());
}

Reply<Response> S3Operations::ListMultipartUploads(const Call& call) const {
  const Request& request = call.request;
  const auto parameter = [&request](std::string_view name) {
    const std::string* value = request.Query(name);
    return value ? *value : std::string();
  };
  const auto limit = LimitOf(request, "max-uploads");
  if (!limit) return Refuse(limit.error());
  if (request.Query("delimiter")) {
    return Refuse(501, "NotImplemented",
                  "delimiter of ListMultipartUploads is not implemented");
  }
  const std::string key_marker = parameter("key-marker");
  const std::string id_marker = parameter("upload-id-marker");
  const auto uploads =
      table_.Uploads(call.operation.bucket, parameter("prefix"));
  if (!uploads) return Refuse(uploads.error());
  XmlWriter xml("ListMultipartUploadsResult");
  xml.Element("Bucket", call.operation.bucket);
  xml.Element("Prefix", ListedName(request, parameter("prefix")));
  xml.Element("KeyMarker", ListedName(request, key_marker));
  xml.Element("UploadIdMarker", id_marker);
  xml.Element("MaxUploads", std::to_string(*limit));
  if (request.Query("encoding-type")) xml.Element("EncodingType", "url");
  std::size_t count = 0;
  bool truncated = false;
  const UploadInfo* last = nullptr;
  for (const UploadInfo& upload : *uploads) {
    // S3: with no upload-id-marker, the key marker itself is passed over too.
    if (upload.key < key_marker ||
        (upload.key == key_marker && !key_marker.empty() &&
         (id_marker.empty() || upload.id <= id_marker))) {
      continue;
    }
    if (count == *limit) {
      truncated = true;
      break;
    }
    xml.Open("Upload");
    xml.Element("Key", ListedName(request, upload.key));
    xml.Element("UploadId", upload.id);
    xml.Element("StorageClass", "STANDARD");
    xml.Element("Initiated", IsoDate(upload.initiated));
    xml.Close();
    last = &upload;
    ++count;
  }
  xml.Element("IsTruncated", truncated ? "true" : "false");
  if (truncated && last) {
    xml.Element("NextKeyMarker", ListedName(request, last->key));
    xml.Element("NextUploadIdMarker", last->id);
  }
  return XmlResponse(xml.Finish());
}

}  // namespace ckptfs::s3server

#include "s3/multipart_calls.h"

#include <charconv>
#include <memory>
#include <utility>

#include "s3/object_calls.h"
#include "s3/time_format.h"
#include "s3/uri.h"
#include "s3/xml.h"

namespace ckptfs {

namespace {

template <typename T>
bool ParseNumber(std::string_view text, T& out) {
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

tl::unexpected<Error> Bad(std::string why) {
  return Fail(ErrorCode::kDataLoss, std::move(why));
}

Result<void> CheckUpload(const MultipartUpload& upload) {
  CKPTFS_RETURN_IF_ERROR(CheckKey(upload.key));
  if (upload.upload_id.empty()) {
    return Fail(ErrorCode::kInvalidArgument, "empty upload id");
  }
  return {};
}

Result<void> CheckPartNumber(int number) {
  if (number >= 1 && number <= 10000) return {};
  return Fail(
      ErrorCode::kInvalidArgument,
      "part number " + std::to_string(number) + " is outside of 1 to 10000");
}

}  // namespace

Result<S3Request> BuildCreateMultipart(const CreateMultipartRequest& request) {
  S3Request r;
  r.operation = "create upload of";
  r.method = "POST";
  r.key = request.key;
  r.query.emplace_back("uploads", "");
  r.creates_object = true;
  CKPTFS_RETURN_IF_ERROR(CheckKey(request.key));
  CKPTFS_RETURN_IF_ERROR(AddAttributes(request.attributes, r.headers));
  return r;
}

Result<MultipartUpload> ParseCreateMultipart(const std::string& key,
                                             const HttpResponse& response) {
  CKPTFS_ASSIGN_OR_RETURN(XmlElement xml, ParseXml(response.body));
  MultipartUpload out{key, std::string(xml.ChildText("UploadId"))};
  if (out.upload_id.empty()) return Bad("no UploadId");
  return out;
}

Result<S3Request> BuildUploadPart(UploadPartRequest& request) {
  S3Request r;
  r.operation = "upload part " + std::to_string(request.part_number) + " of";
  r.method = "PUT";
  r.key = request.upload.key;
  CKPTFS_RETURN_IF_ERROR(CheckUpload(request.upload));
  CKPTFS_RETURN_IF_ERROR(CheckPartNumber(request.part_number));
  r.query.emplace_back("partNumber", std::to_string(request.part_number));
  r.query.emplace_back("uploadId", request.upload.upload_id);
  r.body = std::exchange(request.payload, {});
  return r;
}

Result<CompletedPart> ParseUploadPart(int part_number, std::uint64_t size,
                                      const HttpResponse& response) {
  CompletedPart out{part_number, ParseETag(response.headers.Get("ETag")), size};
  if (out.etag.empty()) return Bad("no ETag");
  return out;
}

Result<S3Request> BuildCompleteMultipart(
    const CompleteMultipartRequest& request) {
  S3Request r;
  r.operation = "complete upload of";
  r.method = "POST";
  r.key = request.upload.key;
  CKPTFS_RETURN_IF_ERROR(CheckUpload(request.upload));
  r.query.emplace_back("uploadId", request.upload.upload_id);
  r.expected_root = "CompleteMultipartUploadResult";
  r.slow_answer = true;
  AddCondition(request.condition, r);
  r.idempotency = Idempotency::kReconcile;
  auto xml = std::make_shared<std::string>("<CompleteMultipartUpload>");
  int previous = 0;
  for (const CompletedPart& p : request.parts) {
    CKPTFS_RETURN_IF_ERROR(CheckPartNumber(p.part_number));
    if (p.part_number <= previous) {
      return Fail(ErrorCode::kInvalidArgument,
                  "part numbers are not in ascending order");
    }
    previous = p.part_number;
    *xml += "<Part><PartNumber>" + std::to_string(p.part_number) +
            "</PartNumber><ETag>" + XmlEscape(p.etag.value) + "</ETag></Part>";
  }
  if (previous == 0) {
    return Fail(ErrorCode::kInvalidArgument, "an upload without parts");
  }
  *xml += "</CompleteMultipartUpload>";
  r.headers.Set("Content-Type", "application/xml");
  r.body.segments.push_back(std::as_bytes(std::span(*xml)));
  r.body.owner = std::move(xml);
  return r;
}

Result<PutResult> ParseCompleteMultipart(const HttpResponse& response) {
  CKPTFS_ASSIGN_OR_RETURN(XmlElement xml, ParseXml(response.body));
  PutResult out = ParsePut(response);
  out.etag = ParseETag(xml.ChildText("ETag"));
  return out;
}

Result<S3Request> BuildAbortMultipart(const AbortMultipartRequest& request) {
  S3Request r;
  r.operation = "abort upload of";
  r.method = "DELETE";
  r.key = request.upload.key;
  CKPTFS_RETURN_IF_ERROR(CheckUpload(request.upload));
  r.query.emplace_back("uploadId", request.upload.upload_id);
  return r;
}

Result<S3Request> BuildListParts(const ListPartsRequest& request) {
  S3Request r;
  r.operation = "list parts of";
  r.method = "GET";
  r.key = request.upload.key;
  CKPTFS_RETURN_IF_ERROR(CheckUpload(request.upload));
  r.query.emplace_back("uploadId", request.upload.upload_id);
  r.query.emplace_back("max-parts", "1000");
  if (request.part_number_marker > 0) {
    r.query.emplace_back("part-number-marker",
                         std::to_string(request.part_number_marker));
  }
  return r;
}

Result<ListPartsResult> ParseListParts(const HttpResponse& response) {
  CKPTFS_ASSIGN_OR_RETURN(XmlElement xml, ParseXml(response.body));
  // moto calls the root ListPartsResponse.
  if (!xml.name.starts_with("ListParts")) return Bad("not a ListPartsResult");
  ListPartsResult out;
  for (const XmlElement& e : xml.children) {
    if (e.name != "Part") continue;
    CompletedPart part;
    if (!ParseNumber(e.ChildText("PartNumber"), part.part_number) ||
        !ParseNumber(e.ChildText("Size"), part.size)) {
      return Bad("a part without number or size");
    }
    part.etag = ParseETag(e.ChildText("ETag"));
    out.parts.push_back(std::move(part));
  }
  out.truncated = xml.ChildText("IsTruncated") == "true";
  if (out.truncated && !ParseNumber(xml.ChildText("NextPartNumberMarker"),
                                    out.next_part_number_marker)) {
    return Bad("a truncated page without NextPartNumberMarker");
  }
  return out;
}

S3Request BuildListUploads(const ListUploadsRequest& request, bool encoded) {
  S3Request r;
  r.operation = "list uploads in";
  r.method = "GET";
  r.query.emplace_back("uploads", "");
  if (encoded) r.query.emplace_back("encoding-type", "url");
  r.query.emplace_back("max-uploads", "1000");
  if (!request.prefix.empty()) r.query.emplace_back("prefix", request.prefix);
  if (!request.key_marker.empty()) {
    r.query.emplace_back("key-marker", request.key_marker);
  }
  if (!request.upload_id_marker.empty()) {
    r.query.emplace_back("upload-id-marker", request.upload_id_marker);
  }
  return r;
}

Result<ListUploadsResult> ParseListUploads(const HttpResponse& response,
                                           bool* unclear) {
  CKPTFS_ASSIGN_OR_RETURN(XmlElement xml, ParseXml(response.body));
  if (xml.name != "ListMultipartUploadsResult") {
    return Bad("not a ListMultipartUploadsResult");
  }
  const bool encoded = xml.ChildText("EncodingType") == "url";
  const auto decode = [&](std::string_view text) {
    return encoded ? UriDecode(text) : std::string(text);
  };
  ListUploadsResult out;
  *unclear = false;
  for (const XmlElement& e : xml.children) {
    if (e.name != "Upload") continue;
    *unclear = *unclear || (!encoded && e.ChildText("Key").find('%') !=
                                            std::string_view::npos);
    ListUploadsResult::Upload upload;
    upload.upload.key = decode(e.ChildText("Key"));
    upload.upload.upload_id = e.ChildText("UploadId");
    if (upload.upload.key.empty() || upload.upload.upload_id.empty()) {
      return Bad("an upload without key or id");
    }
    upload.initiated =
        ParseIso8601(e.ChildText("Initiated")).value_or(WallClockTime{});
    out.uploads.push_back(std::move(upload));
  }
  out.truncated = xml.ChildText("IsTruncated") == "true";
  if (out.truncated) {
    out.next_key_marker = decode(xml.ChildText("NextKeyMarker"));
    out.next_upload_id_marker = xml.ChildText("NextUploadIdMarker");
    if (out.next_key_marker.empty()) {
      return Bad("a truncated page without NextKeyMarker");
    }
  }
  return out;
}

}  // namespace ckptfs

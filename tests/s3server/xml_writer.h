// XmlWriter: builds an S3 reply document. Not thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "s3server/s3_error.h"

namespace ckptfs::s3server {

class XmlWriter {
 public:
  // With the S3 namespace on the root element, unless `with_namespace` is
  // false (S3's Error document has none).
  explicit XmlWriter(std::string_view root, bool with_namespace = true);

  void Open(std::string_view name);
  void Close();
  void Element(std::string_view name, std::string_view text);
  // Closes what is open.
  std::string Finish();

 private:
  std::string text_;
  std::vector<std::string> open_;
};

// Markup escaped; control characters as references, as S3 writes them although
// XML 1.0 forbids most of them (hence encoding-type=url).
std::string XmlEscape(std::string_view text);

// S3's Error document.
std::string ErrorDocument(const S3Error& error, std::string_view resource,
                          std::string_view request_id);

}  // namespace ckptfs::s3server

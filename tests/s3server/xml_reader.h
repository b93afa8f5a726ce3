// Reads the XML bodies that clients send (part lists, keys to delete).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ckptfs::s3server {

// An element; namespaces and attributes are dropped.
struct XmlElement {
  std::string name;
  std::string text;  // of the element itself, children's not included
  std::vector<XmlElement> children;

  const XmlElement* Child(std::string_view child_name) const;
  // "" without such a child.
  std::string ChildText(std::string_view child_name) const;
};

// Null if malformed or nested deeper than any S3 body. No network, no DTD.
std::optional<XmlElement> ParseXml(std::string_view document);

}  // namespace ckptfs::s3server

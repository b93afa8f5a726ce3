// XML of S3: replies parsed into a small tree, request bodies escaped. The only
// user of libxml2; no network, no entities, no DTD, bounded depth and size.
#pragma once

#include <ckptfs/result.h>

#include <string>
#include <string_view>
#include <vector>

namespace ckptfs {

// One element; namespaces and attributes are dropped (some stores omit the
// namespace, none puts facts into attributes of what is read here).
struct XmlElement {
  std::string name;
  std::string text;  // of the element itself, not trimmed
  std::vector<XmlElement> children;

  const XmlElement* Child(std::string_view child_name) const;
  // The text of the first child of that name; empty when absent.
  std::string_view ChildText(std::string_view child_name) const;
};

// Thread-safe. kDataLoss if it is no well-formed document within the bounds.
Result<XmlElement> ParseXml(std::string_view document);

// Escapes text for an element's content.
std::string XmlEscape(std::string_view text);

// False if `text` holds bytes XML 1.0 cannot carry: control characters, or
// what is not UTF-8.
bool XmlCanCarry(std::string_view text);

}  // namespace ckptfs

#include "s3server/xml_reader.h"

#include <libxml/parser.h>
#include <libxml/tree.h>

#include <memory>

namespace ckptfs::s3server {
namespace {

constexpr int kMaxDepth = 16;

bool Convert(const xmlNode* node, int depth, XmlElement* out) {
  if (depth > kMaxDepth) return false;
  out->name = reinterpret_cast<const char*>(node->name);
  for (const xmlNode* child = node->children; child; child = child->next) {
    if (child->type == XML_TEXT_NODE || child->type == XML_CDATA_SECTION_NODE) {
      out->text += reinterpret_cast<const char*>(child->content);
    } else if (child->type == XML_ELEMENT_NODE) {
      if (!Convert(child, depth + 1, &out->children.emplace_back())) {
        return false;
      }
    }
  }
  return true;
}

}  // namespace

const XmlElement* XmlElement::Child(std::string_view child_name) const {
  for (const XmlElement& child : children) {
    if (child.name == child_name) return &child;
  }
  return nullptr;
}

std::string XmlElement::ChildText(std::string_view child_name) const {
  const XmlElement* child = Child(child_name);
  return child ? child->text : std::string();
}

std::optional<XmlElement> ParseXml(std::string_view document) {
  const std::unique_ptr<xmlDoc, decltype(&xmlFreeDoc)> parsed(
      xmlReadMemory(document.data(), static_cast<int>(document.size()), nullptr,
                    nullptr,
                    XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING),
      &xmlFreeDoc);
  if (!parsed) return std::nullopt;
  const xmlNode* root = xmlDocGetRootElement(parsed.get());
  XmlElement element;
  if (root == nullptr || !Convert(root, 0, &element)) return std::nullopt;
  return element;
}

}  // namespace ckptfs::s3server

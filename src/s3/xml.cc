#include "s3/xml.h"

#include <libxml/parser.h>
#include <libxml/tree.h>

#include <memory>
#include <mutex>

namespace ckptfs {

namespace {

// A page of 1,000 keys of 1,024 bytes, each byte escaped as %XX, with its other
// fields stays below 8 MiB.
constexpr std::size_t kMaxDocument = 16u << 20;
constexpr int kMaxDepth = 16;

struct ParserDeleter {
  void operator()(xmlParserCtxt* c) const { xmlFreeParserCtxt(c); }
};
struct DocDeleter {
  void operator()(xmlDoc* d) const { xmlFreeDoc(d); }
};

std::string_view View(const xmlChar* s) {
  return s != nullptr ? reinterpret_cast<const char*>(s) : "";
}

bool Convert(const xmlNode* node, int depth, XmlElement& out) {
  if (depth > kMaxDepth) return false;
  out.name = View(node->name);
  for (const xmlNode* c = node->children; c != nullptr; c = c->next) {
    if (c->type == XML_TEXT_NODE || c->type == XML_CDATA_SECTION_NODE) {
      out.text += View(c->content);
    } else if (c->type == XML_ELEMENT_NODE) {
      if (!Convert(c, depth + 1, out.children.emplace_back())) return false;
    } else if (c->type == XML_ENTITY_REF_NODE) {
      return false;  // only an own DTD defines such entities
    }
  }
  return true;
}

}  // namespace

const XmlElement* XmlElement::Child(std::string_view child_name) const {
  for (const XmlElement& c : children) {
    if (c.name == child_name) return &c;
  }
  return nullptr;
}

std::string_view XmlElement::ChildText(std::string_view child_name) const {
  const XmlElement* c = Child(child_name);
  return c != nullptr ? std::string_view(c->text) : std::string_view();
}

Result<XmlElement> ParseXml(std::string_view document) {
  static std::once_flag once;
  std::call_once(once, [] { xmlInitParser(); });
  if (document.empty() || document.size() > kMaxDocument) {
    return Fail(
        ErrorCode::kDataLoss,
        "XML document of " + std::to_string(document.size()) + " bytes");
  }
  std::unique_ptr<xmlParserCtxt, ParserDeleter> parser(xmlNewParserCtxt());
  if (parser == nullptr) {
    return Fail(ErrorCode::kInternal, "out of memory for an XML parser");
  }
  // Without XML_PARSE_HUGE libxml2 keeps its own limits on depth and size of
  // nodes; without XML_PARSE_NOENT no entity is substituted.
  std::unique_ptr<xmlDoc, DocDeleter> doc(
      xmlCtxtReadMemory(parser.get(), document.data(),
                        static_cast<int>(document.size()), nullptr, nullptr,
                        XML_PARSE_NONET | XML_PARSE_NOERROR |
                            XML_PARSE_NOWARNING | XML_PARSE_NOCDATA));
  const xmlNode* root =
      doc != nullptr ? xmlDocGetRootElement(doc.get()) : nullptr;
  if (root == nullptr) {
    return Fail(ErrorCode::kDataLoss, "the reply is not well-formed XML");
  }
  if (doc->intSubset != nullptr) {
    return Fail(ErrorCode::kDataLoss, "the reply's XML has a DTD");
  }
  XmlElement out;
  if (!Convert(root, 1, out)) {
    return Fail(ErrorCode::kDataLoss, "the reply's XML is nested too deeply");
  }
  return out;
}

std::string XmlEscape(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 16);
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      // Written plainly, parsers would normalise these to '\n' or drop them.
      case '\r': out += "&#13;"; break;
      case '\n': out += "&#10;"; break;
      case '\t': out += "&#9;"; break;
      default: out += c;
    }
  }
  return out;
}

bool XmlCanCarry(std::string_view text) {
  for (const char c : text) {
    const auto b = static_cast<unsigned char>(c);
    if (b < 0x20 && b != '\t' && b != '\n' && b != '\r') return false;
  }
  const std::string copy(text);
  if (copy.find('\0') != std::string::npos) return false;
  if (xmlCheckUTF8(reinterpret_cast<const xmlChar*>(copy.c_str())) == 0) {
    return false;
  }
  // U+FFFE and U+FFFF are no characters of XML.
  return copy.find("\xEF\xBF\xBE") == std::string::npos &&
         copy.find("\xEF\xBF\xBF") == std::string::npos;
}

}  // namespace ckptfs

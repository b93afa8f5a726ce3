#include "s3server/xml_writer.h"

#include <cstdio>

namespace ckptfs::s3server {

std::string XmlEscape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '"') {
      out += "&quot;";
    } else if (byte < 0x20 || byte == 0x7f) {
      char reference[8];
      std::snprintf(reference, sizeof(reference), "&#x%X;", byte);
      out += reference;
    } else {
      out += c;
    }
  }
  return out;
}

XmlWriter::XmlWriter(std::string_view root, bool with_namespace)
    : text_("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n") {
  text_ += "<" + std::string(root);
  if (with_namespace) {
    text_ += " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"";
  }
  text_ += ">";
  open_.emplace_back(root);
}

void XmlWriter::Open(std::string_view name) {
  text_ += "<" + std::string(name) + ">";
  open_.emplace_back(name);
}

void XmlWriter::Close() {
  text_ += "</" + open_.back() + ">";
  open_.pop_back();
}

void XmlWriter::Element(std::string_view name, std::string_view text) {
  Open(name);
  text_ += XmlEscape(text);
  Close();
}

std::string XmlWriter::Finish() {
  while (!open_.empty()) Close();
  return std::move(text_);
}

std::string ErrorDocument(const S3Error& error, std::string_view resource,
                          std::string_view request_id) {
  XmlWriter xml("Error", false);
  xml.Element("Code", error.code);
  xml.Element("Message", error.message);
  for (const auto& [name, value] : error.details) xml.Element(name, value);
  xml.Element("Resource", resource);
  xml.Element("RequestId", request_id);
  return xml.Finish();
}

}  // namespace ckptfs::s3server

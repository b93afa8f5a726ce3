// Payloads and destinations over strings, and bytes that tell their offset.
#pragma once

#include <ckptfs/object_store.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>

namespace ckptfs {

inline Payload PayloadOf(std::string text) {
  auto owner = std::make_shared<std::string>(std::move(text));
  Payload payload;
  payload.segments.push_back(std::as_bytes(std::span(*owner)));
  payload.owner = std::move(owner);
  return payload;
}

inline std::string TextOf(const Payload& payload) {
  std::string text;
  for (const auto& s : payload.segments) {
    text.append(reinterpret_cast<const char*>(s.data()), s.size());
  }
  return text;
}

// `size` bytes, scattered into pieces of `piece` bytes.
inline Destination DestinationIn(std::shared_ptr<std::string> text,
                                 std::size_t piece) {
  Destination destination;
  const auto all = std::as_writable_bytes(std::span(*text));
  for (std::size_t at = 0; at < all.size(); at += piece) {
    destination.segments.push_back(
        all.subspan(at, std::min(piece, all.size() - at)));
  }
  destination.owner = std::move(text);
  return destination;
}

// Bytes in which a shifted or swapped range is seen.
inline std::string PatternBytes(std::size_t size) {
  constexpr std::size_t kPage = 4096;
  std::string page(kPage, '\0');
  for (std::size_t i = 0; i < kPage; ++i) {
    page[i] = static_cast<char>((i * 2654435761u) >> 13);
  }
  std::string text;
  text.reserve(size);
  for (std::uint64_t at = 0; at < size; at += kPage) {
    std::memcpy(page.data() + kPage / 2, &at, sizeof at);
    text.append(page, 0, std::min<std::size_t>(kPage, size - at));
  }
  return text;
}

}  // namespace ckptfs

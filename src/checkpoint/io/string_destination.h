// IntoString: the bytes of a string as a Destination.
#pragma once

#include <ckptfs/object_store.h>

#include <memory>
#include <span>
#include <string>
#include <utility>

namespace ckptfs {

// All of them, which the Destination keeps alive.
inline Destination IntoString(std::shared_ptr<std::string> buffer) {
  Destination destination;
  destination.segments = {std::as_writable_bytes(std::span(*buffer))};
  destination.owner = std::move(buffer);
  return destination;
}

}  // namespace ckptfs

#include "checkpoint/tensors/load_target.h"

#include <algorithm>
#include <iterator>

namespace ckptfs {

namespace {

constexpr std::size_t kNamesInMessages = 5;

std::string ShapeText(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  }
  return text + "]";
}

std::string Names(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < std::min(kNamesInMessages, names.size()); ++i) {
    text += (i == 0 ? "" : ", ") + names[i];
  }
  if (names.size() > kNamesInMessages) {
    text += " and " + std::to_string(names.size() - kNamesInMessages) + " more";
  }
  return text;
}

}  // namespace

Result<void> CheckTarget(const std::string& name, const TensorView& from,
                         const TensorView& to) {
  const auto bad = [&name](const std::string& what) {
    return Fail(ErrorCode::kInvalidArgument, "tensor " + name + " " + what);
  };
  if (from.dtype != to.dtype) {
    return bad("is of " + std::string(InfoOf(from.dtype).torch_name) +
               " in the file and of " +
               std::string(InfoOf(to.dtype).torch_name) +
               " where it is to be loaded");
  }
  if (from.shape != to.shape) {
    return bad("has the shape " + ShapeText(from.shape) + " in the file and " +
               ShapeText(to.shape) + " where it is to be loaded");
  }
  if (to.storage == nullptr || to.storage->memory.size() != to.storage->bytes) {
    return bad("has no memory to load it into");
  }
  const Result<void> inside = CheckBounds(to);
  if (!inside) return bad("to be loaded into: " + inside.error().message());
  for (std::size_t d = 0; d < to.shape.size(); ++d) {
    // What is expanded in the file, too, loses nothing.
    const bool equal = d < from.strides.size() && from.strides[d] == 0;
    if (to.shape[d] > 1 && to.strides[d] == 0 && !equal) {
      return bad(
          "is expanded where it is to be loaded: its elements share "
          "memory");
    }
  }
  return {};
}

Result<void> CheckNames(const std::vector<std::string>& missing,
                        const std::vector<std::string>& unexpected) {
  std::string text;
  if (!missing.empty()) text = "it has no tensor " + Names(missing);
  if (!unexpected.empty()) {
    text += (text.empty() ? "" : "; ") + std::string("there is no place for ") +
            Names(unexpected);
  }
  if (text.empty()) return {};
  return Fail(ErrorCode::kInvalidArgument,
              text + "; load it without strict to leave them out");
}

bool TargetMemory::Add(const TensorView& to) {
  const auto bytes = to.bytes();
  const auto begin = reinterpret_cast<std::uintptr_t>(bytes.data());
  const std::uintptr_t end = begin + bytes.size();
  // The last target that begins before this one ends.
  const auto after = taken_.lower_bound(end);
  if (after != taken_.begin() && std::prev(after)->second > begin) {
    return false;
  }
  taken_.emplace(begin, end);
  return true;
}

}  // namespace ckptfs

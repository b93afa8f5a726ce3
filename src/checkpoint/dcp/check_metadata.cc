#include "checkpoint/dcp/check_metadata.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <set>
#include <string>
#include <unordered_set>

namespace ckptfs {

namespace {

// Pairs of chunks of one tensor that are compared at most. Chunks of a mesh
// are told apart by the sweep, with few comparisons each.
constexpr std::uint64_t kMaxComparisons = 20'000'000;

tl::unexpected<Error> Bad(std::string what) {
  return Fail(ErrorCode::kInvalidArgument, std::move(what));
}

std::string Text(const DcpSizes& sizes) {
  std::string text = "(";
  for (const std::int64_t size : sizes) {
    if (text.size() > 1) text += ", ";
    text += std::to_string(size);
  }
  return text + ")";
}

std::string Text(const DcpChunk& chunk) {
  return "chunk " + Text(chunk.sizes) + " at " + Text(chunk.offsets);
}

bool Overlap(const DcpChunk& a, const DcpChunk& b) {
  for (std::size_t d = 0; d < a.offsets.size(); ++d) {
    if (a.offsets[d] >= b.offsets[d] + b.sizes[d] ||
        b.offsets[d] >= a.offsets[d] + a.sizes[d]) {
      return false;
    }
  }
  return true;
}

// A sweep along the dimension in which the chunks differ most.
Result<void> CheckDisjoint(const std::vector<const DcpChunk*>& chunks) {
  const std::size_t dims = chunks.front()->offsets.size();
  std::size_t sweep = 0;
  std::size_t most = 0;
  for (std::size_t d = 0; d < dims; ++d) {
    std::unordered_set<std::int64_t> starts;
    for (const DcpChunk* chunk : chunks) starts.insert(chunk->offsets[d]);
    if (starts.size() > most) {
      most = starts.size();
      sweep = d;
    }
  }
  if (dims == 0) return Bad("a scalar in two chunks");
  std::vector<const DcpChunk*> sorted = chunks;
  std::sort(sorted.begin(), sorted.end(),
            [sweep](const DcpChunk* a, const DcpChunk* b) {
              return a->offsets[sweep] < b->offsets[sweep];
            });
  std::vector<const DcpChunk*> active;
  std::uint64_t comparisons = 0;
  for (const DcpChunk* chunk : sorted) {
    comparisons += active.size();
    if (comparisons > kMaxComparisons) {
      return Fail(ErrorCode::kTooLarge,
                  std::to_string(chunks.size()) +
                      " chunks, which are too many to compare");
    }
    std::erase_if(active, [&](const DcpChunk* other) {
      return other->offsets[sweep] + other->sizes[sweep] <=
             chunk->offsets[sweep];
    });
    for (const DcpChunk* other : active) {
      if (Overlap(*chunk, *other)) {
        return Bad(Text(*chunk) + " overlaps " + Text(*other));
      }
    }
    active.push_back(chunk);
  }
  return {};
}

}  // namespace

bool StaysInFolder(std::string_view relative_path) {
  if (relative_path.empty() ||
      relative_path.find('\0') != std::string_view::npos) {
    return false;
  }
  for (std::size_t begin = 0; begin <= relative_path.size();) {
    const std::size_t end =
        std::min(relative_path.find('/', begin), relative_path.size());
    const std::string_view part = relative_path.substr(begin, end - begin);
    if (part.empty() || part == "." || part == "..") return false;
    begin = end + 1;
  }
  return true;
}

Result<std::int64_t> Volume(const DcpSizes& sizes) {
  std::int64_t volume = 1;
  bool empty = false;
  for (const std::int64_t size : sizes) {
    if (size < 0) return Bad("a size of " + std::to_string(size));
    if (size == 0) empty = true;
    // Those of the other dimensions must fit as well.
    if (__builtin_mul_overflow(volume, std::max<std::int64_t>(size, 1),
                               &volume)) {
      return Bad("more elements than 2^63: " + Text(sizes));
    }
  }
  return empty ? 0 : volume;
}

Result<void> CheckChunks(const DcpTensorMetadata& tensor) {
  CKPTFS_ASSIGN_OR_RETURN(const std::int64_t volume, Volume(tensor.size));
  const auto element =
      static_cast<std::int64_t>(SizeOf(tensor.properties.dtype));
  if (volume > std::numeric_limits<std::int64_t>::max() / element) {
    return Bad("more bytes than 2^63: " + Text(tensor.size));
  }
  std::int64_t sum = 0;
  std::vector<const DcpChunk*> filled;
  for (const DcpChunk& chunk : tensor.chunks) {
    if (chunk.offsets.size() != tensor.size.size() ||
        chunk.sizes.size() != tensor.size.size()) {
      return Bad(Text(chunk) + " of a tensor of " + Text(tensor.size));
    }
    for (std::size_t d = 0; d < tensor.size.size(); ++d) {
      if (chunk.offsets[d] < 0 || chunk.sizes[d] < 0 ||
          chunk.sizes[d] > tensor.size[d] ||
          chunk.offsets[d] > tensor.size[d] - chunk.sizes[d]) {
        return Bad(Text(chunk) + " lies outside of the tensor's " +
                   Text(tensor.size));
      }
    }
    CKPTFS_ASSIGN_OR_RETURN(const std::int64_t elements, Volume(chunk.sizes));
    if (elements == 0) continue;
    filled.push_back(&chunk);
    if (elements > volume - sum) {
      return Bad(Text(chunk) +
                 " overlaps others: together they are larger "
                 "than the tensor's " +
                 Text(tensor.size));
    }
    sum += elements;
  }
  if (filled.size() < 2) return {};
  return CheckDisjoint(filled);
}

Result<void> CheckDcpMetadata(const DcpMetadata& metadata) {
  std::unordered_set<std::string_view> names;
  for (const auto& [fqn, item] : metadata.items) {
    if (!names.insert(fqn).second) return Bad(fqn + ": named twice");
    if (const auto* tensor = std::get_if<DcpTensorMetadata>(&item)) {
      const Result<void> checked = CheckChunks(*tensor);
      if (!checked) return Fail(checked.error().WithContext(fqn));
    }
  }
  for (const auto& [index, info] : metadata.storage_data) {
    if (!StaysInFolder(info.relative_path)) {
      return Bad(index.fqn + ": the file " + info.relative_path +
                 " is not a path below the checkpoint's folder");
    }
    std::uint64_t end = 0;
    if (__builtin_add_overflow(info.offset, info.length, &end) ||
        end > std::numeric_limits<std::int64_t>::max()) {
      return Bad(index.fqn + ": " + std::to_string(info.length) +
                 " bytes at offset " + std::to_string(info.offset) + " of " +
                 info.relative_path);
    }
  }
  return {};
}

}  // namespace ckptfs

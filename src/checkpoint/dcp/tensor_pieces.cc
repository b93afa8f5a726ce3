#include "checkpoint/dcp/tensor_pieces.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "checkpoint/tensors/tensor_copy.h"

namespace ckptfs {

namespace {

constexpr std::uint64_t kMaxExtent = 32ull << 20;
// What a request should be good for.
constexpr std::uint64_t kRowBytes = 64ull << 10;

TensorView Rows(const TensorView& tensor, std::size_t dimension,
                std::int64_t first, std::int64_t count) {
  TensorView rows = tensor;
  rows.offset += first * tensor.strides[dimension];
  rows.shape[dimension] = count;
  return rows;
}

}  // namespace

TensorView Narrowed(TensorView tensor, const DcpSizes& offsets,
                    const DcpSizes& lengths) {
  for (std::size_t d = 0; d < offsets.size(); ++d) {
    tensor.offset += offsets[d] * tensor.strides[d];
  }
  tensor.shape = lengths;
  return tensor;
}

void CutIntoPieces(const TensorView& from, const TensorView& to,
                   std::vector<TensorPiece>& pieces) {
  const std::int64_t numel = from.numel();
  if (numel == 0) return;
  if (from.contiguous() && to.contiguous()) {
    pieces.push_back({from, to, true});
    return;
  }
  const auto [begin, end] = ByteExtent(from);
  const std::uint64_t extent = end - begin;
  // Not contiguous, so there is one.
  const auto d = static_cast<std::size_t>(
      std::find_if(from.shape.begin(), from.shape.end(),
                   [](std::int64_t size) { return size > 1; }) -
      from.shape.begin());
  const std::uint64_t wanted =
      static_cast<std::uint64_t>(numel) * SizeOf(from.dtype);
  const std::uint64_t row = wanted / static_cast<std::uint64_t>(from.shape[d]);
  // Apart, and worth their own requests; or too much for one piece.
  const bool sparse = extent / 2 > wanted && row >= kRowBytes;
  if (!sparse && extent <= kMaxExtent) {
    pieces.push_back({from, to, false});
    return;
  }
  std::int64_t group = 1;
  if (!sparse) {
    const std::uint64_t step =
        static_cast<std::uint64_t>(from.strides[d]) * SizeOf(from.dtype);
    group = static_cast<std::int64_t>(std::max<std::uint64_t>(
        kMaxExtent / std::max<std::uint64_t>(step, 1) / 2, 1));
  }
  // Groups of one have one dimension less to look at; larger ones are smaller
  // than this: it ends.
  group = std::min(group, std::max<std::int64_t>(from.shape[d] / 2, 1));
  for (std::int64_t at = 0; at < from.shape[d]; at += group) {
    const std::int64_t count = std::min(group, from.shape[d] - at);
    CutIntoPieces(Rows(from, d, at, count), Rows(to, d, at, count), pieces);
  }
}

}  // namespace ckptfs

// TensorPieces: how a box of a stored tensor reaches the memory it is wanted
// in.
#pragma once

#include <ckptfs/checkpoint/dcp/metadata.h>
#include <ckptfs/checkpoint/tensor_view.h>

#include <vector>

namespace ckptfs {

struct TensorPiece {
  // In the storage as it lies in the file; its bytes are ByteExtent(from).
  TensorView from;
  TensorView to;
  // Both are contiguous: the bytes go straight to to.bytes(). Otherwise the
  // extent is fetched into memory of its own, and the elements are copied.
  bool direct = false;
};

// The box of `lengths` at `offsets`. REQUIRES: it lies inside.
TensorView Narrowed(TensorView tensor, const DcpSizes& offsets,
                    const DcpSizes& lengths);

// Covers all elements. Pieces that are not direct have extents of at most
// 32 MiB; rows that are far apart and large enough for requests of their own
// become pieces of their own. REQUIRES: equal dtypes and shapes.
void CutIntoPieces(const TensorView& from, const TensorView& to,
                   std::vector<TensorPiece>& pieces);

}  // namespace ckptfs

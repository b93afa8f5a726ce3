// ReadItems: items of a checkpoint's data files, into memory of Python's.
#pragma once

#include <ckptfs/engine.h>
#include <nanobind/nanobind.h>

#include <string>

namespace ckptfs::python {

// Below `folder`. `tensors`: boxes of stored chunks,
//   (fqn, chunk offsets, dtype, chunk sizes, relative path, offset, length,
//    offsets in the chunk, sizes of the box, address, strides)
// each, where the last two are the memory that the box goes to, of the same
// dtype. `blobs`: (relative path, offset, length) each; the result is their
// bytes. After an error the tensors hold anything. The errors of
// DcpStorageReader::ReadData.
nanobind::list ReadItems(Engine& engine, const std::string& folder,
                         const nanobind::list& tensors,
                         const nanobind::list& blobs);

}  // namespace ckptfs::python

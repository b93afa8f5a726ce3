// SaveDataFiles: the data files of one rank, written side by side.
#pragma once

#include <ckptfs/engine.h>
#include <nanobind/nanobind.h>

#include <vector>

#include "python/dcp_data_file.h"

namespace ckptfs::python {

// `files`: (path, items) each; an item is one of
//   bytes                             as they are
//   (dtype, shape, strides, address, bytes, None)
//                                     a tensor and its storage
//   (dtype, shape, strides, 0, bytes, fill)
//                                     likewise; fill(address) writes the bytes
//   (records, alignment)              as those of Engine.save_records
// The result: where each item is, by file. Of the files `at_a_time` are under
// way. Each appears whole or not at all; after an error none is left.
std::vector<std::vector<DcpDataFile::Place>> SaveDataFiles(
    Engine& engine, const nanobind::list& files, std::size_t at_a_time);

}  // namespace ckptfs::python

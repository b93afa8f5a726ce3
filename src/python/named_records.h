// NamedRecords: what torch's pickler has left, as the engine takes it.
#pragma once

#include <nanobind/nanobind.h>

#include <vector>

#include "checkpoint/torch_file/torch_file_writer.h"

namespace ckptfs::python {

// Of (name, bytes, size) or (name, address, size) each. The memory stays
// Python's.
std::vector<NamedRecord> NamedRecords(const nanobind::list& records);

}  // namespace ckptfs::python

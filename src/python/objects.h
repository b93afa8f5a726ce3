// BindObjects: ckptfs._core's calls on buckets and keys, for ckptfs.fsspec.
#pragma once

#include <nanobind/nanobind.h>

namespace ckptfs::python {

void BindObjects(nanobind::module_& module);

}  // namespace ckptfs::python

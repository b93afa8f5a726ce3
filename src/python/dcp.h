// BindDcp: what the storages of ckptfs.dcp ask of the engine.
#pragma once

#include <nanobind/nanobind.h>

namespace ckptfs::python {

void BindDcp(nanobind::module_& module);

}  // namespace ckptfs::python

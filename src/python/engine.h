// BindEngine: ckptfs._core.Engine: files by path, and the saving of records.
#pragma once

#include <ckptfs/engine.h>
#include <nanobind/nanobind.h>

namespace ckptfs::python {

void BindEngine(nanobind::module_& module);

}  // namespace ckptfs::python

// ckptfs._core: what of the engine Python sees. The rest of the package is
// Python, in python/ckptfs.
#include <nanobind/nanobind.h>

#include "python/archive.h"
#include "python/dcp.h"
#include "python/engine.h"
#include "python/objects.h"
#include "python/raise.h"
#include "python/stream_reader.h"
#include "python/stream_writer.h"

NB_MODULE(_core, module) {
  module.doc() = "The engine of ckptfs. For the package itself.";
  // What a daemon thread or a kept traceback still holds when the interpreter
  // ends would be reported on stderr as a fault of this module.
  nanobind::set_leak_warnings(false);
  module.def("set_error_factory", &ckptfs::python::SetErrorFactory,
             nanobind::arg("factory"));
  ckptfs::python::BindArchive(module);
  ckptfs::python::BindDcp(module);
  ckptfs::python::BindStreamReader(module);
  ckptfs::python::BindStreamWriter(module);
  ckptfs::python::BindEngine(module);
  ckptfs::python::BindObjects(module);
}

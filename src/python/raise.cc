#include "python/raise.h"

#include <nanobind/stl/string.h>

#include <string>

namespace nb = nanobind;

namespace ckptfs::python {

namespace {

// Borrowed from the interpreter for the life of the process: a destructor would
// run when there is no interpreter any more.
PyObject* error_factory = nullptr;

}  // namespace

void SetErrorFactory(nb::object factory) {
  Py_XDECREF(error_factory);
  error_factory = factory.release().ptr();
}

void Raise(const Error& error) {
  const nb::object made = nb::handle(error_factory)(
      std::string(ErrorCodeName(error.code())), error.message(),
      error.s3_code(), error.http_status(), error.request_id(), error.key());
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(made.ptr())), made.ptr());
  throw nb::python_error();
}

}  // namespace ckptfs::python

#include "python/raise.h"

#include <nanobind/stl/string.h>

#include <string>

namespace nb = nanobind;

namespace ckptfs::python {

namespace {

// Borrowed from the interpreter for the life of the process: a destructor would
// run when there is no interpreter any more.
PyObject* error_factory = nullptr;

// Messages and keys quote names of files, which may hold any bytes.
nb::object Text(const std::string& bytes) {
  return nb::steal(PyUnicode_DecodeUTF8(
      bytes.data(), static_cast<Py_ssize_t>(bytes.size()), "backslashreplace"));
}

}  // namespace

void SetErrorFactory(nb::object factory) {
  Py_XDECREF(error_factory);
  error_factory = factory.release().ptr();
}

void Raise(const Error& error) {
  const nb::object made = nb::handle(error_factory)(
      std::string(ErrorCodeName(error.code())), Text(error.message()),
      Text(error.s3_code()), error.http_status(), Text(error.request_id()),
      Text(error.key()));
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(made.ptr())), made.ptr());
  throw nb::python_error();
}

}  // namespace ckptfs::python

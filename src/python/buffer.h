// Buffer: the memory of a Python object that has one (bytes, memoryview,
// arrays), held until the end of the scope.
#pragma once

#include <nanobind/nanobind.h>

#include <cstddef>
#include <span>

namespace ckptfs::python {

// With the GIL held. Raises TypeError where there is none, BufferError where it
// is not contiguous, or not writable and has to be.
class Buffer {
 public:
  Buffer(nanobind::handle object, bool writable) {
    const int flags = writable ? PyBUF_WRITABLE : PyBUF_SIMPLE;
    if (PyObject_GetBuffer(object.ptr(), &view_, flags) != 0) {
      throw nanobind::python_error();
    }
  }
  ~Buffer() { PyBuffer_Release(&view_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  std::span<std::byte> bytes() const {
    return {static_cast<std::byte*>(view_.buf),
            static_cast<std::size_t>(view_.len)};
  }

 private:
  Py_buffer view_{};
};

}  // namespace ckptfs::python

// WithoutGil and WithGil: as nanobind's gil_scoped_release and
// gil_scoped_acquire, for threads that may still be at work when the
// interpreter ends.
//
// Before Python 3.14 a daemon thread that asks for the GIL then is ended by
// pthread_exit (Python/ceval_gil.c, take_gil), which unwinds the frames of C++.
// A destructor on the way ends the program: std::terminate, and the exit code
// of the program is lost. Here such a thread stops, as it does from 3.14 on.
#pragma once

#include <Python.h>
#include <unistd.h>

namespace ckptfs::python {

[[noreturn]] inline void StopThread() {
  while (true) pause();
}

// REQUIRES: the GIL is held. Not while a lock is held that others wait for with
// the GIL.
class WithoutGil {
 public:
  WithoutGil() : state_(PyEval_SaveThread()) {}
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;
  ~WithoutGil() {
    try {
      PyEval_RestoreThread(state_);
    } catch (...) {  // the unwinding: there is nothing else to catch
      StopThread();
    }
  }

 private:
  PyThreadState* const state_;
};

// On any thread.
class WithGil {
 public:
  WithGil() : state_(Ensure()) {}
  WithGil(const WithGil&) = delete;
  WithGil& operator=(const WithGil&) = delete;
  ~WithGil() { PyGILState_Release(state_); }

 private:
  static PyGILState_STATE Ensure() {
    try {
      return PyGILState_Ensure();
    } catch (...) {
      StopThread();
    }
  }

  const PyGILState_STATE state_;
};

}  // namespace ckptfs::python

# CKPTFS_WITH_PYTHON: whether the Python extension is built. CKPTFS_PYTHON says:
# ON, OFF, or AUTO: if the Python that is found has nanobind.
set(CKPTFS_PYTHON "OFF" CACHE STRING "Build the Python package: ON, OFF or AUTO")
set(CKPTFS_WITH_PYTHON OFF)
if(CKPTFS_PYTHON)
  # The venv of the tests comes before the system's Python.
  if(NOT Python_EXECUTABLE AND EXISTS "${PROJECT_SOURCE_DIR}/build/venv/bin/python")
    set(Python_EXECUTABLE "${PROJECT_SOURCE_DIR}/build/venv/bin/python")
  endif()
  find_package(Python 3.10 COMPONENTS Interpreter Development.Module)
  set(CKPTFS_WITH_PYTHON ON)
  if(CKPTFS_PYTHON STREQUAL "AUTO")
    execute_process(
      COMMAND "${Python_EXECUTABLE}" -c "import nanobind"
      RESULT_VARIABLE missing OUTPUT_QUIET ERROR_QUIET)
    if(missing OR NOT Python_Development.Module_FOUND)
      set(CKPTFS_WITH_PYTHON OFF)
    endif()
  elseif(NOT Python_FOUND)
    message(FATAL_ERROR "CKPTFS_PYTHON=ON, but there is no Python with headers")
  endif()
endif()

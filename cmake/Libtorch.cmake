# CKPTFS_WITH_TORCH: whether src/torch is built, and ckptfs::libtorch for it.
#
# AUTO takes what is there at the moment of configuring, and looks again each
# time: the tests' virtual environment brings libtorch with it, so that `make
# test` has it, and `make build` alone goes without.
set(CKPTFS_TORCH AUTO CACHE STRING "Build libckptfs_torch: AUTO, ON or OFF")
set_property(CACHE CKPTFS_TORCH PROPERTY STRINGS AUTO ON OFF)
set(CKPTFS_TORCH_ROOT "" CACHE PATH
  "Folder of libtorch; empty: Torch_DIR, CMAKE_PREFIX_PATH, build/venv")

set(CKPTFS_WITH_TORCH OFF)
if(NOT CKPTFS_TORCH STREQUAL "OFF")
  # dtypes that came with 2.8, and the C++11 ABI, which wheels have since 2.7.
  find_package(Libtorch 2.8 QUIET)
  file(GLOB venv_torch
    "${PROJECT_SOURCE_DIR}/build/venv/lib/python3*/site-packages/torch")
  if(NOT Libtorch_FOUND AND NOT CKPTFS_TORCH_ROOT AND venv_torch)
    set(CKPTFS_TORCH_ROOT "${venv_torch}")
    find_package(Libtorch 2.8 QUIET)
  endif()
  if(Libtorch_FOUND)
    set(CKPTFS_WITH_TORCH ON)
    message(STATUS "libtorch ${Libtorch_VERSION}: ${Libtorch_ROOT_DIR}")
  elseif(CKPTFS_TORCH STREQUAL "ON")
    message(FATAL_ERROR "CKPTFS_TORCH=ON, and no libtorch 2.8 or later: set "
      "CKPTFS_TORCH_ROOT to the folder that has its include/ and lib/")
  else()
    message(STATUS "libtorch: none, building without src/torch")
  endif()
endif()

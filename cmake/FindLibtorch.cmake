# FindLibtorch: target ckptfs::libtorch, from a PyTorch wheel or a libtorch
# archive: a folder with include/, lib/.
#
#   CKPTFS_TORCH_ROOT  the folder; else that of Torch_DIR, then CMAKE_PREFIX_PATH
#   Libtorch_VERSION   the result's version
#   Libtorch_ROOT_DIR  the folder
#
# Not torch's own TorchConfig.cmake: that of a wheel with CUDA ends the configure
# step where there is no CUDA toolkit, which nobody needs to link against it.
set(_libtorch_roots)
if(CKPTFS_TORCH_ROOT)
  list(APPEND _libtorch_roots "${CKPTFS_TORCH_ROOT}")
else()
  if(Torch_DIR)
    # <root>/share/cmake/Torch
    list(APPEND _libtorch_roots "${Torch_DIR}/../../..")
  endif()
  list(APPEND _libtorch_roots ${CMAKE_PREFIX_PATH})
endif()

set(Libtorch_ROOT_DIR)
foreach(_libtorch_root IN LISTS _libtorch_roots)
  if(EXISTS "${_libtorch_root}/include/torch/csrc/api/include/torch/torch.h"
      AND EXISTS "${_libtorch_root}/lib/libtorch_cpu.so")
    get_filename_component(Libtorch_ROOT_DIR "${_libtorch_root}" REALPATH)
    break()
  endif()
endforeach()

set(Libtorch_VERSION)
if(Libtorch_ROOT_DIR)
  # Since 2.8; before, among the headers of the C++ API.
  set(_libtorch_version_h
    "${Libtorch_ROOT_DIR}/include/torch/headeronly/version.h")
  if(NOT EXISTS "${_libtorch_version_h}")
    set(_libtorch_version_h
      "${Libtorch_ROOT_DIR}/include/torch/csrc/api/include/torch/version.h")
  endif()
  foreach(_libtorch_part IN ITEMS MAJOR MINOR PATCH)
    file(STRINGS "${_libtorch_version_h}" _libtorch_line
      REGEX "^#define TORCH_VERSION_${_libtorch_part} +[0-9]+")
    string(REGEX MATCH "[0-9]+$" _libtorch_number "${_libtorch_line}")
    list(APPEND Libtorch_VERSION "${_libtorch_number}")
  endforeach()
  list(JOIN Libtorch_VERSION "." Libtorch_VERSION)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Libtorch
  REQUIRED_VARS Libtorch_ROOT_DIR VERSION_VAR Libtorch_VERSION)

if(Libtorch_FOUND AND NOT TARGET ckptfs::libtorch)
  add_library(ckptfs::libtorch INTERFACE IMPORTED)
  # SYSTEM, as imported targets are: its headers warn.
  target_include_directories(ckptfs::libtorch INTERFACE
    "${Libtorch_ROOT_DIR}/include"
    "${Libtorch_ROOT_DIR}/include/torch/csrc/api/include")
  # libtorch.so holds nothing itself; with CUDA it needs the library that
  # registers those kernels, to which nothing refers by name.
  target_link_libraries(ckptfs::libtorch INTERFACE
    "-Wl,--no-as-needed,${Libtorch_ROOT_DIR}/lib/libtorch.so,--as-needed"
    "${Libtorch_ROOT_DIR}/lib/libtorch_cpu.so"
    "${Libtorch_ROOT_DIR}/lib/libc10.so")
endif()

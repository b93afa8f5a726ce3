# ckptfs_flags: what every target of the project compiles with.
add_library(ckptfs_flags INTERFACE)
target_compile_features(ckptfs_flags INTERFACE cxx_std_20)
target_include_directories(ckptfs_flags INTERFACE
  "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>"
  "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src>")
target_compile_options(ckptfs_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wnon-virtual-dtor -Werror
  $<$<CXX_COMPILER_ID:GNU>:-Wshadow=local>
  $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety>)
# g++ 12 reports false positives on optional and string at -O2 (GCC bugs
# 105562, 105593); clang checks the same code.
target_compile_options(ckptfs_flags INTERFACE
  $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized -Wno-restrict>)
# libstdc++ 12's std::stable_sort and stable_partition use what C++17 deprecates,
# and clang says so where they are expanded.
target_compile_options(ckptfs_flags INTERFACE
  $<$<CXX_COMPILER_ID:Clang>:-Wno-deprecated-declarations>)
target_compile_definitions(ckptfs_flags INTERFACE _FILE_OFFSET_BITS=64)
if(CKPTFS_SANITIZE)
  target_compile_options(ckptfs_flags INTERFACE
    -fsanitize=${CKPTFS_SANITIZE} -fno-sanitize-recover=all
    -fno-omit-frame-pointer)
  target_link_options(ckptfs_flags INTERFACE -fsanitize=${CKPTFS_SANITIZE})
endif()

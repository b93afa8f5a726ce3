#include "python/dcp.h"

#include <ckptfs/checkpoint/dcp/metadata.h>
#include <ckptfs/engine.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <set>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/engine/files.h"
#include "python/dcp_read.h"
#include "python/dcp_save.h"
#include "python/run.h"

namespace nb = nanobind;

namespace ckptfs::python {

namespace {

void Rename(Engine& engine, std::string from, std::string to) {
  Run<void>(engine,
            Files(engine.runtime()).Rename(std::move(from), std::move(to)));
}

void MakeFolder(Engine& engine, std::string path) {
  Run<void>(engine, Files(engine.runtime()).MakeFolder(std::move(path)));
}

bool KnowsDType(const std::string& name) {
  return DTypeFromTorchName(name).has_value();
}

std::vector<std::string> DataFilesOf(const nb::bytes& metadata) {
  const DcpMetadata parsed = ValueOrRaise(ParseDcpMetadata(
      {static_cast<const std::byte*>(metadata.data()), metadata.size()}));
  std::set<std::string> paths;
  for (const auto& [index, info] : parsed.storage_data) {
    paths.insert(info.relative_path);
  }
  return {paths.begin(), paths.end()};
}

}  // namespace

void BindDcp(nb::module_& module) {
  module.def("rename", &Rename, nb::arg("engine"), nb::arg("old"),
             nb::arg("new"));
  module.def("make_folder", &MakeFolder, nb::arg("engine"), nb::arg("path"));
  module.def("knows_dtype", &KnowsDType, nb::arg("name"));
  module.def("dcp_data_files", &DataFilesOf, nb::arg("metadata"));
  module.def("dcp_save", &SaveDataFiles, nb::arg("engine"), nb::arg("files"),
             nb::arg("at_a_time"));
  module.def("dcp_read", &ReadItems, nb::arg("engine"), nb::arg("folder"),
             nb::arg("tensors"), nb::arg("blobs"));
}

}  // namespace ckptfs::python

#include "python/dcp_save.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <string>
#include <utility>

#include "checkpoint/engine/files.h"
#include "checkpoint/engine/save_file.h"
#include "checkpoint/io/side_by_side.h"
#include "common/log.h"
#include "python/dcp_tensor.h"
#include "python/memory_use.h"
#include "python/named_records.h"
#include "python/raise.h"
#include "python/wait.h"

namespace nb = nanobind;

namespace ckptfs::python {

namespace {

struct Planned {
  std::string path;
  DcpDataFile file;
  bool written = false;
};
using PlannedFiles = std::shared_ptr<std::vector<Planned>>;

Result<void> AddItem(DcpDataFile& file, nb::handle item,
                     const std::shared_ptr<void>& owner) {
  if (nb::isinstance<nb::bytes>(item)) {
    const auto text = nb::cast<nb::bytes>(item);
    file.AddBytes({static_cast<const std::byte*>(text.data()), text.size()},
                  owner);
    return {};
  }
  const auto parts = nb::cast<nb::tuple>(item);
  if (parts.size() == 2) {
    return file.AddRecords(NamedRecords(nb::cast<nb::list>(parts[0])), owner,
                           nb::cast<std::uint64_t>(parts[1]));
  }
  CKPTFS_ASSIGN_OR_RETURN(
      TensorView tensor, TensorAt(nb::cast<std::string>(parts[0]),
                                  nb::cast<std::vector<std::int64_t>>(parts[1]),
                                  nb::cast<std::vector<std::int64_t>>(parts[2]),
                                  nb::cast<std::uintptr_t>(parts[3]),
                                  nb::cast<std::uint64_t>(parts[4]), owner));
  return file.AddTensor(std::move(tensor), parts[5].is_none()
                                               ? nb::handle()
                                               : nb::handle(parts[5]));
}

Task<Result<void>> SaveOne(internal::EngineRuntime& runtime, PlannedFiles files,
                           std::size_t i, std::stop_token stop) {
  Planned& planned = (*files)[i];
  WriteParts write_parts = [&runtime, files, i](ByteSink& sink,
                                                std::stop_token stopped) {
    return (*files)[i].file.WriteTo(sink, runtime.pool(), std::move(stopped));
  };
  SaveOptions options;
  options.stop = std::move(stop);
  Result<void> saved =
      co_await SaveFile(runtime, planned.path, planned.file.bytes(),
                        std::move(write_parts), std::move(options));
  planned.written = saved.has_value();
  co_return saved;
}

Task<Result<void>> SaveAll(internal::EngineRuntime& runtime, PlannedFiles files,
                           std::size_t at_a_time, std::stop_token stop) {
  IndexedWork work = [&runtime, files](std::size_t i, std::stop_token stopped) {
    return SaveOne(runtime, files, i, std::move(stopped));
  };
  Result<void> saved =
      co_await SideBySide(runtime.strand(), files->size(), at_a_time,
                          std::move(stop), std::move(work));
  if (saved) co_return saved;
  Files paths(runtime);
  for (const Planned& planned : *files) {
    if (!planned.written) continue;
    Result<void> removed = co_await paths.Remove(planned.path);
    if (!removed) LogWarning("left over: " + removed.error().ToString());
  }
  co_return saved;
}

}  // namespace

std::vector<std::vector<DcpDataFile::Place>> SaveDataFiles(
    Engine& engine, const nb::list& files, std::size_t at_a_time) {
  internal::EngineRuntime& runtime = engine.runtime();
  const MemoryUse use;
  std::vector<std::vector<DcpDataFile::Place>> places;
  std::stop_source stop;
  Future<void> saving;
  {
    const auto planned = std::make_shared<std::vector<Planned>>();
    for (const nb::handle file : files) {
      const auto parts = nb::cast<nb::tuple>(file);
      Planned& each = planned->emplace_back();
      each.path = nb::cast<std::string>(parts[0]);
      for (const nb::handle item : nb::cast<nb::list>(parts[1])) {
        const Result<void> added = AddItem(each.file, item, use.owner());
        if (!added) Raise(added.error().WithContext("save " + each.path));
      }
      places.push_back(each.file.places());
    }
    saving = runtime.Start<void>(
        SaveAll(runtime, planned, at_a_time, stop.get_token()));
  }
  ValueOrRaise(Wait(runtime.strand(), std::move(saving), stop));
  return places;
}

}  // namespace ckptfs::python

// Archive: the records of a torch.save file, for Python's unpickler.
#pragma once

#include <ckptfs/engine.h>
#include <nanobind/nanobind.h>
#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/engine/engine_runtime.h"
#include "checkpoint/zip/zip_reader.h"
#include "python/record_fetch.h"

namespace ckptfs::python {

// Names are without the archive's, as torch gives them. Of one process: calls
// in a process that was forked off raise. Called with the GIL held.
class Archive {
 public:
  Archive(internal::EngineRuntime& runtime, std::shared_ptr<ZipReader> zip);

  bool HasRecord(const std::string& name) const;
  std::vector<std::string> Names() const;
  // Whole, decompressed.
  nanobind::bytes Record(const std::string& name);
  // (name, bytes, stored without compression) of every record, by offset.
  std::vector<std::tuple<std::string, std::uint64_t, bool>> Records() const;
  // Where the payload, or the local header, of a record begins in the file.
  std::uint64_t RecordOffset(const std::string& name);
  std::uint64_t HeaderOffset(const std::string& name) const;
  // Begins to fetch: (name, address, bytes) each. The memory belongs to
  // `owner`, which the fetch holds until nothing writes there any more.
  // `progress`: as RecordFetch's.
  std::unique_ptr<RecordFetch> Fetch(const nanobind::list& records,
                                     nanobind::object owner,
                                     nanobind::object progress);

 private:
  const ZipEntry& Find(const std::string& name) const;
  void CheckProcess() const;

  internal::EngineRuntime& runtime_;
  const pid_t pid_;
  const std::shared_ptr<ZipReader> zip_;
  const std::string prefix_;  // with the slash
};

// Nullptr: no zip file, which is for torch to tell apart.
std::unique_ptr<Archive> OpenArchive(Engine& engine, std::string path);

void BindArchive(nanobind::module_& module);

}  // namespace ckptfs::python

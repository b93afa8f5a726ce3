#include "python/archive.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>
#include <unistd.h>

#include <cstddef>
#include <span>
#include <tuple>
#include <utility>

#include "checkpoint/engine/files.h"
#include "checkpoint/io/opened_file.h"
#include "checkpoint/torch_file/torch_file_reader.h"
#include "python/raise.h"
#include "python/wait.h"

namespace nb = nanobind;

namespace ckptfs::python {

namespace {

// Null: not a zip file.
Task<Result<std::shared_ptr<ZipReader>>> OpenZip(
    internal::EngineRuntime& runtime, std::string path, std::stop_token stop) {
  Files files(runtime);
  Result<std::unique_ptr<ByteSource>> source =
      co_await files.Source(std::move(path));
  CKPTFS_CO_RETURN_IF_ERROR(source);
  Result<OpenedFile> file = co_await OpenedFile::Open(*std::move(source), stop);
  CKPTFS_CO_RETURN_IF_ERROR(file);
  // How torch tells: torch/serialization.py, _is_zipfile.
  if (!file->head().starts_with(std::string_view("PK\x03\x04", 4))) {
    co_return std::shared_ptr<ZipReader>();
  }
  Result<std::unique_ptr<ZipReader>> zip =
      co_await ZipReader::Open(*std::move(file), std::move(stop));
  CKPTFS_CO_RETURN_IF_ERROR(zip);
  co_return std::shared_ptr<ZipReader>(*std::move(zip));
}

}  // namespace

std::unique_ptr<Archive> OpenArchive(Engine& engine, std::string path) {
  internal::EngineRuntime& runtime = engine.runtime();
  std::stop_source stop;
  Future<std::shared_ptr<ZipReader>> opening =
      runtime.Start<std::shared_ptr<ZipReader>>(
          OpenZip(runtime, std::move(path), stop.get_token()));
  std::shared_ptr<ZipReader> zip =
      ValueOrRaise(Wait(runtime.strand(), std::move(opening), stop));
  if (zip == nullptr) return nullptr;
  return std::make_unique<Archive>(runtime, std::move(zip));
}

Archive::Archive(internal::EngineRuntime& runtime,
                 std::shared_ptr<ZipReader> zip)
    : runtime_(runtime),
      pid_(::getpid()),
      zip_(std::move(zip)),
      prefix_(TorchFileReader::ArchiveOf(*zip_)) {}

void Archive::CheckProcess() const {
  if (::getpid() == pid_) return;
  Raise(Error(ErrorCode::kUnsupported,
              zip_->name() + " was opened before a fork; open it again in the "
                             "new process"));
}

const ZipEntry& Archive::Find(const std::string& name) const {
  const ZipEntry* const entry = zip_->Find(prefix_ + name);
  if (entry == nullptr) {
    Raise(Error(ErrorCode::kInvalidArgument,
                zip_->name() + " has no record " + prefix_ + name));
  }
  return *entry;
}

bool Archive::HasRecord(const std::string& name) const {
  return zip_->Find(prefix_ + name) != nullptr;
}

std::vector<std::string> Archive::Names() const {
  std::vector<std::string> names;
  for (const ZipEntry& entry : zip_->entries()) {
    if (entry.name.starts_with(prefix_)) {
      names.push_back(entry.name.substr(prefix_.size()));
    }
  }
  return names;
}

std::vector<std::tuple<std::string, std::uint64_t, bool>> Archive::Records()
    const {
  std::vector<std::tuple<std::string, std::uint64_t, bool>> records;
  for (const ZipEntry& entry : zip_->entries()) {
    if (!entry.name.starts_with(prefix_)) continue;
    records.emplace_back(entry.name.substr(prefix_.size()), entry.bytes,
                         !entry.deflated);
  }
  return records;
}

nb::bytes Archive::Record(const std::string& name) {
  CheckProcess();
  const ZipEntry& entry = Find(name);
  if (auto held = zip_->ReadHeld(entry)) {
    const std::string_view bytes = ValueOrRaise(*std::move(held));
    return nb::bytes(bytes.data(), bytes.size());
  }
  std::stop_source stop;
  const std::string bytes = ValueOrRaise(Wait(
      runtime_.strand(),
      runtime_.Start<std::string>(zip_->ReadWhole(entry, stop.get_token())),
      stop));
  return nb::bytes(bytes.data(), bytes.size());
}

std::uint64_t Archive::RecordOffset(const std::string& name) {
  CheckProcess();
  std::stop_source stop;
  return ValueOrRaise(Wait(runtime_.strand(),
                           runtime_.Start<std::uint64_t>(zip_->PayloadOffset(
                               Find(name), stop.get_token())),
                           stop));
}

std::uint64_t Archive::HeaderOffset(const std::string& name) const {
  return Find(name).header_offset;
}

std::unique_ptr<RecordFetch> Archive::Fetch(const nb::list& records,
                                            nb::object owner,
                                            nb::object progress) {
  CheckProcess();
  std::vector<RecordFetch::Target> targets;
  for (const nb::handle item : records) {
    const auto record = nb::cast<nb::tuple>(item);
    const auto name = nb::cast<std::string>(record[0]);
    const auto address = nb::cast<std::uintptr_t>(record[1]);
    const auto bytes = nb::cast<std::size_t>(record[2]);
    const ZipEntry& entry = Find(name);
    if (bytes != entry.bytes) {
      Raise(Error(ErrorCode::kInvalidArgument,
                  "record " + entry.name + " has " +
                      std::to_string(entry.bytes) + " bytes, not " +
                      std::to_string(bytes)));
    }
    targets.push_back({name,
                       {entry, zip_->RoomEnd(entry)},
                       {reinterpret_cast<std::byte*>(address), bytes}});
  }
  return std::make_unique<RecordFetch>(runtime_, zip_, std::move(targets),
                                       std::move(owner), std::move(progress));
}

void BindArchive(nb::module_& module) {
  nb::class_<RecordFetch>(module, "Fetch")
      .def("wait", &RecordFetch::WaitFor, nb::arg("name"))
      .def("wait_all", &RecordFetch::WaitForAll)
      .def("cancel", &RecordFetch::Cancel);
  nb::class_<Archive>(module, "Archive")
      .def("has_record", &Archive::HasRecord, nb::arg("name"))
      .def("get_record", &Archive::Record, nb::arg("name"))
      .def("get_all_records", &Archive::Names)
      .def("records", &Archive::Records)
      .def("get_record_offset", &Archive::RecordOffset, nb::arg("name"))
      .def("get_record_header_offset", &Archive::HeaderOffset, nb::arg("name"))
      .def("fetch", &Archive::Fetch, nb::arg("records"), nb::arg("owner"),
           nb::arg("progress") = nb::none(), nb::keep_alive<0, 1>());
}

}  // namespace ckptfs::python

#include "python/engine.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/engine/files.h"
#include "checkpoint/torch_file/save_planned_file.h"
#include "checkpoint/torch_file/torch_file_writer.h"
#include "python/archive.h"
#include "python/named_records.h"
#include "python/raise.h"
#include "python/run.h"
#include "python/stream_reader.h"
#include "python/stream_writer.h"
#include "python/wait.h"

namespace nb = nanobind;

namespace ckptfs::python {

namespace {

// Larger files than this are not read into one bytes object.
constexpr std::uint64_t kMaxReadBytes = 1ull << 40;

void MakeEngine(Engine* memory, std::string region, std::string endpoint,
                std::string ca_file, std::optional<bool> force_path_style,
                std::uint64_t part_bytes, int parts_in_flight,
                std::uint64_t range_bytes, int ranges_in_flight,
                std::uint64_t stream_bytes, int work_threads,
                bool bypass_mounts, std::optional<int> max_attempts,
                bool unsigned_requests, std::string profile,
                bool requester_pays, std::string access_key_id,
                std::string secret_access_key, std::string session_token,
                std::string storage_class, std::string sse,
                std::string sse_kms_key_id,
                std::optional<bool> sse_bucket_key) {
  EngineOptions options;
  options.s3.region = std::move(region);
  options.s3.endpoint_url = std::move(endpoint);
  options.s3.ca_file = std::move(ca_file);
  options.s3.force_path_style = force_path_style;
  options.s3.max_attempts = max_attempts;
  options.s3.unsigned_requests = unsigned_requests;
  options.s3.profile = std::move(profile);
  options.s3.requester_pays = requester_pays;
  options.s3.access_key_id = std::move(access_key_id);
  options.s3.secret_access_key = std::move(secret_access_key);
  options.s3.session_token = std::move(session_token);
  options.s3.storage_class = std::move(storage_class);
  options.s3.sse = std::move(sse);
  options.s3.sse_kms_key_id = std::move(sse_kms_key_id);
  options.s3.sse_bucket_key = sse_bucket_key;
  options.part_bytes = part_bytes;
  options.parts_in_flight = parts_in_flight;
  options.range_bytes = range_bytes;
  options.ranges_in_flight = ranges_in_flight;
  options.stream_bytes = stream_bytes;
  options.work_threads = work_threads;
  options.bypass_mounts = bypass_mounts;
  new (memory) Engine(std::move(options));
}

WriteCondition ConditionOf(bool if_none_match, const std::string& if_match) {
  WriteCondition condition;
  condition.if_none_match = if_none_match;
  if (!if_match.empty()) condition.if_match = ETag(if_match);
  return condition;
}

bool Exists(Engine& engine, std::string path) {
  std::stop_source stop;
  return Run<bool>(
      engine, Files(engine.runtime()).Exists(std::move(path), stop.get_token()),
      stop);
}

void Remove(Engine& engine, std::string path) {
  std::stop_source stop;
  Run<void>(engine,
            Files(engine.runtime()).Remove(std::move(path), stop.get_token()),
            stop);
}

std::vector<std::string> List(Engine& engine, std::string folder) {
  std::stop_source stop;
  return Run<std::vector<std::string>>(
      engine, Files(engine.runtime()).List(std::move(folder), stop.get_token()),
      stop);
}

nb::bytes Read(Engine& engine, std::string path) {
  std::stop_source stop;
  const std::string bytes = Run<std::string>(
      engine,
      Files(engine.runtime())
          .GetAll(std::move(path), kMaxReadBytes, stop.get_token()),
      stop);
  return nb::bytes(bytes.data(), bytes.size());
}

// The bytes are those of Python objects, which the caller holds until this
// returns; and it returns when nothing reads them any more.
void SaveRecords(Engine& engine, std::string path, const nb::list& records,
                 std::uint64_t alignment, bool if_none_match,
                 const std::string& if_match, const nb::object& progress) {
  TorchFileWriter writer = ValueOrRaise(TorchFileWriter::PlanRecords(
      NamedRecords(records), nullptr, ZipArchiveName(path), alignment));
  std::stop_source stop;
  SaveOptions options;
  options.condition = ConditionOf(if_none_match, if_match);
  options.stop = stop.get_token();
  const std::uint64_t size = writer.file_bytes();
  const auto arrived = std::make_shared<std::atomic<std::uint64_t>>(0);
  std::function<void()> tick;
  if (!progress.is_none()) {
    options.progress = [arrived](std::uint64_t done, std::uint64_t) {
      arrived->store(done);
    };
    tick = [&] { progress(arrived->load(), size); };
  }
  internal::EngineRuntime& runtime = engine.runtime();
  Future<void> saving = runtime.Start<void>(SavePlannedFile(
      runtime, std::move(path), std::move(writer), std::move(options)));
  ValueOrRaise(Wait(runtime.strand(), std::move(saving), stop, tick));
  if (!progress.is_none()) progress(size, size);
}

void Write(Engine& engine, std::string path, const nb::bytes& data,
           bool if_none_match, const std::string& if_match) {
  Run<void>(engine,
            Files(engine.runtime())
                .Put(std::move(path), std::string(data.c_str(), data.size()),
                     ConditionOf(if_none_match, if_match)));
}

std::unique_ptr<StreamWriter> OpenWriter(Engine& engine, std::string path,
                                         bool if_none_match,
                                         const std::string& if_match) {
  return OpenStreamWriter(engine, std::move(path),
                          ConditionOf(if_none_match, if_match));
}

}  // namespace

void BindEngine(nb::module_& module) {
  const EngineOptions defaults;
  nb::class_<Engine>(module, "Engine")
      .def("__init__", &MakeEngine, nb::kw_only(), nb::arg("region") = "",
           nb::arg("endpoint") = "", nb::arg("ca_file") = "",
           nb::arg("force_path_style") = nb::none(),
           nb::arg("part_bytes") = defaults.part_bytes,
           nb::arg("parts_in_flight") = defaults.parts_in_flight,
           nb::arg("range_bytes") = defaults.range_bytes,
           nb::arg("ranges_in_flight") = defaults.ranges_in_flight,
           nb::arg("stream_bytes") = defaults.stream_bytes,
           nb::arg("work_threads") = defaults.work_threads,
           nb::arg("bypass_mounts") = defaults.bypass_mounts,
           nb::arg("max_attempts") = nb::none(),
           nb::arg("unsigned_requests") = false, nb::arg("profile") = "",
           nb::arg("requester_pays") = false, nb::arg("access_key_id") = "",
           nb::arg("secret_access_key") = "", nb::arg("session_token") = "",
           nb::arg("storage_class") = "", nb::arg("sse") = "",
           nb::arg("sse_kms_key_id") = "",
           nb::arg("sse_bucket_key") = nb::none())
      .def("exists", &Exists, nb::arg("path"))
      .def("remove", &Remove, nb::arg("path"))
      .def("list", &List, nb::arg("folder"))
      .def("read", &Read, nb::arg("path"))
      .def("write", &Write, nb::arg("path"), nb::arg("data"),
           nb::arg("if_none_match") = false, nb::arg("if_match") = "")
      .def("save_records", &SaveRecords, nb::arg("path"), nb::arg("records"),
           nb::arg("alignment") = 64, nb::arg("if_none_match") = false,
           nb::arg("if_match") = "", nb::arg("progress") = nb::none())
      .def("open_archive", &OpenArchive, nb::arg("path"),
           nb::keep_alive<0, 1>())
      .def("open_reader", &OpenStreamReader, nb::arg("path"),
           nb::keep_alive<0, 1>())
      .def("open_writer", &OpenWriter, nb::arg("path"),
           nb::arg("if_none_match") = false, nb::arg("if_match") = "",
           nb::keep_alive<0, 1>());
}

}  // namespace ckptfs::python

// The checkpoint library as a program, for checkpoint_bench.py: one save or
// load of a state dict, timed.
//
//   checkpoint_client save URI --count 64 --tensor-kib 16384
//   checkpoint_client load URI [--expect-mib N]
//   checkpoint_client load-into URI --count 64 --tensor-kib 16384
//   checkpoint_client load-part URI               the first tensor alone
//   checkpoint_client dcp-save FOLDER ...         the same as a distributed
//   checkpoint_client dcp-load FOLDER ...         checkpoint, loaded in place
//   options: --connections N (64), --rounds N (1)
//
// Endpoint and credentials come from the AWS_* variables. Prints for each round
// the seconds, the CPU-seconds of this process, and by how many MiB its peak
// memory exceeded the tensors.
#include <ckptfs/checkpoint/dcp/checkpoint.h>
#include <ckptfs/checkpoint/torch_file.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>

namespace ckptfs {
namespace {

constexpr double kMiB = 1 << 20;

struct Settings {
  std::string mode;
  std::string uri;
  int count = 64;
  std::uint64_t tensor_bytes = 16 << 20;
  int connections = 64;
  int rounds = 1;
};

[[noreturn]] void Die(const std::string& message) {
  std::fprintf(stderr, "checkpoint_client: %s\n", message.c_str());
  std::exit(1);
}

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double StatusMiB(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(field + ":")) {
      return std::strtod(line.c_str() + field.size() + 1, nullptr) / 1024;
    }
  }
  Die("no " + field);
}

void ResetPeak() {
  std::ofstream file("/proc/self/clear_refs");
  file << "5";
  if (!file.flush()) Die("cannot reset the peak of memory");
}

Value MakeState(const Settings& settings) {
  Dict state;
  for (int i = 0; i < settings.count; ++i) {
    const std::shared_ptr<void> memory(
        std::aligned_alloc(4096, (settings.tensor_bytes + 4095) & ~4095ull),
        std::free);
    auto storage = std::make_shared<Storage>();
    storage->bytes = settings.tensor_bytes;
    storage->memory = {static_cast<std::byte*>(memory.get()),
                       settings.tensor_bytes};
    storage->owner = memory;
    std::memset(memory.get(), i & 0xFF, settings.tensor_bytes);
    TensorView tensor;
    tensor.shape = {static_cast<std::int64_t>(settings.tensor_bytes / 4)};
    tensor.strides = {1};
    tensor.storage = std::move(storage);
    state.Assign("layer." + std::to_string(i), std::move(tensor));
  }
  return state;
}

std::uint64_t LoadedBytes(const Value& value) {
  std::uint64_t bytes = 0;
  for (const auto& [key, item] : value.AsDict()->items()) {
    bytes += item.AsTensor()->storage->memory.size();
  }
  return bytes;
}

class Meter {
 public:
  Meter() {
    ResetPeak();
    base_ = StatusMiB("VmRSS");
    cpu_ = CpuSeconds();
    start_ = std::chrono::steady_clock::now();
  }
  // `tensor_mib`: of tensors that were made in between.
  void Print(double tensor_mib) const {
    const std::chrono::duration<double> wall =
        std::chrono::steady_clock::now() - start_;
    std::printf("%.4f %.4f %.1f\n", wall.count(), CpuSeconds() - cpu_,
                StatusMiB("VmHWM") - base_ - tensor_mib);
    std::fflush(stdout);
  }

 private:
  double base_ = 0;
  double cpu_ = 0;
  std::chrono::steady_clock::time_point start_;
};

void RunRound(Engine& engine, const Settings& settings, const Value& state) {
  if (settings.mode.ends_with("save")) {
    const Meter meter;
    const Result<void> saved =
        settings.mode == "save"
            ? SaveTorchFile(engine, state, settings.uri).Get()
            : SaveDcp(engine, state, settings.uri).Get();
    if (!saved) Die(saved.error().ToString());
    meter.Print(0);
    return;
  }
  if (settings.mode == "dcp-load") {
    const Meter meter;
    const Result<DcpLoadReport> report =
        LoadDcp(engine, settings.uri, state).Get();
    if (!report) Die(report.error().ToString());
    meter.Print(0);
    return;
  }
  if (settings.mode == "load-into") {
    const Meter meter;
    const Result<LoadReport> report =
        LoadTorchFileInto(engine, settings.uri, state).Get();
    if (!report) Die(report.error().ToString());
    meter.Print(0);
    return;
  }
  LoadOptions options;
  if (settings.mode == "load-part") {
    options.filter = [](std::string_view name) { return name == "layer.0"; };
  }
  const Meter meter;
  const Result<Value> value =
      LoadTorchFile(engine, settings.uri, options).Get();
  if (!value) Die(value.error().ToString());
  meter.Print(static_cast<double>(LoadedBytes(*value)) / kMiB);
}

Settings Parse(int argc, char** argv) {
  Settings settings;
  if (argc < 3 || argc % 2 == 0) {
    Die("usage: checkpoint_client save|load|load-into|load-part|dcp-save|"
        "dcp-load URI [options]");
  }
  settings.mode = argv[1];
  settings.uri = argv[2];
  for (int i = 3; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    const auto number = std::strtoull(argv[i + 1], nullptr, 10);
    if (name == "--count") {
      settings.count = static_cast<int>(number);
    } else if (name == "--tensor-kib") {
      settings.tensor_bytes = number << 10;
    } else if (name == "--connections") {
      settings.connections = static_cast<int>(number);
    } else if (name == "--rounds") {
      settings.rounds = static_cast<int>(number);
    } else {
      Die("unknown option " + name);
    }
  }
  return settings;
}

void Run(const Settings& settings) {
  EngineOptions options;
  options.s3.max_connections = settings.connections;
  options.parts_in_flight = settings.connections;
  options.ranges_in_flight = settings.connections;
  Engine engine(options);
  Value state;
  if (settings.mode != "load" && settings.mode != "load-part") {
    state = MakeState(settings);
  }
  for (int i = 0; i < settings.rounds; ++i) RunRound(engine, settings, state);
}

}  // namespace
}  // namespace ckptfs

int main(int argc, char** argv) {
  ckptfs::Run(ckptfs::Parse(argc, argv));
  return 0;
}

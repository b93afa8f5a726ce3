// What the S3 client costs by itself: puts and gets of 8 MiB objects' worth of
// data over a fixed number of connections, in MiB/s and CPU-seconds per GiB of
// this process.
//
//   s3_client_bench [--mib 1024] [--part-mib 8] [--connections 8]
//                   [--threads 1] [--rounds 1]
//
// Endpoint, bucket and credentials come from CKPTFS_TEST_ENDPOINT,
// CKPTFS_TEST_BUCKET and the AWS_* variables.
#include <ckptfs/object_store.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace ckptfs {
namespace {

struct Settings {
  std::uint64_t mib = 1024;
  std::uint64_t part_mib = 8;
  int connections = 8;
  int threads = 1;
  int rounds = 1;
};

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

void Die(const Error& error) {
  std::fprintf(stderr, "%s\n", error.ToString().c_str());
  std::exit(1);
}

class Meter {
 public:
  Meter(const char* name, std::uint64_t mib)
      : name_(name),
        mib_(static_cast<double>(mib)),
        cpu_(CpuSeconds()),
        start_(std::chrono::steady_clock::now()) {}
  ~Meter() {
    const std::chrono::duration<double> wall =
        std::chrono::steady_clock::now() - start_;
    std::printf("%-4s %8.0f MiB/s  %6.3f CPU-s/GiB\n", name_,
                mib_ / wall.count(), (CpuSeconds() - cpu_) / (mib_ / 1024));
    std::fflush(stdout);
  }

 private:
  const char* name_;
  double mib_;
  double cpu_;
  std::chrono::steady_clock::time_point start_;
};

// Starts `count` operations, at most `window` at once; one buffer per slot.
template <typename T, typename Start>
void RunWindow(std::uint64_t count, int window, Start start) {
  std::deque<Future<T>> running;
  std::uint64_t next = 0;
  while (next < count || !running.empty()) {
    while (next < count && running.size() < static_cast<std::size_t>(window)) {
      running.push_back(start(next));
      ++next;
    }
    Result<T> done = std::move(running.front()).Get();
    running.pop_front();
    if (!done.has_value()) Die(done.error());
  }
}

std::string KeyOf(std::uint64_t i) { return "bench/" + std::to_string(i); }

int Run(const Settings& settings) {
  S3StoreOptions options;
  const char* endpoint = std::getenv("CKPTFS_TEST_ENDPOINT");
  const char* bucket = std::getenv("CKPTFS_TEST_BUCKET");
  if (endpoint != nullptr) options.endpoint_url = endpoint;
  options.bucket = bucket != nullptr ? bucket : "bucket";
  options.max_connections = settings.connections;
  options.http_threads = settings.threads;
  auto opened = OpenS3Store(options);
  if (!opened.has_value()) Die(opened.error());
  ObjectStore& store = **opened;

  const std::size_t part = settings.part_mib << 20;
  const std::uint64_t count = settings.mib / settings.part_mib;
  std::vector<std::shared_ptr<std::vector<std::byte>>> buffers;
  for (int i = 0; i < settings.connections; ++i) {
    buffers.push_back(std::make_shared<std::vector<std::byte>>(part));
    std::memset(buffers.back()->data(), i + 1, part);
  }
  for (int round = 0; round < settings.rounds; ++round) {
    {
      Meter meter("put", count * settings.part_mib);
      RunWindow<PutResult>(count, settings.connections, [&](std::uint64_t i) {
        auto& buffer = buffers[i % buffers.size()];
        PutRequest put;
        put.key = KeyOf(i);
        put.payload.segments = {std::span<const std::byte>(*buffer)};
        put.payload.owner = buffer;
        return store.Put(std::move(put));
      });
    }
    Meter meter("get", count * settings.part_mib);
    RunWindow<GetResult>(count, settings.connections, [&](std::uint64_t i) {
      auto& buffer = buffers[i % buffers.size()];
      GetRequest get;
      get.key = KeyOf(i);
      get.destination.segments = {std::span<std::byte>(*buffer)};
      get.destination.owner = buffer;
      return store.Get(std::move(get));
    });
  }
  DeleteManyRequest clean;
  for (std::uint64_t i = 0; i < count; ++i) clean.keys.push_back(KeyOf(i));
  auto cleaned = store.DeleteMany(std::move(clean)).Get();
  if (!cleaned.has_value()) Die(cleaned.error());
  return 0;
}

}  // namespace
}  // namespace ckptfs

int main(int argc, char** argv) {
  ckptfs::Settings settings;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    const int value = std::max(1, std::atoi(argv[i + 1]));
    if (name == "--mib") {
      settings.mib = static_cast<std::uint64_t>(value);
    } else if (name == "--part-mib") {
      settings.part_mib = static_cast<std::uint64_t>(value);
    } else if (name == "--connections") {
      settings.connections = value;
    } else if (name == "--threads") {
      settings.threads = value;
    } else if (name == "--rounds") {
      settings.rounds = value;
    } else {
      std::fprintf(stderr, "unknown option %s\n", argv[i]);
      return 2;
    }
  }
  return ckptfs::Run(settings);
}

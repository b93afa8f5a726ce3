// partial_load PATH PREFIX: the tensors of a torch.save file whose names begin
// with PREFIX, and how many bytes moved to get them.
//
// As when an evaluation wants the model of a checkpoint and not the optimizer's
// moments, which are twice as large:
//
//   partial_load s3://bucket/run/last.ckpt state_dict.
#include <ckptfs/checkpoint/tensor_names.h>
#include <ckptfs/checkpoint/torch_file.h>

#include <atomic>
#include <cinttypes>
#include <cstdio>
#include <string>

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s PATH PREFIX\n", argv[0]);
    return 2;
  }
  const std::string prefix = argv[2];
  std::atomic<std::uint64_t> moved = 0;

  ckptfs::Engine engine;
  ckptfs::LoadOptions options;
  options.filter = [&](std::string_view name) {
    return name.starts_with(prefix);
  };
  options.progress = [&](std::uint64_t done, std::uint64_t) { moved = done; };
  const ckptfs::Result<ckptfs::Value> value =
      ckptfs::LoadTorchFile(engine, argv[1], options).Get();
  if (!value.has_value()) {
    std::fprintf(stderr, "%s\n", value.error().ToString().c_str());
    return 1;
  }

  std::uint64_t loaded = 0;
  std::uint64_t all = 0;
  const auto count = [&](const std::string& name, ckptfs::TensorView&) {
    ++all;
    // The others have shape and dtype, but no memory.
    if (!name.starts_with(prefix)) return;
    ++loaded;
    std::printf("%s\n", name.c_str());
  };
  const ckptfs::Result<void> visited = ckptfs::VisitTensors(*value, count);
  if (!visited.has_value()) {
    std::fprintf(stderr, "%s\n", visited.error().ToString().c_str());
    return 1;
  }
  std::printf("%" PRIu64 " of %" PRIu64 " tensors, %" PRIu64 " bytes moved\n",
              loaded, all, moved.load());
  return 0;
}

// inspect PATH: what is in a torch.save file, without fetching its tensors.
//
// PATH is s3://bucket/key (credentials as the AWS tools take them), a plain
// file, or a file below a mount of ckptfs. Only the directory and the pickle of
// the file are read, and nothing of it is run.
#include <ckptfs/checkpoint/tensor_names.h>
#include <ckptfs/checkpoint/torch_file.h>

#include <cinttypes>
#include <cstdio>
#include <set>
#include <string>

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s PATH\n", argv[0]);
    return 2;
  }
  ckptfs::Engine engine;
  ckptfs::LoadOptions options;
  options.weights_only = false;  // to look at: unknown classes stay data
  options.filter = [](std::string_view) { return false; };
  const ckptfs::Result<ckptfs::Value> value =
      ckptfs::LoadTorchFile(engine, argv[1], options).Get();
  if (!value.has_value()) {
    std::fprintf(stderr, "%s\n", value.error().ToString().c_str());
    return 1;
  }

  std::set<const ckptfs::Storage*> storages;
  std::uint64_t bytes = 0;
  const auto print = [&](const std::string& name, ckptfs::TensorView& tensor) {
    std::string shape;
    for (const std::int64_t size : tensor.shape) {
      shape += (shape.empty() ? "" : ", ") + std::to_string(size);
    }
    const std::string type(ckptfs::InfoOf(tensor.dtype).torch_name);
    std::printf("%-40s %-14s [%s]\n", name.c_str(), type.c_str(),
                shape.c_str());
    if (storages.insert(tensor.storage.get()).second) {
      bytes += tensor.storage->bytes;
    }
  };
  const ckptfs::Result<void> visited = ckptfs::VisitTensors(*value, print);
  if (!visited.has_value()) {
    std::fprintf(stderr, "%s\n", visited.error().ToString().c_str());
    return 1;
  }
  std::printf("%zu storages, %" PRIu64 " bytes\n", storages.size(), bytes);
  return 0;
}

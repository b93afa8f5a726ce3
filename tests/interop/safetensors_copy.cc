// safetensors_copy IN OUT [--into]: reads a safetensors file and writes its
// tensors and metadata to another one, by the public API. With --into they are
// read into tensors that exist. For the tests that compare with Python.
#include <ckptfs/checkpoint/safetensors.h>
#include <ckptfs/engine.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

namespace ckptfs {
namespace {

Result<SafetensorsFile> LoadInto(Engine& engine, const std::string& path) {
  LoadOptions shapes;
  shapes.filter = [](std::string_view) { return false; };
  CKPTFS_ASSIGN_OR_RETURN(SafetensorsFile file,
                          LoadSafetensors(engine, path, shapes).Get());
  std::map<std::string, TensorView> into;
  for (auto& [name, tensor] : file.tensors) {
    auto memory = std::make_shared<std::string>(tensor.storage->bytes, '\x55');
    tensor.storage->memory = std::as_writable_bytes(std::span(*memory));
    tensor.storage->owner = memory;
    into[name] = tensor;
  }
  CKPTFS_RETURN_IF_ERROR(LoadSafetensorsInto(engine, path, into).Get());
  return file;
}

Result<void> Copy(const std::string& from, const std::string& to, bool into) {
  Engine engine;
  CKPTFS_ASSIGN_OR_RETURN(
      SafetensorsFile file,
      into ? LoadInto(engine, from) : LoadSafetensors(engine, from).Get());
  return SaveSafetensors(engine, std::move(file), to).Get();
}

}  // namespace
}  // namespace ckptfs

int main(int argc, char** argv) {
  const bool into = argc == 4 && std::strcmp(argv[3], "--into") == 0;
  if (argc != 3 && !into) {
    std::fprintf(stderr, "usage: %s IN OUT [--into]\n", argv[0]);
    return 2;
  }
  const ckptfs::Result<void> done = ckptfs::Copy(argv[1], argv[2], into);
  if (done.has_value()) return 0;
  std::fprintf(stderr, "%s\n", done.error().ToString().c_str());
  return 1;
}

// torch_file_copy IN OUT: loads a torch.save file by the public API and saves
// its values to another one, for the tests that compare with Python. Both may
// be s3:// URIs; AWS_* variables name endpoint and credentials.
//
//   --weights-only  refuse what torch.load(weights_only=True) refuses
//   --unverified    compare no checksums
//   --into          load a second time, into the tensors of the first load,
//                   whose bytes are overwritten before
//   --only PREFIX   save a dict of the tensors whose names begin so, and fetch
//                   no others, with no checksums; says how many bytes arrived
#include <ckptfs/checkpoint/tensor_names.h>
#include <ckptfs/checkpoint/torch_file.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ckptfs {
namespace {

struct Arguments {
  std::vector<std::string> paths;
  bool weights_only = false;
  bool verify = true;
  bool into = false;
  std::optional<std::string> only;
};

std::optional<Arguments> Parse(int argc, char** argv) {
  Arguments out;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--weights-only") {
      out.weights_only = true;
    } else if (word == "--unverified") {
      out.verify = false;
    } else if (word == "--into") {
      out.into = true;
    } else if (word == "--only" && i + 1 < argc) {
      out.only = argv[++i];
    } else if (word.starts_with("--")) {
      return std::nullopt;
    } else {
      out.paths.emplace_back(word);
    }
  }
  if (out.paths.size() != 2) return std::nullopt;
  return out;
}

Result<Value> Load(Engine& engine, const Arguments& arguments) {
  LoadOptions options;
  options.weights_only = arguments.weights_only;
  // Records that hold what was put there later have none that is right.
  options.verify_crc = arguments.verify && !arguments.only;
  std::uint64_t fetched = 0;
  if (arguments.only) {
    options.filter = [prefix = *arguments.only](std::string_view name) {
      return name.starts_with(prefix);
    };
    options.progress = [&fetched](std::uint64_t done, std::uint64_t) {
      fetched = done;
    };
  }
  CKPTFS_ASSIGN_OR_RETURN(
      Value value, LoadTorchFile(engine, arguments.paths[0], options).Get());
  if (arguments.only) {
    Dict wanted;
    CKPTFS_RETURN_IF_ERROR(
        VisitTensors(value, [&](const std::string& name, TensorView& tensor) {
          if (options.filter(name)) wanted.Assign(name, tensor);
        }));
    std::printf("fetched %llu\n", static_cast<unsigned long long>(fetched));
    return Value(std::move(wanted));
  }
  if (!arguments.into) return value;
  CKPTFS_RETURN_IF_ERROR(
      VisitTensors(value, [](const std::string&, TensorView& tensor) {
        const auto memory = tensor.storage->memory;
        std::fill(memory.begin(), memory.end(), std::byte{0xAA});
      }));
  LoadIntoOptions into;
  into.load = options;
  CKPTFS_ASSIGN_OR_RETURN(
      LoadReport report,
      LoadTorchFileInto(engine, arguments.paths[0], value, into).Get());
  return report.value;
}

Result<void> Copy(const Arguments& arguments) {
  Engine engine;
  CKPTFS_ASSIGN_OR_RETURN(const Value value, Load(engine, arguments));
  return SaveTorchFile(engine, value, arguments.paths[1]).Get();
}

}  // namespace
}  // namespace ckptfs

int main(int argc, char** argv) {
  const auto arguments = ckptfs::Parse(argc, argv);
  if (!arguments) {
    std::fprintf(stderr,
                 "usage: %s [--weights-only] [--unverified] [--into] "
                 "[--only PREFIX] IN OUT\n",
                 argv[0]);
    return 2;
  }
  const ckptfs::Result<void> done = ckptfs::Copy(*arguments);
  if (done.has_value()) return 0;
  std::fprintf(stderr, "%s\n", done.error().ToString().c_str());
  return 1;
}

// libtorch_program: the C++ side of test_libtorch.py, one command a run.
//
//   save-training OPTIMIZER PATH   trains the model some steps, saves it
//   train-on OPTIMIZER IN OUT      loads such a file, trains on, saves
//   copy IN OUT                    every part through torch tensors and IValues
//   kinds PATH                     tensors of all kinds, made in C++
//   in-place OPTIMIZER IN OUT      as train-on, the model filled in place, and
//                                  saved in the background
//
// The model is that of test_libtorch.py: convolution, batch norm, linear.
#include <ckptfs/checkpoint/checkpoint_io.h>
#include <ckptfs/torch/checkpoint_io.h>
#include <torch/torch.h>

#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ckptfs::libtorch {
namespace {

struct NetImpl : torch::nn::Module {
  NetImpl() {
    register_module("conv", conv);
    register_module("bn", bn);
    register_module("fc", fc);
  }
  torch::Tensor forward(torch::Tensor x) {
    x = torch::relu(bn(conv(x)));
    return fc(x.flatten(1));
  }
  torch::nn::Conv2d conv{torch::nn::Conv2dOptions(3, 4, 3).bias(false)};
  torch::nn::BatchNorm2d bn{4};
  torch::nn::Linear fc{4 * 6 * 6, 5};
};
TORCH_MODULE(Net);

std::unique_ptr<torch::optim::Optimizer> MakeOptimizer(const std::string& kind,
                                                       Net& net) {
  std::vector<torch::Tensor> parameters = net->parameters();
  if (kind == "sgd") {
    return std::make_unique<torch::optim::SGD>(
        std::move(parameters),
        torch::optim::SGDOptions(0.1).momentum(0.9).nesterov(true));
  }
  if (kind == "adam") {
    return std::make_unique<torch::optim::Adam>(
        std::move(parameters),
        torch::optim::AdamOptions(0.01).betas({0.8, 0.95}).amsgrad(true));
  }
  // Two groups.
  std::vector<torch::optim::OptimizerParamGroup> groups;
  groups.emplace_back(
      std::vector<torch::Tensor>(parameters.begin(), parameters.begin() + 2));
  groups.emplace_back(
      std::vector<torch::Tensor>(parameters.begin() + 2, parameters.end()),
      std::make_unique<torch::optim::AdamWOptions>(
          torch::optim::AdamWOptions(0.02).weight_decay(0.3)));
  return std::make_unique<torch::optim::AdamW>(
      groups, torch::optim::AdamWOptions(0.01));
}

// Input that depends on the step alone, in C++ and in Python.
torch::Tensor Batch(std::int64_t step) {
  const torch::Tensor x = torch::arange(2 * 3 * 8 * 8, torch::kFloat);
  return ((x * 7 + static_cast<double>(step)).fmod(11) / 11)
      .reshape({2, 3, 8, 8});
}

void Train(Net& net, torch::optim::Optimizer& optimizer, std::int64_t from,
           std::int64_t to) {
  net->train();
  for (std::int64_t step = from; step < to; ++step) {
    optimizer.zero_grad();
    net->forward(Batch(step)).square().mean().backward();
    optimizer.step();
  }
}

Result<void> Save(CheckpointIO& io, Net& net,
                  const torch::optim::Optimizer& optimizer, std::int64_t step,
                  const std::string& path) {
  Checkpoint checkpoint;
  CKPTFS_RETURN_IF_ERROR(checkpoint.Put("model", *net));
  CKPTFS_RETURN_IF_ERROR(checkpoint.Put("optimizer", optimizer));
  checkpoint.Put("step", step);
  CKPTFS_RETURN_IF_ERROR(io.SaveCheckpoint(checkpoint, path));
  return io.Teardown();
}

Result<void> SaveTraining(CheckpointIO& io, const std::string& kind,
                          const std::string& path) {
  torch::manual_seed(1);
  Net net;
  const auto optimizer = MakeOptimizer(kind, net);
  Train(net, *optimizer, 0, 3);
  return Save(io, net, *optimizer, 3, path);
}

Result<void> TrainOn(CheckpointIO& io, const std::string& kind,
                     const std::string& from, const std::string& to,
                     bool in_place) {
  Net net;
  const auto optimizer = MakeOptimizer(kind, net);
  LoadCheckpointOptions options;
  const void* const memory = net->fc->weight.data_ptr();
  if (in_place) options.modules = {{"model", net.get()}};
  CKPTFS_ASSIGN_OR_RETURN(Checkpoint loaded, io.LoadCheckpoint(from, options));
  if (!in_place) {
    CKPTFS_RETURN_IF_ERROR(loaded.Restore("model", *net));
  } else if (loaded.Find("model") != nullptr ||
             net->fc->weight.data_ptr() != memory) {
    return Fail(ErrorCode::kInternal, "the model was not filled in place");
  }
  CKPTFS_RETURN_IF_ERROR(loaded.Restore("optimizer", *optimizer));
  const std::int64_t step = loaded.Find("step")->AsInt().value();
  Train(net, *optimizer, step, step + 2);
  return Save(io, net, *optimizer, step + 2, to);
}

Result<void> Copy(CheckpointIO& io, const std::string& from,
                  const std::string& to) {
  CKPTFS_ASSIGN_OR_RETURN(Checkpoint loaded, io.LoadCheckpoint(from));
  Checkpoint out;
  for (const auto& [key, value] : loaded.value().AsDict()->items()) {
    const std::string& name = *key.AsString();
    CKPTFS_ASSIGN_OR_RETURN(const c10::IValue ivalue, loaded.GetIValue(name));
    CKPTFS_RETURN_IF_ERROR(out.PutIValue(name, ivalue));
  }
  return io.SaveCheckpoint(out, to);
}

Result<void> Kinds(CheckpointIO& io, const std::string& path) {
  const torch::Tensor base = torch::arange(24, torch::kFloat).reshape({4, 6});
  std::vector<std::pair<std::string, torch::Tensor>> tensors = {
      {"base", base},
      {"transposed", base.t()},
      {"row", base[2]},
      {"step", base.slice(1, 0, 6, 2)},
      {"wide", torch::ones({3, 1}).expand({3, 5})},
      {"none", base.slice(0, 0, 0)},
      {"scalar", torch::scalar_tensor(1.5)},
      {"parameter", torch::full({3}, 2.0).requires_grad_()},
      {"conj", torch::complex(torch::ones({2}), torch::ones({2})).conj()},
      {"bool", torch::tensor({true, false})},
      {"channels", torch::arange(16, torch::kFloat)
                       .reshape({1, 2, 2, 4})
                       .contiguous(at::MemoryFormat::ChannelsLast)}};
  for (const auto& [name, type] : std::map<std::string, torch::ScalarType>{
           {"bfloat16", torch::kBFloat16},
           {"float8_e4m3fn", at::kFloat8_e4m3fn},
           {"float8_e5m2", at::kFloat8_e5m2},
           {"complex128", torch::kComplexDouble},
           {"uint16", at::kUInt16},
           {"int64", torch::kLong}}) {
    tensors.emplace_back(name, torch::arange(6, torch::kFloat).to(type));
  }
  Checkpoint out;
  c10::Dict<std::string, torch::Tensor> nested;
  for (const auto& [name, tensor] : tensors) {
    CKPTFS_RETURN_IF_ERROR(out.Put(name, tensor));
    nested.insert(name, tensor);
  }
  CKPTFS_RETURN_IF_ERROR(out.PutIValue("nested", nested));
  CKPTFS_RETURN_IF_ERROR(out.PutIValue(
      "scalars",
      std::make_tuple(std::int64_t{1} << 40, 0.5, true, std::string("text"),
                      c10::complex<double>(1, -2), std::vector<double>{1, 2},
                      c10::Device("cuda:1"), ~std::uint64_t{0})));
  return io.SaveCheckpoint(out, path);
}

Result<void> Run(const std::vector<std::string>& words) {
  Engine engine;
  CheckpointIO io(engine);
  if (words.size() == 2 && words[0] == "kinds") return Kinds(io, words[1]);
  if (words.size() == 3 && words[0] == "copy") {
    return Copy(io, words[1], words[2]);
  }
  if (words.size() == 3 && words[0] == "save-training") {
    return SaveTraining(io, words[1], words[2]);
  }
  if (words.size() == 4 && words[0] == "train-on") {
    return TrainOn(io, words[1], words[2], words[3], false);
  }
  if (words.size() == 4 && words[0] == "in-place") {
    CheckpointIO background = CheckpointIO::Async(engine);
    return TrainOn(background, words[1], words[2], words[3], true);
  }
  return Fail(ErrorCode::kInvalidArgument, "unknown command");
}

}  // namespace
}  // namespace ckptfs::libtorch

int main(int argc, char** argv) {
  const ckptfs::Result<void> done =
      ckptfs::libtorch::Run({argv + 1, argv + argc});
  if (done.has_value()) return 0;
  std::fprintf(stderr, "%s\n", done.error().ToString().c_str());
  return 1;
}

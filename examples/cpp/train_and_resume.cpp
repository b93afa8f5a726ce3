// train_and_resume PATH STEPS: trains a small network up to that step, and
// saves it to PATH every 5 steps. Where PATH is there already, training goes on
// from it, with the same numbers as if it had never stopped: model, optimizer
// and random generator are in the file, which torch.load reads too.
//
//   train_and_resume s3://bucket/run/last.ckpt 100
#include <ATen/CPUGeneratorImpl.h>
#include <ckptfs/torch/checkpoint_io.h>
#include <torch/torch.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

namespace {

using ckptfs::Result;
using ckptfs::libtorch::Checkpoint;
using ckptfs::libtorch::CheckpointIO;
using ckptfs::libtorch::LoadCheckpointOptions;

constexpr int kSaveEvery = 5;

struct Training {
  Training() {
    torch::manual_seed(0);
    model = torch::nn::Sequential(torch::nn::Linear(16, 64), torch::nn::ReLU(),
                                  torch::nn::Dropout(0.1),
                                  torch::nn::Linear(64, 1));
    optimizer = std::make_unique<torch::optim::AdamW>(
        model->parameters(), torch::optim::AdamWOptions(1e-2));
  }

  double Step() {
    // Synthetic: the sum of the inputs.
    const torch::Tensor x = torch::randn({32, 16});
    optimizer->zero_grad();
    const torch::Tensor loss =
        torch::mse_loss(model->forward(x), x.sum(1, /*keepdim=*/true));
    loss.backward();
    optimizer->step();
    ++step;
    return loss.item<double>();
  }

  Result<void> Save(CheckpointIO& io, const std::string& path) {
    Checkpoint checkpoint;
    CKPTFS_RETURN_IF_ERROR(checkpoint.Put("model", *model));
    CKPTFS_RETURN_IF_ERROR(checkpoint.Put("optimizer", *optimizer));
    CKPTFS_RETURN_IF_ERROR(checkpoint.Put(
        "rng", at::detail::getDefaultCPUGenerator().get_state()));
    checkpoint.Put("step", step);
    return io.SaveCheckpoint(checkpoint, path);
  }

  // False: there is nothing to resume from.
  Result<bool> Resume(CheckpointIO& io, const std::string& path) {
    LoadCheckpointOptions options;
    options.modules = {{"model", model.get()}};
    Result<Checkpoint> loaded = io.LoadCheckpoint(path, options);
    if (!loaded.has_value() &&
        loaded.error().code() == ckptfs::ErrorCode::kNotFound) {
      return false;
    }
    CKPTFS_RETURN_IF_ERROR(loaded);
    CKPTFS_RETURN_IF_ERROR(loaded->Restore("optimizer", *optimizer));
    CKPTFS_ASSIGN_OR_RETURN(const at::Tensor rng, loaded->GetTensor("rng"));
    at::Generator generator = at::detail::getDefaultCPUGenerator();
    generator.set_state(rng);
    const ckptfs::Value* saved = loaded->Find("step");
    step = saved != nullptr ? saved->AsInt().value_or(0) : 0;
    return true;
  }

  torch::nn::Sequential model;
  std::unique_ptr<torch::optim::AdamW> optimizer;
  std::int64_t step = 0;
};

Result<void> Run(const std::string& path, std::int64_t steps) {
  ckptfs::Engine engine;
  CheckpointIO io(engine);
  Training training;
  CKPTFS_ASSIGN_OR_RETURN(const bool resumed, training.Resume(io, path));
  std::printf("%s at step %lld\n", resumed ? "resumed" : "started",
              static_cast<long long>(training.step));
  double loss = 0;
  while (training.step < steps) {
    loss = training.Step();
    if (training.step % kSaveEvery == 0) {
      CKPTFS_RETURN_IF_ERROR(training.Save(io, path));
    }
  }
  // All digits, for whoever compares two runs.
  std::printf("step %lld, loss %.17g\n", static_cast<long long>(training.step),
              loss);
  return io.Teardown();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s PATH STEPS\n", argv[0]);
    return 2;
  }
  const Result<void> done = Run(argv[1], std::atoll(argv[2]));
  if (done.has_value()) return 0;
  std::fprintf(stderr, "%s\n", done.error().ToString().c_str());
  return 1;
}

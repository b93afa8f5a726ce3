#include <ATen/ATen.h>
#include <ckptfs/torch/checkpoint_io.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/linear.h>

#include <filesystem>
#include <string>

namespace ckptfs::libtorch {
namespace {

class TorchCheckpointIOTest : public ::testing::Test {
 protected:
  TorchCheckpointIOTest() {
    std::string name = ::testing::TempDir() + "ckptfs-torch-XXXXXX";
    folder = mkdtemp(name.data());
    Checkpoint checkpoint;
    EXPECT_TRUE(checkpoint.Put("model", *saved).has_value());
    // Shares a storage with the model, in the file.
    EXPECT_TRUE(checkpoint.Put("bias", saved->bias.detach()).has_value());
    EXPECT_TRUE(checkpoint.Put("other", at::arange(5, at::kLong)).has_value());
    checkpoint.Put("step", 7);
    EXPECT_TRUE(io.SaveCheckpoint(checkpoint, Path()).has_value());
  }
  ~TorchCheckpointIOTest() override { std::filesystem::remove_all(folder); }

  std::string Path() const { return folder + "/last.ckpt"; }

  std::string folder;
  Engine engine;
  CheckpointIO io{engine};
  torch::nn::Linear saved{4, 3};
};

TEST_F(TorchCheckpointIOTest, LoadsParts) {
  Result<Checkpoint> loaded = io.LoadCheckpoint(Path());
  ASSERT_TRUE(loaded.has_value()) << loaded.error().ToString();
  EXPECT_EQ(loaded->Find("step")->AsInt(), 7);
  torch::nn::Linear model(4, 3);
  ASSERT_TRUE(loaded->Restore("model", *model).has_value());
  EXPECT_TRUE(model->weight.equal(saved->weight));
  EXPECT_TRUE(loaded->GetTensor("other")->equal(at::arange(5, at::kLong)));
  EXPECT_EQ(loaded->GetTensor("none").error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(loaded->GetTensor("step").error().code(),
            ErrorCode::kInvalidArgument);
}

TEST_F(TorchCheckpointIOTest, FillsModulesInPlace) {
  torch::nn::Linear model(4, 3);
  const void* const memory = model->weight.data_ptr();
  LoadCheckpointOptions options;
  options.modules = {{"model", model.get()}};
  Result<Checkpoint> loaded = io.LoadCheckpoint(Path(), options);
  ASSERT_TRUE(loaded.has_value()) << loaded.error().ToString();
  EXPECT_EQ(model->weight.data_ptr(), memory);
  EXPECT_TRUE(model->weight.equal(saved->weight));
  EXPECT_TRUE(model->bias.equal(saved->bias));
  EXPECT_EQ(loaded->Find("model"), nullptr);
  EXPECT_EQ(loaded->Find("step")->AsInt(), 7);
  const Result<at::Tensor> bias = loaded->GetTensor("bias");
  ASSERT_TRUE(bias.has_value());
  EXPECT_TRUE(bias->equal(saved->bias));
  EXPECT_NE(bias->data_ptr(), model->bias.data_ptr());
  EXPECT_TRUE(loaded->GetTensor("other")->equal(at::arange(5, at::kLong)));
}

TEST_F(TorchCheckpointIOTest, AFilterLeavesOutOthers) {
  torch::nn::Linear model(4, 3);
  const at::Tensor bias = model->bias.detach().clone();
  LoadCheckpointOptions options;
  options.modules = {{"model", model.get()}};
  options.load.filter = [](std::string_view name) {
    return name == "model.weight" || name == "other";
  };
  Result<Checkpoint> loaded = io.LoadCheckpoint(Path(), options);
  ASSERT_TRUE(loaded.has_value()) << loaded.error().ToString();
  EXPECT_TRUE(model->weight.equal(saved->weight));
  EXPECT_TRUE(model->bias.equal(bias));
  EXPECT_TRUE(loaded->GetTensor("other").has_value());
  EXPECT_EQ(loaded->GetTensor("bias").error().code(),
            ErrorCode::kInvalidArgument);
}

TEST_F(TorchCheckpointIOTest, AnotherModelIsRefusedUntouched) {
  torch::nn::Linear model(torch::nn::LinearOptions(4, 3).bias(false));
  const at::Tensor weight = model->weight.detach().clone();
  LoadCheckpointOptions options;
  options.modules = {{"model", model.get()}};
  const Result<Checkpoint> strict = io.LoadCheckpoint(Path(), options);
  ASSERT_FALSE(strict.has_value());
  EXPECT_EQ(strict.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_NE(strict.error().message().find("model.bias"), std::string::npos);
  EXPECT_TRUE(model->weight.equal(weight));
  options.strict = false;
  EXPECT_TRUE(io.LoadCheckpoint(Path(), options).has_value());
  EXPECT_TRUE(model->weight.equal(saved->weight));
  options.modules = {{"nothing", model.get()}};
  EXPECT_EQ(io.LoadCheckpoint(Path(), options).error().code(),
            ErrorCode::kNotFound);
}

// Those that a CheckpointIO of somebody's own loads are copied.
TEST_F(TorchCheckpointIOTest, ModulesAreRestoredThroughAnyInner) {
  CheckpointIO other(MakeCheckpointIO(engine));
  torch::nn::Linear model(4, 3);
  LoadCheckpointOptions options;
  options.modules = {{"model", model.get()}};
  Result<Checkpoint> loaded = other.LoadCheckpoint(Path(), options);
  ASSERT_TRUE(loaded.has_value()) << loaded.error().ToString();
  EXPECT_TRUE(model->weight.equal(saved->weight));
  EXPECT_EQ(loaded->Find("model"), nullptr);
}

// The snapshot is taken before the call returns; a load waits for the save.
TEST_F(TorchCheckpointIOTest, BackgroundSavesAreSnapshots) {
  CheckpointIO background = CheckpointIO::Async(engine);
  const at::Tensor tensor = at::zeros({100000});
  Checkpoint checkpoint;
  ASSERT_TRUE(checkpoint.Put("t", tensor).has_value());
  ASSERT_TRUE(
      background.SaveCheckpoint(checkpoint, folder + "/b.ckpt").has_value());
  tensor.fill_(1);
  Result<Checkpoint> loaded = background.LoadCheckpoint(folder + "/b.ckpt");
  ASSERT_TRUE(loaded.has_value()) << loaded.error().ToString();
  EXPECT_TRUE(loaded->GetTensor("t")->equal(at::zeros({100000})));
  EXPECT_TRUE(background.Teardown().has_value());
  EXPECT_FALSE(background.requires_state_on_load());
}

TEST_F(TorchCheckpointIOTest, RemovesAndSaysWhatIsNotThere) {
  EXPECT_TRUE(io.RemoveCheckpoint(Path()).has_value());
  EXPECT_TRUE(io.RemoveCheckpoint(Path()).has_value());
  const Result<Checkpoint> loaded = io.LoadCheckpoint(Path());
  ASSERT_FALSE(loaded.has_value());
  EXPECT_EQ(loaded.error().code(), ErrorCode::kNotFound);
}

}  // namespace
}  // namespace ckptfs::libtorch

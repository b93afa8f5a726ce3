#include <ckptfs/torch/state_dict.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/linear.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/rmsprop.h>
#include <torch/optim/sgd.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ckptfs::libtorch {
namespace {

torch::nn::Sequential NewModel() {
  return torch::nn::Sequential(
      torch::nn::Linear(torch::nn::LinearOptions(3, 2).bias(false)),
      torch::nn::BatchNorm1d(2));
}

Value StateOf(const torch::nn::Module& module) {
  TensorConverter tensors;
  return *StateDict(module, tensors);
}

TEST(ModuleStateTest, NamesAndMemoryAreTheModules) {
  torch::nn::Sequential model = NewModel();
  const Value state = StateOf(*model);
  std::vector<std::string> names;
  for (const auto& [key, value] : state.AsDict()->items()) {
    names.push_back(*key.AsString());
    EXPECT_FALSE(value.AsTensor()->requires_grad);
  }
  EXPECT_EQ(names, (std::vector<std::string>{"0.weight", "1.weight", "1.bias",
                                             "1.running_mean", "1.running_var",
                                             "1.num_batches_tracked"}));
  EXPECT_EQ(state.AsDict()->Find("0.weight")->AsTensor()->bytes().data(),
            model->parameters()[0].data_ptr());
}

TEST(ModuleStateTest, LoadsWhatItSaved) {
  torch::nn::Sequential from = NewModel();
  torch::nn::Sequential to = NewModel();
  const Result<IncompatibleKeys> loaded = LoadStateDict(*to, StateOf(*from));
  ASSERT_TRUE(loaded.has_value());
  EXPECT_TRUE(to->parameters()[0].equal(from->parameters()[0]));
  EXPECT_TRUE(to->parameters()[0].requires_grad());
}

TEST(ModuleStateTest, TellsWhatDoesNotMatch) {
  torch::nn::Sequential from = NewModel();
  torch::nn::Sequential to = NewModel();
  const Value state = StateOf(*from);
  state.AsDict()->Erase("1.bias");
  state.AsDict()->Assign("more", *state.AsDict()->Find("1.weight"));
  const at::Tensor before = to->parameters()[0].clone();
  const Result<IncompatibleKeys> strict = LoadStateDict(*to, state);
  ASSERT_FALSE(strict.has_value());
  EXPECT_EQ(strict.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_NE(strict.error().message().find("1.bias"), std::string::npos);
  EXPECT_NE(strict.error().message().find("more"), std::string::npos);
  EXPECT_TRUE(to->parameters()[0].equal(before));

  const Result<IncompatibleKeys> loose = LoadStateDict(*to, state, false);
  ASSERT_TRUE(loose.has_value());
  EXPECT_EQ(loose->missing, std::vector<std::string>{"1.bias"});
  EXPECT_EQ(loose->unexpected, std::vector<std::string>{"more"});
  EXPECT_TRUE(to->parameters()[0].equal(from->parameters()[0]));
}

TEST(ModuleStateTest, AnotherShapeChangesNothing) {
  torch::nn::Sequential to = NewModel();
  const at::Tensor before = to->parameters()[0].clone();
  torch::nn::Sequential from = NewModel();
  const Value state = StateOf(*from);
  state.AsDict()->Assign("1.weight", *FromTensor(at::ones({3})));
  const Result<IncompatibleKeys> loaded = LoadStateDict(*to, state, false);
  ASSERT_FALSE(loaded.has_value());
  EXPECT_NE(loaded.error().message().find("1.weight has the shape [3]"),
            std::string::npos);
  EXPECT_TRUE(to->parameters()[0].equal(before));
}

TEST(ModuleStateTest, OtherDtypesAreConverted) {
  torch::nn::Sequential from = NewModel();
  torch::nn::Sequential to = NewModel();
  from->to(at::kDouble);
  ASSERT_TRUE(LoadStateDict(*to, StateOf(*from)).has_value());
  EXPECT_EQ(to->parameters()[0].scalar_type(), at::kFloat);
  EXPECT_TRUE(to->parameters()[0].equal(from->parameters()[0].to(at::kFloat)));
}

TEST(ModuleStateTest, RefusesOtherValues) {
  torch::nn::Sequential to = NewModel();
  Dict text;
  text.Assign("0.weight", "text");
  Dict number;
  number.Assign(1, 2);
  for (const Value& value :
       {Value(), Value(List{}), Value(text), Value(number)}) {
    EXPECT_EQ(LoadStateDict(*to, value, false).error().code(),
              ErrorCode::kInvalidArgument);
  }
}

// One parameter, one step, so that there is a state.
struct Trained {
  explicit Trained(bool amsgrad = false) {
    optimizer = std::make_unique<torch::optim::Adam>(
        std::vector<at::Tensor>{weight},
        torch::optim::AdamOptions(0.1).amsgrad(amsgrad));
    weight.square().sum().backward();
    optimizer->step();
  }
  Value State() {
    TensorConverter tensors;
    return *StateDict(*optimizer, tensors);
  }
  at::Tensor weight = at::ones({2, 3}).set_requires_grad(true);
  std::unique_ptr<torch::optim::Adam> optimizer;
};

Dict& GroupOf(const Value& state) {
  return *state.AsDict()->Find("param_groups")->AsList()->items[0].AsDict();
}
Dict& StatesOf(const Value& state) {
  return *state.AsDict()->Find("state")->AsDict();
}
Dict& FirstStateOf(const Value& state) {
  return *StatesOf(state).items()[0].second.AsDict();
}

TEST(OptimizerStateTest, GoesRound) {
  Trained from(true);
  Trained to;
  ASSERT_TRUE(LoadStateDict(*to.optimizer, from.State()).has_value());
  const auto& state = static_cast<const torch::optim::AdamParamState&>(
      *to.optimizer->state().at(to.weight.unsafeGetTensorImpl()));
  EXPECT_EQ(state.step(), 1);
  EXPECT_TRUE(state.max_exp_avg_sq().defined());
  const auto& options = static_cast<const torch::optim::AdamOptions&>(
      to.optimizer->param_groups()[0].options());
  EXPECT_TRUE(options.amsgrad());
  EXPECT_EQ(options.lr(), 0.1);
}

// Each is refused with a reason, and leaves the optimizer as it was.
TEST(OptimizerStateTest, RefusesWhatItCouldNotStepWith) {
  using Change = std::function<void(const Value&)>;
  const std::vector<std::pair<std::string, Change>> changes = {
      {"no exp_avg", [](const Value& s) { FirstStateOf(s).Erase("exp_avg"); }},
      {"no valid step", [](const Value& s) { FirstStateOf(s).Erase("step"); }},
      {"no valid step",
       [](const Value& s) { FirstStateOf(s).Assign("step", -1); }},
      {"exp_avg is a str",
       [](const Value& s) { FirstStateOf(s).Assign("exp_avg", "x"); }},
      {"another shape",
       [](const Value& s) {
         FirstStateOf(s).Assign("exp_avg", *FromTensor(at::ones({7})));
       }},
      {"amsgrad is on",
       [](const Value& s) { GroupOf(s).Assign("amsgrad", true); }},
      {"lr is a str", [](const Value& s) { GroupOf(s).Assign("lr", "x"); }},
      {"betas is not",
       [](const Value& s) { GroupOf(s).Assign("betas", Tuple{{0.5}}); }},
      {"maximize", [](const Value& s) { GroupOf(s).Assign("maximize", true); }},
      {"AdamW",
       [](const Value& s) {
         GroupOf(s).Assign("decoupled_weight_decay", true);
       }},
      {"has 2 parameters",
       [](const Value& s) { GroupOf(s).Assign("params", List{{0, 1}}); }},
      {"no group has it",
       [](const Value& s) { GroupOf(s).Assign("params", List{{5}}); }},
      {"has 0 param_groups",
       [](const Value& s) { s.AsDict()->Assign("param_groups", List{}); }},
      {"no dict of states", [](const Value& s) { s.AsDict()->Erase("state"); }},
  };
  for (const auto& [reason, change] : changes) {
    Trained from;
    const Value state = from.State();
    change(state);
    Trained to;
    auto& before = *to.optimizer->state().at(to.weight.unsafeGetTensorImpl());
    const Result<void> loaded = LoadStateDict(*to.optimizer, state);
    ASSERT_FALSE(loaded.has_value()) << reason;
    EXPECT_NE(loaded.error().message().find(reason), std::string::npos)
        << loaded.error().ToString();
    EXPECT_EQ(to.optimizer->state().at(to.weight.unsafeGetTensorImpl()).get(),
              &before);
  }
}

TEST(OptimizerStateTest, SaysWhichOptimizersItServes) {
  torch::optim::RMSprop other(
      std::vector<at::Tensor>{at::ones({1}).set_requires_grad(true)});
  TensorConverter tensors;
  EXPECT_EQ(StateDict(other, tensors).error().code(), ErrorCode::kUnsupported);
  EXPECT_EQ(LoadStateDict(other, Value(Dict())).error().code(),
            ErrorCode::kUnsupported);
}

// Numbers as tensors, which Python allows; what nobody here knows.
TEST(OptimizerStateTest, TakesPythonsVariants) {
  Trained from;
  const Value state = from.State();
  Dict& group = GroupOf(state);
  group.Assign("lr", *FromTensor(at::scalar_tensor(0.25)));
  group.Assign("betas", List{{0.5, *FromTensor(at::scalar_tensor(0.75))}});
  group.Assign("weight_decay", 0);
  group.Assign("initial_lr", 3.0);
  FirstStateOf(state).Assign("step", 4);
  Trained to;
  ASSERT_TRUE(LoadStateDict(*to.optimizer, state).has_value());
  const auto& options = static_cast<const torch::optim::AdamOptions&>(
      to.optimizer->param_groups()[0].options());
  EXPECT_EQ(options.lr(), 0.25);
  EXPECT_EQ(options.betas(), std::make_tuple(0.5, 0.75));
  StatesOf(state).Clear();
  ASSERT_TRUE(LoadStateDict(*to.optimizer, state).has_value());
  EXPECT_TRUE(to.optimizer->state().empty());
}

}  // namespace
}  // namespace ckptfs::libtorch

#include <ckptfs/checkpoint/checkpoint_io.h>

#include "unit/checkpoint/engine_fixture.h"

namespace ckptfs {
namespace {

class CheckpointIOTest : public EngineTest,
                         public ::testing::WithParamInterface<bool> {
 protected:
  std::string Path() const {
    return (GetParam() ? "s3://bucket/run" : folder) + "/last.ckpt";
  }
  std::unique_ptr<CheckpointIO> io = MakeCheckpointIO(engine);
};

TEST_P(CheckpointIOTest, SavesLoadsAndRemoves) {
  EXPECT_FALSE(io->requires_state_on_load());
  const TensorView weight = NewTensor({100}, 1);
  ASSERT_TRUE(io->SaveCheckpoint(
      State({{"epoch", 3}, {"state_dict", State({{"w", weight}})}}), Path()));
  const Result<Value> loaded = io->LoadCheckpoint(Path());
  ASSERT_TRUE(loaded) << loaded.error().ToString();
  const Dict& state = *loaded->AsDict()->Find("state_dict")->AsDict();
  EXPECT_EQ(BytesOf(*state.Find("w")->AsTensor()), BytesOf(weight));
  EXPECT_TRUE(io->RemoveCheckpoint(Path()));
  EXPECT_TRUE(io->RemoveCheckpoint(Path()));
  EXPECT_EQ(io->LoadCheckpoint(Path()).error().code(), ErrorCode::kNotFound);
  EXPECT_TRUE(io->Teardown());
}

TEST_P(CheckpointIOTest, ALoadInPlaceReturnsWhatIsLeft) {
  const TensorView weight = NewTensor({100}, 1);
  Tuple betas{{0.9, 0.95}};
  ASSERT_TRUE(io->SaveCheckpoint(
      State({{"epoch", 3},
             {"state_dict", State({{"w", weight}})},
             {"optimizer", State({{"exp_avg", weight}, {"betas", betas}})},
             {"list", List{{weight, 7}}},
             {"nothing", State({})}}),
      Path()));
  TensorView w = NewTensor({100}, 2);
  TensorView moment = NewTensor({100}, 3);
  CheckpointLoadOptions options;
  options.state = State({{"state_dict", State({{"w", w}})},
                         {"optimizer", State({{"exp_avg", moment}})},
                         {"list", List{{NewTensor({100}, 4)}}}});
  const Result<Value> rest = io->LoadCheckpoint(Path(), options);
  ASSERT_TRUE(rest) << rest.error().ToString();
  EXPECT_EQ(BytesOf(w), BytesOf(weight));
  EXPECT_EQ(BytesOf(moment), BytesOf(weight));
  const Dict& dict = *rest->AsDict();
  EXPECT_EQ(dict.Find("epoch")->AsInt(), 3);
  EXPECT_EQ(dict.Find("state_dict"), nullptr);
  EXPECT_EQ(dict.Find("optimizer")->AsDict()->size(), 1u);
  EXPECT_NE(dict.Find("optimizer")->AsDict()->Find("betas"), nullptr);
  EXPECT_EQ(dict.Find("list")->AsList()->items.size(), 2u);
  EXPECT_TRUE(dict.Find("list")->AsList()->items[0].is_none());
  EXPECT_NE(dict.Find("nothing"), nullptr);
}

TEST_P(CheckpointIOTest, NothingIsLeftOfTensorsAlone) {
  const TensorView weight = NewTensor({100}, 1);
  ASSERT_TRUE(
      io->SaveCheckpoint(State({{"a", State({{"w", weight}})}}), Path()));
  CheckpointLoadOptions options;
  options.state = State({{"a", State({{"w", NewTensor({100}, 2)}})}});
  const Result<Value> rest = io->LoadCheckpoint(Path(), options);
  ASSERT_TRUE(rest);
  EXPECT_TRUE(rest->is_none());
}

INSTANTIATE_TEST_SUITE_P(, CheckpointIOTest, ::testing::Values(true, false),
                         [](const ::testing::TestParamInfo<bool>& tested) {
                           return tested.param ? "S3" : "PlainFile";
                         });

}  // namespace
}  // namespace ckptfs

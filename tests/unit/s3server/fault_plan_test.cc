#include "s3server/fault_plan.h"

#include <gtest/gtest.h>

#include <thread>

namespace ckptfs::s3server {
namespace {

Operation Part(int number, std::string key = "dir/key") {
  return {OperationKind::kUploadPart, "b", std::move(key), number, "u"};
}

void Add(FaultPlan& plan, std::string_view text) {
  const auto added = plan.Add(*ParseQuery(text));
  ASSERT_TRUE(added) << added.error();
}

TEST(FaultPlanTest, FiltersByOperationPartBucketAndKey) {
  FaultPlan plan;
  Add(plan, "action=fail&op=UploadPart&part=2&key=ir/&bucket=b&count=-1");
  EXPECT_FALSE(plan.Take(Part(1)));
  EXPECT_FALSE(plan.Take(Part(2, "other")));
  EXPECT_FALSE(
      plan.Take({OperationKind::kUploadPartCopy, "b", "dir/key", 2, "u"}));
  EXPECT_FALSE(plan.Take({OperationKind::kUploadPart, "c", "dir/key", 2, "u"}));
  for (int i = 0; i < 3; ++i) {
    const auto fault = plan.Take(Part(2));
    ASSERT_TRUE(fault);
    EXPECT_EQ(fault->action, FaultAction::kFail);
    EXPECT_EQ(fault->status, 500);
    EXPECT_EQ(fault->code, "InternalError");
  }
}

TEST(FaultPlanTest, CountsAndSkips) {
  FaultPlan plan;
  Add(plan, "action=slow_down&skip=1&count=2");
  EXPECT_FALSE(plan.Take(Part(1)));
  const auto fault = plan.Take(Part(1));
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->status, 503);
  EXPECT_EQ(fault->code, "SlowDown");
  EXPECT_TRUE(plan.Take(Part(1)));
  EXPECT_FALSE(plan.Take(Part(1)));
  EXPECT_EQ(plan.List()[0].count, 0);
}

TEST(FaultPlanTest, UsedUpFaultsLeaveTheNextInCharge) {
  FaultPlan plan;
  Add(plan, "action=fail");
  Add(plan, "action=lose_reply");
  EXPECT_EQ(plan.Take(Part(1))->action, FaultAction::kFail);
  EXPECT_EQ(plan.Take(Part(1))->action, FaultAction::kLoseReply);
  EXPECT_FALSE(plan.Take(Part(1)));
}

TEST(FaultPlanTest, ReadsAllParameters) {
  FaultPlan plan;
  Add(plan,
      "action=reset&at_byte=17&side=response&status=418&code=Tea"
      "&when=after");
  const auto fault = plan.Take(Part(1));
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->at_byte, 17u);
  EXPECT_EQ(fault->on_response, true);
  EXPECT_EQ(fault->status, 418);
  EXPECT_EQ(fault->code, "Tea");
  EXPECT_TRUE(fault->after);
}

TEST(FaultPlanTest, SaysWhatIsWrong) {
  FaultPlan plan;
  for (const char* text :
       {"", "op=UploadPart", "action=explode", "action=fail&op=Upload",
        "action=fail&count=x", "action=fail&sort=1", "action=reset&side=left",
        "action=fail&status=99", "action=hold&when=never"}) {
    const auto added = plan.Add(*ParseQuery(text));
    ASSERT_FALSE(added) << text;
    EXPECT_FALSE(added.error().empty());
  }
  EXPECT_TRUE(plan.List().empty());
}

TEST(FaultPlanTest, HoldsUntilReleased) {
  FaultPlan plan;
  Add(plan, "action=hold");
  const auto fault = plan.Take(Part(1));
  ASSERT_TRUE(fault);
  bool released = false;
  std::thread thread([&] { released = plan.Hold(*fault); });
  ASSERT_TRUE(plan.WaitHeld(1, std::chrono::seconds(60)));
  EXPECT_EQ(plan.held(), 1);
  plan.Release();
  thread.join();
  EXPECT_TRUE(released);
  EXPECT_EQ(plan.held(), 0);
  EXPECT_FALSE(plan.WaitHeld(1, std::chrono::milliseconds(0)));
}

// It is taken with the headers of a request, and the body comes first.
TEST(FaultPlanTest, NothingIsHeldAfterAClear) {
  FaultPlan plan;
  Add(plan, "action=hold&count=-1");
  const auto fault = plan.Take(Part(1));
  ASSERT_TRUE(fault);
  plan.Clear();
  Add(plan, "action=hold&count=-1");
  EXPECT_TRUE(plan.Hold(*fault));
  plan.Stop();
  EXPECT_FALSE(plan.Hold(*fault));
}

TEST(FaultPlanTest, StopEndsHoldsAndSleeps) {
  FaultPlan plan;
  Add(plan, "action=hold");
  const auto fault = plan.Take(Part(1));
  ASSERT_TRUE(fault);
  bool held = true;
  bool slept = true;
  std::thread holder([&] { held = plan.Hold(*fault); });
  std::thread sleeper([&] { slept = plan.Sleep(std::chrono::hours(1)); });
  ASSERT_TRUE(plan.WaitHeld(1, std::chrono::seconds(60)));
  plan.Stop();
  holder.join();
  sleeper.join();
  EXPECT_FALSE(held);
  EXPECT_FALSE(slept);
}

}  // namespace
}  // namespace ckptfs::s3server

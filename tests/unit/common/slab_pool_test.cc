#include "common/slab_pool.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace ckptfs {
namespace {

TEST(SlabPool, RecyclesUpToItsLimitAndCountsWhatIsOut) {
  SlabPool pool(1);
  auto a = pool.Acquire();
  auto b = pool.Acquire();
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(a->data()) % 4096, 0u);
  EXPECT_EQ(pool.outstanding(), 2u);
  std::byte* const kept = a->data();
  a.reset();
  b.reset();  // freed: one idle slab is enough
  EXPECT_EQ(pool.outstanding(), 0u);
  EXPECT_EQ(pool.Acquire()->data(), kept);
}

TEST(SlabPool, SlabsMayOutliveThePool) {
  std::shared_ptr<Slab> slab;
  {
    SlabPool pool(1);
    slab = pool.Acquire();
  }
  slab->data()[0] = std::byte{1};
}

}  // namespace
}  // namespace ckptfs

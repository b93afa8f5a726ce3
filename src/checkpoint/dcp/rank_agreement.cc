#include "checkpoint/dcp/rank_agreement.h"

#include <utility>

#include "checkpoint/dcp/rank_messages.h"

namespace ckptfs {

Task<Result<std::vector<std::string>>> GatherOutcomes(
    Coordination& coordination, Result<std::string> own) {
  Result<std::vector<std::string>> gathered =
      co_await coordination.Gather(EncodeOutcome(own));
  CKPTFS_CO_RETURN_IF_ERROR(gathered);
  std::vector<std::string> values;
  if (coordination.rank() != 0) co_return std::move(values);
  for (std::size_t rank = 0; rank < gathered->size(); ++rank) {
    Result<std::string> value = DecodeOutcome((*gathered)[rank]);
    if (!value && coordination.world_size() > 1) {
      co_return Fail(value.error().WithContext("rank " + std::to_string(rank)));
    }
    CKPTFS_CO_RETURN_IF_ERROR(value);
    values.push_back(*std::move(value));
  }
  co_return std::move(values);
}

Task<Result<std::string>> BroadcastOutcome(Coordination& coordination,
                                           Result<std::string> outcome) {
  Result<std::string> bytes =
      co_await coordination.Broadcast(EncodeOutcome(outcome));
  CKPTFS_CO_RETURN_IF_ERROR(bytes);
  co_return DecodeOutcome(*bytes);
}

Task<Result<void>> Agree(Coordination& coordination, Result<void> own) {
  Result<std::string> mine = std::string();
  if (!own) mine = Fail(own.error());
  Result<std::vector<std::string>> all =
      co_await GatherOutcomes(coordination, std::move(mine));
  Result<std::string> outcome = std::string();
  if (!all) outcome = Fail(all.error());
  Result<std::string> agreed =
      co_await BroadcastOutcome(coordination, std::move(outcome));
  CKPTFS_CO_RETURN_IF_ERROR(agreed);
  co_return Result<void>();
}

}  // namespace ckptfs

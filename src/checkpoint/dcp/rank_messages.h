// RankMessages: what ranks tell each other, as bytes: an outcome, plans,
// results. All ranks run the same version.
#pragma once

#include <ckptfs/checkpoint/dcp/plan.h>
#include <ckptfs/result.h>

#include <string>
#include <vector>

namespace ckptfs {

std::string EncodeOutcome(const Result<std::string>& outcome);
// The outcome that was encoded; kDataLoss: the bytes are none.
Result<std::string> DecodeOutcome(const std::string& bytes);

Result<std::string> EncodeSavePlan(const DcpSavePlan& plan);
Result<DcpSavePlan> DecodeSavePlan(const std::string& bytes);

Result<std::string> EncodeWriteResults(
    const std::vector<DcpWriteResult>& results);
Result<std::vector<DcpWriteResult>> DecodeWriteResults(
    const std::string& bytes);

}  // namespace ckptfs

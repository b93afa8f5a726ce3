#include <ckptfs/checkpoint/dcp/coordination.h>

#include <utility>

namespace ckptfs {

Future<std::vector<std::string>> SingleProcess::Gather(std::string bytes) {
  std::vector<std::string> all;
  all.push_back(std::move(bytes));
  return Result<std::vector<std::string>>(std::move(all));
}

Future<std::string> SingleProcess::Scatter(std::vector<std::string> bytes) {
  if (bytes.size() != 1) {
    return Result<std::string>(
        Fail(ErrorCode::kInvalidArgument, "a scatter to other than one rank"));
  }
  return Result<std::string>(std::move(bytes.front()));
}

Future<std::string> SingleProcess::Broadcast(std::string bytes) {
  return Result<std::string>(std::move(bytes));
}

}  // namespace ckptfs

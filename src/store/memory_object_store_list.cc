// ListObjectsV2 over the objects in memory.
#include <algorithm>
#include <string>
#include <utility>

#include "store/memory_object_store.h"

namespace ckptfs {

Future<ListResult> MemoryObjectStore::List(ListRequest request) {
  const auto run = [&]() -> Result<ListResult> {
    CKPTFS_RETURN_IF_ERROR(Enter(request.options));
    if (request.max_keys < 1) {
      return Fail(ErrorCode::kInvalidArgument, "max_keys must be positive");
    }
    const auto limit =
        static_cast<std::size_t>(std::min(request.max_keys, options_.max_page));
    // The token is the last entry of the page before; a common prefix stands
    // for every key below it, which the next page must leave out.
    const std::string& after = request.continuation_token.empty()
                                   ? request.start_after
                                   : request.continuation_token;
    const bool after_prefix = !request.continuation_token.empty() &&
                              !request.delimiter.empty() &&
                              after.size() > request.prefix.size() &&
                              after.ends_with(request.delimiter);
    ListResult out;
    std::string last;
    MutexLock lock(mu_);
    for (auto it = objects_.lower_bound(std::max(request.prefix, after));
         it != objects_.end() && it->first.starts_with(request.prefix); ++it) {
      const std::string& key = it->first;
      if (!after.empty() &&
          (key <= after || (after_prefix && key.starts_with(after)))) {
        continue;
      }
      std::string common;
      if (!request.delimiter.empty()) {
        const std::size_t at =
            key.find(request.delimiter, request.prefix.size());
        if (at != std::string::npos) {
          common = key.substr(0, at + request.delimiter.size());
        }
      }
      if (!common.empty() && !out.common_prefixes.empty() &&
          out.common_prefixes.back() == common) {
        continue;
      }
      if (out.objects.size() + out.common_prefixes.size() == limit) {
        out.truncated = true;
        out.next_continuation_token = last;
        break;
      }
      last = common.empty() ? key : common;
      if (!common.empty()) {
        out.common_prefixes.push_back(std::move(common));
        continue;
      }
      ObjectInfo info = it->second->info;
      info.metadata.clear();
      info.content_type.clear();
      // ListObjectsV2 lists current versions and no ids.
      info.version_id.clear();
      out.objects.push_back(std::move(info));
    }
    return out;
  };
  return run();
}

}  // namespace ckptfs

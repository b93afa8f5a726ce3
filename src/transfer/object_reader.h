// ObjectReader: parallel ranged reads of one pinned version of one object.
#pragma once

#include <ckptfs/object_store.h>

#include <cstdint>
#include <string>

#include "common/task.h"

namespace ckptfs {

struct ObjectReaderOptions {
  // A larger read is split into ranges of this size, sent side by side.
  std::uint64_t range_bytes = 8ull << 20;
  int max_ranges_in_flight = 8;  // of one Read
};

// Immutable after construction; Read may be called from several Tasks.
class ObjectReader {
 public:
  // `pinned` names key, size and ETag. Every range carries If-Match.
  ObjectReader(ObjectStore& store, Executor& executor, ObjectInfo pinned,
               ObjectReaderOptions options);

  const ObjectInfo& info() const { return info_; }

  // Fills `destination` from `offset`; fewer bytes only at the end of the
  // object. kStale if the object was replaced or removed: no byte of another
  // version is ever delivered as a success. After an error the destination
  // holds anything; no range is in flight any more. The reader must outlive
  // the Task.
  Task<Result<std::uint64_t>> Read(std::uint64_t offset,
                                   Destination destination,
                                   RequestOptions options) const;

 private:
  ObjectStore& store_;
  Executor& executor_;
  const ObjectInfo info_;
  const ObjectReaderOptions options_;
};

}  // namespace ckptfs

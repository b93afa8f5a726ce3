// Snapshot: a copy of a value that no later change reaches.
#pragma once

#include <ckptfs/checkpoint/value.h>
#include <ckptfs/result.h>

#include <cstdint>

namespace ckptfs {

// Bytes that a snapshot of `value` takes: its storages, each counted once.
Result<std::uint64_t> SnapshotBytes(const Value& value);

// Copies containers and the memory of storages; what is shared stays shared.
// Blocks while it copies. kResourceExhausted: no memory. kInvalidArgument: a
// storage is not loaded.
Result<Value> TakeSnapshot(const Value& value);

}  // namespace ckptfs

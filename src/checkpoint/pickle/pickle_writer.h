// WritePickle: Values as a pickle of protocol 2, with none but the opcodes that
// torch.load(weights_only=True) accepts (torch 2.13,
// torch/_weights_only_unpickler.py).
#pragma once

#include <ckptfs/checkpoint/value.h>
#include <ckptfs/result.h>

#include <memory>
#include <string>

namespace ckptfs {

// Names the records of storages.
class PickleStorages {
 public:
  virtual ~PickleStorages() = default;
  // The key of the record that will hold the storage: "0", "1", ... Asked once
  // for every tensor, in order of appearance; the same storage gets the same
  // key each time.
  virtual std::string KeyOf(const std::shared_ptr<Storage>& storage) = 0;
};

// What torch.save writes for the same values, so that Python finds equal types:
// OrderedDict, sets and bytes by their idioms of protocol 2, tensors by
// _rebuild_tensor_v2, and by _rebuild_tensor_v3 where the dtype has no storage
// class. Containers, tensors and Objects that appear twice (the same
// shared_ptr) are one object in Python too.
// Errors: kInvalidArgument for nesting deeper than 200 levels, a value that
// contains itself, strs beyond 4 GiB, names with a line break, a tensor out of
// bounds; kUnsupported for Objects that protocol 2 cannot make without running
// code (keyword arguments of __new__) and persistent ids.
Result<std::string> WritePickle(const Value& value, PickleStorages& storages);

}  // namespace ckptfs

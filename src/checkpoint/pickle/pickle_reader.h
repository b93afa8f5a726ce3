// ReadPickle: Python pickles as data. A machine over the opcodes of protocols 2
// to 5 (Lib/pickletools.py of CPython 3.13) that builds Values and runs
// nothing: a class or function is a name, a call is an Object, and what a name
// stands for is the handler's business.
#pragma once

#include <ckptfs/checkpoint/value.h>
#include <ckptfs/result.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace ckptfs {

// What the pickle's names mean. The defaults make opaque Objects of everything.
class PickleHandler {
 public:
  virtual ~PickleHandler() = default;
  // Before a GLOBAL is pushed. An error ends the read: classes that are not
  // allowed.
  virtual Result<void> CheckGlobal(const Global& global);
  // callable(*args). `args` were built before, so they hold no cycle.
  virtual Result<Value> Reduce(const Global& callable,
                               const std::vector<Value>& args);
  // BINPERSID.
  virtual Result<Value> Persistent(const Value& id);
  // BUILD on what is neither an Object nor an OrderedDict or dict (which keep
  // the state themselves), e.g. on a tensor: kInvalidArgument by default.
  virtual Result<Value> Build(Value target, Value state);
};

// What a hostile file may cost at most.
struct PickleLimits {
  std::uint64_t max_values = 50'000'000;  // pushed, over the whole read
  std::uint32_t max_memo = 50'000'000;  // entries; an index beyond is an error
  std::uint32_t max_depth = 200;        // nesting of the finished value
  std::uint64_t max_string_bytes = 1ull << 30;  // one str, bytes or long
};

// The value of a pickle that fills `data` up to its STOP; bytes behind it are
// ignored. Time and memory are linear in data.size(), whatever it holds: a
// length is compared with the bytes that are left before anything is allocated.
// Objects that are shared in the pickle are shared in the Value.
// Errors: kInvalidArgument; the message gives the offset and the opcode's code.
// Truncation, an unknown opcode, a stack or memo underflow, a wrong operand
// type, a value that contains itself (checked before it is returned; nothing
// leaks), a limit.
Result<Value> ReadPickle(std::span<const std::byte> data,
                         PickleHandler& handler,
                         const PickleLimits& limits = {});

// Every global that the pickle names, in order of first appearance: the scan
// for unsafe ones, whatever a handler would say of them. Errors as above.
Result<std::vector<Global>> ScanPickleGlobals(std::span<const std::byte> data,
                                              const PickleLimits& limits = {});

}  // namespace ckptfs

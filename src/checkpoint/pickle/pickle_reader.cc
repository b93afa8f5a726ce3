#include "checkpoint/pickle/pickle_reader.h"

#include <set>
#include <string>
#include <utility>

#include "checkpoint/pickle/pickle_machine.h"

namespace ckptfs {

namespace {

// Notes what is named; everything is allowed.
class GlobalScan final : public PickleHandler {
 public:
  Result<void> CheckGlobal(const Global& global) override {
    if (names_.insert(global.module + "\n" + global.name).second) {
      seen.push_back(global);
    }
    return {};
  }
  std::vector<Global> seen;

 private:
  std::set<std::string> names_;
};

}  // namespace

Result<void> PickleHandler::CheckGlobal(const Global&) { return {}; }

Result<Value> PickleHandler::Reduce(const Global& callable,
                                    const std::vector<Value>& args) {
  Object object;
  object.callable = callable;
  object.args = args;
  return Value(std::move(object));
}

Result<Value> PickleHandler::Persistent(const Value& id) {
  Object object;
  object.made = Object::Made::kPersistent;
  object.args = {id};
  return Value(std::move(object));
}

Result<Value> PickleHandler::Build(Value target, Value) {
  return BadPickle("attributes of a " + target.TypeName());
}

Result<Value> ReadPickle(std::span<const std::byte> data,
                         PickleHandler& handler, const PickleLimits& limits) {
  PickleMachine machine(data, handler, limits);
  return machine.Run();
}

Result<std::vector<Global>> ScanPickleGlobals(std::span<const std::byte> data,
                                              const PickleLimits& limits) {
  GlobalScan scan;
  CKPTFS_RETURN_IF_ERROR(ReadPickle(data, scan, limits));
  return std::move(scan.seen);
}

}  // namespace ckptfs

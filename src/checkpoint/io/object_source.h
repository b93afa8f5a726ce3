// ObjectSource: an object as a ByteSource.
#pragma once

#include <memory>
#include <string>

#include "checkpoint/io/byte_source.h"
#include "transfer/object_reader.h"

namespace ckptfs {

class ObjectSource final : public ByteSource {
 public:
  // `name`: the URI, for messages. Store and executor outlive the source.
  ObjectSource(ObjectStore& store, Executor& executor, std::string key,
               std::string name, ObjectReaderOptions options = {});

  const std::string& name() const override { return name_; }
  Task<Result<std::uint64_t>> Open(Destination first,
                                   std::stop_token stop) override;
  Task<Result<void>> Read(std::uint64_t offset, Destination destination,
                          std::stop_token stop) override;

 private:
  ObjectStore& store_;
  Executor& executor_;
  const std::string key_;
  const std::string name_;
  const ObjectReaderOptions options_;
  std::unique_ptr<ObjectReader> reader_;  // set by Open
};

}  // namespace ckptfs

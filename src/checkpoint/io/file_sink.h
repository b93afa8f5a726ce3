// FileSink: a plain file as a ByteSink.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "checkpoint/io/byte_sink.h"
#include "checkpoint/io/unique_fd.h"

namespace ckptfs {

// Written in order to ".tmp-<nonce>" beside the target, then synced and renamed
// over it: what reads the target sees the old or the new file. On a mount of
// ckptfs it is renamed while it is open and dirty, which publishes it under the
// new name alone; a sync would upload it under the old one first.
class FileSink final : public ByteSink {
 public:
  // `size` is announced with ftruncate. `pool` runs blocking calls; both
  // executors outlive the sink. Where symbolic links lead, a file is replaced
  // there, and keeps its mode and, as far as the process may, its owner. Errors
  // as open(2); kNotFound: the folder does not exist; kInvalidArgument: a
  // device, FIFO or socket is there.
  static Task<Result<std::unique_ptr<FileSink>>> Create(std::string path,
                                                        std::uint64_t size,
                                                        Executor& pool);
  ~FileSink() override;

  const std::string& name() const override { return path_; }
  void OnArrival(std::function<void(std::uint64_t)> fn) override {
    on_arrival_ = std::move(fn);
  }
  std::uint64_t part_bytes() const override { return 8ull << 20; }
  Task<Result<void>> Write(Payload part) override;
  // if_none_match is served by renameat2(RENAME_NOREPLACE); if_match is
  // kUnsupported.
  Task<Result<void>> Commit(WriteCondition condition) override;
  Task<Result<void>> Abort() override;

 private:
  FileSink(std::string path, std::string temporary, UniqueFd fd,
           Executor& pool);
  Error GivenUp() const;

  const std::string path_;
  std::string temporary_;  // to be removed; empty: nothing is left of it
  UniqueFd fd_;
  const bool on_mount_;
  Executor& pool_;
  std::uint64_t written_ = 0;
  std::function<void(std::uint64_t)> on_arrival_;
};

}  // namespace ckptfs

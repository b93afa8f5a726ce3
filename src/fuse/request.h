// Request: one FUSE request that must be answered, once.
#pragma once

#include <ckptfs/result.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "fs/types.h"
#include "fuse/connection.h"

struct fuse_req;
struct stat;

namespace ckptfs::fuse {

// A libfuse request with what its answer and its log line need. Movable; each
// method but the accessors answers and ends it, from any thread, and one that
// is destroyed unanswered answers EIO. Nothing of what the request was about
// may be touched after the answer: the kernel may have dropped the last
// reference of the inode, or the whole mount, before the call returns.
//
// Failures other than everyday answers are logged here, once, at warning.
class Request {
 public:
  // `operation` is a literal.
  Request(fuse_req* req, const char* operation, std::uint64_t ino) noexcept;
  Request(Request&& other) noexcept;
  ~Request();

  // The directory entry concerned, for the log line.
  void set_name(std::string name) { name_ = std::move(name); }

  fs::Caller caller() const;
  Dispatcher& dispatcher() const { return connection_->dispatcher(); }

  void Succeed();
  void Fail(const Error& error);
  // Not logged.
  void FailErrno(int error);
  void None();

  // False if the kernel no longer wanted the answer: then it holds no reference
  // to what the answer named, and the caller takes it back.
  bool ReplyEntry(const fs::Entry& entry);
  bool ReplyCreate(const fs::CreatedFile& created, int flags);
  bool ReplyOpen(const fs::OpenFile& open, int flags);

  void ReplyAttributes(const fs::Entry& entry);
  void ReplyWritten(std::size_t bytes);
  void ReplyStatFs(const fs::FileSystemStatistics& statistics);
  void ReplyBytes(const char* data, std::size_t size);
  void ReplyXattrSize(std::size_t size);
  // At most `limit` bytes. Larger answers are copied to the kernel on the work
  // pool; the payload's owner is held until then.
  void ReplyPayload(Payload payload, std::size_t limit);
  fuse_req* raw() const { return req_; }

 private:
  fuse_req* Take() { return std::exchange(req_, nullptr); }
  void SendPayload(const Payload& payload);
  std::string Subject() const;

  fuse_req* req_;  // null once answered
  std::shared_ptr<Connection> connection_;
  const char* operation_;
  std::uint64_t ino_;
  std::string name_;
};

// Attributes as stat(2) shows them.
void FillStat(const fs::Attributes& attributes, struct stat& out);

}  // namespace ckptfs::fuse

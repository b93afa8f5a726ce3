// ControlApi: the requests under /_control/, by which tests steer the server.
// Never signed; answers JSON. Thread-safe.
//
//   GET  /_control/stats             counters, per operation too; held requests
//   GET  /_control/log               the last requests (Statistics::kLogLength)
//   GET  /_control/uploads?bucket=B  open multipart uploads
//   GET  /_control/keys?bucket=B&prefix=P    the keys, in order
//   GET  /_control/object?bucket=B&key=K     the object's bytes, whatever
//   faults
//        and paces are set: for who judges what is stored; 404 if there is none
//   GET  /_control/faults            faults with their counts left
//   GET  /_control/wait-held?count=N&timeout_ms=T
//        answers when N requests are held; 504 after the timeout (10 s)
//   POST /_control/fault?...         adds a fault (grammar: fault_plan.h)
//   POST /_control/release           lets held requests go
//   POST /_control/clear             the same, and forgets all faults
//   POST /_control/set?latency_ms=&conn_mibs=&clock_offset_s=
//   POST /_control/reset-stats       counters to 0, log emptied
//   POST /_control/pattern?bucket=B&key=K&size=N
//        makes an object of N bytes of the pattern (pattern.h)
#pragma once

#include "s3server/fault_plan.h"
#include "s3server/http_message.h"
#include "s3server/object_table.h"
#include "s3server/statistics.h"

namespace ckptfs::s3server {

class ControlApi {
 public:
  ControlApi(ObjectTable& table, FaultPlan& plan, Statistics& statistics)
      : table_(table), plan_(plan), statistics_(statistics) {}

  static bool Serves(const Request& request);
  // Blocks only in wait-held. REQUIRES: Serves(request).
  Response Handle(const Request& request) const;

 private:
  Response Get(const Request& request, const std::string& name) const;
  Response Post(const Request& request, const std::string& name) const;
  Response Uploads(const Request& request) const;
  Response Keys(const Request& request) const;
  Response ObjectBytes(const Request& request) const;
  Response Set(const Request& request) const;
  Response MakePattern(const Request& request) const;

  ObjectTable& table_;
  FaultPlan& plan_;
  Statistics& statistics_;
};

}  // namespace ckptfs::s3server

#include "http/curl_handle.h"

#include <mutex>

namespace ckptfs {

void EnsureCurlInitialised() {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
}

}  // namespace ckptfs

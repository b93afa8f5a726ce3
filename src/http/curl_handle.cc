#include "http/curl_handle.h"

namespace ckptfs {

bool EnsureCurlInitialised() {
  static const bool initialised =
      curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  return initialised;
}

}  // namespace ckptfs

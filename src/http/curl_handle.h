// RAII owners of libcurl's handles, and the one-time initialisation of the
// library. Used by this layer alone.
#pragma once

#include <curl/curl.h>

#include <memory>

namespace ckptfs {

struct CurlEasyDeleter {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
using CurlEasy = std::unique_ptr<CURL, CurlEasyDeleter>;

struct CurlMultiDeleter {
  void operator()(CURLM* handle) const { curl_multi_cleanup(handle); }
};
using CurlMulti = std::unique_ptr<CURLM, CurlMultiDeleter>;

struct CurlSlistDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using CurlSlist = std::unique_ptr<curl_slist, CurlSlistDeleter>;

// Thread-safe; the first call runs curl_global_init, which is thread-safe by
// itself only since 7.84. False: it failed.
bool EnsureCurlInitialised();

}  // namespace ckptfs

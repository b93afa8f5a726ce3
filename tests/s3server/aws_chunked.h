// The aws-chunked content coding (STREAMING-UNSIGNED-PAYLOAD-TRAILER):
// hex-size CRLF data CRLF ... 0 CRLF trailers CRLF. Pure.
#pragma once

#include <string_view>

#include "s3server/content.h"
#include "s3server/s3_error.h"

namespace ckptfs::s3server {

// Signed chunks are not known here; they are refused before.
Reply<Content> DecodeAwsChunked(const Content& body);

}  // namespace ckptfs::s3server

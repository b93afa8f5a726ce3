#include "fuse/errno_map.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>

namespace ckptfs::fuse {
namespace {

struct Row {
  ErrorCode code;
  int error;
  bool everyday;
};

// The table that docs and header promise, written out a second time.
constexpr Row kRows[] = {
    {ErrorCode::kNotFound, ENOENT, true},
    {ErrorCode::kAlreadyExists, EEXIST, true},
    {ErrorCode::kInvalidArgument, EINVAL, false},
    {ErrorCode::kPermissionDenied, EACCES, false},
    {ErrorCode::kUnauthenticated, EACCES, false},
    {ErrorCode::kPreconditionFailed, ESTALE, false},
    {ErrorCode::kConflict, ESTALE, false},
    {ErrorCode::kTooLarge, EFBIG, false},
    {ErrorCode::kResourceExhausted, ENOSPC, false},
    {ErrorCode::kUnavailable, EIO, false},
    {ErrorCode::kDeadlineExceeded, EIO, false},
    {ErrorCode::kOutcomeUnknown, EIO, false},
    {ErrorCode::kCancelled, EIO, false},
    {ErrorCode::kDataLoss, EIO, false},
    {ErrorCode::kUnsupported, EOPNOTSUPP, false},
    {ErrorCode::kNotDirectory, ENOTDIR, true},
    {ErrorCode::kIsDirectory, EISDIR, true},
    {ErrorCode::kNotEmpty, ENOTEMPTY, true},
    {ErrorCode::kNameTooLong, ENAMETOOLONG, true},
    {ErrorCode::kReadOnly, EROFS, true},
    {ErrorCode::kStale, ESTALE, false},
    {ErrorCode::kInternal, EIO, false},
};

// [S-41]
TEST(ErrnoMap, EveryCodeHasItsErrno) {
  for (const Row& row : kRows) {
    EXPECT_EQ(ToErrno(row.code), row.error) << ErrorCodeName(row.code);
    EXPECT_EQ(IsEverydayAnswer(row.code), row.everyday)
        << ErrorCodeName(row.code);
  }
}

TEST(ErrnoMap, TableCoversTheEnum) {
  // kInternal is the last code.
  EXPECT_EQ(std::size(kRows),
            static_cast<std::size_t>(ErrorCode::kInternal) + 1);
  for (std::size_t i = 0; i < std::size(kRows); ++i) {
    EXPECT_EQ(static_cast<std::size_t>(kRows[i].code), i);
  }
}

}  // namespace
}  // namespace ckptfs::fuse

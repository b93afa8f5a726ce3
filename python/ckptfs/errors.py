"""Errors of S3 and of checkpoint files."""
from __future__ import annotations

import errno


class S3Exception(Exception):
    """An operation failed. Branch on `code`, never on the message.

    Attributes:
        code: name of the error in a closed set, e.g. "NotFound",
            "PermissionDenied", "Unauthenticated", "PreconditionFailed",
            "Unavailable", "DeadlineExceeded", "DataLoss", "Cancelled",
            "OutcomeUnknown" (see include/ckptfs/error.h).
        s3_code: what the server said, e.g. "NoSuchKey"; "" if nothing.
        status: HTTP status; 0 where no response was involved.
        request_id: the server's id of the request; "" if none.
        key: the object concerned; "" if none.
    """

    code: str
    s3_code: str
    status: int
    request_id: str
    key: str

    def __init__(self, message: str, code: str = "Internal", s3_code: str = "",
                 status: int = 0, request_id: str = "", key: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.s3_code = s3_code
        self.status = status
        self.request_id = request_id
        self.key = key

    def __str__(self) -> str:
        facts = [self.code, self.s3_code,
                 f"HTTP {self.status}" if self.status else "",
                 f"request {self.request_id}" if self.request_id else ""]
        return f"{self.message} ({', '.join(fact for fact in facts if fact)})"

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.message, self.code, self.s3_code,
                             self.status, self.request_id, self.key))


class S3NotFoundError(S3Exception, FileNotFoundError):
    """There is no such object, file or bucket."""

    errno = errno.ENOENT


class S3PermissionError(S3Exception, PermissionError):
    """Not allowed, or the credentials are missing, wrong or expired."""

    errno = errno.EACCES


class S3ValueError(S3Exception, ValueError):
    """A URI, an option or a file that is not what it should be."""


class S3UnavailableError(S3Exception, ConnectionError):
    """Trouble with the service or the connection, which may pass."""


_CLASSES: dict[str, type[S3Exception]] = {
    "NotFound": S3NotFoundError,
    "PermissionDenied": S3PermissionError,
    "Unauthenticated": S3PermissionError,
    "InvalidArgument": S3ValueError,
    "Unavailable": S3UnavailableError,
}


def make_error(code: str, message: str, s3_code: str, status: int,
               request_id: str, key: str) -> S3Exception:
    """The exception of an error of the engine."""
    return _CLASSES.get(code, S3Exception)(
        message, code, s3_code, status, request_id, key)

"""Files as streams: what torch.save writes to and torch.load reads from."""
from __future__ import annotations

import contextlib
import copy
import io
import operator
import os
import threading
import types
from collections.abc import Generator
from typing import TYPE_CHECKING

from ._engines import engine_for
from .config import S3ClientConfig
from .errors import S3Exception
from .files import Path, text_of

if TYPE_CHECKING:
    from typing_extensions import Buffer

_PEEK_BYTES = 64 << 10


class _Turn:
    """Lets one call at a time into a stream. Other threads wait; a call from
    within a call (a signal handler's) is an error, as io's own say."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._holder: int | None = None
        self._pid = os.getpid()

    @contextlib.contextmanager
    def take(self) -> Generator[None, None, None]:
        if os.getpid() != self._pid:  # a thread of the parent may hold the lock
            raise S3Exception(
                f"{self._name} was opened before a fork; open it again in the "
                "new process", "Unsupported")
        if self._holder == threading.get_ident():
            raise RuntimeError(f"reentrant call inside the stream {self._name}")
        with self._lock:
            self._holder = threading.get_ident()
            try:
                yield
            finally:
                self._holder = None

    def elsewhere(self) -> bool:
        """Whether this is not the process that opened the stream."""
        return os.getpid() != self._pid


class S3Reader(io.BufferedIOBase):
    """One version of a file, to read and seek in.

    It is found when the reader is made, not at the first read: the request
    that tells the size brings the first megabyte, and a file that is not there
    is an error where it is named. Bytes of a version that replaces it later
    are never delivered. Reads in order are fetched ahead, up to 96 MiB (see
    S3ClientConfig); large ones elsewhere arrive in the caller's memory, in
    parallel ranges. Calls release the GIL; threads may share a reader, and take
    turns.

    Attributes:
        name: the path.
        size: of the file, in bytes.
    """

    def __init__(self, path: Path, region: str | None = None,
                 endpoint: str | None = None,
                 config: S3ClientConfig | None = None) -> None:
        self.name = text_of(path)
        self._turn = _Turn(self.name)
        self._core = engine_for(region, endpoint, config).open_reader(
            self.name)
        self.size = self._core.size
        self._at = 0

    @property
    def bucket(self) -> str | None:
        """The bucket; None unless the path is an s3:// URI."""
        return self._bucket_and_key()[0]

    @property
    def key(self) -> str | None:
        """The key; None unless the path is an s3:// URI."""
        return self._bucket_and_key()[1]

    def _bucket_and_key(self) -> tuple[str | None, str | None]:
        scheme, found, rest = self.name.partition("s3://")
        if scheme or not found:
            return None, None
        bucket, _, key = rest.partition("/")
        return bucket, key

    def prefetch(self) -> None:
        """Does nothing: what it asks for in s3torchconnector came when the
        reader was made."""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        with self._turn.take():
            self._check_open()
            return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Moves, and returns the new position. Past the end: to the end.

        Raises:
            ValueError: a position before the beginning, or another `whence`.
            TypeError: the offset is no integer.
        """
        with self._turn.take():
            self._check_open()
            bases = {io.SEEK_SET: 0, io.SEEK_CUR: self._at,
                     io.SEEK_END: self.size}
            if whence not in bases:
                raise ValueError(f"whence is 0, 1 or 2, not {whence!r}")
            position = bases[whence] + operator.index(offset)
            if position < 0:
                raise ValueError(f"a position of {position} in {self.name}")
            self._at = min(position, self.size)
            return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        """The next `size` bytes, fewer only at the end; None or -1: all.

        Raises:
            S3Exception: trouble with the service; with the code "Stale" if the
                file was replaced or removed since it was opened.
            ValueError: the reader is closed.
        """
        with self._turn.take():
            self._check_open()
            wanted = self.size if size is None or size < 0 else size
            content = self._core.read(self._at, wanted)
            self._at += len(content)
            return content

    def read1(self, size: int = -1, /) -> bytes:
        return self.read(_PEEK_BYTES if size < 0 else size)

    def readinto(self, buffer: Buffer, /) -> int:
        """Fills a writable, contiguous buffer; errors as those of `read`."""
        with self._turn.take():
            self._check_open()
            count = self._core.read_into(self._at, buffer)
            self._at += count
            return count

    def readinto1(self, buffer: Buffer, /) -> int:
        """As `readinto`."""
        return self.readinto(buffer)

    def peek(self, size: int = 0, /) -> bytes:
        """Bytes that follow, without moving."""
        with self._turn.take():
            self._check_open()
            return self._core.read(self._at, max(size, _PEEK_BYTES))

    def close(self) -> None:
        # Also of a reader that was not opened: io's own finalizer calls it.
        core = getattr(self, "_core", None)
        if core is not None and not self.closed and (
                not self._turn.elsewhere()):
            with self._turn.take():
                core.close()
        super().close()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError(f"I/O operation on the closed {self.name}")


class S3Writer(io.BufferedIOBase):
    """A new file, written from its beginning to its end.

    It appears, in place of an older one, when `close` returns, and not at all
    after an error, after an exception inside `with`, or if it is forgotten
    without `close`: then an older one stays and no upload is left. A file of
    less than a part is one PUT; parts begin at the part size of the client
    configuration and grow as the file does, so that 5 TiB fit. Large buffers
    are sent from the memory they are in, others through up to 96 MiB of copies
    (see S3ClientConfig; two parts, where these are larger). Calls release the
    GIL; threads may share a writer, and take turns.

    Attributes:
        name: the path.
    """

    def __init__(self, path: Path, region: str | None = None,
                 endpoint: str | None = None,
                 config: S3ClientConfig | None = None, *,
                 if_none_match: bool = False,
                 if_match: str | None = None) -> None:
        self._closed = True  # until it is open
        self._failure: S3Exception | None = None
        self._at = 0
        self.name = text_of(path)
        self._turn = _Turn(self.name)
        self._core = engine_for(region, endpoint, config).open_writer(
            self.name, if_none_match, if_match or "")
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        """The number of bytes written."""
        return self._at

    def write(self, data: Buffer, /) -> int:
        """Writes all of a contiguous buffer, whose memory is not in use any
        more when this returns.

        Raises:
            S3Exception: a part did not arrive. The file is given up, and every
                later call raises it again.
            ValueError: the writer is closed.
        """
        with self._turn.take():
            self._check()
            try:
                written = self._core.write(data)
            except BaseException as error:
                # Of a buffer that is none, or has gaps, nothing was taken.
                if isinstance(error, S3Exception) or not isinstance(
                        error, (TypeError, BufferError, ValueError)):
                    self._note(error)
                raise
            self._at += written
            return written

    def flush(self) -> None:
        """Does nothing: S3 has no file before it is whole."""

    def close(self) -> None:
        """Publishes the file. A second call does nothing, or raises again what
        the first one did.

        Raises:
            S3Exception: the file was not published; with the code
                "OutcomeUnknown" if the last reply was lost.
        """
        with self._turn.take():
            already = self._closed
            self._closed = True
            self._raise_failure()
            if already:
                return
            try:
                self._core.close()
            except BaseException as error:
                self._note(error)
                raise

    def abort(self) -> None:
        """Gives the file up: nothing appears, no upload is left, and the writer
        is closed. Does nothing if it is closed already."""
        if self._closed or self._turn.elsewhere():
            return
        with self._turn.take():
            self._closed = True
            self._core.abort()

    def __enter__(self) -> S3Writer:
        self._check()
        return self

    def __exit__(self, kind: type[BaseException] | None,
                 error: BaseException | None,
                 traceback: types.TracebackType | None) -> None:
        if error is None:
            self.close()
            return
        cause = self._failure
        self.abort()
        # Torch wraps what `write` raises in its own words.
        if cause is not None and isinstance(error, RuntimeError):
            raise cause from error

    def __del__(self) -> None:
        # io's own would close it, which publishes. At the end of the
        # interpreter modules are empty; the core gives the file up then.
        try:
            self.abort()
        except Exception:  # noqa: BLE001
            return

    def _check(self) -> None:
        if self._closed:
            raise ValueError(f"I/O operation on the closed {self.name}")
        self._raise_failure()

    def _note(self, error: BaseException) -> None:
        # A copy: the traceback of the original leads back to this writer.
        self._failure = (
            copy.copy(error) if isinstance(error, S3Exception)
            else S3Exception(f"{self.name} was given up at a "
                             f"{type(error).__name__}", "Cancelled"))

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise copy.copy(self._failure)


def open_reader(path: Path, region: str | None = None,
                endpoint: str | None = None,
                config: S3ClientConfig | None = None) -> S3Reader:
    """Opens a file to read it.

    Args:
        path: "s3://bucket/key", "file:///path" or a plain path.
        region, endpoint, config: as those of `ckptfs.exists`.

    Raises:
        FileNotFoundError: there is no such file (an S3NotFoundError).
        S3Exception: other trouble.
        ValueError, TypeError: a wrong path or setting.
    """
    return S3Reader(path, region, endpoint, config)


def open_writer(path: Path, region: str | None = None,
                endpoint: str | None = None,
                config: S3ClientConfig | None = None, *,
                if_none_match: bool = False,
                if_match: str | None = None) -> S3Writer:
    """Opens a new file to write it.

    Args:
        path: "s3://bucket/key", "file:///path" or a plain path; a folder of a
            plain path must exist.
        region, endpoint, config: as those of `ckptfs.exists`.
        if_none_match: only if there is no such file yet.
        if_match: only if the object there has this ETag, quotes included.

    Raises:
        S3Exception, ValueError, TypeError: as `open_reader`. What the server
            says, it says when parts are sent and when the file is closed.
    """
    return S3Writer(path, region, endpoint, config,
                    if_none_match=if_none_match, if_match=if_match)


class S3Checkpoint:
    """Readers and writers of checkpoints, for torch.load and torch.save.

    Args:
        region: of the bucket; None: AWS_REGION, AWS_DEFAULT_REGION, us-east-1.
        endpoint: URL of the service; None: AWS_ENDPOINT_URL_S3,
            AWS_ENDPOINT_URL, AWS.
        s3client_config: other settings.

    Example:
        checkpoint = S3Checkpoint(region="us-east-1")
        with checkpoint.writer("s3://bucket/epoch0.pt") as writer:
            torch.save(model.state_dict(), writer)
        with checkpoint.reader("s3://bucket/epoch0.pt") as reader:
            state = torch.load(reader)
    """

    def __init__(self, region: str | None = None, endpoint: str | None = None,
                 s3client_config: S3ClientConfig | None = None) -> None:
        engine_for(region, endpoint, s3client_config)  # checks them
        self.region = region
        self.endpoint = endpoint
        self.s3client_config = s3client_config

    def reader(self, s3_uri: Path) -> S3Reader:
        """Opens a file; arguments and errors as those of `open_reader`."""
        return open_reader(s3_uri, self.region, self.endpoint,
                           self.s3client_config)

    def writer(self, s3_uri: Path) -> S3Writer:
        """Opens a new file; arguments and errors as those of `open_writer`."""
        return open_writer(s3_uri, self.region, self.endpoint,
                           self.s3client_config)

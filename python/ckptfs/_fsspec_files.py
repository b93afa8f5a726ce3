"""The files that CkptFileSystem writes."""
from __future__ import annotations

import io
import sys
import types
from typing import TYPE_CHECKING, Any

from fsspec.core import OpenFile

from .errors import S3Exception
from .s3checkpoint import open_writer

if TYPE_CHECKING:
    from .fsspec import CkptFileSystem

# An object is appended to by writing it again.
_MAX_APPEND_BYTES = 64 << 20


class _WrittenFile(io.BufferedIOBase):
    """A file that appears when it is closed, or when its transaction ends;
    never if its `with` block failed or it was not closed."""

    def __init__(self, fs: CkptFileSystem, path: str, mode: str,
                 autocommit: bool) -> None:
        super().__init__()
        self.fs = fs
        self.path = path
        self.mode = mode
        self._autocommit = autocommit
        self._ended = False

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        if self.closed:
            return
        if self._left_by_exception():
            self.discard()
            return
        super().close()
        if self._autocommit:
            self.commit()

    def commit(self) -> None:
        """Publishes the file; for fsspec's transactions."""
        if self._ended:
            return
        self._ended = True
        self.fs.invalidate_cache(self.path)
        try:
            self._publish()
        except S3Exception as error:
            if self.mode == "xb" and error.code == "PreconditionFailed":
                raise FileExistsError(self.path) from error
            raise

    def discard(self) -> None:
        """Drops the file; for fsspec's transactions."""
        if self._ended:
            return
        self._ended = True
        super().close()
        self._drop()

    def __exit__(self, kind: type[BaseException] | None,
                 error: BaseException | None,
                 trace: types.TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def __del__(self) -> None:
        # In a transaction the transaction holds it. Without `_ended` it was
        # not even made.
        if not getattr(self, "_ended", True):
            self.discard()

    def _left_by_exception(self) -> bool:
        """Whether it is closed by the `with fsspec.open(...)` that failed.
        OpenFile closes its files without a word of that, and its frame alone
        knows."""
        frame = sys._getframe(1)
        while frame is not None:
            if frame.f_code is OpenFile.__exit__.__code__:
                names = frame.f_locals
                if any(file is self for file in names["self"].fobjects):
                    return any(what is not None for what in names["args"])
            frame = frame.f_back  # type: ignore[assignment]
        return False

    def _publish(self) -> None:
        raise NotImplementedError

    def _drop(self) -> None:
        raise NotImplementedError


class NewFile(_WrittenFile):
    """Sent in parts while it is written."""

    def __init__(self, fs: CkptFileSystem, path: str, mode: str,
                 autocommit: bool) -> None:
        super().__init__(fs, path, mode, autocommit)
        self._ended = True
        self._writer = open_writer(
            fs.unstrip_protocol(path), region=fs.region, endpoint=fs.endpoint,
            config=fs.config, if_none_match=mode == "xb")
        self._ended = False

    def write(self, data: Any) -> int:
        if self.closed:
            raise ValueError(f"{self.path} is closed")
        return self._writer.write(data)

    def tell(self) -> int:
        return self._writer.tell()

    def _publish(self) -> None:
        self._writer.close()

    def _drop(self) -> None:
        self._writer.abort()


class AppendedFile(_WrittenFile):
    """Read whole at first, and written again at the end, only in the place of
    what was read."""

    def __init__(self, fs: CkptFileSystem, path: str, mode: str,
                 autocommit: bool) -> None:
        super().__init__(fs, path, mode, autocommit)
        self._etag = ""
        self._content = io.BytesIO()
        try:
            info = fs.info(path)
        except FileNotFoundError:
            return
        if info["type"] == "directory":
            raise IsADirectoryError(path)
        if info["size"] > _MAX_APPEND_BYTES:
            raise ValueError(
                f"{path} has {info['size']} bytes: an object is appended to by "
                f"writing it again, and that is done up to {_MAX_APPEND_BYTES} "
                "bytes; write a new object instead")
        self._etag = info["ETag"]
        self._content.write(fs.cat_file(path))

    def write(self, data: Any) -> int:
        if self.closed:
            raise ValueError(f"{self.path} is closed")
        return self._content.write(data)

    def tell(self) -> int:
        return self._content.tell()

    def _publish(self) -> None:
        self.fs._engine().write(
            self.fs.unstrip_protocol(self.path), self._content.getvalue(),
            not self._etag, self._etag)

    def _drop(self) -> None:
        self._content = io.BytesIO()


class TextFile(io.TextIOWrapper):
    """Passes on that its `with` block failed, or that it was forgotten."""

    def __del__(self) -> None:
        # io's own would close it, which publishes.
        buffer = getattr(self, "buffer", None)
        if isinstance(buffer, _WrittenFile) and not buffer.closed:
            buffer.discard()

    def __exit__(self, kind: type[BaseException] | None,
                 error: BaseException | None,
                 trace: types.TracebackType | None) -> None:
        if kind is not None and isinstance(self.buffer, _WrittenFile):
            self.buffer.discard()
            return
        self.close()

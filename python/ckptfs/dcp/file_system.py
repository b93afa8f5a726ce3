"""Files by path behind DCP's interface."""
from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator

from torch.distributed.checkpoint.filesystem import FileSystemBase

from .. import _core
from .._engines import engine_for
from ..config import S3ClientConfig
from ..files import Path, text_of
from ..reader_constructor import ReaderConstructor, check


class S3FileSystem(FileSystemBase):
    """"s3://bucket/key", "file:///path" and plain paths, also below mounts of
    ckptfs. Thread-safe; can be pickled, and opens an engine of its own where
    it arrives.

    Args:
        region: of the bucket; None: AWS_REGION, AWS_DEFAULT_REGION, us-east-1.
        s3_client: must be None: the engine is the client.
        s3client_config: other settings.
        reader_constructor: a hint; see S3ReaderConstructor.
        endpoint: URL of the service; None: AWS_ENDPOINT_URL_S3,
            AWS_ENDPOINT_URL, AWS.

    Raises:
        TypeError: a client, or a value of another type.
    """

    def __init__(self, region: str | None = None, s3_client: object = None,
                 s3client_config: S3ClientConfig | None = None,
                 reader_constructor: ReaderConstructor | None = None, *,
                 endpoint: str | None = None) -> None:
        if s3_client is not None:
            raise TypeError(
                f"s3_client must be None, not {type(s3_client).__name__}: say "
                "endpoint=... and s3client_config=... instead")
        if s3client_config is not None and not isinstance(s3client_config,
                                                          S3ClientConfig):
            raise TypeError("s3client_config must be a ckptfs.S3ClientConfig, "
                            f"not {type(s3client_config).__name__}")
        check(reader_constructor)
        self._region = region
        self._endpoint = endpoint
        self._config = s3client_config
        self._reader_constructor = reader_constructor

    @property
    def engine(self) -> _core.Engine:
        """Of this process."""
        return engine_for(self._region, self._endpoint, self._config)

    @contextlib.contextmanager
    def create_stream(self, path: Path, mode: str) -> Iterator[io.IOBase]:
        """A stream of the file. One that is written appears when the block
        ends, and not at all if it raises.

        Raises:
            ValueError: a mode other than "rb" and "wb", or a wrong path.
            FileNotFoundError: there is nothing to read.
            S3Exception: other trouble.
        """
        from ..s3checkpoint import open_reader, open_writer

        if mode not in ("rb", "wb"):
            raise ValueError(f"mode must be 'rb' or 'wb', not {mode!r}")
        opened = open_reader if mode == "rb" else open_writer
        with opened(text_of(path), region=self._region,
                    endpoint=self._endpoint, config=self._config) as stream:
            yield stream

    def concat_path(self, path: Path, suffix: str) -> str:
        """The path of what is below a folder."""
        text = text_of(path)
        return text + suffix if text.endswith("/") else f"{text}/{suffix}"

    def init_path(self, path: Path) -> str:
        """The path as a str.

        Raises:
            ValueError: a URI that pathlib has taken a slash from.
            TypeError: neither a str nor an os.PathLike.
        """
        return text_of(path)

    def rename(self, path: Path, new_path: Path) -> None:
        """Renames a file, in place of one that is there. In S3 a copy, of any
        size, and a removal.

        Raises:
            ValueError: the paths lie in different places.
            FileNotFoundError: there is no such file.
            S3Exception: other trouble.
        """
        _core.rename(self.engine, text_of(path), text_of(new_path))

    def mkdir(self, path: Path) -> None:
        """Makes a folder and those above it; nothing in S3."""
        _core.make_folder(self.engine, text_of(path))

    def exists(self, path: Path) -> bool:
        """Whether there is such a file; folders are none."""
        return self.engine.exists(text_of(path))

    def rm_file(self, path: Path) -> None:
        """Removes a file. One that is not there is a success.

        Raises:
            S3Exception: it could not be removed.
        """
        self.engine.remove(text_of(path))

    def ls(self, path: Path) -> list[str]:
        """Paths of the files right below a folder."""
        return [self.concat_path(path, name)
                for name in self.engine.list(text_of(path))]

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Path) -> bool:
        """Whether this can be a checkpoint's folder; looks at the text alone:
        a bucket with or without a key, or a plain path."""
        try:
            text = text_of(checkpoint_id)
        except (TypeError, ValueError):
            return False
        scheme, mark, rest = text.partition("://")
        if not mark or "/" in scheme:
            return bool(text)
        if scheme == "s3":
            return bool(rest.partition("/")[0])
        return scheme == "file" and rest.startswith("/")

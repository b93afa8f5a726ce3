"""Files by path: in S3, below a mount of ckptfs, or plain."""
from __future__ import annotations

import builtins
import os

from ._engines import engine_for
from .config import S3ClientConfig

Path = str | os.PathLike[str]


def text_of(path: Path) -> str:
    """The path as the engine takes it. A pathlib.Path made of a URI has lost a
    slash ("s3:/bucket/key"): that is an error, not a folder named "s3:"."""
    text = os.fspath(path)
    if not isinstance(text, str):
        raise TypeError(
            f"a path is a str or os.PathLike of str, not {type(path).__name__}")
    if text.startswith("s3:/") and not text.startswith("s3://"):
        raise ValueError(
            f"{text}: a URI does not survive pathlib; give it as a str")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{text!r} is no Unicode text") from None
    return text


def exists(path: Path, *, region: str | None = None,
           endpoint: str | None = None,
           config: S3ClientConfig | None = None) -> bool:
    """Whether there is a file or object of this name; folders are none.

    Args:
        path: "s3://bucket/key", "file:///path" or a plain path.
        region: of the bucket; None: AWS_REGION, AWS_DEFAULT_REGION, us-east-1.
        endpoint: URL of the service; None: AWS_ENDPOINT_URL_S3,
            AWS_ENDPOINT_URL, AWS.
        config: other settings.

    Raises:
        S3Exception: the service could not be asked.
        ValueError: no such URI.
        TypeError: `path` is neither str nor os.PathLike.
    """
    return engine_for(region, endpoint, config).exists(text_of(path))


def remove(path: Path, *, region: str | None = None,
           endpoint: str | None = None,
           config: S3ClientConfig | None = None) -> None:
    """Removes a file or object. One that is not there is a success.

    Args and errors as those of `exists`."""
    engine_for(region, endpoint, config).remove(text_of(path))


def list(folder: Path, *, region: str | None = None,  # noqa: A001
         endpoint: str | None = None,
         config: S3ClientConfig | None = None) -> builtins.list[str]:
    """Names of the files (not folders) right below a folder, sorted.

    Empty for a prefix of S3 without keys. Args as those of `exists`.

    Raises:
        FileNotFoundError: a plain folder that is not there.
        S3Exception, ValueError, TypeError: as `exists`.
    """
    return engine_for(region, endpoint, config).list(text_of(folder))

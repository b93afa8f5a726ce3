"""Checkpoints in S3, below mounts of ckptfs and in plain files.

`save` and `load` are torch.save and torch.load for all of these; the bytes are
torch's. Torch itself is imported at their first call.
"""
from . import _core
from .config import S3ClientConfig
from .errors import (S3Exception, S3NotFoundError, S3PermissionError,
                     S3UnavailableError, S3ValueError, make_error)
from .files import exists, list, remove  # noqa: A004
from .load_into import load_into
from .reader_constructor import S3ReaderConstructor
from .s3checkpoint import S3Checkpoint, S3Reader, S3Writer
from .torch_file import load, save

_core.set_error_factory(make_error)
del make_error

__all__ = [
    "S3Checkpoint", "S3ClientConfig", "S3Exception", "S3NotFoundError",
    "S3PermissionError", "S3Reader", "S3ReaderConstructor",
    "S3UnavailableError", "S3ValueError", "S3Writer", "exists", "list", "load",
    "load_into", "remove", "save",
]

"""How s3torchconnector's readers are asked for."""
from __future__ import annotations

import dataclasses

from .config import MIB


@dataclasses.dataclass(frozen=True)
class ReaderConstructor:
    """A way to read that was asked for. Made by S3ReaderConstructor.

    Attributes:
        kind: "sequential", "range_based" or "dcp_optimized".
        buffer_size: of "range_based", in bytes; None otherwise.
        max_gap_size: of "dcp_optimized", in bytes; None otherwise.
    """

    kind: str
    buffer_size: int | None = None
    max_gap_size: float | None = None


class S3ReaderConstructor:
    """Accepted wherever s3torchconnector takes one, checked, and then hints
    without effect: whatever is asked for, tensors come in parallel ranges of
    no more than the bytes that are wanted, and streams read ahead. Duplicate
    and overlapping ranges, seeks and whole reads work with each of them."""

    @staticmethod
    def sequential() -> ReaderConstructor:
        """For whole files, in the originals."""
        return ReaderConstructor("sequential")

    @staticmethod
    def range_based(buffer_size: int | None = None) -> ReaderConstructor:
        """For a few ranges, in the originals.

        Args:
            buffer_size: bytes to read at least; None: 8 MiB; 0: as asked for.

        Raises:
            ValueError: it is negative.
        """
        size = 8 * MIB if buffer_size is None else buffer_size
        if size < 0:
            raise ValueError(
                f"buffer_size must be non-negative, not {buffer_size}")
        return ReaderConstructor("range_based", buffer_size=size)

    @staticmethod
    def dcp_optimized(max_gap_size: float = 32 * MIB) -> ReaderConstructor:
        """For S3StorageReader, in the originals.

        Args:
            max_gap_size: bytes between two ranges of one request, at most;
                float("inf") is allowed.

        Raises:
            ValueError: it is negative.
        """
        if max_gap_size < 0:
            raise ValueError("max_gap_size must be non-negative, not "
                             f"{max_gap_size}")
        return ReaderConstructor("dcp_optimized", max_gap_size=max_gap_size)

    @staticmethod
    def default() -> ReaderConstructor:
        """The sequential one."""
        return S3ReaderConstructor.sequential()

    @staticmethod
    def get_reader_type_string(constructor: ReaderConstructor | None) -> str:
        """Its kind; that of the default for None."""
        if constructor is None:
            return S3ReaderConstructor.default().kind
        return getattr(constructor, "kind", "unknown")


def check(constructor: object) -> None:
    """TypeError unless it is None or one of S3ReaderConstructor's."""
    if constructor is not None and not isinstance(constructor,
                                                  ReaderConstructor):
        raise TypeError("reader_constructor must be made by "
                        "ckptfs.S3ReaderConstructor, not "
                        f"{type(constructor).__name__}")

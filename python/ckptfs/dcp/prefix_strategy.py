"""How the data files of a rank are named, so that many ranks write below many
prefixes of a bucket. The names are those of s3torchconnector 1.5."""
from __future__ import annotations

import abc
from collections.abc import Sequence

import torch.distributed as dist


class S3PrefixStrategyBase(abc.ABC):
    """What the names of a rank's files begin with, below the checkpoint."""

    def __call__(self, rank: int) -> str:
        return self.generate_prefix(rank)

    @abc.abstractmethod
    def generate_prefix(self, rank: int) -> str:
        """The prefix; "0.distcp", "1.distcp", ... follow. Each rank needs its
        own."""


class DefaultPrefixStrategy(S3PrefixStrategyBase):
    """`__{rank}_`."""

    def generate_prefix(self, rank: int) -> str:
        return f"__{rank}_"


def _checked_epoch(epoch_num: int | None) -> int | None:
    if epoch_num is not None and not isinstance(epoch_num, int):
        raise ValueError(f"epoch_num must be None or an int, not {epoch_num!r}")
    return epoch_num


def _with_epoch(prefix: str, epoch_num: int | None, rank: int) -> str:
    epoch = "" if epoch_num is None else f"epoch_{epoch_num}/"
    return f"{prefix}/{epoch}__{rank}_"


class NumericPrefixStrategy(S3PrefixStrategyBase):
    """`{digits}/[epoch_{epoch_num}/]__{rank}_`, the digits those of
    `rank % prefix_count`, in reverse.

    Args:
        base: of the digits, at least 2.
        epoch_num: None: no part of the name.
        min_prefix_length: of the digits, at least 1.
        prefix_count: different prefixes, at least 1; None: the world size.

    Raises:
        ValueError: a value out of its range.
    """

    def __init__(self, base: int, epoch_num: int | None = None,
                 min_prefix_length: int = 10,
                 prefix_count: int | None = None) -> None:
        if base < 2:  # no number of digits would do
            raise ValueError(f"base must be at least 2, not {base}")
        if min_prefix_length < 1:
            raise ValueError("min_prefix_length must be at least 1, not "
                             f"{min_prefix_length}")
        if prefix_count is not None and (
                not isinstance(prefix_count, int) or prefix_count < 1):
            raise ValueError(
                f"prefix_count must be at least 1, not {prefix_count!r}")
        self.base = base
        self.epoch_num = _checked_epoch(epoch_num)
        self.min_prefix_len = min_prefix_length
        if prefix_count is None:
            known = dist.is_available() and dist.is_initialized()
            prefix_count = dist.get_world_size() if known else 1
        self.prefix_count = prefix_count
        length = 1
        while base ** length < prefix_count:
            length += 1
        self._length = max(length, min_prefix_length)

    def generate_prefix(self, rank: int) -> str:
        digits = self._format_number(rank % self.prefix_count, self._length)
        return _with_epoch(digits[::-1], self.epoch_num, rank)

    @abc.abstractmethod
    def _format_number(self, number: int, length: int) -> str:
        """Its digits, with zeros in front."""


class BinaryPrefixStrategy(NumericPrefixStrategy):
    """Digits 0 and 1. Args and errors as those of NumericPrefixStrategy."""

    def __init__(self, epoch_num: int | None = None,
                 min_prefix_length: int = 10,
                 prefix_count: int | None = None) -> None:
        super().__init__(2, epoch_num, min_prefix_length, prefix_count)

    def _format_number(self, number: int, length: int) -> str:
        return format(number, f"0{length}b")


class HexPrefixStrategy(NumericPrefixStrategy):
    """Digits 0 to f. Args and errors as those of NumericPrefixStrategy."""

    def __init__(self, epoch_num: int | None = None,
                 min_prefix_length: int = 10,
                 prefix_count: int | None = None) -> None:
        super().__init__(16, epoch_num, min_prefix_length, prefix_count)

    def _format_number(self, number: int, length: int) -> str:
        return format(number, f"0{length}x")


class RoundRobinPrefixStrategy(S3PrefixStrategyBase):
    """`{prefix}/[epoch_{epoch_num}/]__{rank}_`, the prefixes in turns.

    Args:
        user_prefixes: paths below the checkpoint; at least one.
        epoch_num: None: no part of the name.

    Raises:
        ValueError: no prefixes.
    """

    def __init__(self, user_prefixes: Sequence[str],
                 epoch_num: int | None = None) -> None:
        if not user_prefixes:
            raise ValueError("user_prefixes must not be empty")
        self.user_prefixes = user_prefixes
        self.epoch_num = _checked_epoch(epoch_num)

    def generate_prefix(self, rank: int) -> str:
        prefix = self.user_prefixes[rank % len(self.user_prefixes)]
        return _with_epoch(prefix, self.epoch_num, rank)

"""How S3 is reached."""
from __future__ import annotations

import dataclasses

MIB = 1 << 20
_MIN_PART = 5 * MIB
_MAX_PART = 5 << 30


@dataclasses.dataclass(frozen=True)
class S3ClientConfig:
    """Settings of the connection to S3; checked when it is made.

    Attributes:
        throughput_target_gbps: speed to aim at, in Gbit/s: one part of an
            upload and two ranges of a download are in flight for each 2.5 of
            it, at least 8 and 16, at most 64 and 128.
        part_size: bytes of a part of an upload, 5 MiB to 5 GiB; raised for
            objects that would have more than 10,000 of them.
        unsigned: requests without a signature. Not supported yet.
        force_path_style: `endpoint/bucket/key` even for AWS; other endpoints
            are addressed so in any case.
        max_attempts: of one request, 1 or more. Only the default is supported
            yet.
        profile: of the AWS configuration files. Not supported yet.
        requester_pays: the requester is charged. Not supported yet.

    Raises:
        ValueError: a value out of its range, or two that exclude each other.
        TypeError: a value of another type.
        NotImplementedError: what is not supported yet is asked for; it is
            never ignored.
    """

    throughput_target_gbps: float = 10.0
    part_size: int = 8 * MIB
    unsigned: bool = False
    force_path_style: bool = False
    max_attempts: int = 10
    profile: str | None = None
    requester_pays: bool = False

    def __post_init__(self) -> None:
        for name in ("part_size", "max_attempts"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} must be an int, not {value!r}")
        if not self.throughput_target_gbps > 0:
            raise ValueError("throughput_target_gbps must be positive, not "
                             f"{self.throughput_target_gbps!r}")
        if not _MIN_PART <= self.part_size <= _MAX_PART:
            raise ValueError("part_size must be 5 MiB to 5 GiB, not "
                             f"{self.part_size} bytes")
        if self.max_attempts < 1:
            raise ValueError("max_attempts must be at least 1, not "
                             f"{self.max_attempts}")
        if self.requester_pays and self.unsigned:
            raise ValueError("requester_pays needs signed requests: "
                             "unsigned excludes it")
        for name, default in (("unsigned", False), ("requester_pays", False),
                              ("profile", None), ("max_attempts", 10)):
            if getattr(self, name) != default:
                raise NotImplementedError(
                    f"{name}={getattr(self, name)!r} is not supported; leave "
                    f"it at {default!r}")

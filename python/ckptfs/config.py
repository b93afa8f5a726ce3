"""How S3 is reached."""
from __future__ import annotations

import dataclasses
import re

MIB = 1 << 20
RANGE_BYTES = 8 * MIB
STREAM_BYTES = 96 * MIB
MAX_ATTEMPTS = 64
_MIN_PART = 5 * MIB
_MAX_PART = 5 << 30
_SSE = ("AES256", "aws:kms", "aws:kms:dsse")
_INTS = ("part_size", "max_attempts", "memory_limit")
_OPTIONAL_INTS = ("max_attempts", "memory_limit")
_BOOLS = ("unsigned", "force_path_style", "requester_pays")
_TEXTS = ("profile", "access_key_id", "secret_access_key", "session_token",
          "sse", "sse_kms_key_id", "storage_class", "ca_file")


@dataclasses.dataclass(frozen=True)
class S3ClientConfig:
    """Settings of the connection to S3; checked when it is made.

    Credentials are those of the first of these that is given: `unsigned`,
    `access_key_id`, `profile`, the environment (AWS_ACCESS_KEY_ID, ...), the
    profile that AWS_PROFILE names, the profile "default".

    Attributes:
        throughput_target_gbps: speed to aim at, in Gbit/s: one part of an
            upload and two ranges of a download are in flight for each 2.5 of
            it, at least 8 and 16, at most 64 and 128. A stream holds 8 MiB
            in memory for each, at least 96 MiB.
        part_size: bytes of a part of an upload, 5 MiB to 5 GiB; raised for
            objects that would have more than 10,000 of them.
        unsigned: requests without a signature; of a profile only the region
            is taken.
        force_path_style: `endpoint/bucket/key` even for AWS; other endpoints
            are addressed so in any case.
        max_attempts: None: a request is repeated until it has made no progress
            for two minutes (15 where S3 publishes or copies something large).
            1 to 64: it is also given up after that many attempts without
            progress, the first included. The environment variable
            AWS_MAX_ATTEMPTS overrides it.
        profile: of the AWS profile files, ~/.aws/credentials and ~/.aws/config.
        requester_pays: the requester is charged, where a bucket wants that.
        access_key_id: a key, with `secret_access_key`. Excludes `profile`.
        secret_access_key: the secret of that key; never shown.
        session_token: of temporary keys; never shown.
        sse: encryption of what is saved: "AES256", "aws:kms" or
            "aws:kms:dsse". None: the bucket's default.
        sse_kms_key_id: the key for the latter two. None: that of AWS.
        sse_bucket_key: whether "aws:kms" takes a bucket key.
        storage_class: of what is saved, e.g. "STANDARD_IA".
        memory_limit: bytes in flight of one save or load, at least one part
            and 8 MiB: fewer parts and ranges at once. Where parts are raised
            (see `part_size`), it bounds their number only.
        ca_file: PEM file of the certificate authorities to trust instead of
            the system's.

    Raises:
        ValueError: a value out of its range, or two that exclude each other.
        TypeError: a value of another type.
    """

    throughput_target_gbps: float = 10.0
    part_size: int = 8 * MIB
    unsigned: bool = False
    force_path_style: bool = False
    max_attempts: int | None = None
    profile: str | None = None
    requester_pays: bool = False
    # Not of the original: by name only, so that its order stays free to grow.
    access_key_id: str | None = dataclasses.field(default=None, kw_only=True)
    secret_access_key: str | None = dataclasses.field(
        default=None, kw_only=True, repr=False)
    session_token: str | None = dataclasses.field(
        default=None, kw_only=True, repr=False)
    sse: str | None = dataclasses.field(default=None, kw_only=True)
    sse_kms_key_id: str | None = dataclasses.field(default=None, kw_only=True)
    sse_bucket_key: bool | None = dataclasses.field(default=None, kw_only=True)
    storage_class: str | None = dataclasses.field(default=None, kw_only=True)
    memory_limit: int | None = dataclasses.field(default=None, kw_only=True)
    ca_file: str | None = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        self._check_types()
        if not self.throughput_target_gbps > 0:
            raise ValueError("throughput_target_gbps must be positive, not "
                             f"{self.throughput_target_gbps!r}")
        if not _MIN_PART <= self.part_size <= _MAX_PART:
            raise ValueError("part_size must be 5 MiB to 5 GiB, not "
                             f"{self.part_size} bytes")
        if (self.max_attempts is not None
                and not 1 <= self.max_attempts <= MAX_ATTEMPTS):
            raise ValueError(f"max_attempts must be 1 to {MAX_ATTEMPTS}, not "
                             f"{self.max_attempts}")
        least = max(self.part_size, RANGE_BYTES)
        if self.memory_limit is not None and self.memory_limit < least:
            raise ValueError(
                f"memory_limit must be at least {least} bytes, one part and 8 "
                f"MiB, not {self.memory_limit}")
        self._check_credentials()
        self._check_storage()

    def _check_types(self) -> None:
        for name in _INTS:
            value = getattr(self, name)
            if value is None and name in _OPTIONAL_INTS:
                continue
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} must be an int, not {value!r}")
        for name in _BOOLS + (() if self.sse_bucket_key is None
                              else ("sse_bucket_key",)):
            value = getattr(self, name)
            if not isinstance(value, bool):
                raise TypeError(f"{name} must be a bool, not {value!r}")
        for name in _TEXTS:
            value = getattr(self, name)
            if value is None:
                continue
            # The value may be a secret.
            if not isinstance(value, str):
                raise TypeError(
                    f"{name} must be a str, not {type(value).__name__}")
            if not value:
                raise ValueError(f"{name} is empty; leave it at None")

    def _check_credentials(self) -> None:
        if self.requester_pays and self.unsigned:
            raise ValueError("requester_pays needs signed requests: "
                             "unsigned excludes it")
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key need each "
                             "other")
        if self.access_key_id is None:
            if self.session_token is not None:
                raise ValueError("session_token needs access_key_id and "
                                 "secret_access_key")
            return
        for name in ("unsigned", "profile"):
            if getattr(self, name):
                raise ValueError(f"{name} and access_key_id exclude each "
                                 "other")
        for name in ("access_key_id", "session_token"):
            if not re.fullmatch(r"[!-~]*", getattr(self, name) or ""):
                raise ValueError(f"{name} holds blanks or characters that no "
                                 "key has")
        # It goes into no header, and some services let people choose it.
        if not re.fullmatch("[!-~]([ -~]*[!-~])?", self.secret_access_key or ""):
            raise ValueError("secret_access_key begins or ends with a blank, "
                             "or holds characters that no secret has")

    def _check_storage(self) -> None:
        if self.sse is not None and self.sse not in _SSE:
            raise ValueError(f"sse must be one of {', '.join(_SSE)}, not "
                             f"{self.sse!r}")
        if self.sse_kms_key_id is not None:
            if self.sse not in _SSE[1:]:
                raise ValueError("sse_kms_key_id needs sse='aws:kms' or "
                                 "'aws:kms:dsse'")
            if not re.fullmatch(r"[A-Za-z0-9:/_-]+", self.sse_kms_key_id):
                raise ValueError("sse_kms_key_id is no key id, key ARN or "
                                 f"alias: {self.sse_kms_key_id!r}")
        if self.sse_bucket_key is not None and self.sse != "aws:kms":
            raise ValueError("sse_bucket_key needs sse='aws:kms'")
        if self.storage_class is not None and not re.fullmatch(
                r"[A-Za-z0-9_.-]+", self.storage_class):
            raise ValueError("storage_class must be letters, digits, '_', '-' "
                             f"and '.', not {self.storage_class!r}")

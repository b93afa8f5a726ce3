"""The engines of this process: one for each way to reach S3."""
from __future__ import annotations

import atexit
import os
import threading

from . import _core
from .config import MAX_ATTEMPTS, RANGE_BYTES, STREAM_BYTES, S3ClientConfig

# What the engine reads from the environment when it opens a bucket: a change
# counts from the next call on.
_VARIABLES = (
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
    "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL", "AWS_CA_BUNDLE", "AWS_MAX_ATTEMPTS", "AWS_PROFILE",
    "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "HOME",
    "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY",
    "no_proxy", "NO_PROXY")

_Key = tuple[str, str, "S3ClientConfig | None", tuple["str | None", ...]]

_lock = threading.Lock()
_engines: dict[_Key, _core.Engine] = {}
# Modules that others hold on to (Lightning's registries) outlive the
# interpreter, and would leave the engines' threads to it.
atexit.register(_engines.clear)


def _new_lock_in_child() -> None:
    # Another thread of the parent may have held it, and is not here.
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_new_lock_in_child)


def engine_for(region: str | None, endpoint: str | None,
               config: S3ClientConfig | None) -> _core.Engine:
    """The engine, shared by all that reach S3 the same way."""
    if config is not None and not isinstance(config, S3ClientConfig):
        raise TypeError(
            f"config must be an S3ClientConfig, not {type(config).__name__}")
    key = (region or "", endpoint or "", config,
           tuple(os.environ.get(name) for name in _VARIABLES))
    with _lock:
        engine = _engines.get(key)
        if engine is None:
            engine = _engines[key] = _make(key[0], key[1], config)
        return engine


def _max_attempts(config: S3ClientConfig) -> int | None:
    """What AWS_MAX_ATTEMPTS says, else the config, as in s3torchconnector.

    Raises:
        ValueError: the variable holds no number from 1 to 64.
    """
    text = os.environ.get("AWS_MAX_ATTEMPTS")
    if not text:
        return config.max_attempts
    if not (text.isascii() and text.isdigit() and len(text) < 4
            and 1 <= int(text) <= MAX_ATTEMPTS):
        raise ValueError(f"AWS_MAX_ATTEMPTS must be 1 to {MAX_ATTEMPTS}, not "
                         f"{text!r}")
    return int(text)


def _make(region: str, endpoint: str,
          config: S3ClientConfig | None) -> _core.Engine:
    if config is None:
        return _core.Engine(region=region, endpoint=endpoint,
                            max_attempts=_max_attempts(S3ClientConfig()))
    parts = min(64, max(8, round(config.throughput_target_gbps * 0.4)))
    ranges = 2 * parts
    stream_bytes = max(STREAM_BYTES, parts * RANGE_BYTES)
    if config.memory_limit is not None:
        parts = min(parts, config.memory_limit // config.part_size)
        ranges = min(ranges, config.memory_limit // RANGE_BYTES)
        stream_bytes = config.memory_limit
    return _core.Engine(
        region=region, endpoint=endpoint, part_bytes=config.part_size,
        range_bytes=RANGE_BYTES, ca_file=config.ca_file or "",
        force_path_style=True if config.force_path_style else None,
        parts_in_flight=parts, ranges_in_flight=ranges,
        stream_bytes=stream_bytes,
        max_attempts=_max_attempts(config),
        unsigned_requests=config.unsigned, profile=config.profile or "",
        requester_pays=config.requester_pays,
        access_key_id=config.access_key_id or "",
        secret_access_key=config.secret_access_key or "",
        session_token=config.session_token or "",
        storage_class=config.storage_class or "", sse=config.sse or "",
        sse_kms_key_id=config.sse_kms_key_id or "",
        sse_bucket_key=config.sse_bucket_key)

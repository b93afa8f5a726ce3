"""The engines of this process: one for each way to reach S3."""
from __future__ import annotations

import atexit
import os
import threading

from . import _core
from .config import S3ClientConfig

# What the engine reads from the environment when it opens a bucket: a change
# counts from the next call on.
_VARIABLES = (
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
    "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL", "AWS_CA_BUNDLE")

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


def _make(region: str, endpoint: str,
          config: S3ClientConfig | None) -> _core.Engine:
    if config is None:
        return _core.Engine(region=region, endpoint=endpoint)
    in_flight = min(64, max(8, round(config.throughput_target_gbps * 0.4)))
    return _core.Engine(
        region=region, endpoint=endpoint, part_bytes=config.part_size,
        force_path_style=True if config.force_path_style else None,
        parts_in_flight=in_flight, ranges_in_flight=2 * in_flight)

"""torch.save and torch.load over the engine.

Torch pickles and unpickles; the engine writes and reads the container. Source:
torch 2.13, torch/serialization.py. What another torch does otherwise, or the
engine does not know (files of before 1.6, TorchScript), goes through torch's
own functions and a stream.
"""
from __future__ import annotations

import io
import os
import pickle
import types
import warnings
from typing import TYPE_CHECKING, Callable, Union

from . import _core
from ._engines import engine_for
from .config import S3ClientConfig
from .files import Path, text_of
from .progress import Progress, Report
from .s3checkpoint import open_reader, open_writer

if TYPE_CHECKING:
    import torch

    MapLocation = Union[
        Callable[[torch.UntypedStorage, str], torch.UntypedStorage],
        torch.device, str, dict[str, str], None]

_DEFAULT_PROTOCOL = 2  # torch/serialization.py, DEFAULT_PROTOCOL


class _Recorder:
    """The zip_file of torch.serialization._save: notes what is to be written,
    and keeps the memory of it."""

    def __init__(self) -> None:
        self.records: list[tuple[str, bytes | int, int]] = []
        self.alignment = 64
        self._owners: list[object] = []

    def write_record(self, name: str, data: object, nbytes: int) -> None:
        if isinstance(data, str):
            data = data.encode()
        if name == ".storage_alignment" and isinstance(data, bytes):
            self.alignment = int(data)
        if isinstance(data, bytes):
            self.records.append((name, data, len(data)))
            return
        storage: torch.UntypedStorage = data  # type: ignore[assignment]
        self._owners.append(storage)
        self.records.append((name, storage.data_ptr(), nbytes))


def _plain_save(torch_module: types.ModuleType) -> bool:
    """Whether torch writes its files as the engine does."""
    serialization = torch_module.serialization
    return (hasattr(serialization, "_save")
            and serialization.get_crc32_options())


def save(obj: object, path: Path, *, pickle_module: types.ModuleType = pickle,
         pickle_protocol: int = _DEFAULT_PROTOCOL,
         region: str | None = None, endpoint: str | None = None,
         config: S3ClientConfig | None = None, if_none_match: bool = False,
         if_match: str | None = None, progress: Progress = None) -> None:
    """Saves as torch.save does; the file is the same, byte for byte.

    It appears whole or not at all: after an error, or Ctrl-C, an older one is
    untouched and nothing is left. The memory of tensors on the CPU is sent
    without a copy: do not change it meanwhile. Releases the GIL.

    Args:
        obj: anything that torch.save takes.
        path: "s3://bucket/key", "file:///path" or a plain path; a folder of a
            plain path must exist.
        pickle_module, pickle_protocol: as torch.save's.
        region, endpoint, config: as those of `exists`.
        if_none_match: only if there is no such file yet.
        if_match: only if the object there has this ETag, quotes included.
        progress: None: a bar on stderr where that is a terminal and the save
            is of 1 GiB or takes 2 s; True: a bar in any case on a terminal;
            False: none; a function: called with the bytes that have arrived
            and those of the file.

    Raises:
        S3Exception: with the code "PreconditionFailed" if the condition did
            not hold; "OutcomeUnknown" if the last reply was lost.
        ValueError, TypeError: a wrong path; inside
            torch.serialization.skip_data().
        pickle.PicklingError, RuntimeError: those of torch.save.
    """
    import torch

    text = text_of(path)
    engine = engine_for(region, endpoint, config)
    refuse_skip_data()
    torch.serialization._check_dill_version(pickle_module)
    if not _plain_save(torch):
        with open_writer(text, region, endpoint, config,
                         if_none_match=if_none_match,
                         if_match=if_match) as writer:
            torch.save(obj, writer, pickle_module, pickle_protocol)
        return
    recorder = _Recorder()
    torch.serialization._save(obj, recorder, pickle_module, pickle_protocol,
                              False)
    report = Report(progress, f"save {text}")
    try:
        engine.save_records(text, recorder.records, recorder.alignment,
                            if_none_match, if_match or "", report.hook)
    finally:
        report.close()


class ArchiveReader:
    """The zip_file of torch.serialization._load: all storages are on their way
    before the first is asked for."""

    def __init__(self, archive: _core.Archive, eager: bool,
                 progress: Callable[[int, int], object] | None = None) -> None:
        self._archive = archive
        self._progress = progress
        self._memory: dict[str, torch.Tensor] = {}
        self._fetch: _core.Fetch | None = None
        if eager:
            self._start()

    def _start(self) -> None:
        import torch

        targets = []
        for name, nbytes, stored in self._archive.records():
            # What a compressed record says of its size is not proved yet.
            if stored and name.startswith("data/"):
                memory = torch.empty(nbytes, dtype=torch.uint8, device="cpu")
                self._memory[name] = memory
                targets.append((name, memory.data_ptr(), nbytes))
        # The fetch gets owners of its own: `_memory` is emptied as it goes.
        self._fetch = self._archive.fetch(targets, [*self._memory.values()],
                                          self._progress)

    def get_storage_from_record(self, name: str, nbytes: int,
                                dtype: object) -> torch.Tensor:
        import torch

        if self._fetch is None:
            self._start()
        assert self._fetch is not None
        memory = self._memory.get(name)
        if memory is not None:
            self._fetch.wait(name)
        else:
            content = bytearray(self._archive.get_record(name))
            memory = (torch.frombuffer(content, dtype=torch.uint8) if content
                      else torch.empty(0, dtype=torch.uint8, device="cpu"))
        if memory.numel() != nbytes:
            raise RuntimeError(
                f"record {name} has {memory.numel()} bytes, and data.pkl says "
                f"{nbytes}: the file is damaged")
        return memory

    def cancel(self) -> None:
        if self._fetch is not None:
            self._fetch.cancel()

    def wait_all(self) -> None:
        if self._fetch is not None:
            self._fetch.wait_all()

    def has_record(self, name: str) -> bool:
        return self._archive.has_record(name)

    def get_record(self, name: str) -> bytes:
        return self._archive.get_record(name)

    def get_all_records(self) -> list[str]:
        return self._archive.get_all_records()

    def get_record_offset(self, name: str) -> int:
        return self._archive.get_record_offset(name)

    def get_record_header_offset(self, name: str) -> int:
        return self._archive.get_record_header_offset(name)

    def get_record_offset_no_read(self, cursor: int, name: str, nbytes: int,
                                  alignment: int) -> int:
        # Torch computes it to save the request that a look costs.
        return self._archive.get_record_offset(name)

    def serialization_id(self) -> str:
        name = ".data/serialization_id"
        if not self._archive.has_record(name):
            return ""
        return self._archive.get_record(name).decode()


def load(path: Path, map_location: MapLocation = None,
         pickle_module: types.ModuleType | None = None, *,
         weights_only: bool | None = None, mmap: bool | None = None,
         region: str | None = None, endpoint: str | None = None,
         config: S3ClientConfig | None = None, progress: Progress = None,
         **pickle_load_args: object) -> object:
    """Loads as torch.load does.

    All storages are fetched in parallel ranges, straight into the memory of
    the tensors, while torch unpickles. Releases the GIL while it waits.

    Args:
        path: "s3://bucket/key", "file:///path" or a plain path.
        map_location, pickle_module, weights_only, pickle_load_args: as
            torch.load's; `weights_only` is True unless it says otherwise, and
            so do TORCH_FORCE_WEIGHTS_ONLY_LOAD and
            TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD.
        mmap: must not be true.
        region, endpoint, config: as those of `exists`.
        progress: as that of `save`; of the tensors' bytes, storage by storage.

    Raises:
        FileNotFoundError: there is no such file (an S3NotFoundError).
        S3Exception: other trouble; with the code "InvalidArgument" (then also
            a ValueError) for a damaged file.
        pickle.UnpicklingError: what `weights_only` refuses, in torch's words.
        ValueError: a wrong path, or mmap=True.
    """
    import torch

    if mmap:
        raise ValueError("mmap=True is not supported: the bytes are fetched "
                         "straight into the memory of the tensors")
    text = text_of(path)
    engine = engine_for(region, endpoint, config)
    archive = engine.open_archive(text)
    if archive is None or not usual(archive):
        with open_reader(text, region, endpoint, config) as file:
            return torch.load(file, map_location, pickle_module,
                              weights_only=weights_only, mmap=False,
                              **pickle_load_args)
    report = Report(progress, f"load {text}")
    reader = ArchiveReader(archive, _wants_bytes(map_location), report.hook)
    try:
        return load_archive(archive, map_location, pickle_module, weights_only,
                            pickle_load_args, reader)
    finally:
        reader.cancel()
        report.close()


def refuse_skip_data() -> None:
    """Raises:
        ValueError: inside torch.serialization.skip_data().
    """
    import torch

    tls = getattr(torch.serialization, "_serialization_tls", None)
    if getattr(tls, "skip_data", False):
        raise ValueError("not inside torch.serialization.skip_data(): without "
                         "the bytes there is nothing to do here; use "
                         "torch.save to a plain file")


def usual(archive: _core.Archive) -> bool:
    """Whether it is no TorchScript, and this torch reads as it did."""
    import torch

    return (not archive.has_record("constants.pkl")
            and hasattr(torch.serialization, "_load"))


_TRUE = ("1", "y", "yes", "true")


def _forced(variable: str) -> bool:
    return os.environ.get(variable, "0").lower() in _TRUE


def _weights_only(asked: bool | None,
                  pickle_module: types.ModuleType | None) -> bool:
    """The rules of torch.load."""
    always = _forced("TORCH_FORCE_WEIGHTS_ONLY_LOAD")
    never = _forced("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
    if always and never:
        raise RuntimeError(
            "Only one of `TORCH_FORCE_WEIGHTS_ONLY_LOAD` or "
            "`TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD` should be set, but both were "
            "set.")
    if always:
        return True
    if asked is not None:
        return asked
    if never:
        warnings.warn(
            "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD is set and `weights_only` was "
            "not passed: loading with weights_only=False", UserWarning,
            stacklevel=4)
        return False
    return pickle_module is None


def load_archive(archive: _core.Archive, map_location: MapLocation,
                 pickle_module: types.ModuleType | None,
                 weights_only: bool | None,
                 pickle_load_args: dict[str, object],
                 reader: ArchiveReader) -> object:
    """Unpickles as torch.load does, with the storages that `reader` gives."""
    import torch
    from torch.serialization import _weights_only_unpickler

    safe = _weights_only(weights_only, pickle_module)
    if safe and pickle_module is not None:
        raise RuntimeError("Can not safely load weights when explicit "
                           "pickle_module is specified")
    if safe and pickle_load_args:
        warnings.warn("pickle_load_args only works if `weights_only=False`.",
                      stacklevel=3)
    torch.serialization._check_dill_version(pickle_module)
    arguments = {"encoding": "utf-8", **pickle_load_args}
    unpickler = _weights_only_unpickler if safe else pickle_module or pickle
    try:
        return torch.serialization._load(reader, map_location, unpickler,
                                         **arguments)
    except pickle.UnpicklingError as error:
        if not safe:
            raise
        raise pickle.UnpicklingError(
            _refusal(archive) or str(error)) from None


def _wants_bytes(map_location: MapLocation) -> bool:
    """False where torch makes tensors without memory."""
    import torch

    serialization = torch.serialization
    return not (serialization._is_meta_location(map_location)
                or torch._guards.detect_fake_mode(None) is not None
                or serialization._serialization_tls.skip_data)


def _refusal(archive: _core.Archive) -> str:
    """What torch.load says of a pickle that weights_only refuses: it is asked,
    with a file of the same pickle and empty storages, which "meta" never
    reads."""
    import torch

    buffer = io.BytesIO()
    with torch.serialization._open_zipfile_writer(buffer) as writer:
        content = archive.get_record("data.pkl")
        writer.write_record("data.pkl", content, len(content))
        for name in archive.get_all_records():
            if name.startswith("data/"):
                writer.write_record(name, b"", 0)
    buffer.seek(0)
    try:
        torch.load(buffer, "meta", weights_only=True)
    except pickle.UnpicklingError as error:
        return str(error)
    return ""

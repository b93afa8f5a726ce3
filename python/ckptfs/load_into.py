"""Loading a torch.save file into tensors that exist."""
from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Callable

from ._engines import engine_for
from ._load_plan import Plan
from .config import S3ClientConfig
from .files import Path, text_of
from .progress import Progress, Report
from .torch_file import (ArchiveReader, load, load_archive, refuse_skip_data,
                         usual)

if TYPE_CHECKING:
    import torch

    from . import _core


def load_into(state: object, path: Path, *, strict: bool = True,
              weights_only: bool | None = None, region: str | None = None,
              endpoint: str | None = None,
              config: S3ClientConfig | None = None,
              progress: Progress = None) -> object:
    """Loads a file of torch.save into the tensors of `state`, in place.

    What lies in `state` and in the file under the same keys and indexes
    belongs together. The bytes go straight into the memory of tensors that are
    on the CPU and laid out as the file's are, and are copied into others. A
    module stands for its state_dict(), whose hooks are not run; an optimizer
    takes what the file has for it through load_state_dict.

    Nothing is changed before everything fits. After a later error (of the
    service, or Ctrl-C) the tensors hold anything.

    Args:
        state: a module, an optimizer, or dicts and lists, nested, of these
            and of tensors. Other values in it say nothing.
        path, region, endpoint, config, progress: as those of `ckptfs.load`.
        strict: a tensor of `state` that the file does not have is an error,
            and so is one of the file inside a module, or inside a dict or list
            of `state` other than the outermost, that `state` does not have.
            If False, the former stay as they are, and the latter are left to
            apply, but for those of modules, which are not loaded.
        weights_only: as that of `ckptfs.load`.

    Returns:
        What is left to apply: the file's values without what was restored; in
        lists None is in its place. None, if nothing is left.

    Raises:
        ValueError: tensors are missing or unexpected, have another shape or
            dtype, or are on meta or expanded; it names them. Also inside
            torch.serialization.skip_data().
        FileNotFoundError, S3Exception, pickle.UnpicklingError: as
            `ckptfs.load`.
    """
    import torch

    text = text_of(path)
    refuse_skip_data()
    archive = engine_for(region, endpoint, config).open_archive(text)
    reader = None
    if archive is not None and usual(archive):
        try:
            reader = _Placeholders(archive)
            loaded = _unpickle(reader, weights_only)
        except _NotPlain:
            reader = None
    if reader is None:
        with torch.device("cpu"):
            loaded = load(text, "cpu", weights_only=weights_only,
                          region=region, endpoint=endpoint, config=config,
                          progress=progress)
        plan = Plan(text, strict, {})
        rest = plan.match(state, loaded)
        plan.check()
        plan.apply()
        return rest
    plan = Plan(text, strict, reader.names)
    rest = plan.match(state, loaded)
    plan.check()
    lent = plan.lend()
    report = Report(progress, f"load {text}")
    try:
        reader.fill(lent, plan.unwanted(), report.hook)
    finally:
        report.close()
    if plan.opaque:
        # Objects that unpickled while their tensors were still without bytes
        # may have looked at them: now these are there. Those that share the
        # storage of a tensor of `state` in the file share its memory now.
        loaded = _unpickle(reader, weights_only)
        plan = Plan(text, strict, {})
        rest = plan.match(state, loaded)
        plan.check()
    plan.apply()
    return rest


def _unpickle(reader: _Placeholders, weights_only: bool | None) -> object:
    import torch

    # What sparse tensors are built by goes where the default device says.
    with torch.device("cpu"):
        return load_archive(reader.archive, "cpu", None, weights_only, {},
                            reader)


class _NotPlain(Exception):
    """The file is not as torch writes it here: it is loaded as a whole."""


class _Placeholders(ArchiveReader):
    """Gives storages whose bytes are fetched only when it is known where they
    are to go."""

    def __init__(self, archive: _core.Archive) -> None:
        super().__init__(archive, eager=False)
        self.archive = archive
        self.names: dict[int, str] = {}  # of records, by address
        self._storages: dict[str, torch.Tensor] = {}
        if archive.has_record("byteorder") and (
                archive.get_record("byteorder").decode() != sys.byteorder):
            raise _NotPlain
        self._stored = {name: nbytes
                        for name, nbytes, stored in archive.records() if stored}

    def get_storage_from_record(self, name: str, nbytes: int,
                                dtype: object) -> torch.Tensor:
        import torch

        known = self._storages.get(name)
        if known is not None:
            return known
        if self._stored.get(name) != nbytes:
            raise _NotPlain
        memory = torch.empty(nbytes, dtype=torch.uint8, device="cpu")
        self._storages[name] = memory
        self.names[memory.data_ptr()] = name
        return memory

    def fill(self, lent: dict[str, torch.Tensor], unwanted: set[str],
             progress: Callable[[int, int], object] | None) -> None:
        """Fetches all records, those of `lent` into the tensors there."""
        targets = []
        for name, memory in self._storages.items():
            target = lent.get(name)
            if target is not None:
                targets.append((name, target.data_ptr(), memory.numel()))
            elif name not in unwanted:
                targets.append((name, memory.data_ptr(), memory.numel()))
        fetch = self.archive.fetch(
            targets, [*self._storages.values(), *lent.values()], progress)
        fetch.wait_all()
        for name, target in lent.items():
            _mark_changed(target)
            self._storages[name] = _bytes_of(target)


def _bytes_of(tensor: torch.Tensor) -> torch.Tensor:
    """The memory of a tensor without gaps."""
    import torch

    begin = tensor.storage_offset() * tensor.element_size()
    whole = torch.empty(0, dtype=torch.uint8, device="cpu")
    whole.set_(tensor.untyped_storage(), begin,
               (tensor.numel() * tensor.element_size(),))
    return whole


def _mark_changed(tensor: torch.Tensor) -> None:
    import torch

    if not tensor.is_inference():  # autograd notices, as of copy_
        torch.autograd.graph.increment_version(tensor)

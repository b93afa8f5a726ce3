"""Loading a torch.save file into tensors that exist."""
from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Callable

from ._engines import engine_for
from .config import S3ClientConfig
from .files import Path, text_of
from .progress import Progress, Report
from .torch_file import ArchiveReader, load, load_archive, usual

if TYPE_CHECKING:
    import torch

    from . import _core

_NOTHING = object()
_PLAIN = (type(None), bool, int, float, complex, str, bytes)


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
        ValueError: tensors are missing or unexpected, or have another shape or
            dtype; it names them.
        FileNotFoundError, S3Exception, pickle.UnpicklingError: as
            `ckptfs.load`.
    """
    text = text_of(path)
    archive = engine_for(region, endpoint, config).open_archive(text)
    reader = None
    if archive is not None and usual(archive):
        reader = _Placeholders(archive)
        try:
            loaded = load_archive(archive, "cpu", None, weights_only, {},
                                  reader)
        except _NotPlain:
            reader = None
    if reader is None:
        loaded = load(text, "cpu", weights_only=weights_only, region=region,
                      endpoint=endpoint, config=config, progress=progress)
        plan = _Plan(text, strict, {})
        rest = plan.match(state, loaded)
        plan.check()
        plan.apply()
        return rest
    plan = _Plan(text, strict, reader.names)
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
        # may have looked at them: now these are there.
        loaded = load_archive(reader.archive, "cpu", None, weights_only, {},
                              reader)
        plan = _Plan(text, strict, {})
        rest = plan.match(state, loaded)
        plan.check()
    plan.apply()
    return rest


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
        memory = torch.empty(nbytes, dtype=torch.uint8)
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
    whole = torch.empty(0, dtype=torch.uint8)
    whole.set_(tensor.untyped_storage(), begin,
               (tensor.numel() * tensor.element_size(),))
    return whole


def _mark_changed(tensor: torch.Tensor) -> None:
    import torch

    if not tensor.is_inference():  # autograd notices, as of copy_
        torch.autograd.graph.increment_version(tensor)


class _Plan:
    """What goes where, found before anything is changed."""

    def __init__(self, name: str, strict: bool,
                 records: dict[int, str]) -> None:
        self._name = name
        self._strict = strict
        self._records = records
        self._pairs: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._setters: list[Callable[[], object]] = []
        self._missing: list[str] = []
        self._unexpected: list[str] = []
        self._wrong: list[str] = []
        self._dropped: set[str] = set()
        self._kept: set[str] = set()
        self.opaque = False

    def match(self, state: object, loaded: object) -> object:
        rest = self._match(state, loaded, "", True)
        return None if rest is _NOTHING else rest

    def check(self) -> None:
        problems = list(self._wrong)
        if self._strict:
            problems += [f"{key} is missing in the file"
                         for key in self._missing]
            problems += [f"{key} of the file is unexpected"
                         for key in self._unexpected]
        if problems:
            more = len(problems) - 20
            raise ValueError(
                f"{self._name} does not fit, and nothing was loaded: "
                + "; ".join(problems[:20])
                + (f"; and {more} more" if more > 0 else ""))

    def lend(self) -> dict[str, torch.Tensor]:
        """Records that go straight into the memory of a tensor."""
        users: dict[str, int] = {}
        for _, source in self._pairs:
            name = self._record(source)
            if name is not None:
                users[name] = users.get(name, 0) + 1
        lent: dict[str, torch.Tensor] = {}
        taken: set[int] = set()
        copied = []
        for target, source in self._pairs:
            name = self._record(source)
            if (name is None or users[name] > 1 or name in self._kept
                    or not _same_layout(target, source)
                    or target.data_ptr() in taken):
                copied.append((target, source))
                continue
            taken.add(target.data_ptr())
            lent[name] = target
        self._pairs = copied
        return lent

    def unwanted(self) -> set[str]:
        wanted = {self._record(source) for _, source in self._pairs}
        return self._dropped - self._kept - wanted

    def apply(self) -> None:
        import torch

        with torch.no_grad():
            for target, source in self._pairs:
                if not (target.device.type == "cpu"
                        and target.layout == torch.strided
                        and source.layout == torch.strided
                        and target.data_ptr() == source.data_ptr()
                        and target.stride() == source.stride()):
                    target.copy_(source)
        for setter in self._setters:
            setter()

    def _record(self, tensor: torch.Tensor) -> str | None:
        import torch

        if tensor.layout != torch.strided:
            return None
        try:
            return self._records.get(tensor.untyped_storage().data_ptr())
        except (RuntimeError, NotImplementedError):  # without a storage
            return None

    def _match(self, state: object, loaded: object, key: str,
               outermost: bool) -> object:
        import torch

        if isinstance(state, torch.Tensor):
            return self._match_tensor(state, loaded, key)
        if isinstance(state, torch.nn.Module):
            return self._match_module(state, loaded, key)
        if isinstance(state, torch.optim.Optimizer):
            return self._match_optimizer(state, loaded, key)
        if isinstance(state, Mapping):
            return self._match_dict(state, loaded, key, outermost)
        if isinstance(state, (list, tuple)):
            return self._match_list(state, loaded, key, outermost)
        return self._keep(loaded)

    def _match_tensor(self, state: torch.Tensor, loaded: object,
                      key: str) -> object:
        import torch

        if loaded is _NOTHING:
            self._missing.append(key or "the tensor")
            return _NOTHING
        if not isinstance(loaded, torch.Tensor):
            self._wrong.append(f"{key} is a {type(loaded).__name__} in the "
                               "file, not a tensor")
        elif loaded.shape != state.shape or loaded.dtype != state.dtype:
            self._wrong.append(
                f"{key} is {loaded.dtype} {tuple(loaded.shape)} in the file, "
                f"not {state.dtype} {tuple(state.shape)}")
        else:
            self._pairs.append((state.detach(), loaded.detach()))
        return _NOTHING

    def _match_module(self, state: torch.nn.Module, loaded: object,
                      key: str) -> object:
        import torch

        inside = loaded if isinstance(loaded, Mapping) else {}
        own = state.state_dict()
        for name, value in own.items():
            inner = _join(key, name)
            if isinstance(value, torch.Tensor):
                self._match_tensor(value, inside.get(name, _NOTHING), inner)
            elif name not in inside:
                self._missing.append(inner)
            elif name.endswith(torch.nn.modules.module._EXTRA_STATE_KEY_SUFFIX):
                part = state.get_submodule(name.rpartition(".")[0])
                extra = self._keep(inside[name])
                self._setters.append(
                    lambda part=part, extra=extra: part.set_extra_state(extra))
        for name, value in inside.items():
            if name not in own:
                self._unexpected.append(_join(key, str(name)))
                if isinstance(value, torch.Tensor):
                    record = self._record(value)
                    if record is not None:
                        self._dropped.add(record)
        return _NOTHING

    def _match_optimizer(self, state: torch.optim.Optimizer, loaded: object,
                         key: str) -> object:
        if loaded is _NOTHING:
            self._missing.append(key or "the optimizer")
            return _NOTHING
        groups = loaded.get("param_groups") if isinstance(
            loaded, Mapping) else None
        if not isinstance(groups, list) or (
                [len(group["params"]) for group in groups]
                != [len(group["params"]) for group in state.param_groups]):
            self._wrong.append(f"{key or 'the file'} has not the parameter "
                               "groups of the optimizer")
            return _NOTHING
        kept = self._keep(loaded)
        self._setters.append(lambda: state.load_state_dict(kept))
        return _NOTHING

    def _match_dict(self, state: Mapping[object, object], loaded: object,
                    key: str, outermost: bool) -> object:
        inside = loaded if isinstance(loaded, Mapping) else {}
        rest = {}
        for name, value in state.items():
            left = self._match(value, inside.get(name, _NOTHING),
                               _join(key, str(name)), False)
            if left is not _NOTHING:
                rest[name] = left
        if not isinstance(loaded, Mapping):
            return self._keep(loaded)
        for name, value in inside.items():
            if name not in state:
                if not outermost:
                    self._expect_no_tensors(value, _join(key, str(name)))
                rest[name] = self._keep(value)
        if not rest and loaded:
            return _NOTHING
        return {name: rest[name] for name in inside if name in rest}

    def _match_list(self, state: list[object] | tuple[object, ...],
                    loaded: object, key: str, outermost: bool) -> object:
        inside = loaded if isinstance(loaded, (list, tuple)) else ()
        rest = []
        for i in range(max(len(state), len(inside))):
            value = inside[i] if i < len(inside) else _NOTHING
            inner = _join(key, str(i))
            if i < len(state):
                rest.append(self._match(state[i], value, inner, False))
                continue
            if not outermost:
                self._expect_no_tensors(value, inner)
            rest.append(self._keep(value))
        if not isinstance(loaded, (list, tuple)):
            return self._keep(loaded)
        if rest and all(left is _NOTHING for left in rest):
            return _NOTHING
        return [None if left is _NOTHING else left
                for left in rest[:len(inside)]]

    def _expect_no_tensors(self, value: object, key: str) -> None:
        import torch

        if isinstance(value, torch.Tensor):
            self._unexpected.append(key)
        elif isinstance(value, Mapping):
            for name, item in value.items():
                self._expect_no_tensors(item, _join(key, str(name)))
        elif isinstance(value, (list, tuple)):
            for i, item in enumerate(value):
                self._expect_no_tensors(item, _join(key, str(i)))

    def _keep(self, value: object) -> object:
        """Notes the tensors of what is left to apply, and what it is made of."""
        import torch

        if isinstance(value, torch.Tensor):
            record = self._record(value)
            if record is not None:
                self._kept.add(record)
            elif value.numel() > 0:
                self.opaque = True
        elif isinstance(value, Mapping):
            for item in value.values():
                self._keep(item)
        elif isinstance(value, (list, tuple)):
            for item in value:
                self._keep(item)
        elif value is not _NOTHING and type(value) not in _PLAIN:
            self.opaque = True
        return value


def _same_layout(target: torch.Tensor, source: torch.Tensor) -> bool:
    """Whether the whole storage of `source` is, byte for byte, the memory of
    `target`."""
    import torch

    return (type(target) is torch.Tensor and type(source) is torch.Tensor
            and target.device.type == "cpu" and target.layout == torch.strided
            and not target.is_conj() and not target.is_neg()
            and not source.is_conj() and not source.is_neg()
            and target.is_contiguous() and source.is_contiguous()
            and target.numel() > 0 and source.storage_offset() == 0
            and source.untyped_storage().nbytes()
            == target.numel() * target.element_size())


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name

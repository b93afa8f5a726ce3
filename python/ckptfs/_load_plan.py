"""What of a loaded file goes into which tensor of a state."""
from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Callable

if TYPE_CHECKING:
    import torch

_NOTHING = object()
_PLAIN = (type(None), bool, int, float, complex, str, bytes)


class Plan:
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
        """Records that nobody looks at."""
        if self.opaque:  # objects may have any of them
            return set()
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
        elif loaded.layout != state.layout:
            self._wrong.append(f"{key} is {loaded.layout} in the file, not "
                               f"{state.layout}")
        elif state.device.type == "meta":
            self._wrong.append(f"{key} is on meta: there is no memory to load "
                               "into")
        elif _has_shared_elements(state):
            self._wrong.append(f"{key} is expanded: its elements share memory")
        else:
            # Of a sparse one, copy_ replaces what a detached one would keep.
            self._pairs.append((
                state.detach() if state.layout == torch.strided else state,
                loaded.detach()))
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
        """Notes what is left to apply: its tensors, and what it is made of."""
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


def _has_shared_elements(tensor: torch.Tensor) -> bool:
    import torch

    return tensor.layout == torch.strided and any(
        stride == 0 and size > 1
        for size, stride in zip(tensor.shape, tensor.stride()))


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

"""What a planner has resolved, as the engine writes it."""
from __future__ import annotations

import ctypes
import functools
import pickle
from collections.abc import Callable

import torch
from torch.distributed.checkpoint.planner import (SavePlanner, WriteItem,
                                                  WriteItemType)

from .. import _core
from ..torch_file import _Recorder

_PROTOCOL = 2  # torch/serialization.py, DEFAULT_PROTOCOL


@functools.lru_cache(maxsize=None)
def dtype_name(dtype: torch.dtype) -> str | None:
    """As the engine calls it; None: it does not know it, or a tensor of it is
    more than its bytes (quantized ones have scales)."""
    name = str(dtype).removeprefix("torch.")
    return name if name[0] != "q" and _core.knows_dtype(name) else None


def is_plain(tensor: torch.Tensor) -> bool:
    """Whether shape, strides, dtype and bytes are all there is to it."""
    return (type(tensor) is torch.Tensor
            and tensor.layout is torch.strided
            and tensor.device.type != "meta"
            and not tensor.is_quantized
            and not tensor.is_conj() and not tensor.is_neg()
            and dtype_name(tensor.dtype) is not None)


class ItemsOfFile:
    """The items of one data file; keeps their memory.

    Attributes:
        items: as _core.dcp_save takes them.
    """

    def __init__(self, items: list[WriteItem], planner: SavePlanner) -> None:
        self.items: list[object] = []
        self._owners: list[object] = []
        self._failure: BaseException | None = None
        for item in items:
            data = planner.resolve_data(item)
            if item.type == WriteItemType.BYTE_IO:
                self.items.append(data.getvalue())
                continue
            tensor = data.detach()
            self._owners.append(tensor)
            self.items.append(self._plain(tensor) if is_plain(tensor)
                              else self._pickled(tensor))

    def raise_failure(self) -> None:
        """What kept a tensor from being copied, if anything did."""
        if self._failure is not None:
            raise self._failure

    def _plain(self, tensor: torch.Tensor) -> tuple[object, ...]:
        name, shape = dtype_name(tensor.dtype), tuple(tensor.shape)
        size = tensor.nbytes
        if tensor.device.type == "cpu" and (
                tensor.is_contiguous()
                or (tensor.untyped_storage().size() == size
                    and tensor.storage_offset() == 0)):
            return (name, shape, tensor.stride(), tensor.data_ptr(), size,
                    None)
        # As torch copies it: with its strides, but without gaps.
        strides = torch.empty_like(tensor, device="meta").stride()
        return (name, shape, strides, 0, size,
                self._fill(tensor, shape, strides))

    def _fill(self, tensor: torch.Tensor, shape: tuple[int, ...],
              strides: tuple[int, ...]) -> Callable[[int], None] | None:
        if tensor.numel() == 0:
            return None

        def fill(address: int) -> None:
            try:
                memory = (ctypes.c_char * tensor.nbytes).from_address(address)
                flat = torch.frombuffer(memory, dtype=tensor.dtype)
                flat.as_strided(shape, strides).copy_(tensor)
            except BaseException as error:
                self._failure = error
                raise
        return fill

    def _pickled(self, tensor: torch.Tensor) -> tuple[object, ...]:
        tensor = tensor.cpu()
        try:
            exact = tensor.untyped_storage().size() == tensor.nbytes
        except (NotImplementedError, RuntimeError):
            exact = True  # no storage of its own
        if not exact:
            tensor = tensor.clone()
        recorder = _Recorder()
        torch.serialization._save(tensor, recorder, pickle, _PROTOCOL, False)
        self._owners += [tensor, recorder]
        return (recorder.records, recorder.alignment)

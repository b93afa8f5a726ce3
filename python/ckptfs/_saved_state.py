"""A state as it was at one moment, to be saved later."""
from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING

from ._copy_memory import CopyMemory
from ._engines import engine_for
from .config import S3ClientConfig
from .torch_file import _plain_save, _Recorder

if TYPE_CHECKING:
    import torch


class _CopyingRecorder(_Recorder):
    """Keeps copies of the storages. (Torch has made one already of those of a
    device, and does not tell.)"""

    def __init__(self, memory: CopyMemory) -> None:
        super().__init__()
        self.copies: list[torch.UntypedStorage] = []
        self._memory = memory

    def write_record(self, name: str, data: object, nbytes: int) -> None:
        if not isinstance(data, (str, bytes)):
            storage: torch.UntypedStorage = data  # type: ignore[assignment]
            data = self._memory.copy(storage)
            self.copies.append(data)
        super().write_record(name, data, nbytes)


class SavedState:
    """Pickled, with the bytes of all tensors, in the memory of the host: what
    becomes of the objects afterwards does not matter, and storages that are
    shared stay so. `write`, to be called once, gives the file that
    `ckptfs.save` would have.

    Args:
        obj: anything that torch.save takes.
        memory: the copies come from there, and go back when they are written.

    Raises:
        pickle.PicklingError, RuntimeError: those of torch.save.
    """

    def __init__(self, obj: object, memory: CopyMemory) -> None:
        import torch

        self._memory = memory
        self._recorder: _CopyingRecorder | None = None
        self._file = b""
        if _plain_save(torch):
            self._recorder = _CopyingRecorder(memory)
            torch.serialization._save(obj, self._recorder, pickle, 2, False)
        else:
            buffer = io.BytesIO()
            torch.save(obj, buffer)
            self._file = buffer.getvalue()

    def write(self, path: str, region: str | None, endpoint: str | None,
              config: S3ClientConfig | None) -> None:
        """Writes the file. Releases the GIL; errors as those of
        `ckptfs.save`."""
        engine = engine_for(region, endpoint, config)
        if self._recorder is None:
            engine.write(path, self._file)
            return
        recorder, self._recorder = self._recorder, None
        try:
            engine.save_records(path, recorder.records, recorder.alignment)
        finally:
            self._memory.give_back(recorder.copies)

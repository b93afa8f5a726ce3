"""A DCP checkpoint is read: the bytes that are wanted, in parallel ranges,
straight into the memory of tensors."""
from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from typing import Any

import torch
from torch.distributed.checkpoint.filesystem import (FileSystemReader,
                                                     _StorageInfo)
from torch.distributed.checkpoint.metadata import (Metadata, MetadataIndex,
                                                   StorageMeta,
                                                   TensorStorageMetadata)
from torch.distributed.checkpoint.planner import (LoadItemType, LoadPlan,
                                                  LoadPlanner, ReadItem)
from torch.futures import Future

from .. import _core
from ..config import MIB, S3ClientConfig
from ..errors import S3Exception
from ..files import Path
from ..reader_constructor import ReaderConstructor
from .file_system import S3FileSystem
from .items import dtype_name, is_plain

# Memory for what cannot go straight to where it is wanted.
_STAGED_BYTES = 64 * MIB


class _Box:
    """A tensor that is wanted: a box of a stored chunk, and the memory for
    it."""

    def __init__(self, item: ReadItem, info: _StorageInfo, dtype: torch.dtype,
                 chunk: tuple[tuple[int, ...], tuple[int, ...]],
                 target: torch.Tensor) -> None:
        self.item = item
        self.dtype = dtype
        self.target = target
        self._info = info
        self._chunk = chunk

    @property
    def direct(self) -> bool:
        """Whether the bytes can go there as they are."""
        target = self.target
        return (target.dtype == self.dtype and target.device.type == "cpu"
                and is_plain(target)
                and not any(stride == 0 and size > 1 for size, stride
                            in zip(target.shape, target.stride())))

    def wanted(self, memory: torch.Tensor, begin: int = 0) -> tuple[Any, ...]:
        """As _core.dcp_read takes it. `memory` may be shorter than the box:
        then it is for the rows from `begin` on."""
        offsets = list(self.item.storage_offsets)
        if offsets:
            offsets[0] += begin
        info = self._info
        return (self.item.storage_index.fqn, self._chunk[0],
                dtype_name(self.dtype), self._chunk[1], info.relative_path,
                info.offset, info.length, offsets, tuple(memory.shape),
                memory.data_ptr(), memory.stride())

    def staged(self) -> Iterator[tuple[int, torch.Tensor]]:
        """Memory for some rows at a time, and which they are; all of a box
        without dimensions."""
        shape = tuple(self.target.shape)
        if not shape:
            yield 0, torch.empty(shape, dtype=self.dtype, device="cpu")
            return
        row = self.target.numel() // shape[0] * self.dtype.itemsize
        rows = max(1, _STAGED_BYTES // max(1, row))
        for begin in range(0, shape[0], rows):
            size = (min(rows, shape[0] - begin), *shape[1:])
            yield begin, torch.empty(size, dtype=self.dtype, device="cpu")

    def part(self, begin: int, rows: torch.Tensor) -> torch.Tensor:
        """Where these rows are wanted."""
        if not rows.dim():
            return self.target
        return self.target.narrow(0, begin, rows.shape[0])


class S3StorageReader(FileSystemReader):
    """Reads what torch's FileSystemWriter and S3StorageWriter have written.

    Of a stored chunk only the rows that are wanted are fetched, and go straight
    to where they are wanted if that is memory of the CPU of the same dtype, and
    through up to 64 MiB of memory otherwise. `.metadata`, and values by the
    planner, are unpickled, which runs what they say: load what you trust.

    Args:
        region, endpoint: as those of S3FileSystem.
        path: folder of the checkpoint: "s3://bucket/key", "file:///path" or a
            plain path.
        s3client_config: other settings.
        reader_constructor: a hint; see S3ReaderConstructor.

    Raises:
        ValueError: a wrong path.
        TypeError: an argument of another type.
    """

    def __init__(self, region: str | None = None, path: Path = "",
                 s3client_config: S3ClientConfig | None = None,
                 reader_constructor: ReaderConstructor | None = None, *,
                 endpoint: str | None = None,
                 _extension_registry: Any = None) -> None:
        fs = S3FileSystem(region, s3client_config=s3client_config,
                          reader_constructor=reader_constructor,
                          endpoint=endpoint)
        text = fs.init_path(path)
        super().__init__(text, _extension_registry)
        self.fs = fs  # type: ignore[assignment]
        self.path = text
        self.sync_files = False
        self._tensors: dict[str, TensorStorageMetadata] = {}
        self._chunks: dict[str, dict[tuple[int, ...], tuple[int, ...]]] = {}

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Raises:
            FileNotFoundError: there is no checkpoint.
            S3Exception: other trouble.
        """
        if not isinstance(self.fs, S3FileSystem):
            return super().read_metadata(*args, **kwargs)
        if not self.path:
            raise ValueError("no path: give one to the reader, or a "
                             "checkpoint_id to the load")
        path = str(self._get_metadata_path(kwargs.get("rank")))
        metadata = pickle.loads(self.fs.engine.read(path))
        if getattr(metadata, "storage_meta", None) is None:
            metadata.storage_meta = StorageMeta()
        metadata.storage_meta.load_id = self.load_id
        return metadata  # type: ignore[no-any-return]

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool,
                              *args: Any, **kwargs: Any) -> None:
        super().set_up_storage_reader(metadata, is_coordinator, *args,
                                      **kwargs)
        self._tensors = {
            fqn: item for fqn, item in metadata.state_dict_metadata.items()
            if isinstance(item, TensorStorageMetadata)}
        self._chunks = {}

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        """Raises:
            S3Exception: with the code "InvalidArgument" (then also a
                ValueError) for damaged files.
            FileNotFoundError: a data file is missing.
        """
        ours, torchs = [], []
        for item in plan.items:
            (ours if self._readable(item) else torchs).append(item)
        if torchs:
            super().read_data(LoadPlan(torchs), planner)
        try:
            self._read(ours, planner)
        except S3Exception as error:
            # Tensors that are more than shape and bytes are torch's to build.
            if error.code not in ("Unsupported", "InvalidArgument"):
                raise
            try:
                super().read_data(LoadPlan(ours), planner)
            except Exception:  # noqa: BLE001
                raise error from None
        done: Future[None] = Future()
        done.set_result(None)
        return done

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Path) -> bool:
        """See S3FileSystem."""
        return S3FileSystem.validate_checkpoint_id(checkpoint_id)

    def _readable(self, item: ReadItem) -> bool:
        if not isinstance(self.fs, S3FileSystem):
            return False
        info = self.storage_data[item.storage_index]
        if info.transform_descriptors:
            return False
        if item.type == LoadItemType.BYTE_IO:
            return True
        tensor = self._tensors.get(item.storage_index.fqn)
        return (tensor is not None
                and dtype_name(tensor.properties.dtype) is not None
                and self._chunk_of(item.storage_index) is not None)

    def _chunk_of(self, index: MetadataIndex
                  ) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """Offsets and sizes of a stored chunk."""
        chunks = self._chunks.get(index.fqn)
        if chunks is None:
            chunks = {tuple(chunk.offsets): tuple(chunk.sizes)
                      for chunk in self._tensors[index.fqn].chunks}
            self._chunks[index.fqn] = chunks
        if index.offset is None:
            return next(iter(chunks.items())) if len(chunks) == 1 else None
        offsets = tuple(index.offset)
        sizes = chunks.get(offsets)
        return None if sizes is None else (offsets, sizes)

    def _box(self, item: ReadItem, planner: LoadPlanner) -> _Box:
        target = planner.resolve_tensor(item).detach()
        if target.size() != torch.Size(item.lengths):
            raise AssertionError(f"req {item.storage_index} mismatch sizes "
                                 f"{target.size()} vs {item.lengths}")
        index = item.storage_index
        chunk = self._chunk_of(index)
        assert chunk is not None
        return _Box(item, self.storage_data[index],
                    self._tensors[index.fqn].properties.dtype, chunk, target)

    def _read(self, items: list[ReadItem], planner: LoadPlanner) -> None:
        values = [i for i in items if i.type == LoadItemType.BYTE_IO]
        boxes = [self._box(item, planner) for item in items
                 if item.type != LoadItemType.BYTE_IO]
        direct = [box for box in boxes if box.direct]
        places = []
        for item in values:
            info = self.storage_data[item.storage_index]
            places.append((info.relative_path, info.offset, info.length))
        contents = self._fetch(
            [box.wanted(box.target) for box in direct if box.target.numel()],
            places)
        for item, content in zip(values, contents):
            planner.load_bytes(item, io.BytesIO(content))
        for box in direct:
            planner.commit_tensor(box.item, box.target)
        self._read_staged([box for box in boxes if not box.direct], planner)

    def _read_staged(self, boxes: list[_Box], planner: LoadPlanner) -> None:
        batch: list[tuple[_Box, int, torch.Tensor]] = []
        staged = 0

        def flush() -> None:
            nonlocal staged
            self._fetch([box.wanted(rows, begin)
                         for box, begin, rows in batch], [])
            for box, begin, rows in batch:
                box.part(begin, rows).copy_(rows)
            batch.clear()
            staged = 0

        for box in boxes:
            if not box.target.numel():
                continue
            for begin, rows in box.staged():
                if batch and staged + rows.nbytes > _STAGED_BYTES:
                    flush()
                batch.append((box, begin, rows))
                staged += rows.nbytes
        flush()
        for box in boxes:
            planner.commit_tensor(box.item, box.target)

    def _fetch(self, tensors: list[tuple[Any, ...]],
               places: list[tuple[str, int, int]]) -> list[bytes]:
        if not tensors and not places:
            return []
        assert isinstance(self.fs, S3FileSystem)
        return _core.dcp_read(self.fs.engine, str(self.path), tensors, places)

"""A DCP checkpoint is written: data files in parallel parts, straight from the
memory of tensors."""
from __future__ import annotations

import dataclasses
import pickle
import warnings
from typing import Any

import torch
from torch.distributed.checkpoint.filesystem import (DEFAULT_SUFFIX,
                                                     FileSystemWriter,
                                                     SerializationFormat,
                                                     _split_by_size_and_type,
                                                     _StorageInfo,
                                                     _StoragePrefix)
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import (SavePlan, SavePlanner,
                                                  WriteItem, WriteItemType)
from torch.distributed.checkpoint.storage import WriteResult
from torch.futures import Future

from .. import _core
from ..config import S3ClientConfig
from ..errors import S3Exception
from ..files import Path
from ..torch_file import _plain_save
from .file_system import S3FileSystem
from .items import ItemsOfFile
from .prefix_strategy import DefaultPrefixStrategy, S3PrefixStrategyBase

# torch/distributed/checkpoint/filesystem.py, CURRENT_DCP_VERSION.
_VERSION = "1.0.0"
# Of the save's id, in the names of files beside an older checkpoint.
_ID_DIGITS = 8
# Where every item has a file of its own.
_SMALL_FILES_AT_A_TIME = 8


class S3StorageWriter(FileSystemWriter):
    """Writes what torch's FileSystemWriter writes, and what its reader reads.

    A file's layout is fixed first; then it goes out in parallel parts, uncopied
    where a tensor is on the CPU. Other tensors are copied one at a time, as
    their turn comes. Every file appears whole or not at all, and `.metadata`
    comes last, in one step. A checkpoint that is there is replaced in that
    step: the new data files get names of their own, and those that only the
    older one had are removed afterwards.

    Can be pickled, for async_save in a process of its own.

    Args:
        region, endpoint: as those of S3FileSystem.
        path: folder of the checkpoint: "s3://bucket/key", "file:///path" or a
            plain path.
        s3client_config: other settings.
        prefix_strategy: names of the data files; None: `__{rank}_`.
        thread_count: data files of a rank, written side by side.
        kwargs: those of FileSystemWriter. `sync_files` has no effect: what
            was saved is on storage when the save ends. `_extensions` and
            SerializationFormat.SAFETENSORS go through torch's own code and
            one stream for each thread.

    Raises:
        ValueError: a wrong path.
        TypeError: an argument of another type.
    """

    def __init__(self, region: str | None = None, path: Path = "",
                 s3client_config: S3ClientConfig | None = None,
                 prefix_strategy: S3PrefixStrategyBase | None = None,
                 thread_count: int = 1, *, endpoint: str | None = None,
                 **kwargs: Any) -> None:
        fs = S3FileSystem(region, s3client_config=s3client_config,
                          endpoint=endpoint)
        text = fs.init_path(path)
        kwargs["sync_files"] = False
        super().__init__(path=text, thread_count=thread_count, **kwargs)
        self.fs = fs  # type: ignore[assignment]
        self.path = text
        self.prefix_strategy = prefix_strategy or DefaultPrefixStrategy()
        self._replaced: bytes | None = None

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any,
                              **kwargs: Any) -> None:
        if not self.path:
            raise ValueError("no path: give one to the writer, or a "
                             "checkpoint_id to the save")
        super().set_up_storage_writer(is_coordinator, *args, **kwargs)

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        """Raises:
            RuntimeError: a checkpoint is there, and `overwrite` is False.
        """
        plan = super().prepare_local_plan(plan)
        self._replaced = self._metadata_there()
        if self.rank is not None and not self.use_collectives:
            plan = self._with_prefix(plan, self.prefix_strategy(self.rank))
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        return [plan if plan.storage_data is not None
                else self._with_prefix(plan, self.prefix_strategy(rank))
                for rank, plan in enumerate(plans)]

    def write_data(self, plan: SavePlan,
                   planner: SavePlanner) -> Future[list[WriteResult]]:
        prefix = plan.storage_data.prefix
        if self._replaced is not None:
            # The older checkpoint's files stay as they are, as long as its
            # metadata may be read.
            prefix += f"{self.save_id[:_ID_DIGITS]}_"
        folder = prefix.rpartition("/")[0]
        if folder:
            self.fs.mkdir(self.fs.concat_path(self.path, folder))
        if self._torch_writes():
            return self._checked(plan, super().write_data(
                self._with_prefix(plan, prefix), planner))
        if self.single_file_per_rank:
            buckets = _split_by_size_and_type(self.thread_count, plan.items)
            at_a_time = self.thread_count
        else:
            buckets = [[item] for item in plan.items]
            at_a_time = _SMALL_FILES_AT_A_TIME
        names = [f"{prefix}{number}{DEFAULT_SUFFIX}"
                 for number in range(len(buckets))]
        result: Future[list[WriteResult]] = Future()
        result.set_result(self._write(
            [(name, bucket) for name, bucket in zip(names, buckets) if bucket],
            planner, at_a_time))
        return result

    def finish(self, metadata: Metadata,
               results: list[list[WriteResult]]) -> None:
        """Raises:
            RuntimeError: a checkpoint has appeared meanwhile, and `overwrite`
                is False.
            S3Exception: other trouble.
        """
        metadata.version = _VERSION
        metadata.storage_data = {result.index: result.storage_data
                                 for of_rank in results for result in of_rank}
        metadata.storage_meta = self.storage_meta()
        try:
            self._engine.write(self._own_metadata_path(),
                               pickle.dumps(metadata),
                               if_none_match=not self.overwrite)
        except S3Exception as error:
            if error.code != "PreconditionFailed":
                raise
            raise RuntimeError(
                f"{self.path} holds a checkpoint by now, and overwrite=False"
            ) from error
        if self._replaced is not None:
            self._remove_older({info.relative_path for info
                                in metadata.storage_data.values()})

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Path) -> bool:
        """See S3FileSystem."""
        return S3FileSystem.validate_checkpoint_id(checkpoint_id)

    @property
    def _engine(self) -> _core.Engine:
        return self.fs.engine  # type: ignore[attr-defined, no-any-return]

    @staticmethod
    def _with_prefix(plan: SavePlan, prefix: str) -> SavePlan:
        return dataclasses.replace(plan, storage_data=_StoragePrefix(prefix))

    def _own_metadata_path(self) -> str:
        rank = None if self.use_collectives else self.rank
        return self._get_metadata_path(rank)  # type: ignore[return-value]

    def _metadata_there(self) -> bytes | None:
        """Those that this save replaces."""
        try:
            return self._engine.read(self._own_metadata_path())
        except FileNotFoundError:
            return None

    def _torch_writes(self) -> bool:
        return (not isinstance(self.fs, S3FileSystem)
                or bool(self.transforms.extensions)
                or self.serialization_format != SerializationFormat.TORCH_SAVE
                or not _plain_save(torch))

    @staticmethod
    def _checked(plan: SavePlan, written: Future[list[WriteResult]]
                 ) -> Future[list[WriteResult]]:
        # Torch drops what its threads raise, and the files with it.
        if len(written.value()) != len(plan.items):
            raise RuntimeError(
                f"{len(plan.items) - len(written.value())} of "
                f"{len(plan.items)} items were not written; save with "
                "thread_count=1 to see why")
        return written

    def _write(self, files: list[tuple[str, list[WriteItem]]],
               planner: SavePlanner, at_a_time: int) -> list[WriteResult]:
        laid_out = []
        for name, items in files:
            # Values first, as torch orders them.
            items.sort(key=lambda item: item.type != WriteItemType.BYTE_IO)
            laid_out.append(ItemsOfFile(items, planner))
        try:
            places = _core.dcp_save(
                self._engine,
                [(self.fs.concat_path(self.path, name), of_file.items)
                 for (name, _), of_file in zip(files, laid_out)], at_a_time)
        except S3Exception:
            for of_file in laid_out:
                of_file.raise_failure()
            raise
        return [
            WriteResult(index=item.index, size_in_bytes=length,
                        storage_data=_StorageInfo(name, offset, length))
            for (name, items), of_file in zip(files, places)
            for item, (offset, length) in zip(items, of_file)]

    def _remove_older(self, still_there: set[str]) -> None:
        assert self._replaced is not None
        try:
            older = _core.dcp_data_files(self._replaced)
        except S3Exception:
            return  # Not for us to judge what is whose.
        for name in older:
            if name in still_there:
                continue
            try:
                self.fs.rm_file(self.fs.concat_path(self.path, name))
            except (S3Exception, OSError) as error:
                # The checkpoint is there, and whole.
                warnings.warn(f"a file of the older checkpoint is left: {error}",
                              RuntimeWarning, stacklevel=2)

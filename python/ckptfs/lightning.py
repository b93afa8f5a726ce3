"""Checkpoints of Lightning in S3, as plugins of its Trainer.

    trainer = Trainer(plugins=[S3LightningCheckpoint("us-east-1")])

Importing this module lets Lightning's own calls on "s3://" paths (whether a
folder is there, what is in it) work without s3fs: see
`ckptfs.fsspec.register_s3`.
"""
from __future__ import annotations

import functools
import os
import shutil
from typing import Any

# Absolute imports: this is Lightning itself.
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import CheckpointIO

import ckptfs

from ._background import AsyncSaveError, Background, Job
from ._copy_memory import CopyMemory
from ._engines import engine_for
from ._saved_state import SavedState
from .config import S3ClientConfig
from .files import Path, text_of
from .fsspec import CkptFileSystem, register_s3

__all__ = ["AsyncSaveError", "S3AsyncLightningCheckpoint",
           "S3LightningCheckpoint"]

_S3 = "s3://"
# Source: SEMANTICS.md; every file and folder of a mount has it.
_MOUNT_ATTRIBUTE = "user.ckptfs.uri"


def _below_a_mount(path: str) -> bool:
    """Whether the path, or the nearest folder above it that exists, is of a
    mount of ckptfs."""
    path = os.path.realpath(path)
    while True:
        try:
            os.getxattr(path, _MOUNT_ATTRIBUTE)
            return True
        except (FileNotFoundError, NotADirectoryError):
            parent = os.path.dirname(path)
            if parent == path:
                return False
            path = parent
        except OSError:
            return False


def checkpoint_path(path: Path) -> str:
    """The path as a str.

    Raises:
        ValueError: neither an s3:// URI of an object nor below a mount.
        TypeError: neither str nor os.PathLike.
    """
    text = text_of(path)
    if text.startswith(_S3):
        bucket, _, key = text[len(_S3):].partition("/")
        if not bucket or not key.strip("/"):
            raise ValueError(f"{text!r} names no object; write "
                             "s3://bucket/key")
        return text
    # Of "/odd/gs://name" the part before "://" is no scheme.
    scheme, mark, _ = text.partition("://")
    if (mark and "/" not in scheme) or not text or not _below_a_mount(text):
        raise ValueError(f"{text!r} is neither s3://bucket/key nor a path "
                         "below a mount of ckptfs")
    return text


class S3LightningCheckpoint(CheckpointIO):
    """Saves and loads checkpoints at s3://bucket/key or below a mount.

    The files are torch's. One appears whole or not at all.

    Args:
        region: of the bucket; None: AWS_REGION, AWS_DEFAULT_REGION, us-east-1.
        s3client_config: other settings.
        endpoint: URL of the service; None: AWS_ENDPOINT_URL_S3,
            AWS_ENDPOINT_URL, AWS.

    Raises:
        TypeError, ValueError: a wrong setting.
    """

    def __init__(self, region: str | None = None,
                 s3client_config: S3ClientConfig | None = None,
                 endpoint: str | None = None) -> None:
        engine_for(region, endpoint, s3client_config)  # checks them
        self.region = region
        self.s3client_config = s3client_config
        self.endpoint = endpoint

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Path,
                        storage_options: Any | None = None) -> None:
        """Saves as torch.save does.

        Args:
            checkpoint: what the Trainer gives.
            path: "s3://bucket/key", or below a mount, where folders are made.
            storage_options: must be None.

        Raises:
            TypeError: there are storage_options, or the path is no path.
            ValueError: the path is neither in S3 nor below a mount.
            S3Exception: it was not saved; an older one is as it was.
            pickle.PicklingError, RuntimeError: those of torch.save.
        """
        target = self._target(path, storage_options)
        ckptfs.save(checkpoint, target, region=self.region,
                    endpoint=self.endpoint, config=self.s3client_config)

    def load_checkpoint(self, path: Path, map_location: Any | None = None,
                        weights_only: bool | None = None, *,
                        state: Any | None = None) -> dict[str, Any] | None:
        """Loads as torch.load does.

        Args:
            path: "s3://bucket/key", or below a mount.
            map_location: as torch.load's; None: to the CPU, as Lightning's
                own plugin. Not with `state`.
            weights_only: as torch.load's.
            state: tensors, modules and optimizers to load into, in place; see
                `ckptfs.load_into`.

        Returns:
            The checkpoint; with `state` what is left of it to apply, or None.

        Raises:
            FileNotFoundError: it is not there (an S3NotFoundError).
            ValueError, TypeError: a wrong path; `state` does not fit.
            S3Exception: other trouble.
            pickle.UnpicklingError: what `weights_only` refuses.
        """
        source = checkpoint_path(path)
        where = "cpu" if map_location is None else map_location
        if state is not None:
            if str(where) != "cpu":
                raise ValueError(
                    "map_location has no meaning with state, whose tensors are "
                    "where they are; what is left to apply is on the CPU")
            return ckptfs.load_into(  # type: ignore[return-value]
                state, source, weights_only=weights_only, region=self.region,
                endpoint=self.endpoint, config=self.s3client_config)
        return ckptfs.load(  # type: ignore[return-value]
            source, where, weights_only=weights_only, region=self.region,
            endpoint=self.endpoint, config=self.s3client_config)

    def remove_checkpoint(self, path: Path) -> None:
        """Removes a checkpoint, of one file or (sharded) of a folder: that of
        this name, letter by letter, whatever a shell would make of it. One
        that is not there is a success. With a slash at its end the name is
        that of a folder alone.

        Raises:
            ValueError, TypeError: a wrong path.
            S3Exception: the service did not remove it.
        """
        text = checkpoint_path(path)
        if not text.startswith(_S3):
            # "link/" would be what the link leads to.
            name = text.rstrip("/")
            if os.path.isdir(name) and not os.path.islink(name):
                shutil.rmtree(name)
            elif name == text or os.path.islink(name):
                ckptfs.remove(name)
            return
        files = CkptFileSystem(self.region, self.endpoint,
                               self.s3client_config)
        if not text.endswith("/"):
            ckptfs.remove(text, region=self.region, endpoint=self.endpoint,
                          config=self.s3client_config)
        if files.isdir(text):
            files.rm(text, recursive=True)

    def teardown(self) -> None:
        """Does nothing: every save has ended."""

    @property
    def requires_state_on_load(self) -> bool:
        """False: a load works without `state`."""
        return False

    def _target(self, path: Path, storage_options: Any | None) -> str:
        if storage_options is not None:
            raise TypeError(
                f"{type(self).__name__} takes no storage_options, and was "
                f"given {storage_options!r}; settings belong into its "
                "s3client_config")
        target = checkpoint_path(path)
        folder = os.path.dirname(target)
        if folder and not target.startswith(_S3):
            os.makedirs(folder, exist_ok=True)
        return target


class S3AsyncLightningCheckpoint(S3LightningCheckpoint):
    """Saves in the background, one after another, in order.

    `save_checkpoint` returns when the state is copied into the memory of the
    host; what is done to the tensors afterwards does not matter. A removal
    takes its turn behind the saves before it, and is not done if one of them
    failed. A load, or a removal, of a path that is being saved waits for it.

    The memory of the copies is kept for the next saves, until teardown.

    A failure is raised, once, as an AsyncSaveError that names the path, by the
    next save, load or removal, or by teardown; the call that raises it does
    nothing else (teardown does all). Without teardown the program waits for
    the saves at its end and prints what failed.

    Args:
        region, s3client_config, endpoint: as S3LightningCheckpoint's.
        max_pending: saves that wait or run at once, each with its copy of the
            state; a further one waits. Two, because save_last=True of
            ModelCheckpoint saves twice at a time.

    Raises:
        ValueError: max_pending below 1.
        TypeError, ValueError: a wrong setting.
    """

    def __init__(self, region: str | None = None,
                 s3client_config: S3ClientConfig | None = None,
                 endpoint: str | None = None, *,
                 max_pending: int = 2) -> None:
        super().__init__(region, s3client_config, endpoint)
        if max_pending < 1:
            raise ValueError(
                f"max_pending must be at least 1, not {max_pending}")
        self.max_pending = max_pending
        self._begin()

    def _begin(self) -> None:
        self._background_work = Background(self.max_pending)
        self._memory = CopyMemory(self.max_pending)

    @staticmethod
    def _absolute(path: Path) -> str:
        """Means the same when the working directory is another. "x/.." is left
        to the file system: x may be a link."""
        text = checkpoint_path(path)
        return (text if text.startswith(_S3)
                else os.path.join(os.getcwd(), text))

    @staticmethod
    def _name(path: str) -> str:
        """By which jobs of the same file are known."""
        return path if path.startswith(_S3) else os.path.realpath(path)

    def _background(self) -> Background:
        if not self._background_work.of_this_process():
            self._begin()
        return self._background_work

    def __getstate__(self) -> dict[str, Any]:
        # A copy in another process (a spawned rank) begins with nothing to do.
        state = self.__dict__.copy()
        del state["_background_work"], state["_memory"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Path,
                        storage_options: Any | None = None) -> None:
        """Copies the state and returns; arguments as S3LightningCheckpoint's.

        Raises:
            AsyncSaveError: something failed before; this state is not saved.
            TypeError, ValueError: as S3LightningCheckpoint's.
            pickle.PicklingError, RuntimeError: those of torch.save.
        """
        self._target(path, storage_options)
        target = self._absolute(path)
        background = self._background()
        background.raise_failures()
        background.take_room()
        try:
            background.raise_failures()
            write = functools.partial(
                SavedState(checkpoint, self._memory).write, target,
                self.region, self.endpoint, self.s3client_config)
            background.add(Job(self._name(target), True, write))
        except BaseException:
            background.give_room_back()
            raise

    def load_checkpoint(self, path: Path, map_location: Any | None = None,
                        weights_only: bool | None = None, *,
                        state: Any | None = None) -> dict[str, Any] | None:
        """Waits for the save of this path; else as S3LightningCheckpoint's.

        Raises:
            AsyncSaveError: something failed before; nothing is loaded.
        """
        background = self._background()
        background.wait(self._name(self._absolute(path)))
        background.raise_failures()
        return super().load_checkpoint(path, map_location, weights_only,
                                       state=state)

    def remove_checkpoint(self, path: Path) -> None:
        """Removes it after the saves that are pending, or now if there are
        none. If this path is being saved, waits for that and the removal.

        Raises:
            AsyncSaveError: something failed before; nothing is removed.
            S3Exception, ValueError, TypeError: as S3LightningCheckpoint's.
        """
        target = self._absolute(path)
        name = self._name(target)
        background = self._background()
        background.raise_failures()
        remove = super().remove_checkpoint
        if background.idle():
            background.raise_failures()
            remove(target)
            return
        of_pending_save = background.has(name)
        background.add(Job(name, False, functools.partial(remove, target)))
        if of_pending_save:
            background.wait(name)
            background.raise_failures()

    def teardown(self) -> None:
        """Waits for all that is pending.

        Raises:
            AsyncSaveError: something failed.
        """
        background = self._background()
        background.wait()
        self._memory.clear()
        super().teardown()
        background.raise_failures()


def _find_last_checkpoints_by_uri() -> None:
    """Makes ckpt_path="last" find what lies in S3. Lightning 2.6 takes the
    names of fsspec's `ls`, which lack the protocol, for paths of this
    machine."""
    original = getattr(ModelCheckpoint, "_find_last_checkpoints", None)
    if original is None or hasattr(original, "_of_ckptfs"):
        return

    @functools.wraps(original)
    def find(self: ModelCheckpoint, trainer: Any) -> set[str]:
        found: set[str] = original(self, trainer)
        files = self._fs
        if not isinstance(files, CkptFileSystem):
            return found
        return {name if "://" in name else files.unstrip_protocol(name)
                for name in found}

    find._of_ckptfs = True  # type: ignore[attr-defined]
    ModelCheckpoint._find_last_checkpoints = find


register_s3()
_find_last_checkpoints_by_uri()

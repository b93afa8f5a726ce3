"""From torch.save files to DCP checkpoints and back: the functions of
torch.distributed.checkpoint.format_utils, for all paths of ckptfs."""
from __future__ import annotations

from torch.distributed.checkpoint.default_planner import (
    _EmptyStateDictLoadPlanner)
from torch.distributed.checkpoint.metadata import STATE_DICT_TYPE
from torch.distributed.checkpoint.state_dict_loader import _load_state_dict
from torch.distributed.checkpoint.state_dict_saver import _save_state_dict

from ..config import S3ClientConfig
from ..files import Path
from ..torch_file import load, save
from .reader import S3StorageReader
from .writer import S3StorageWriter


def dcp_to_torch_save(dcp_checkpoint_dir: Path, torch_save_path: Path, *,
                      region: str | None = None, endpoint: str | None = None,
                      config: S3ClientConfig | None = None) -> None:
    """Writes the whole of a DCP checkpoint as a torch.save file. Run it on one
    rank; all of it is in memory meanwhile.

    Args:
        dcp_checkpoint_dir: folder of the checkpoint.
        torch_save_path: the new file.
        region, endpoint, config: as those of `ckptfs.exists`.

    Raises:
        CheckpointException: the checkpoint could not be read.
        S3Exception: the file could not be written.
    """
    state: STATE_DICT_TYPE = {}
    _load_state_dict(
        state, no_dist=True, planner=_EmptyStateDictLoadPlanner(),
        storage_reader=S3StorageReader(region, dcp_checkpoint_dir, config,
                                       endpoint=endpoint))
    save(state, torch_save_path, region=region, endpoint=endpoint,
         config=config)


def torch_save_to_dcp(torch_save_path: Path, dcp_checkpoint_dir: Path, *,
                      region: str | None = None, endpoint: str | None = None,
                      config: S3ClientConfig | None = None) -> None:
    """Writes a torch.save file as a DCP checkpoint. Unpickles it as
    weights_only=False does: what the file says is run.

    Args:
        torch_save_path: the file.
        dcp_checkpoint_dir: folder of the new checkpoint.
        region, endpoint, config: as those of `ckptfs.exists`.

    Raises:
        S3Exception: the file could not be read.
        CheckpointException: the checkpoint could not be written.
    """
    state = load(torch_save_path, weights_only=False, region=region,
                 endpoint=endpoint, config=config)
    _save_state_dict(
        state, no_dist=True,  # type: ignore[arg-type]
        storage_writer=S3StorageWriter(region, dcp_checkpoint_dir, config,
                                       endpoint=endpoint))

"""ckptfs.dcp on two ranks (gloo): shards, other layouts, files of each rank."""
import os

import ckptfs
import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from ckptfs.dcp import (HexPrefixStrategy, S3StorageReader, S3StorageWriter,
                        torch_save_to_dcp)
from torch.distributed.checkpoint.format_utils import (
    BroadcastingTorchSaveReader, DynamicMetaLoadPlanner)
from torch.distributed.tensor import (Replicate, Shard, distribute_tensor,
                                      init_device_mesh)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning",
                                        "ignore::FutureWarning",
                                        "ignore::DeprecationWarning")

WHOLE = torch.arange(60 * 50.).reshape(60, 50)


def _state(placement, whole=WHOLE):
    mesh = init_device_mesh("cpu", (2,))
    return {"sharded": distribute_tensor(whole.clone(), mesh, [placement]),
            "both": whole[:7].clone(),
            "rank": {"of": 5}}


def _save_and_reshard(rank, place):
    dcp.save(_state(Shard(0)), storage_writer=S3StorageWriter(
        None, place + "x", prefix_strategy=HexPrefixStrategy()))
    for placement in (Shard(1), Replicate(), Shard(0)):
        loaded = _state(placement, torch.zeros_like(WHOLE))
        dcp.load(loaded, storage_reader=S3StorageReader(None, place + "x"))
        expected = _state(placement)
        assert torch.equal(loaded["sharded"].to_local(),
                           expected["sharded"].to_local())
        assert torch.equal(loaded["both"], expected["both"])


def _own_files(rank, place):
    for factor in (1, 2):  # the second replaces the first
        state = {"own": torch.full((100,), float(factor * (rank + 1))),
                 "number": factor * (rank + 10)}
        dcp.save(state, use_collectives=False,
                 storage_writer=S3StorageWriter(None, place + "x"))
        dist.barrier()
        loaded = {"own": torch.zeros(100), "number": 0}
        dcp.load(loaded, storage_reader=S3StorageReader(None, place + "x"))
        assert torch.equal(loaded["own"], state["own"])
        assert loaded["number"] == state["number"]
        dist.barrier()


def _broadcast(rank, place):
    loaded = {"sharded": torch.zeros_like(WHOLE)}
    dcp.load(loaded, checkpoint_id=os.environ["TORCH_FILE"],
             storage_reader=BroadcastingTorchSaveReader(),
             planner=DynamicMetaLoadPlanner())
    dcp.save(loaded, storage_writer=S3StorageWriter(None, place + "x"))


def _one_rank_fails(rank, place):
    writer = S3StorageWriter(None, place + "x")
    if rank == 1:
        writer.prefix_strategy = None

        def fail(plan, planner):
            raise OSError("no space")
        writer.write_data = fail
    with pytest.raises(dcp.api.CheckpointException) as caught:
        dcp.save(_state(Shard(0)), storage_writer=writer)
    assert [*caught.value.failures] == [1]


def _rank(rank, store, place):
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank,
                            world_size=2)
    try:
        for name, body in _BODIES.items():
            body(rank, f"{place}{name}/")
    finally:
        dist.destroy_process_group()


_BODIES = {"shards": _save_and_reshard, "own": _own_files,
           "broadcast": _broadcast, "fails": _one_rank_fails}


def _whole(path):
    loaded = {"sharded": torch.zeros_like(WHOLE)}
    dcp.load(loaded, storage_reader=S3StorageReader(None, path), no_dist=True)
    return loaded["sharded"]


def test_two_ranks(place, tmp_path, monkeypatch):
    torch.save({"sharded": WHOLE}, tmp_path / "x.pt")
    monkeypatch.setenv("TORCH_FILE", str(tmp_path / "x.pt"))
    torch_save_to_dcp(tmp_path / "x.pt", place + "fails/x")
    torch.multiprocessing.spawn(
        _rank, args=(str(tmp_path / ".store"), place), nprocs=2)

    assert torch.equal(_whole(place + "shards/x"), WHOLE)
    metadata = S3StorageReader(None, place + "shards/x").read_metadata()
    assert {info.relative_path for info in metadata.storage_data.values()} == {
        "0000000000/__0_0.distcp", "1000000000/__1_0.distcp"}

    names = ckptfs.list(place + "own/x")
    for rank in (0, 1):
        assert f"__{rank}.metadata" in names
        # Those of the first save are gone.
        assert len([name for name in names if name.endswith(".distcp")
                    and name.startswith(f"__{rank}_")]) == 1
    assert len(names) == 4

    assert torch.equal(_whole(place + "broadcast/x"), WHOLE)
    # The failed save has not touched what was there.
    assert torch.equal(_whole(place + "fails/x"), WHOLE)

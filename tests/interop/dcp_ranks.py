"""What test_dcp.py runs on the ranks of a gloo group."""
import os
import pathlib
import warnings

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor


def plain_state():
    """The same on every rank, with whole tensors."""
    def filled(*shape, dtype=torch.float32, start=0):
        count = 1
        for size in shape:
            count *= size
        return torch.arange(start, start + count, dtype=torch.int32).remainder(
            251).to(dtype).reshape(shape)

    # Adam after a step, without its randomness.
    moments = {"step": torch.tensor(1.0), "exp_avg": filled(7, 5, start=9),
               "exp_avg_sq": filled(7, 5, start=30)}
    return {
        "model": {"even": filled(8, 3), "uneven": filled(7, 5, start=1),
                  "few": filled(2, 6, start=2), "columns": filled(3, 9),
                  "half": filled(5, 4, dtype=torch.bfloat16),
                  "bytes": filled(11, dtype=torch.uint8),
                  "large": filled(300, 1000, start=5)},
        "optim": {"state": {0: moments},
                  "param_groups": [{"lr": 0.1, "betas": (0.9, 0.99),
                                    "params": [0], "fused": None}]},
        "list": [filled(4), {"a": 1, "b": [1, 2]}, "text", [filled(2), 3]],
        "epoch": 3, "name": "run é", "tuple": (1, "two", 3.0),
        "scalar": torch.tensor(2.5), "none": None, "empty": torch.empty(0, 3),
        "rng": {"cpu": filled(64, dtype=torch.uint8)}, "numbers": [1, 2, 3],
        "big": 2**40, "flags": {"x": True}}


def sharded(state, mesh, shard=Shard(0)):
    """The same with the model's tensors as DTensors, along several dimensions."""
    if mesh is None:
        return state
    placed = {name: distribute_tensor(
        tensor, mesh, [Shard(1) if name == "columns" else
                       Replicate() if name == "half" else shard])
        for name, tensor in state["model"].items()}
    return {**state, "model": placed}


def whole(value):
    return value.full_tensor() if isinstance(value, DTensor) else value


def zeroed(state):
    def zero(value):
        if isinstance(value, torch.Tensor):
            return torch.zeros_like(value)
        if isinstance(value, dict):
            return {key: zero(item) for key, item in value.items()}
        if isinstance(value, list):
            return [zero(item) for item in value]
        return value
    return zero(state)


def work(rank, folder, to_load):
    """Saves the state on 1, 2 and 4 ranks as folder/py{n}, and checks that the
    checkpoints `to_load` are that state, on 1 and 2 ranks."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    folder = pathlib.Path(folder)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous",
                            rank=rank, world_size=4)
    for ranks in (1, 2, 4):
        group = dist.new_group(list(range(ranks)))
        mesh = DeviceMesh("cpu", list(range(ranks)))
        if rank < ranks:
            state = sharded(plain_state(), mesh)
            dcp.save(state, process_group=group,
                     storage_writer=dcp.FileSystemWriter(
                         folder / f"py{ranks}", thread_count=1 + ranks // 4))
        if rank < ranks <= 2:
            for path in to_load:
                into = sharded(zeroed(plain_state()), mesh)
                dcp.load(into, checkpoint_id=path, process_group=group)
                for name, tensor in plain_state()["model"].items():
                    found = whole(into["model"][name])
                    assert torch.equal(found, tensor), (path, name)
                moments = into["optim"]["state"][0]
                assert torch.equal(moments["exp_avg"], plain_state()["optim"][
                    "state"][0]["exp_avg"]), path
                assert into["epoch"] == 3 and into["tuple"] == (1, "two", 3.0)
        dist.barrier()
    dist.destroy_process_group()

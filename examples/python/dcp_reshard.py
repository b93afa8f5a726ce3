"""Saves a model that is sharded over two ranks, and loads it into one process.

    python dcp_reshard.py s3://my-bucket/examples/step1

The ranks are processes of this machine (gloo). Each saves its rows; who loads
wants whole tensors, and gets them.
"""
import argparse
import os
import tempfile

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from ckptfs.dcp import HexPrefixStrategy, S3StorageReader, S3StorageWriter
from torch.distributed.tensor import (Shard, distribute_tensor,
                                      init_device_mesh)

RANKS = 2


def weight():
    return torch.arange(64. * 32).reshape(64, 32)


def save(rank, store, uri, region):
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank,
                            world_size=RANKS)
    mesh = init_device_mesh("cpu", (RANKS,))
    dcp.save({"weight": distribute_tensor(weight(), mesh, [Shard(0)])},
             storage_writer=S3StorageWriter(
                 region, uri, prefix_strategy=HexPrefixStrategy()))
    dist.destroy_process_group()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("uri", help="folder of the checkpoint")
    parser.add_argument("--region", help="default: that of the environment")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(
            save, nprocs=RANKS,
            args=(os.path.join(folder, "store"), arguments.uri,
                  arguments.region))

    state = {"weight": torch.zeros(64, 32)}
    dcp.load(state, no_dist=True, storage_reader=S3StorageReader(
        arguments.region, arguments.uri))
    if not torch.equal(state["weight"], weight()):
        raise SystemExit("the loaded tensor is another one")
    print(f"saved by {RANKS} ranks, loaded by one")


if __name__ == "__main__":
    main()

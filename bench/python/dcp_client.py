#!/usr/bin/env python3
"""A distributed checkpoint of two gloo ranks, saved and loaded by a library, for
package_bench.py.

    dcp_client.py ckptfs save,load s3://bucket/folder --count 64 ...

Every tensor is sharded over both. Prints what client.py prints: the seconds of
the slower rank, the CPU-seconds of both, the memory of the one with more.
"""
import argparse
import os
import pathlib
import sys
import tempfile

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.tensor import Shard, distribute_tensor, init_device_mesh

from programs import REGION, ckptfs_config, original_config

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from meter import Meter  # noqa: E402

RANKS = 2


def make_state(options, value):
    mesh = init_device_mesh("cpu", (RANKS,))
    return {f"layer.{i}": distribute_tensor(
        torch.full((options.tensor_kib, 256), float(value(i))), mesh,
        [Shard(0)]) for i in range(options.count)}


def ckptfs_storage(mode, options):
    from ckptfs.dcp import S3StorageReader, S3StorageWriter
    kind = S3StorageWriter if mode == "save" else S3StorageReader
    return kind(REGION, options.uri, ckptfs_config(options.connections))


def original_storage(mode, options):
    from s3torchconnector._s3client import S3Client
    from s3torchconnector.dcp import (S3FileSystem, S3StorageReader,
                                      S3StorageWriter)
    kind = S3StorageWriter if mode == "save" else S3StorageReader
    storage = kind(REGION, options.uri, s3client_config=original_config())
    # The classes take no endpoint: it goes in with a client.
    client = S3Client(REGION, endpoint=os.environ["AWS_ENDPOINT_URL"],
                      s3client_config=original_config())
    storage.fs = S3FileSystem(REGION, s3_client=client)
    return storage


STORAGES = {"ckptfs": ckptfs_storage, "s3tc": original_storage}


def measured(program, mode, options):
    state = make_state(options, (lambda i: i) if mode == "save"
                       else (lambda i: -1))
    meter = Meter()
    storage = STORAGES[program](mode, options)
    dist.barrier()
    meter.start_clocks()
    if mode == "save":
        dcp.save(state, storage_writer=storage)
    else:
        dcp.load(state, storage_reader=storage)
    figures = meter.figures(0)
    for i in (0, options.count - 1):
        if state[f"layer.{i}"].to_local()[-1, -1] != i:
            raise RuntimeError(f"{options.uri} holds something else")
    return figures


def rank_main(rank, store, options, answers):
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank,
                            world_size=RANKS)
    for program in options.programs:
        for mode in options.modes:
            answers.put(((program, mode), measured(program, mode, options)))
            dist.barrier()
    dist.destroy_process_group()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("programs", type=lambda text: text.split(","),
                        help=", ".join(STORAGES))
    parser.add_argument("modes", type=lambda text: text.split(","))
    parser.add_argument("uri")
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--tensor-kib", type=int, default=16384)
    parser.add_argument("--connections", type=int)
    options = parser.parse_args()
    answers = torch.multiprocessing.get_context("spawn").SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(
            rank_main, args=(f"{folder}/store", options, answers),
            nprocs=RANKS)
    of_run = {(program, mode): [] for program in options.programs
              for mode in options.modes}
    while not answers.empty():
        run, figures = answers.get()
        of_run[run].append(figures)
    for figures in of_run.values():
        seconds, cpu, over = zip(*figures, strict=True)
        print(f"{max(seconds):.4f} {sum(cpu):.4f} {max(over):.1f}")


if __name__ == "__main__":
    main()

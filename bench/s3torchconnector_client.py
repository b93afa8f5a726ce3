#!/usr/bin/env python3
"""One save or load by s3torchconnector's S3Checkpoint or DCP classes, timed, for
checkpoint_bench.py.

    s3torchconnector_client.py save URI --count 64 --tensor-kib 16384
    s3torchconnector_client.py load URI
    ... dcp-save, dcp-load: URI is a folder

Prints what checkpoint_client prints: for each round the seconds, the
CPU-seconds of this process, and by how many MiB its peak memory exceeded the
tensors.
"""
import argparse
import os

import torch
import torch.distributed.checkpoint as dcp
from s3torchconnector import S3Checkpoint, S3ClientConfig
from s3torchconnector._s3client import S3Client
from s3torchconnector.dcp import S3FileSystem, S3StorageReader, S3StorageWriter

from meter import Meter

REGION = "us-east-1"


def make_state(count, tensor_kib):
    return {f"layer.{i}": torch.full((tensor_kib * 256,), float(i))
            for i in range(count)}


def size_of(state):
    return sum(t.numel() * t.element_size() for t in state.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mode",
                        choices=["save", "load", "dcp-save", "dcp-load"])
    parser.add_argument("uri")
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--tensor-kib", type=int, default=16384)
    parser.add_argument("--gbps", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    config = S3ClientConfig(throughput_target_gbps=options.gbps,
                            force_path_style=True)
    state = None
    if options.mode != "load":
        state = make_state(options.count, options.tensor_kib)
    for _ in range(options.rounds):
        meter = Meter()
        if options.mode == "save":
            checkpoint = S3Checkpoint(REGION, endpoint, config)
            with checkpoint.writer(options.uri) as writer:
                torch.save(state, writer)
            meter.print(0)
        elif options.mode == "load":
            checkpoint = S3Checkpoint(REGION, endpoint, config)
            with checkpoint.reader(options.uri) as reader:
                loaded = torch.load(reader, weights_only=True)
            meter.print(size_of(loaded))
            del loaded
        else:
            # The classes take no endpoint: it goes in with a client.
            client = S3Client(REGION, endpoint=endpoint,
                              s3client_config=config)
            cls = S3StorageWriter if options.mode == "dcp-save" else (
                S3StorageReader)
            storage = cls(REGION, options.uri, s3client_config=config)
            storage.fs = S3FileSystem(REGION, s3_client=client)
            if options.mode == "dcp-save":
                dcp.save(state, storage_writer=storage, no_dist=True)
            else:
                dcp.load(state, storage_reader=storage, no_dist=True)
            meter.print(0)


if __name__ == "__main__":
    main()

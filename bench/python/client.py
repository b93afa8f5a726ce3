#!/usr/bin/env python3
"""Saves and loads by one library, timed, for package_bench.py.

    client.py ckptfs save s3://bucket/key --count 64 --tensor-kib 16384
    client.py s3tc,s3fs save,load s3://bucket/key --files 50 --count 1 ...

Prints a line for each mode of each library: the seconds, the CPU-seconds of this process, and
by how many MiB its peak memory exceeded the tensors and what there was after
`import torch` (and lightning, where the library is a plugin of it).
"""
import argparse
import pathlib
import sys

import torch

from programs import PROGRAMS

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from meter import Meter  # noqa: E402


def make_state(count, tensor_kib):
    return {f"layer.{i}": torch.full((tensor_kib * 256,), float(i))
            for i in range(count)}


def check(state, options):
    last = state[f"layer.{options.count - 1}"]
    if (len(state) != options.count or last.numel() != options.tensor_kib * 256
            or last[-1] != options.count - 1):
        raise RuntimeError(f"{options.uri} holds something else")


def measure(kind, mode, uris, options):
    kind.prepare()
    state = (make_state(options.count, options.tensor_kib) if mode == "save"
             else None)
    meter = Meter()
    program = kind(options.connections)
    meter.start_clocks()
    if mode == "save":
        for uri in uris:
            program.save(state, uri)
        meter.print(0)
        return
    for uri in uris:
        state = program.load(uri)
    meter.print(options.count * options.tensor_kib * 1024)
    check(state, options)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("programs", type=lambda text: text.split(","),
                        help=", ".join(PROGRAMS))
    parser.add_argument("modes", type=lambda text: text.split(","))
    parser.add_argument("uri")
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--tensor-kib", type=int, default=16384)
    parser.add_argument("--files", type=int, default=1)
    parser.add_argument("--connections", type=int)
    options = parser.parse_args()
    uris = [f"{options.uri}-{i}.pt" for i in range(options.files)]
    for program in options.programs:
        for mode in options.modes:
            measure(PROGRAMS[program], mode, uris, options)


if __name__ == "__main__":
    main()

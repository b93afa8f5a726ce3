#!/usr/bin/env python3
"""A training loop that saves in the background by a library's plugin, for
package_bench.py.

    stall_client.py ckptfs s3://bucket/key --count 16 --saves 8 --every 50

Every step is the same work on one thread; its delay is by how much it took
longer than the median step of before the first save. A save is part of its
step. Prints the longest delay of a step in ms, the mean delay of a step in ms,
that of all steps for each save in ms, and the MiB over the state in memory at
the peak, with the copies of states that wait.
"""
import argparse
import os
import pathlib
import statistics
import sys
import time

import torch
from lightning.pytorch.plugins.io import AsyncCheckpointIO

from client import make_state
from programs import REGION, ckptfs_config, original_config

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from meter import Meter  # noqa: E402

SIDE = 384
PRODUCTS = 4


def ckptfs_plugin(endpoint):
    from ckptfs.lightning import S3AsyncLightningCheckpoint
    return S3AsyncLightningCheckpoint(REGION, ckptfs_config(None), endpoint)


def original_plugin(endpoint):
    from s3torchconnector.lightning import S3LightningCheckpoint
    return AsyncCheckpointIO(
        S3LightningCheckpoint(REGION, original_config(), endpoint))


PLUGINS = {"ckptfs": ckptfs_plugin, "s3tc": original_plugin}


class Loop:
    def __init__(self):
        torch.set_num_threads(1)
        self.matrix = torch.eye(SIDE)

    def step(self, then=lambda: None):
        """Seconds of it."""
        start = time.perf_counter()
        then()
        for _ in range(PRODUCTS):
            self.matrix = self.matrix @ self.matrix
            # As a training loop does: many short calls that need the GIL.
            self.matrix[0, 0].item()
        return time.perf_counter() - start


def measure(plugin_of, options):
    state = make_state(options.count, options.tensor_kib)
    loop = Loop()
    before = [loop.step() for _ in range(options.every)]
    usual = statistics.median(before[len(before) // 2:])
    meter = Meter()
    plugin = plugin_of(os.environ["AWS_ENDPOINT_URL"])
    delays = []
    for number in range(options.saves):
        uri = f"{options.uri}-{number}.ckpt"
        delays.append(loop.step(lambda u=uri: plugin.save_checkpoint(state, u)))
        delays += [loop.step() for _ in range(options.every - 1)]
    plugin.teardown()
    delays = [1000 * (seconds - usual) for seconds in delays]
    _, _, over = meter.figures(0)
    print(f"{max(delays):.3f} {sum(delays) / len(delays):.4f} "
          f"{sum(delays) / options.saves:.2f} {over:.1f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("programs", type=lambda text: text.split(","),
                        help=", ".join(PLUGINS))
    parser.add_argument("uri")
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--tensor-kib", type=int, default=16384)
    parser.add_argument("--saves", type=int, default=8)
    parser.add_argument("--every", type=int, default=200)
    options = parser.parse_args()
    for program in options.programs:
        measure(PLUGINS[program], options)


if __name__ == "__main__":
    main()

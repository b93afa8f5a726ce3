#!/usr/bin/env python3
"""Saves and loads of the checkpoint library against s3torchconnector's
(S3Checkpoint and its DCP classes), on the same server in the same run.

    make bench-checkpoint              the whole table, about 25 minutes
    checkpoint_bench.py --quick        small sizes, to see that it works
    checkpoint_bench.py --only save    some rows, by prefix
    checkpoint_bench.py --json FILE    the figures for programs

Nothing else should run on the machine. Each figure is the median of --rounds
runs, ours and theirs by turns, each in a process of its own. CPU is user and
system time of the client. Memory is the peak beyond the tensors and beyond what
the process had before (after `import torch`, on their side).
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support import programs, servers  # noqa: E402
from support.ckptfs_mount import clean_environment  # noqa: E402

MIB = 1 << 20
PEERS = ROOT / "build/peers"
# State dicts: tensors and KiB of each.
SHAPES = {"1 GiB": (64, 16384), "4 GiB": (256, 16384), "5,000 small": (5000, 64)}
QUICK_SHAPES = {"64 MiB": (4, 16384), "100 small": (100, 64)}
# What the ratios are judged by: wall, CPU; and ours in MiB.
LIMITS = {"save": (0.6, 0.6), "load": (0.3, 0.3),
          "far save": (1.0, None), "far load": (0.5, None)}
MEMORY_MIB = 128
PART = 0.02


class Sample:
    def __init__(self, line):
        self.seconds, self.cpu, self.memory = map(float, line.split())


def median(samples):
    middle = Sample("0 0 0")
    for field in ("seconds", "cpu", "memory"):
        setattr(middle, field,
                statistics.median(getattr(s, field) for s in samples))
    return middle


class Bench:
    def __init__(self, options):
        self.options = options
        self.rows = []
        self.failed = []

    def environment(self, server):
        return {**clean_environment(server),
                "AWS_ENDPOINT_URL": server.endpoint, "PYTHONPATH": str(PEERS)}

    def ours(self, server, mode, uri, *arguments):
        return self.run(server, [programs.BIN_DIR / "checkpoint_client", mode,
                                 uri, *arguments])

    def theirs(self, server, mode, uri, *arguments):
        return self.run(server, [
            sys.executable, ROOT / "bench/s3torchconnector_client.py", mode,
            uri, *arguments])

    def run(self, server, command):
        done = subprocess.run(list(map(str, command)), check=False,
                              env=self.environment(server),
                              capture_output=True, text=True, timeout=900)
        if done.returncode != 0:
            raise RuntimeError(f"{command}: {done.stderr[-2000:]}")
        return Sample(done.stdout)

    def pair(self, server, kind, name, mode, shape, connections):
        """Ours and theirs by turns: saves to, or loads from, one key each."""
        count, kib = shape
        sizes = ["--count", count, "--tensor-kib", kib]
        ours, theirs = [], []
        for turn in range(self.options.rounds):
            uris = [f"s3://{server.bucket}/{kind}/{who}/{mode}"
                    for who in ("ours", "theirs")]
            if mode.endswith("load") and turn == 0:
                save = mode.replace("load", "save")
                self.ours(server, save, uris[0], *sizes)
                self.theirs(server, save, uris[1], *sizes)
            if mode.endswith("save"):
                # What is replaced would stay in the server's memory meanwhile.
                server.prefix(f"{kind}/").clear()
            ours.append(self.ours(server, mode, uris[0], *sizes,
                                  "--connections", connections))
            theirs.append(self.theirs(server, mode, uris[1], *sizes))
        self.report(kind, f"{mode} {name}", median(ours), median(theirs),
                    count * kib / 1024 / 1024)

    def report(self, kind, name, ours, theirs, gib):
        wall = ours.seconds / theirs.seconds
        cpu = ours.cpu / theirs.cpu
        print(f"{kind:9} {name:22} {ours.seconds:7.2f} {theirs.seconds:7.2f} "
              f"{wall:6.2f}   {ours.cpu / gib:6.2f} {theirs.cpu / gib:6.2f} "
              f"{cpu:6.2f}   {ours.memory:6.0f} {theirs.memory:6.0f}",
              flush=True)
        self.rows.append({"kind": kind, "name": name, "wall": wall,
                          "cpu": cpu, "ours": vars(ours),
                          "theirs": vars(theirs)})
        limits = LIMITS.get(kind, (None, None))
        for what, ratio, limit in zip(("wall", "CPU"), (wall, cpu), limits):
            if limit and ratio > limit:
                self.failed.append(f"{kind} {name}: {what} {ratio:.2f} x, "
                                   f"limit {limit}")
        if ours.memory > MEMORY_MIB:
            self.failed.append(f"{kind} {name}: {ours.memory:.0f} MiB beyond "
                               f"the tensors, limit {MEMORY_MIB}")

    def near(self, modes):
        shapes = QUICK_SHAPES if self.options.quick else SHAPES
        for name, shape in shapes.items():
            if self.options.shape and self.options.shape != name:
                continue
            for mode in modes:
                kind = "save" if mode.endswith("save") else "load"
                if not self.wanted(kind):
                    continue
                server = servers.S3Server("--bench")
                try:
                    self.pair(server, kind, name, mode, shape, 16)
                finally:
                    server.stop()

    def far(self, modes):
        """20 ms to the server and 45 MiB/s on each connection; as many
        connections as they were seen to take."""
        name, shape = next(iter(
            (QUICK_SHAPES if self.options.quick else SHAPES).items()))
        for mode in modes:
            kind = "far save" if mode.endswith("save") else "far load"
            if not self.wanted(kind):
                continue
            server = servers.S3Server("--bench", "--latency-ms", "20",
                                      "--conn-mibs", "45")
            try:
                self.theirs(server, mode.replace("load", "save"),
                            f"s3://{server.bucket}/count", "--count", shape[0],
                            "--tensor-kib", shape[1])
                connections = server.stats()["max_connections"]
                print(f"          (theirs takes {connections} connections)")
                self.pair(server, kind, name, mode, shape, connections)
            finally:
                server.stop()

    def part(self):
        """1 % of the tensors: the share of the bytes that is moved."""
        if not self.wanted("part"):
            return
        server = servers.S3Server("--bench")
        try:
            uri = f"s3://{server.bucket}/part"
            self.ours(server, "save", uri, "--count", 100, "--tensor-kib",
                      4096 if self.options.quick else 16384)
            size = server.client().head_object(
                Bucket=server.bucket, Key="part")["ContentLength"]
            before = server.stats()["bytes_out"]
            self.ours(server, "load-part", uri)
            moved = server.stats()["bytes_out"] - before
            print(f"part      1 % of {size / MIB:.0f} MiB moves "
                  f"{moved / size:.2%} of it")
            self.rows.append({"kind": "part", "share": moved / size})
            if moved / size > PART and not self.options.quick:
                self.failed.append(f"part: {moved / size:.2%}, limit 2 %")
        finally:
            server.stop()

    def wanted(self, kind):
        only = self.options.only
        return not only or any(kind.startswith(o) for o in only.split(","))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", metavar="KIND,...",
                        help="save, load, far, part")
    parser.add_argument("--shape", help='e.g. "4 GiB"; not of far and part')
    parser.add_argument("--json", type=pathlib.Path)
    bench = Bench(parser.parse_args())
    print("kind      row                      ours  theirs  ratio     ours "
          "theirs  ratio     ours theirs\n"
          "                                         seconds           "
          "CPU-s/GiB            MiB over")
    modes = ["save", "load", "dcp-save", "dcp-load"]
    bench.near(modes)
    bench.far(modes)
    bench.part()
    if bench.options.json:
        bench.options.json.write_text(json.dumps(bench.rows, indent=1))
    for line in bench.failed:
        print(f"MISSED {line}")
    return 1 if bench.failed else 0


if __name__ == "__main__":
    sys.exit(main())

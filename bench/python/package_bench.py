#!/usr/bin/env python3
"""The Python package against s3torchconnector, s3fs under Lightning, and boto3,
on the same server in the same run.

    make bench-python                the whole table, about half an hour
    package_bench.py --quick         tiny sizes once, side by side, to see that
                                     it works; its figures say nothing
    package_bench.py --only save     some rows, by prefix
    package_bench.py --json FILE     the figures for programs

How to read it. Nothing else should run on the machine. Each figure is the
median of --rounds runs, the libraries by turns, each run a process of its own.

    save, load       a state dict of 64 tensors of 16 MiB, 1 GiB
    small ...        50 files of 1 MiB, one after the other: the sum
    dcp ...          the 1 GiB, sharded over two gloo ranks
    far ...          the same at 20 ms to the server and 45 MiB/s on each
                     connection; ours, boto3 and s3fs may take as many
                     connections as s3torchconnector was seen to take
    stall ...        a training loop that saves 256 MiB in the background now
                     and then: by how much a step took longer than without
                     saves, the longest, the mean, and the sum for each save

Programs: ckptfs is ckptfs.save and load; ...-stream is torch.save and load
through S3Checkpoint; ...-lightning is S3LightningCheckpoint; s3tc is
s3torchconnector; s3fs is Lightning's own plugin over it; boto3 is torch.save to
memory and upload_fileobj, and back. A "<=" is the target of the figure before
it. Ratios are to s3torchconnector's class of the same use (s3fs: to
s3tc-lightning; ckptfs and boto3: to s3tc). CPU is user and system time of the
client, for each GiB. Memory is the peak beyond the tensors, beyond what the
process had after `import torch` (and lightning); what the library's import
takes is in it.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "tests"))

from support import servers  # noqa: E402
from support.ckptfs_mount import clean_environment  # noqa: E402

PEERS = ROOT / "build/peers"
PACKAGE = pathlib.Path(os.environ.get("CKPTFS_PYTHON_DIR",
                                      ROOT / "build/release/python"))
FAR = ("--latency-ms", "20", "--conn-mibs", "45")
KIB_OF_GIB = 1 << 20
MEMORY_MIB = 128

# Each with what it is compared with; those come first.
LIBRARIES = {"s3tc": "s3tc", "s3tc-lightning": "s3tc-lightning",
             "ckptfs": "s3tc", "ckptfs-stream": "s3tc",
             "ckptfs-lightning": "s3tc-lightning", "s3fs": "s3tc-lightning",
             "boto3": "s3tc"}
BOTH = {"s3tc": "s3tc", "ckptfs": "s3tc"}

# Wall and CPU, as shares of theirs.
TARGETS = {"save": (0.6, 0.6), "load": (0.3, 0.3),
           "small save": (0.6, 0.6), "small load": (0.3, 0.3),
           "dcp save": (0.6, 0.6), "dcp load": (0.3, 0.3),
           "far save": (1.0, None), "far load": (0.5, None),
           "far dcp save": (1.0, None), "far dcp load": (0.5, None),
           "far small save": (0.5, None)}


class Shape:
    def __init__(self, count, tensor_kib, files=1):
        self.arguments = ["--count", count, "--tensor-kib", tensor_kib]
        if files > 1:
            self.arguments += ["--files", files]
        self.gib = count * tensor_kib * files / KIB_OF_GIB


BIG, SMALL = Shape(64, 16384), Shape(1, 1024, files=50)
QUICK_BIG, QUICK_SMALL = Shape(4, 1024), Shape(1, 64, files=3)


def medians(samples):
    return [statistics.median(column) for column in zip(*samples, strict=True)]


def beside(limit):
    return f"<={limit:3.1f}" if limit else "     "


class Bench:
    def __init__(self, options):
        self.options = options
        self.rows = []
        self.missed = []

    def run(self, server, script, programs, *arguments):
        """The lines of figures that the client prints."""
        # boto3 is of the virtual environment, with the botocore there.
        paths = [PACKAGE] if programs == "boto3" else [PACKAGE, PEERS]
        command = [sys.executable, HERE / script, programs, *arguments]
        done = subprocess.run(
            list(map(str, command)), check=False, capture_output=True,
            text=True, timeout=900,
            env={**clean_environment(server),
                 "AWS_ENDPOINT_URL": server.endpoint,
                 "PYTHONPATH": ":".join(map(str, paths))})
        if done.returncode != 0:
            raise RuntimeError(f"{command}: {done.stderr[-3000:]}")
        return [[float(word) for word in line.split()]
                for line in done.stdout.splitlines()]

    def compare(self, title, script, shape, libraries, distance):
        """Saves, then loads."""
        names = [title + mode for mode in ("save", "load")]
        wanted = [name for name in names if self.wanted(name)]
        if not wanted:
            return
        server = servers.S3Server("--bench", *distance)
        try:
            arguments = list(map(str, shape.arguments))
            if distance:
                arguments += ["--connections",
                              self.connections(server, script, arguments)]
            for name in wanted:
                self.report(name, shape, libraries, self.by_turns(
                    server, script, name.rpartition(" ")[2], libraries,
                    arguments))
        finally:
            server.stop()

    def by_turns(self, server, script, mode, libraries, arguments):
        uri = f"s3://{server.bucket}/run/same"
        if mode == "load":  # all load the same
            server.prefix("run/").clear()
            self.run(server, script, "s3tc", "save", uri, *arguments)
        samples = {program: [] for program in libraries}
        for _ in range(self.options.rounds):
            for program, kept in samples.items():
                if mode == "save":
                    # What is replaced would stay in the server's memory.
                    server.prefix("run/").clear()
                kept += self.run(server, script, program, mode, uri,
                                 *arguments)
        return {program: medians(kept) for program, kept in samples.items()}

    def full(self):
        for title, distance in (("", ()), ("far ", FAR)):
            for kind, script, shape, libraries in (
                    ("", "client.py", BIG, LIBRARIES),
                    ("small ", "client.py", SMALL, LIBRARIES),
                    ("dcp ", "dcp_client.py", BIG, BOTH)):
                self.compare(title + kind, script, shape, libraries, distance)
            self.stall(f"{title}stall", distance)

    def quick(self):
        """All once, in few processes, side by side."""
        libraries = [name for name in LIBRARIES if name != "boto3"]
        near, far = (servers.S3Server("--bench", *distance)
                     for distance in ((), FAR))
        runs = [
            ("", QUICK_BIG, near, "client.py", libraries, []),
            ("", QUICK_BIG, near, "client.py", ["boto3"], []),
            ("dcp ", QUICK_BIG, near, "dcp_client.py", BOTH, []),
            ("far small ", QUICK_SMALL, far, "client.py", BOTH,
             ["--connections", 4])]

        def lines_of(number, run):
            _, shape, server, script, programs, more = run
            return self.run(server, script, ",".join(programs), "save,load",
                            f"s3://{server.bucket}/{number}",
                            *shape.arguments, *more)

        try:
            with concurrent.futures.ThreadPoolExecutor(
                    os.cpu_count()) as pool:
                pending = [pool.submit(lines_of, *numbered)
                           for numbered in enumerate(runs)]
                stalls = pool.submit(
                    self.run, near, "stall_client.py", ",".join(BOTH),
                    f"s3://{near.bucket}/stall", "--count", 2,
                    "--tensor-kib", 1024, "--saves", 2, "--every", 10)
                answers = [future.result() for future in pending]
        finally:
            near.stop()
            far.stop()
        figures = {}
        for (title, *_, programs, _), lines in zip(runs, answers,
                                                   strict=True):
            for number, program in enumerate(programs):
                for mode, line in zip(("save", "load"), lines[2 * number:],
                                      strict=False):
                    figures.setdefault(title + mode, {})[program] = line
        for name, of_program in figures.items():
            shape = QUICK_SMALL if "small" in name else QUICK_BIG
            self.report(name, shape, {program: LIBRARIES[program]
                                      for program in of_program}, of_program)
        for program, line in zip(BOTH, stalls.result(), strict=True):
            self.report_stall("stall", program, line)

    def connections(self, server, script, arguments):
        self.run(server, script, "s3tc", "save,load",
                 f"s3://{server.bucket}/count", *arguments)
        taken = server.stats()["max_connections"]
        print(f"{'':15} (s3torchconnector takes {taken} connections)",
              flush=True)
        if script == "dcp_client.py":
            taken //= 2  # of each rank
        return max(1, taken)

    def report(self, name, shape, libraries, figures):
        for program, other in libraries.items():
            seconds, cpu, memory = figures[program]
            wall_ratio = seconds / figures[other][0]
            cpu_ratio = cpu / figures[other][1]
            ours = program.startswith("ckptfs")
            wall_limit, cpu_limit = TARGETS.get(name, (None, None)) if (
                ours) else (None, None)
            print(f"{name:15} {program:17} {seconds:7.3f} {wall_ratio:5.2f} "
                  f"{beside(wall_limit)}  {cpu / shape.gib:7.2f} "
                  f"{cpu_ratio:5.2f} {beside(cpu_limit)}  {memory:6.0f}"
                  f"{f' <={MEMORY_MIB}' if ours else ''}", flush=True)
            self.rows.append({
                "row": name, "program": program, "seconds": seconds,
                "wall": wall_ratio, "cpu_s_per_gib": cpu / shape.gib,
                "cpu": cpu_ratio, "mib_over": memory})
            for what, figure, limit in (
                    ("wall", wall_ratio, wall_limit),
                    ("CPU", cpu_ratio, cpu_limit),
                    ("MiB over", memory, MEMORY_MIB if ours else None)):
                if limit and figure > limit:
                    self.missed.append(f"{name} {program}: {what} "
                                       f"{figure:.2f}, target {limit}")

    def stall(self, name, distance):
        if not self.wanted(name):
            return
        server = servers.S3Server("--bench", *distance)
        try:
            samples = {program: [] for program in BOTH}
            for turn in range(self.options.rounds):
                for program, kept in samples.items():
                    kept += self.run(server, "stall_client.py", program,
                                     f"s3://{server.bucket}/{turn}/{program}")
                    server.prefix(f"{turn}/").clear()
        finally:
            server.stop()
        for program, kept in samples.items():
            self.report_stall(name, program, medians(kept))

    def report_stall(self, name, program, figures):
        longest, mean, of_save, memory = figures
        print(f"{name:15} {program:17} longest {longest:.1f} ms, mean "
              f"{mean:.3f} ms a step, {of_save:.1f} ms a save, "
              f"{memory:.0f} MiB over", flush=True)
        self.rows.append({
            "row": name, "program": program, "longest_ms": longest,
            "mean_ms": mean, "ms_a_save": of_save, "mib_over": memory})

    def wanted(self, name):
        only = self.options.only
        return not only or any(name.startswith(o) for o in only.split(","))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", metavar="ROW,...",
                        help="beginnings of names of rows")
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    bench = Bench(options)
    print("row             program           seconds ratio        CPU-s/GiB "
          "ratio        MiB over")
    if options.quick:
        bench.quick()
    else:
        bench.full()
    if options.json:
        options.json.write_text(json.dumps(bench.rows, indent=1))
    if options.quick:
        return 0
    for line in bench.missed:
        print(f"MISSED {line}")
    return 1 if bench.missed else 0


if __name__ == "__main__":
    sys.exit(main())

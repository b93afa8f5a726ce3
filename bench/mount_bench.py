#!/usr/bin/env python3
"""What the mount costs, against our own S3 client without FUSE, on the same
server in the same run.

    make bench                       the whole table, about 10 minutes
    mount_bench.py --quick           small sizes, to see that it works
    mount_bench.py --json FILE       the figures for programs
    mount_bench.py --only write,rss  some rows

Nothing else should run on the machine. Each figure is the median of --rounds
runs. CPU is user and system time of the program and the daemon (or of the
client), never of the server. The server (s3server --bench --discard-bodies)
keeps no bodies and makes what is read, so that it is not the bottleneck.
"""
import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support import programs, servers  # noqa: E402
from support.ckptfs_mount import CkptfsMount, clean_environment  # noqa: E402

MIB = 1 << 20
TICKS = os.sysconf("SC_CLK_TCK")
CONNECTIONS = 8
# The limits that the rows are judged by.
WINDOW_MIB = 192
LIMITS = {
    "write": ("least", 0.7), "read": ("least", 0.5),
    "far write": ("least", 0.9), "far read": ("least", 0.9),
    "write cpu": ("most", 0.30), "read cpu": ("most", 0.85),
    "rss write": ("most", WINDOW_MIB + 128),
    "rss read": ("most", WINDOW_MIB + 128),
    "rss growth": ("most", 1.10), "first byte": ("most", 3)}


class Sample:
    """One run: MiB/s and CPU-seconds per GiB."""

    def __init__(self, mib, seconds, cpu_seconds):
        self.speed = mib / seconds
        self.cpu = cpu_seconds / (mib / 1024)


def median(samples):
    """The sample-like medians of a list of samples."""
    result = Sample(1, 1, 0)
    result.speed = statistics.median(sample.speed for sample in samples)
    result.cpu = statistics.median(sample.cpu for sample in samples)
    return result


def cpu_of(pid):
    """User and system time of a process and its threads, in seconds."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1]
    user, system = fields.split()[11:13]
    return (int(user) + int(system)) / TICKS


def reset_peak(pid):
    pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_mib(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"^VmHWM:\s+(\d+) kB", status, re.M)[1]) / 1024


class Bench:
    def __init__(self, options):
        self.options = options
        self.server = servers.S3Server("--bench", "--discard-bodies")
        self.figures = {}
        self.rows = []

    # Runs of one kind

    def client(self, mib):
        """The client alone: (put, get)."""
        done = subprocess.run(
            [programs.BIN_DIR / "s3_client_bench", "--mib", str(mib),
             "--part-mib", "8", "--connections", str(CONNECTIONS)],
            env={**clean_environment(self.server),
                 "CKPTFS_TEST_ENDPOINT": self.server.endpoint,
                 "CKPTFS_TEST_BUCKET": self.server.bucket},
            check=True, capture_output=True, text=True, timeout=600)
        found = dict(
            (name, (float(speed), float(cpu))) for name, speed, cpu in
            re.findall(r"^(put|get)\s+([\d.]+) MiB/s\s+([\d.]+)", done.stdout,
                       re.M))
        samples = []
        for name in ("put", "get"):
            sample = Sample(1, 1, 0)
            sample.speed, sample.cpu = found[name]
            samples.append(sample)
        return samples

    def mount(self):
        # A new mount has nothing in the page cache.
        return CkptfsMount(self.server, f"bench-{uuid.uuid4().hex[:8]}")

    def pattern(self, mount, name, mib):
        self.server.control(
            f"pattern?bucket={self.server.bucket}"
            f"&key={mount.prefix}{name}&size={mib * MIB}")

    def program(self, mode, path, *arguments):
        """Runs file_io_bench; (MiB, seconds, CPU seconds)."""
        done = subprocess.run(
            [programs.BIN_DIR / "file_io_bench", mode, path,
             *map(str, arguments)],
            capture_output=True, text=True, timeout=900)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        size, seconds, cpu = map(float, done.stdout.split())
        return size / MIB, seconds, cpu

    def through_mount(self, mode, mib, *arguments):
        """One write or read on a mount of its own."""
        mount = self.mount()
        try:
            if mode == "read":
                self.pattern(mount, "file", mib)
            before = cpu_of(mount.pid)
            size, seconds, cpu = self.program(
                mode, mount.path / "file", "--mib", mib, *arguments)
            if size != mib:
                raise RuntimeError(f"{mode}: {size} MiB instead of {mib}")
            sample = Sample(mib, seconds, cpu + cpu_of(mount.pid) - before)
            if mount.stop() != 0:
                raise RuntimeError(mount.log()[-2000:])
            return sample
        finally:
            mount.bucket.clear()
            mount.destroy()

    def alternate(self, mib, modes):
        """Rounds of: the client, then each mode; medians by name."""
        samples = {}
        for _ in range(self.options.rounds):
            put, get = self.client(mib)
            samples.setdefault("put", []).append(put)
            samples.setdefault("get", []).append(get)
            for mode, arguments in modes.items():
                samples.setdefault(mode, []).append(
                    self.through_mount(mode, mib, *arguments))
        return {name: median(each) for name, each in samples.items()}

    # Tables

    def row(self, name, value, text, limit=None):
        verdict = ""
        if limit:
            kind, bound = LIMITS[limit]
            held = value >= bound if kind == "least" else value <= bound
            verdict = f"{'ok' if held else 'MISSED'} (at {kind} {bound:g})"
        self.figures[name] = round(value, 4)
        self.rows.append((name, text, verdict))
        print(f"  {name:<34} {text:<34} {verdict}", flush=True)

    def speeds(self, label, medians, names):
        for name in names:
            one = medians[name]
            self.row(f"{label}{name}", one.speed,
                     f"{one.speed:7.0f} MiB/s  {one.cpu:6.3f} CPU-s/GiB")
            self.figures[f"{label}{name} cpu"] = round(one.cpu, 4)

    def run_write(self):
        """1 GiB in 1 MiB writes and cold reads against the client; sendfile
        and read-write handles beside them."""
        found = self.alternate(self.options.mib, {
            "write": (), "read": (), "sendfile": (), "write-rdwr": ()})
        self.speeds("", found, ["put", "write", "get", "read", "sendfile",
                                "write-rdwr"])
        for mode, base in (("write", "put"), ("read", "get")):
            ratio = found[mode].speed / found[base].speed
            self.row(f"{mode} / {base}", ratio, f"{ratio:.2f}", mode)
            more = found[mode].cpu - found[base].cpu
            self.row(f"{mode} cpu - {base} cpu", more,
                     f"{more:+.3f} CPU-s/GiB", f"{mode} cpu")

    def run_far(self):
        """The same at 20 ms latency and 45 MiB/s per connection."""
        self.server.control("set?latency_ms=20&conn_mibs=45")
        try:
            found = self.alternate(self.options.mib,
                                   {"write": (), "read": ()})
        finally:
            self.server.control("set?latency_ms=0&conn_mibs=0")
        self.speeds("far ", found, ["put", "write", "get", "read"])
        for mode, base in (("write", "put"), ("read", "get")):
            ratio = found[mode].speed / found[base].speed
            self.row(f"far {mode} / {base}", ratio, f"{ratio:.2f}",
                     f"far {mode}")

    def run_rss(self):
        """Peak memory of the daemon for a file and for one ten times as
        large, in and out; what is read is compared with the pattern."""
        for mode in ("write", "verify"):
            label = "read" if mode == "verify" else mode
            peaks = []
            for mib in (self.options.mib, 10 * self.options.mib):
                mount = self.mount()
                try:
                    if mode == "verify":
                        self.pattern(mount, "file", mib)
                    reset_peak(mount.pid)
                    self.program(mode, mount.path / "file", "--mib", mib)
                    peaks.append(peak_mib(mount.pid))
                    if mount.stop() != 0:
                        raise RuntimeError(mount.log()[-2000:])
                finally:
                    mount.bucket.clear()
                    mount.destroy()
                self.row(f"rss {label} {mib} MiB", peaks[-1],
                         f"{peaks[-1]:7.0f} MiB", f"rss {label}")
            growth = peaks[1] / peaks[0]
            self.row(f"rss {label} growth", growth, f"{growth:.2f}",
                     "rss growth")

    def run_first_byte(self):
        """The longest chain of requests, each begun after the one before had
        ended, up to the first bytes of a file whose parents are known."""
        mount = self.mount()
        try:
            self.pattern(mount, "a/b/file", 64)
            list((mount.path / "a/b").iterdir())
            # The listing's time to live must pass: then the name is cold.
            time_to_live = 1.1
            subprocess.run(["sleep", str(time_to_live)], check=True)
            os.stat(mount.path / "a/b")
            # With no latency, of two requests that are sent side by side one
            # may have ended before the other has begun.
            self.server.control("set?latency_ms=20")
            self.server.control("reset-stats")
            self.program("first-byte", mount.path / "a/b/file")
            log = self.server.log()
            self.server.control("set?latency_ms=0")
            if mount.stop() != 0:
                raise RuntimeError(mount.log()[-2000:])
        finally:
            mount.bucket.clear()
            mount.destroy()
        first = min((entry for entry in log if entry["op"] == "GetObject"),
                    key=lambda entry: entry["began_us"])
        chain = [first]
        while earlier := [entry for entry in log
                          if entry["ended_us"] <= chain[0]["began_us"]]:
            chain.insert(0, max(earlier, key=lambda entry: entry["ended_us"]))
        self.row("first byte", len(chain),
                 " -> ".join(entry["op"] for entry in chain), "first byte")

    def run(self):
        for name in self.options.only:
            print(f"{name}: " + " ".join(
                getattr(self, f"run_{name}").__doc__.split()), flush=True)
            getattr(self, f"run_{name}")()


PARTS = ["write", "far", "rss", "first_byte"]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mib", type=int, default=1024,
                        help="size of a file; 'rss' also uses ten times that")
    parser.add_argument("--quick", action="store_true",
                        help="one round of 64 MiB; the figures mean little")
    parser.add_argument("--only", default=",".join(PARTS),
                        type=lambda text: text.split(","),
                        help="parts of the table: " + ",".join(PARTS))
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    if unknown := set(options.only) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    if options.quick:
        options.rounds, options.mib = 1, 64

    bench = Bench(options)
    try:
        bench.run()
    finally:
        bench.server.stop()
    missed = [name for name, _, verdict in bench.rows
              if verdict.startswith("MISSED")]
    print("all limits held" if not missed else "missed: " + ", ".join(missed))
    if options.json:
        options.json.write_text(json.dumps(
            {"rounds": options.rounds, "mib": options.mib,
             "cpus": os.cpu_count(), "figures": bench.figures,
             "missed": missed}, indent=2) + "\n")
    # Small sizes measure start-up, not speed.
    return 1 if missed and not options.quick else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Is s3server fast enough not to be the bottleneck of the benchmarks?

Drives s3server in bench mode and bare_socket, a program that only sends and
receives, with the same load (http_load), in turns, and prints the medians and
their ratio for both directions. Exit code 1 if a ratio is below --least.
"""
import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[1]
MIB = 1 << 20
HEAD_BYTES = 512


class Listener:
    """A server process that prints 'listening URL'."""

    def __init__(self, *command):
        self.process = subprocess.Popen(
            [str(word) for word in command], stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline().split()
        if not line:
            raise SystemExit(f"{command[0]} did not start")
        self.url = line[1]
        self.port = self.url.rsplit(":", 1)[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin-dir", type=pathlib.Path, default=os.environ.get(
        "CKPTFS_BIN_DIR", ROOT / "build/bin"))
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--body-mib", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--least", type=float, default=0.75)
    options = parser.parse_args()
    bin_dir = pathlib.Path(options.bin_dir)
    body = options.body_mib * MIB

    def load(listener, mode, path):
        done = subprocess.run(
            [bin_dir / "http_load", "--port", listener.port, "--mode", mode,
             "--path", path, "--body-bytes", str(body), "--head-bytes",
             str(HEAD_BYTES), "--connections", str(options.connections),
             "--seconds", str(options.seconds)],
            check=True, capture_output=True, text=True)
        return float(done.stdout)

    def stored_object(listener):
        """An object in the server's memory, large enough for all ranges."""
        for name, size in (("stored", body * options.connections),):
            request = urllib.request.Request(
                f"{listener.url}/bucket/{name}", data=bytes(size),
                method="PUT")
            urllib.request.urlopen(request).close()
        request = urllib.request.Request(
            f"{listener.url}/_control/pattern?bucket=bucket&key=pattern"
            f"&size={10 << 30}", method="POST")
        urllib.request.urlopen(request).close()

    ok = True
    with Listener(bin_dir / "s3server", "--bench", "--no-auth", "--bucket",
                  "bucket") as server, \
            Listener(bin_dir / "s3server", "--bench", "--no-auth", "--bucket",
                     "bucket", "--discard-bodies") as discarding, \
            Listener(bin_dir / "bare_socket", "--request-bytes",
                     HEAD_BYTES + body) as bare_in, \
            Listener(bin_dir / "bare_socket", "--request-bytes", HEAD_BYTES,
                     "--reply-body-bytes", body) as bare_out:
        stored_object(server)
        rows = [
            ("parts in, kept", server, "parts", "/bucket/up", bare_in, "put"),
            ("parts in, discarded", discarding, "parts", "/bucket/up", bare_in,
             "put"),
            ("ranges out, stored", server, "get", "/bucket/stored", bare_out,
             "get"),
            ("ranges out, pattern", server, "get", "/bucket/pattern", bare_out,
             "get"),
        ]
        print(f"{'MiB/s, median of ' + str(options.rounds):22}"
              f"{'s3server':>10}{'bare':>10}{'ratio':>8}")
        for name, listener, mode, path, bare, bare_mode in rows:
            ours, base = [], []
            for _ in range(options.rounds):
                base.append(load(bare, bare_mode, "/bare"))
                ours.append(load(listener, mode, path))
            ratio = statistics.median(ours) / statistics.median(base)
            ok = ok and ratio >= options.least
            print(f"{name:22}{statistics.median(ours):10.0f}"
                  f"{statistics.median(base):10.0f}{ratio:8.2f}", flush=True)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())

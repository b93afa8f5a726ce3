"""One torture: a server, a mount, its weather, workers, and what they found."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

from support import ckptfs_mount, servers

from .judge import BrokenPromise
from .s3_view import S3View
from .shared_player import SharedFiles
from .weather import Weather, WeatherGlass

HERE = pathlib.Path(__file__).resolve().parent
QUIET_EVERY_S = 1.0
# A worker waits for S3 as long as the mount does; then it hangs.
HANG_S = 200.0


class Torture:
    """`run()` returns the broken promises, as dictionaries."""

    def __init__(self, seed, seconds, workers=3, players=2, faults=True,
                 keep_going=False):
        self.seed = seed
        self.seconds = seconds
        self.workers = workers
        self.players = players
        self.faults = faults
        self.keep_going = keep_going
        self.broken = []
        self.totals = {"operations": 0, "checks": 0}
        self._lock = threading.Lock()

    def run(self):
        with tempfile.TemporaryDirectory(prefix="ckptfs-torture-") as place:
            self.place = pathlib.Path(place)
            self.server = servers.S3Server()
            try:
                self.mount = ckptfs_mount.CkptfsMount(
                    self.server, "torture",
                    life_limit=self.seconds + 2 * HANG_S)
                try:
                    self._run()
                finally:
                    self.mount.destroy()
            finally:
                self.server.stop()
        return self.broken

    def _run(self):
        glass = WeatherGlass.make(self.place / "weather")
        self.view = S3View(self.server.endpoint, self.server.bucket,
                           self.mount.prefix)
        weather = Weather(self.server, self.mount, glass, self.seed,
                          self.faults)
        logs = [self.place / f"shared-{i}" for i in range(self.workers)]
        processes = [self._start(i, logs[i]) for i in range(self.workers)]
        readers = [threading.Thread(target=self._listen, args=(process,))
                   for process in processes]
        for reader in readers:
            reader.start()
        weather.start()
        try:
            self._quiet_points(processes, glass, SharedFiles(logs, self.view))
        finally:
            weather.stop()
            deadline = time.monotonic() + HANG_S
            for process in processes:
                try:
                    process.wait(max(1, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    self._add("a program hangs", "", "a worker did not end: "
                              + _waits(process.pid))
                    process.kill()
            for reader in readers:
                reader.join(30)
        if weather.error is not None:
            raise weather.error
        self._end()
        self._add_logs(weather)

    def _start(self, index, log):
        log.touch()
        plan = {
            "seed": self.seed, "first": 10 * (index + 1),
            "players": self.players, "seconds": self.seconds,
            "mount": str(self.mount.path), "endpoint": self.server.endpoint,
            "bucket": self.server.bucket, "prefix": self.mount.prefix,
            "weather": str(self.place / "weather"), "shared_log": str(log),
            "log": str(self.mount.process.log_path),
            "keep_going": self.keep_going}
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m",
             "torture.worker", json.dumps(plan)],
            stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH":
                 f"{HERE.parent}:{HERE.parent.parent}"})

    def _listen(self, process):
        for line in process.stdout:
            told = json.loads(line)
            with self._lock:
                if "totals" in told:
                    for name, count in told["totals"].items():
                        self.totals[name] += count
                else:
                    self.broken.append(told)

    def _add(self, kind, name, message):
        with self._lock:
            self.broken.append({"kind": kind, "name": name, "at": time.time(),
                                "message": message, "trace": []})

    def _quiet_points(self, processes, glass, shared):
        until = time.monotonic() + self.seconds + HANG_S
        while any(process.poll() is None for process in processes):
            if self.broken and not self.keep_going:
                for process in processes:
                    process.kill()
                return
            if time.monotonic() > until:
                return
            time.sleep(QUIET_EVERY_S)
            glass.turn_hush()
            try:
                deadline = time.monotonic() + HANG_S
                while not shared.silent(glass.hush):
                    if time.monotonic() > deadline:
                        self._add("a program hangs", "shared", "; ".join(
                            _waits(p.pid) for p in processes))
                        return
                    if all(p.poll() is not None for p in processes):
                        break
                    time.sleep(0.02)
                else:
                    shared.judge()
            except BrokenPromise as error:
                self._add(error.kind, error.name, str(error))
            finally:
                glass.turn_hush()

    def _end(self):
        """Everything is closed: the mount ends, and leaves nothing."""
        if not self.mount.process.running():
            self._add("daemon died", "", "it ended with "
                      f"{self.mount.process.popen.returncode}")
            return
        if self.broken:
            return
        code = self.mount.stop()
        if code != 0:
            self._add("the mount ended with an error", "", f"code {code}")
        reserved = [key for key in self.view.keys()
                    if key.startswith(".ckptfs/")]
        if reserved:
            self._add("reserved objects are left", "", str(reserved))
        if self.mount.bucket.uploads() and not self.faults:
            self._add("uploads are left", "", str(self.mount.bucket.uploads()))

    def _add_logs(self, weather):
        lines = self.mount.log().splitlines()
        for told in self.broken:
            name = told["name"]
            told["daemon"] = [line for line in lines
                              if name and name in line][-20:] \
                if name and name != "gone" else lines[-20:]
            told["weather"] = [phase for phase in weather.log
                               if phase[0] < told["at"]][-3:]


def _waits(pid):
    """What the threads of a process, and its children, wait for."""
    told, children = [], []
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            stack = (task / "stack").read_text().split("\n")
            call = (task / "syscall").read_text().split()
            children += (task / "children").read_text().split()
            fd = call[1] if len(call) > 1 else "0x0"
            where = os.readlink(f"/proc/{pid}/fd/{int(fd, 16)}") \
                if int(fd, 16) < 1024 else ""
        except OSError:
            where = ""
        told.append(f"{task.name} in {call[0]} {where} "
                    + " ".join(line.split()[-1].split("+")[0]
                               for line in stack[:6] if line))
    return f"[{pid}: " + ", ".join(told + [_waits(c) for c in children]) + "]"


def report(told):
    """One broken promise, for people."""
    return "\n".join(
        [f"*** {told['message']}", f"at {told['at']:.4f}", "operations:"]
        + ["  " + line for line in told["trace"]]
        + ["the daemon's log:"] + ["  " + line for line in told["daemon"]]
        + ["the weather before:"]
        + [f"  {at:.4f} stall={stall} storm={storm} {troubles}"
           for at, stall, storm, troubles in told["weather"]])

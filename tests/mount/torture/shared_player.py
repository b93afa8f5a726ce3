"""One thread's operations on files that all workers share: whole saves by write
and rename, unlinks, and readers. Judged by weaker rules: SharedFiles."""
import collections
import json
import os
import random
import time

from . import stamps
from .judge import BrokenPromise

NAMES = ("best.ckpt", "latest.pt", "config.bin")
FOLDER = "shared"


class SharedPlayer:
    def __init__(self, number, seed, mount, weather, out):
        self.number = number
        self.random = random.Random(f"{seed}/shared/{number}")
        self.directory = os.path.join(mount, FOLDER)
        os.makedirs(self.directory, exist_ok=True)
        self.weather = weather
        self._out = open(out, "w", buffering=1)
        self._version = 0
        self._readers = []  # (name, fd, data)
        self._trace = collections.deque(maxlen=2000)

    def step(self):
        if self.weather.hush % 2:
            self._say(op="hush", turn=self.weather.hush)
            while self.weather.hush % 2:
                time.sleep(0.005)
        action = self.random.choices(
            (self.save, self.read, self.keep, self.look_again, self.unlink),
            (5, 6, 3, 6, 1))[0]
        action()

    def finish(self):
        for _, fd, _ in self._readers:
            os.close(fd)
        self._readers.clear()
        self._say(op="end")
        self._out.close()

    def _note(self, name, text):
        self._trace.append((time.time(), name, text))

    def story(self, name):
        name = os.path.basename(name)
        return [f"{at:.4f} {other}: {text}" for at, other, text in self._trace
                if other == name]

    def _say(self, **what):
        if "name" in what:
            self._note(what["name"], str(what))
        self._out.write(json.dumps(what) + "\n")

    def _path(self, name):
        return os.path.join(self.directory, name)

    def _error(self, what, name, error, began):
        self._note(name, f"{what} -> {error.strerror}")
        if error.errno in (107, 103):
            raise BrokenPromise("daemon died", name, str(error))
        if error.errno == 116:
            raise BrokenPromise(f"ESTALE from {what}", name,
                                "no other client changed it")
        if began % 2 == 0 and self.weather() == began:
            raise BrokenPromise(f"{what} failed without a fault", name,
                                str(error))

    def save(self):
        name = self.random.choice(NAMES)
        self._version += 1
        size = self.random.choice((100, 5000, 200000, 200000, 9 << 20))
        data = stamps.whole(self.number, self._version, size)
        temporary = self._path(f"{name}.{self.number}.partial")
        start, began, done = time.monotonic(), self.weather(), False
        try:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            try:
                for at in range(0, size, 1 << 20):
                    os.write(fd, data[at:at + (1 << 20)])
                if self.random.random() < 0.3:
                    os.fsync(fd)
            finally:
                os.close(fd)
            self._say(op="begin", name=name, version=self._version,
                      writer=self.number, at=time.monotonic())
            os.rename(temporary, self._path(name))
            done = True
        except OSError as error:
            self._error("save", name, error, began)
        self._say(op="save", name=name, version=self._version,
                  writer=self.number, start=start, end=time.monotonic(),
                  done=done)

    def unlink(self):
        name = self.random.choice(NAMES)
        start, began, done = time.monotonic(), self.weather(), False
        try:
            os.unlink(self._path(name))
            done = True
        except FileNotFoundError:
            return
        except OSError as error:
            self._error("unlink", name, error, began)
        self._say(op="unlink", name=name, start=start, end=time.monotonic(),
                  done=done)

    def _whole(self, name, data, how):
        if stamps.version_of(data) is None:
            raise BrokenPromise(
                "a reader saw a mix", f"{FOLDER}/{name}",
                f"{how}: {stamps.describe(data)}")

    def read(self):
        name = self.random.choice(NAMES)
        began = self.weather()
        try:
            fd = os.open(self._path(name), os.O_RDONLY)
        except FileNotFoundError:
            return
        except OSError as error:
            self._error("open", name, error, began)
            return
        self._note(name, f"open for one pass -> {fd}")
        try:
            self._whole(name, self._all(fd), "one pass")
        except OSError as error:
            self._error("read", name, error, began)
        finally:
            os.close(fd)

    def _all(self, fd):
        size = os.fstat(fd).st_size
        pieces, at = [], 0
        while piece := os.pread(fd, self.random.choice((4096, 1 << 17,
                                                        1 << 20)), at):
            pieces.append(piece)
            at += len(piece)
            if self.random.random() < 0.02:
                time.sleep(0.01)
        if at != size:
            raise BrokenPromise("an open file changed its size", "shared",
                                f"{size} to {at}")
        return b"".join(pieces)

    def keep(self):
        """A reader that stays open across all that happens to its name."""
        if len(self._readers) >= 3:
            os.close(self._readers.pop(0)[1])
        name = self.random.choice(NAMES)
        began = self.weather()
        try:
            fd = os.open(self._path(name), os.O_RDONLY)
        except FileNotFoundError:
            return
        except OSError as error:
            self._error("open", name, error, began)
            return
        self._note(name, f"open to keep -> {fd}")
        try:
            data = self._all(fd)
            self._whole(name, data, "at first")
            self._readers.append((name, fd, data))
        except OSError as error:
            os.close(fd)
            self._error("read", name, error, began)

    def look_again(self):
        if not self._readers:
            return
        name, fd, data = self.random.choice(self._readers)
        began = self.weather()
        self._note(name, f"read the kept {fd} again")
        try:
            if self.random.random() < 0.5:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            got = self._all(fd)
        except OSError as error:
            self._error("read of a kept file", name, error, began)
            return
        if got != data:
            raise BrokenPromise(
                "an open file changed its version", f"{FOLDER}/{name}",
                f"{stamps.describe(data)} to {stamps.describe(got)}")


class SharedFiles:
    """Judges S3 at a quiet point. A name holds a whole version, or nothing:
    the result of a change that no other successful change of that name came
    wholly after. What failed may have come about or not; nothing else may."""

    def __init__(self, logs, view):
        self._logs = logs
        self._view = view

    def _lines(self):
        for log in self._logs:
            with open(log) as file:
                for line in file:
                    if line.endswith("\n"):
                        yield json.loads(line)

    def silent(self, turn):
        return sum(line["op"] == "end" or line.get("turn") == turn
                   for line in self._lines()) >= len(self._logs)

    def judge(self):
        changes = {name: [] for name in NAMES}
        for line in self._lines():
            if line["op"] in ("save", "unlink"):
                changes[line["name"]].append(line)
        for name, events in changes.items():
            last = max((e["start"] for e in events if e["done"]), default=0)
            allowed = {(e["writer"], e["version"]) if e["op"] == "save"
                       else None for e in events
                       if e["end"] >= last or not e["done"]}
            if not any(e["done"] for e in events):
                allowed.add(None)
            got = self._view.read(f"{FOLDER}/{name}")
            what = None if got is None else stamps.version_of(got)
            if got is not None and what is None:
                raise BrokenPromise("S3 has a mix", f"{FOLDER}/{name}",
                                    stamps.describe(got))
            if what not in allowed:
                raise BrokenPromise(
                    "S3 lacks what was published", f"{FOLDER}/{name}",
                    f"has {stamps.describe(got)}, may have {allowed}")

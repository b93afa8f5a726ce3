"""One owner's files: each system call is made, noted, and told to the judge."""
import collections
import contextlib
import os
import random
import time

from . import stamps

SELF = "self"  # the holder of what this process has open
MAX_SIZE = 24 << 20
# Names that look temporary are held in memory until rename, close or fsync.
NAMES = ("model.pt", "last.ckpt", "log.csv", ".tmp-save", "half.partial")


class Owner:
    """What a Player builds its operations from; one per thread."""

    def __init__(self, number, seed, mount, folder, judge, weather):
        self.number = number
        self.random = random.Random(f"{seed}/{number}")
        self.directory = os.path.join(mount, folder)
        self.folder = folder
        self.judge = judge
        self.weather = weather
        self.version = 0
        self.holders = {}      # name of the holder -> (Holder, {file})
        self.files = []        # all that were opened, gone ones too
        self.mappings = []     # (file, mmap)
        self.trace = collections.deque(maxlen=4000)
        self.operations = collections.Counter()
        os.makedirs(self.directory, exist_ok=True)
        for name in NAMES:
            self.judge.may[self._name(name)] = [None]

    def _name(self, name):
        return f"{self.folder}/{name}"

    def _path(self, name):
        return os.path.join(self.directory, os.path.basename(name))

    def _next_version(self):
        self.version += 1
        return self.version

    def note(self, name, text):
        file = self.judge.file(name)
        self.trace.append((time.time(), name, file and file.number, text))

    def story(self, name):
        """What was done with what has that name, also under other names."""
        files = {number for _, other, number, _ in self.trace
                 if other == name and number is not None}
        return [f"{at:.4f} {other}: {text}"
                for at, other, number, text in self.trace
                if other == name or number in files or name == "gone"]

    @contextlib.contextmanager
    def call(self, name, text):
        """One system call: its errno goes to `outcome.error`."""
        outcome = _Outcome(self.weather())
        try:
            yield outcome
        except OSError as error:
            outcome.error = error.errno
        result = outcome.result
        self.note(name, text + (
            f" -> {os.strerror(outcome.error)}" if outcome.error is not None
            else "" if result is None or isinstance(result, bytes)
            else f" -> {result}"))

    def _any_name(self):
        return self._name(self.random.choice(NAMES))

    def _descriptors(self, holder=SELF):
        return [d for file in self._open_files() for d in file.descriptors
                if d.holder == holder]

    def _open_files(self):
        # Gone files too: they are known by their descriptors alone.
        return [f for f in self.files if f.descriptors or f.mapped]

    def _look(self, name, chance=1.0):
        if name is not None and self.random.random() < chance:
            self.judge.check(name)

    def _settle(self):
        for name in list(self.judge.unsettled):
            self.judge.settle(name, self._path(name))

    def _open(self, name, flags):
        with self.call(name, f"open {_flags(flags)}") as done:
            done.result = os.open(self._path(name), flags, 0o644)
        made = self.judge.opened(name, flags, SELF, done.result, done.error,
                                 done.began)
        if made is not None and made.file not in self.files:
            self.files.append(made.file)
        return made

    def _offset(self, file, size):
        """Mostly at the end; in the middle where that is served."""
        length = len(file.live) if file.live is not None else 0
        if length + size > MAX_SIZE:
            return self.random.randint(0, max(0, MAX_SIZE - size))
        kind = self.random.random()
        if kind < 0.6 or length == 0:
            return length
        if kind < 0.9:
            return self.random.randint(0, length)
        return length + self.random.randint(0, 50000)

    def _write(self, descriptor, size):
        file = descriptor.file
        version = self._next_version()
        if descriptor.description.append:
            offset, at = None, len(file.live or b"")
            if at + size > MAX_SIZE:
                return
        else:
            offset = at = self._offset(file, size)
        data = stamps.stream(self.number, version, at, size)
        with self.call(file.name, f"write v{version} {size} bytes at "
                       f"{at} through fd {descriptor.fd}") as done:
            done.result = os.write(descriptor.fd, data) if offset is None \
                else os.pwrite(descriptor.fd, data, offset)
        self.judge.wrote(descriptor, offset, data, done.result, done.error,
                         done.began)

    def _close(self, descriptor):
        file = descriptor.file
        name = file.name
        with self.call(name, f"close fd {descriptor.fd}") as done:
            os.close(descriptor.fd)
        self.judge.closed(descriptor, done.error, done.began)
        return name

    def _duplicate(self, descriptor):
        with self.call(descriptor.file.name,
                       f"dup fd {descriptor.fd}") as done:
            done.result = os.dup(descriptor.fd)
        return self.judge.shared(descriptor, SELF, done.result)

    def _new_size(self, file):
        length = len(file.live or b"")
        return self.random.choice(
            (0, length // 2, length, length + self.random.randint(1, 30000),
             self.random.randint(0, length)))

    def _truncate_path(self, name):
        file = self.judge.file(name)
        if file is None or file.pending:
            return  # no promise says which comes first
        self._settle()
        size = self._new_size(file)
        with self.call(name, f"truncate to {size}") as done:
            os.truncate(self._path(name), size)
        self.judge.truncated(file, size, None, SELF, done.error, done.began)

    def _judge_read(self, file, name, fd, offset, length):
        with self.call(name, f"read {length} at {offset} by fd {fd}") as done:
            done.result = _read(fd, offset, length)
        self.judge.read(file, name or "gone", offset, length, done.result,
                        done.error, done.began)


class _Outcome:
    def __init__(self, began):
        self.began = began
        self.error = None
        self.result = None


def _read(fd, offset, length):
    pieces = []
    while length > 0:
        piece = os.pread(fd, min(length, 1 << 20), offset)
        if not piece:
            break
        pieces.append(piece)
        offset += len(piece)
        length -= len(piece)
    return b"".join(pieces)


def _flags(flags):
    words = [("O_RDONLY", "O_WRONLY", "O_RDWR")[flags & os.O_ACCMODE]]
    words += [word for word in ("O_CREAT", "O_TRUNC", "O_APPEND", "O_EXCL")
              if flags & getattr(os, word)]
    return "|".join(words)

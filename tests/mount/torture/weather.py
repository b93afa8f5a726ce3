"""The store's weather: calm, stalls, storms. One page of shared memory tells the
workers: an odd number while requests may fail, another one after each change."""
import mmap
import pathlib
import random
import struct
import threading
import time

from .held_release import BackgroundQueue

# What a store does on bad days: each is a fault of tests/s3server.
_TROUBLES = (
    ("PutObject", "action=fail&status=403&code=AccessDenied"),
    ("PutObject", "action=fail&status=503&code=SlowDown"),
    ("PutObject", "action=lose_reply"),
    ("PutObject", "action=hold"),
    ("PutObject", "action=hold&when=after"),
    ("PutObject", "action=reset"),
    ("CreateMultipartUpload", "action=fail&status=403&code=AccessDenied"),
    ("CreateMultipartUpload", "action=lose_reply"),
    ("UploadPart", "action=fail&status=403&code=AccessDenied"),
    ("UploadPart", "action=fail"),
    ("UploadPart", "action=hold"),
    ("UploadPart", "action=hold&when=after"),
    ("UploadPart", "action=reset"),
    ("UploadPart", "action=lose_reply"),
    ("CompleteMultipartUpload", "action=fail&status=403&code=AccessDenied"),
    ("CompleteMultipartUpload", "action=fail"),
    ("CompleteMultipartUpload", "action=lose_reply"),
    ("CompleteMultipartUpload", "action=hold&when=after"),
    ("CompleteMultipartUpload", "action=error200"),
    ("CopyObject", "action=fail&status=403&code=AccessDenied"),
    ("CopyObject", "action=fail"),
    ("CopyObject", "action=lose_reply"),
    ("CopyObject", "action=hold"),
    ("CopyObject", "action=hold&when=after"),
    ("CopyObject", "action=error200"),
    ("UploadPartCopy", "action=fail&status=403&code=AccessDenied"),
    ("UploadPartCopy", "action=hold"),
    ("DeleteObject", "action=fail&status=403&code=AccessDenied"),
    ("DeleteObject", "action=lose_reply"),
    ("DeleteObject", "action=hold"),
    ("DeleteObject", "action=hold&when=after"),
    ("HeadObject", "action=fail&status=403&code=AccessDenied"),
    ("HeadObject", "action=fail"),
    ("HeadObject", "action=hold"),
    ("HeadObject", "action=hold&when=after"),
    ("GetObject", "action=fail&status=403&code=AccessDenied"),
    ("GetObject", "action=fail"),
    ("GetObject", "action=hold"),
    ("GetObject", "action=reset"),
    ("GetObject", "action=corrupt_range"),
    ("ListObjectsV2", "action=hold"),
    ("ListObjectsV2", "action=fail"),
)


class WeatherGlass:
    """Reads (and, for its maker, sets) the weather and the call for silence."""

    def __init__(self, path):
        with open(path, "r+b") as file:
            self._page = mmap.mmap(file.fileno(), 4096)

    @staticmethod
    def make(path):
        pathlib.Path(path).write_bytes(bytes(4096))
        return WeatherGlass(path)

    def __call__(self):
        return struct.unpack_from("<q", self._page, 0)[0]

    def turn(self):
        struct.pack_into("<q", self._page, 0, self() + 1)

    @property
    def hush(self):
        """Counts calls for silence; odd: be silent."""
        return struct.unpack_from("<q", self._page, 8)[0]

    def turn_hush(self):
        struct.pack_into("<q", self._page, 8, self.hush + 1)


class Weather:
    """Makes it, in a thread of its own, until stopped. `faults` False leaves
    out the storms: nothing may fail then."""

    def __init__(self, server, mount, glass, seed, faults=True):
        self._server = server
        self._mount = mount
        self._glass = glass
        self._random = random.Random(f"{seed}/weather")
        self._faults = faults
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._queue = BackgroundQueue(server, mount)
        self.log = []
        self.error = None

    def start(self):
        self._thread.start()

    def stop(self):
        self._stop.set()
        self._thread.join()

    def _run(self):
        try:
            while not self._stop.is_set():
                kind = self._random.random()
                stall = kind < 0.5
                storm = self._faults and 0.25 < kind < 0.75
                self._phase(stall, storm)
        except Exception as error:  # told to the test, which fails
            self.error = error
        finally:
            self._server.control("clear")
            self._queue.wait()

    def _phase(self, stall, storm):
        began = time.time()
        troubles = []
        if storm:
            self._glass.turn()
            for _ in range(self._random.randint(1, 4)):
                operation, trouble = self._random.choice(_TROUBLES)
                count = self._random.choice((1, 1, 2, 5, -1))
                troubles.append(f"op={operation}&{trouble}&count={count}"
                                f"&key={self._mount.prefix}")
                self._server.control("fault?" + troubles[-1])
        if stall:
            self._queue.hold()
        latency = self._random.choice((0, 0, 0, 5, 20))
        self._server.control(f"set?latency_ms={latency}")
        self.log.append((began, stall, storm, troubles))
        self._stop.wait(self._random.uniform(0.4, 2.0))
        self._server.control("set?latency_ms=0")
        self._server.control("clear")
        self._queue.wait()
        if storm:
            self._glass.turn()
            # Time for what was delayed to come out.
            self._stop.wait(self._random.uniform(0.2, 1.0))

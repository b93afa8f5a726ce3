"""Holds back every RELEASE of a mount. The kernel sends it as a background
request, and at most so many of these are sent at once: reads ahead, whose
GetObject the server holds, take the places."""
import contextlib
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

from support.programs import wait_until

_BALLAST = "ballast"
_SIZE_MIB = 1 << 20
# Where root may say so, two requests fill the queue.
_FEW = 2

_READER = """
import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
for i in range(int(sys.argv[3])):
    # In leaps: what looks like a sequence is fetched ahead by the mount too.
    os.posix_fadvise(fd, int(sys.argv[2]) + i * 37 << 20, 1 << 20,
                     os.POSIX_FADV_WILLNEED)
"""


class BackgroundQueue:
    """The queue of one mount. hold() fills it until the server's faults are
    cleared; the caller does that, then calls wait()."""

    def __init__(self, server, mount):
        self._server = server
        self._mount = mount
        self._reader = None
        self._reads = self._narrow()
        if not mount.bucket.exists(_BALLAST):
            server.control(f"pattern?bucket={server.bucket}"
                           f"&key={mount.prefix}{_BALLAST}"
                           f"&size={_SIZE_MIB << 20}")

    def _narrow(self):
        """Makes the queue short where that is allowed; how many reads fill
        it."""
        with tempfile.TemporaryDirectory(prefix="ckptfs-fusectl-") as place:
            done = subprocess.run(["mount", "-t", "fusectl", "none", place],
                                  stderr=subprocess.DEVNULL, check=False)
            if done.returncode != 0:
                return 90
            try:
                number = os.minor(os.stat(self._mount.path).st_dev)
                limit = pathlib.Path(place, str(number), "max_background")
                limit.write_text(str(_FEW))
                return _FEW + 2
            finally:
                subprocess.run(["umount", place], check=True)

    def hold(self):
        self._server.control(f"fault?op=GetObject&key={_BALLAST}"
                             "&action=hold&count=-1")
        self._reader = subprocess.Popen(
            [sys.executable, "-c", _READER,
             os.path.join(self._mount.path, _BALLAST),
             str(random.randrange(_SIZE_MIB - 90 * 37)), str(self._reads)])

    def wait(self):
        """Until the reads are through."""
        if self._reader is not None:
            self._reader.wait(60)
            self._reader = None


def _released(path):
    """Whether the RELEASE of a descriptor arrives within a while."""
    os.close(os.open(path, os.O_RDONLY))
    for _ in range(10):
        if os.getxattr(path, "user.ckptfs.open") == b"0":
            return True
        time.sleep(0.01)
    return False


@contextlib.contextmanager
def releases_held(server, mount):
    """While this lasts no RELEASE reaches the daemon. All else does, but reads
    ahead. Clears the server's faults at the end."""
    queue = BackgroundQueue(server, mount)
    probe = mount.path / "probe"
    probe.touch()
    queue.hold()
    try:
        wait_until(lambda: not _released(probe), "RELEASE is held back")
        yield
    finally:
        server.control("clear")
        queue.wait()

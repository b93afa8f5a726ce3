"""Holds back every RELEASE of a mount: the kernel sends it as a background
request, and at most so many of these are sent at once. Reads ahead of a file
whose GetObject the server holds fill that queue."""
import contextlib
import os
import subprocess
import sys
import time

from support.programs import wait_until

from .weather import BALLAST, STALLER


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
    server.control(f"pattern?bucket={server.bucket}"
                   f"&key={mount.prefix}{BALLAST}&size={1 << 40}")
    probe = mount.path / "probe"
    probe.touch()
    server.control(f"fault?op=GetObject&key={BALLAST}&action=hold&count=-1")
    staller = subprocess.Popen([sys.executable, "-c", STALLER,
                                mount.path / BALLAST, "0"])
    try:
        wait_until(lambda: not _released(probe), "RELEASE is held back")
        yield
    finally:
        server.control("clear")
        staller.wait(60)

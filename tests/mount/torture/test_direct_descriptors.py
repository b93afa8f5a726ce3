"""Direct descriptors of io_uring: no close of them sends a FLUSH, so that only
RELEASE tells the mount that they are gone."""
import signal
import subprocess
import time

import pytest

from support.programs import BIN_DIR, wait_until

pytestmark = pytest.mark.ckptfs_only

NO_IO_URING = 77
OLD = b"the checkpoint before" * 100


@pytest.fixture
def direct(make_mount):
    """direct(SCENARIO, SIZE): a mount, and the program that has written."""
    mount = make_mount()
    started = []

    def start(scenario, size):
        mount.bucket.write("model.pt", OLD)
        program = subprocess.Popen(
            [BIN_DIR / "direct_descriptor", scenario, mount.path / "model.pt",
             str(size)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True)
        started.append(program)
        if program.stdout.readline() != "ready\n":
            if program.wait(30) == NO_IO_URING:
                pytest.skip("the kernel does not allow io_uring")
            pytest.fail(f"direct_descriptor ended with {program.returncode}")
        return mount, program

    yield start
    for program in started:
        program.kill()
        program.wait(30)
        program.stdin.close()
        program.stdout.close()


@pytest.mark.parametrize("size", [5000, 20 << 20])
def test_closed_by_a_living_process(direct, size):
    """The process closes it and lives on: published. Nobody waits for a RELEASE,
    so soon, not at once. [S-11]"""
    mount, _ = direct("close", size)
    wait_until(lambda: mount.bucket.read("model.pt") == b"u" * size,
               "it is published")
    assert (mount.path / "model.pt").read_bytes() == b"u" * size


@pytest.mark.parametrize("size", [5000, 20 << 20])
def test_killed(direct, size):
    """Killed in the middle: nothing is published. [S-03] [S-12]"""
    mount, program = direct("pause", size)
    program.send_signal(signal.SIGKILL)
    program.wait(30)
    wait_until(lambda: (mount.path / "model.pt").stat().st_size == len(OLD),
               "the older version shows")
    time.sleep(0.3)  # a late RELEASE, if any
    assert mount.bucket.read("model.pt") == OLD


def test_open_in_a_living_process(direct):
    """Not closed yet: nothing is published. [S-11]"""
    mount, _ = direct("pause", 5000)
    assert mount.bucket.read("model.pt") == OLD

"""Writers whose process id the kernel cannot tell: the daemon lives in a PID
namespace of its own, as in a sidecar container."""
import os
import subprocess

import pytest

from support import ckptfs_mount
from support.programs import wait_until
from support.python_program import PythonProgram
from torture import stamps

OLD = stamps.whole(1, 1, 5000)


def _can_unshare():
    return os.geteuid() == 0 and subprocess.run(
        ["unshare", "--pid", "--fork", "true"], check=False,
        stderr=subprocess.DEVNULL).returncode == 0


pytestmark = [
    pytest.mark.ckptfs_only,
    pytest.mark.skipif(not _can_unshare(),
                       reason="no PID namespace without root")]


@pytest.fixture
def sidecar(server):
    """sidecar(OPTION...): a mount whose daemon sees none of our processes. It
    ends by umount, as unshare(1) takes no SIGTERM."""
    made = []

    def make(*options):
        made.append(ckptfs_mount.CkptfsMount(
            server, "sidecar", *options,
            launcher=("unshare", "--pid", "--fork", "--kill-child")))
        made[-1].bucket.write("model.pt", OLD)
        return made[-1]

    yield make
    for each in made:
        subprocess.run(["umount", each.path], check=False)
        try:
            each.process.wait(30)
        finally:
            each.destroy()


@pytest.fixture
def program():
    """Starts short Python programs; none outlives the test."""
    started = []

    def start(source, *arguments):
        started.append(PythonProgram(source, *arguments))
        return started[-1]

    yield start
    for each in started:
        each.end()


# A save of which half is written; then something happens; then the rest.
_SAVE = """
data = open(sys.argv[2], "rb").read()
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
os.write(fd, data[:len(data) // 2])
{middle}
say("half")
wait()
os.write(fd, data[len(data) // 2:])
{end}
say("saved")
wait()
"""
_MIDDLES = {
    "dup": "os.close(os.dup(fd))",
    "fork": "child = os.fork()\nif child == 0: os._exit(0)\n"
            "os.waitpid(child, 0)",
    "killed child": "child = os.fork()\n"
                    "if child == 0: os.kill(os.getpid(), signal.SIGKILL)\n"
                    "os.waitpid(child, 0)",
    "fork and exec": "import subprocess\n"
                     "subprocess.run(['/bin/true'], close_fds=False)",
    "second descriptor": "other = os.open(sys.argv[1], os.O_WRONLY)\n"
                         "os.close(other)",
    "all of these": "for _ in range(5):\n"
                    "    os.close(os.dup(fd))\n"
                    "    child = os.fork()\n"
                    "    if child == 0: os._exit(0)\n"
                    "    os.waitpid(child, 0)",
}
_ENDS = {
    # how a save ends: (the program's words, the name it ends under)
    "fsync": ("os.fsync(fd)", "model.pt"),
    "rename": ("os.rename(sys.argv[1], sys.argv[1] + '.new')",
               "model.pt.new"),
    "close": ("os.close(fd)", "model.pt"),
}


def _warnings(mount):
    return [line for line in mount.log().splitlines()
            if " warning " in line and "--invisible-writers" in line]


@pytest.mark.parametrize("end", _ENDS)
@pytest.mark.parametrize("middle", _MIDDLES)
def test_half_a_save_is_not_published(sidecar, program, tmp_path, middle,
                                      end):
    """With fsync-rename, no close that is not the last one of all descriptors
    publishes; fsync and rename do; one warning says what is the matter.
    [S-13]"""
    mount = sidecar("--invisible-writers", "fsync-rename")
    new = stamps.whole(1, 2, 400000)
    (tmp_path / "new").write_bytes(new)
    words, name = _ENDS[end]
    writer = program(_SAVE.format(middle=_MIDDLES[middle], end=words),
                     mount.path / "model.pt", tmp_path / "new")
    writer.expect("half")
    assert mount.bucket.read("model.pt") == OLD
    writer.tell()
    writer.expect("saved")
    if end == "close":
        # The end of the last descriptor publishes in the background.
        wait_until(lambda: mount.bucket.read(name) == new, "it is published")
    assert mount.bucket.read(name) == new
    writer.tell()
    assert writer.finish() == 0
    assert mount.bucket.read(name) == new
    assert len(_warnings(mount)) == 1, mount.log()


@pytest.mark.parametrize("size", [5000, 9 << 20])
def test_plain_save(sidecar, program, tmp_path, size):
    """As long as nothing but the last close closes the file, an invisible writer
    is served as any other. [S-01] [S-13]"""
    mount = sidecar()
    new = stamps.whole(1, 2, size)
    (tmp_path / "new").write_bytes(new)
    writer = program(_SAVE.format(middle="", end="os.close(fd)"),
                     mount.path / "model.pt", tmp_path / "new")
    writer.expect("half")
    assert mount.bucket.read("model.pt") == OLD
    writer.tell()
    writer.expect("saved")
    assert mount.bucket.read("model.pt") == new
    assert (mount.path / "model.pt").read_bytes() == new


def test_one_warning(sidecar, program, tmp_path):
    """However many invisible writers there are, the log warns once. [S-13]"""
    mount = sidecar()
    (tmp_path / "new").write_bytes(OLD)
    for number in range(5):
        writer = program(_SAVE.format(middle="", end="os.close(fd)"),
                         mount.path / f"model-{number}.pt", tmp_path / "new")
        writer.expect("half")
        writer.tell()
        writer.expect("saved")
        writer.tell()
        assert writer.finish() == 0
    assert len(_warnings(mount)) == 1, mount.log()

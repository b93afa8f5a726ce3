"""A daemon in a PID namespace of its own, as a sidecar: the kernel gives it no
process id of the writers, and its /proc is another namespace's. [S-13]"""
import os
import uuid

import pytest

from support.ckptfs_mount import CkptfsMount

pytestmark = [
    pytest.mark.ckptfs_only,
    pytest.mark.skipif(os.geteuid() != 0, reason="unshare needs root")]

# A save in the middle of which a child is forked that ends, and a copy of the
# descriptor is closed.
WRITER = """
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
os.write(fd, b"half")
if os.fork() == 0:
    os._exit(0)
os.wait()
os.close(os.dup(fd))
say("half")
wait()
os.write(fd, b" whole")
if sys.argv[2] == "fsync":
    os.fsync(fd)
if sys.argv[2] == "rename":
    os.rename(sys.argv[1], sys.argv[1] + ".renamed")
say("done")
wait()
os.close(fd)
"""


@pytest.fixture
def unseeing_mount(s3server):
    """A call that mounts so, with options."""
    mounts = []

    def make(*options):
        mounts.append(CkptfsMount(
            s3server, f"test-{uuid.uuid4().hex[:8]}", *options,
            launcher=("unshare", "--pid", "--fork", "--kill-child")))
        return mounts[-1]

    yield make
    for made in mounts:
        try:
            assert made.stop("umount") == 0, made.log()
            assert not made.bucket.uploads()
            made.bucket.clear()
        finally:
            made.destroy()


def test_every_close_publishes(unseeing_mount, program):
    """The default. The log says once what cannot be seen."""
    mount = unseeing_mount()
    writer = program(WRITER, mount.path / "file", "")
    writer.expect("half")
    assert mount.bucket.read("file") == b"half"
    writer.tell()
    writer.expect("done")
    assert mount.bucket.read("file") == b"half"
    writer.tell()
    assert writer.finish() == 0
    assert mount.bucket.read("file") == b"half whole"
    assert mount.log().count("--invisible-writers") == 1


@pytest.mark.parametrize("how", ["fsync", "rename", "last descriptor"])
def test_fsync_rename_and_the_end_publish(unseeing_mount, program, how):
    """With fsync-rename no other close does."""
    mount = unseeing_mount("--invisible-writers=fsync-rename")
    mount.bucket.write("file", b"old")
    writer = program(WRITER, mount.path / "file", how)
    writer.expect("half")
    assert mount.bucket.read("file") == b"old"
    writer.tell()
    writer.expect("done")
    name = "file.renamed" if how == "rename" else "file"
    assert mount.bucket.read(name) == (
        b"old" if how == "last descriptor" else b"half whole")
    writer.tell()
    assert writer.finish() == 0
    # In the background: the end of the mount waits for it.
    assert mount.stop("umount") == 0, mount.log()
    assert mount.bucket.read(name) == b"half whole"

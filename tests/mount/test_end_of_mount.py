"""How a mount ends: SIGTERM, SIGINT, umount, and kill -9 of the daemon."""
import errno
import os
import signal
import subprocess
import threading

import pytest

from support import programs
from support.ckptfs_mount import clean_environment, mount_type
from support.errors import refused
from support.programs import wait_until

MIB = 1 << 20
LOST_FILES = 7  # exit code of a mount that had to give files up

WRITER = """
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
for index in range(int(sys.argv[2])):
    os.write(fd, b"x" * MIB)
say("written")
wait()
os.write(fd, b"end")
os.close(fd)
"""


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "umount"])
def test_idle_mount_ends(mount, how):
    """At once, with exit code 0, and the mount point is free. [S-52]"""
    (mount.path / "file").write_bytes(b"x")
    assert mount.stop(how, timeout=20) == 0
    assert not mount.mounted()
    assert os.listdir(mount.path) == []
    assert mount.bucket.read("file") == b"x"


@pytest.mark.parametrize("how", ["SIGTERM", "umount"])
@pytest.mark.parametrize("size", [1, 40])
def test_drain_waits_for_a_living_writer(mount, program, how, size):
    """The end of the mount waits until the writer has closed its file, and
    says what it waits for. [S-52]"""
    writer = program(WRITER, mount.path / "model.pt", size)
    writer.expect("written")
    ended = []
    thread = threading.Thread(target=lambda: ended.append(mount.stop(how)))
    thread.start()
    wait_until(lambda: "waiting" in mount.log(), "the drain names its file")
    assert "model.pt" in mount.log().split("waiting", 1)[1]
    assert not ended
    writer.tell()
    assert writer.finish() == 0
    thread.join(60)
    assert ended == [0]
    assert mount.bucket.read("model.pt") == b"x" * (size * MIB) + b"end"
    assert not mount.bucket.uploads()


def test_drain_gives_up_at_its_deadline(make_mount, program):
    """The unfinished file is named, the exit code says so, the old object
    stays and no upload is left. [S-52]"""
    mount = make_mount(options=["--drain-timeout", "2"])
    mount.bucket.write("model.pt", b"old")
    writer = program(WRITER, mount.path / "model.pt", 40)
    writer.expect("written")
    assert mount.stop(timeout=60) == LOST_FILES
    assert "lost: model.pt" in mount.log()
    assert mount.bucket.read("model.pt") == b"old"
    assert not mount.bucket.uploads()
    writer.tell()
    assert writer.finish() != 0  # its write failed


def test_umount_says_that_files_were_lost(make_mount, program):
    """`ckptfs umount` ends with the same exit code. [S-52]"""
    mount = make_mount(options=["--drain-timeout", "1"])
    writer = program(WRITER, mount.path / "model.pt", 1)
    writer.expect("written")
    done = subprocess.run(
        [programs.BIN_DIR / "ckptfs", "umount", mount.path], text=True,
        capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == LOST_FILES
    assert "model.pt" in done.stderr
    assert mount.stop() == LOST_FILES
    assert not mount.bucket.exists("model.pt")


def test_umount_while_a_reader_lives(mount):
    """A reader has nothing to lose: it gets an error afterwards. [S-52]"""
    mount.bucket.write("file", b"x" * (20 * MIB))
    reader = os.open(mount.path / "file", os.O_RDONLY)
    os.read(reader, 10)
    assert mount.stop("umount", timeout=30) == 0
    assert not mount.mounted()
    with refused(errno.ENOTCONN, errno.EIO):
        while os.read(reader, MIB):
            pass
    with refused(errno.ENOTCONN):  # the kernel's answer for a dead mount
        os.close(reader)


def test_umount_while_a_reader_keeps_an_unlinked_file(mount):
    """The copy that was kept for the reader ends with the mount. [S-05]
    [S-52]"""
    mount.bucket.write("file", b"x" * (20 * MIB))
    reader = os.open(mount.path / "file", os.O_RDONLY)
    os.read(reader, 10)
    os.unlink(mount.path / "file")
    assert mount.stop(timeout=30) == 0
    with refused(errno.ENOTCONN):
        os.close(reader)
    assert mount.bucket.keys() == []


@pytest.mark.parametrize("size", [1, 60])
def test_daemon_is_killed(mount, program, size):
    """kill -9 of the daemon: the old object stays, fsynced bytes are there,
    programs get errors, and the next mount works. [S-03]"""
    mount.bucket.write("model.pt", b"old")
    synced = os.open(mount.path / "synced", os.O_WRONLY | os.O_CREAT, 0o644)
    os.write(synced, b"s" * (9 * MIB))
    os.fsync(synced)
    writer = program(WRITER, mount.path / "model.pt", size)
    writer.expect("written")
    mount.process.kill()
    writer.tell()
    assert writer.finish() != 0
    with refused(errno.ENOTCONN):
        os.listdir(mount.path)
    with refused(errno.ENOTCONN):
        os.close(synced)
    mount.kill()
    assert mount.bucket.read("model.pt") == b"old"
    assert mount.bucket.read("synced") == b"s" * (9 * MIB)
    # An upload of a dead daemon is invisible to readers; it costs storage
    # until somebody aborts it.
    for key in mount.bucket.uploads():
        assert key == "model.pt"
    mount.start()
    assert (mount.path / "model.pt").read_bytes() == b"old"
    (mount.path / "model.pt").write_bytes(b"new")
    assert mount.bucket.read("model.pt") == b"new"
    for upload in mount.bucket.client.list_multipart_uploads(
            Bucket=mount.bucket.bucket,
            Prefix=mount.bucket.prefix).get("Uploads", []):
        mount.bucket.client.abort_multipart_upload(
            Bucket=mount.bucket.bucket, Key=upload["Key"],
            UploadId=upload["UploadId"])


def test_background_mount(s3server, tmp_path):
    """Without --foreground the command returns when the mount works; umount
    returns when everything is in S3. [S-51] [S-52]"""
    point = tmp_path / "ckpt"
    point.mkdir()
    bucket = s3server.prefix("background/")
    done = subprocess.run(
        [programs.BIN_DIR / "ckptfs", "mount", "--endpoint-url",
         s3server.endpoint, "--log-file", tmp_path / "log",
         f"s3://{s3server.bucket}/background", point],
        env=clean_environment(s3server), capture_output=True, text=True,
        timeout=60, stdin=subprocess.DEVNULL)
    try:
        assert done.returncode == 0, done.stderr
        assert mount_type(point) == "fuse.ckptfs"
        (point / "file").write_bytes(b"x" * 100)
        assert bucket.read("file") == b"x" * 100
    finally:
        ended = subprocess.run(
            [programs.BIN_DIR / "ckptfs", "umount", point],
            capture_output=True, text=True, timeout=90,
            stdin=subprocess.DEVNULL)
        if mount_type(point):
            subprocess.run(["fusermount3", "-uz", point], check=False)
    assert ended.returncode == 0, ended.stderr
    assert mount_type(point) is None
    bucket.clear()


def test_signal_in_mid_save_loses_nothing(mount, program):
    """SIGTERM to the daemon while 8 writers are busy: all of them finish.
    [S-52]"""
    writers = [program(WRITER, mount.path / f"f{index}", 12)
               for index in range(8)]
    for writer in writers:
        writer.expect("written")
    mount.process.signal(signal.SIGTERM)
    wait_until(lambda: "waiting" in mount.log(), "the drain has begun")
    for writer in writers:
        writer.tell()
    assert [writer.finish() for writer in writers] == [0] * 8
    assert mount.process.wait(60) == 0
    for index in range(8):
        assert mount.bucket.read(f"f{index}") == b"x" * (12 * MIB) + b"end"


def test_read_only(make_mount):
    """Everything can be read, nothing can be changed. [S-53]"""
    mount = make_mount()
    mount.bucket.write("dir/file", b"x")
    assert mount.stop() == 0
    mount.options = ("--read-only",)
    mount.start()
    assert (mount.path / "dir/file").read_bytes() == b"x"
    for change in (
            lambda: (mount.path / "new").write_bytes(b""),
            lambda: open(mount.path / "dir/file", "ab").close(),
            lambda: os.unlink(mount.path / "dir/file"),
            lambda: os.mkdir(mount.path / "d"),
            lambda: os.rmdir(mount.path / "dir"),
            lambda: os.chmod(mount.path / "dir/file", 0o600),
            lambda: os.truncate(mount.path / "dir/file", 0),
            lambda: os.rename(mount.path / "dir/file", mount.path / "f")):
        with refused(errno.EROFS):
            change()
    assert mount.bucket.keys() == ["dir/file"]
    assert mount.stop() == 0

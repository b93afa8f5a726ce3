"""Open files: fsync, append, truncation, unlink and rename while open, several
writers."""
import errno
import hashlib
import logging
import mmap
import os
import stat
import threading

import pytest

from support.errors import refused
from support.programs import wait_until

MIB = 1 << 20


def write_all(fd, body):
    while body:
        body = body[os.write(fd, body):]


@pytest.mark.parametrize("size", [0, 1, 4096, 8 * MIB - 1, 8 * MIB,
                                  8 * MIB + 1, 33 * MIB + 17])
def test_sizes(mount, random_bytes, size):
    """Around the borders of parts; read back through the mount and by a plain
    client, before and after a remount. [S-01] [S-05]"""
    body = random_bytes(size)
    (mount.path / "file").write_bytes(body)
    assert mount.bucket.read("file") == body
    assert (mount.path / "file").read_bytes() == body
    mount.remount()
    assert os.stat(mount.path / "file").st_size == size
    assert (mount.path / "file").read_bytes() == body


def test_fsync_then_more(mount, random_bytes):
    """fsync publishes what is written by then and seals nothing. [S-11]"""
    first, second = random_bytes(12 * MIB), random_bytes(11 * MIB + 5)
    with open(mount.path / "file", "wb", buffering=0) as file:
        write_all(file.fileno(), first)
        os.fsync(file.fileno())
        assert mount.bucket.read("file") == first
        os.fsync(file.fileno())
        write_all(file.fileno(), second)
        os.fdatasync(file.fileno())
        assert mount.bucket.read("file") == first + second
        file.write(b"end")
    assert mount.bucket.read("file") == first + second + b"end"
    assert (mount.path / "file").read_bytes() == first + second + b"end"


def test_many_fsyncs(mount):
    """A log that is fsynced after each line. [S-11]"""
    with open(mount.path / "log", "w") as file:
        for line in range(30):
            file.write(f"line {line}\n")
            file.flush()
            os.fsync(file.fileno())
            assert mount.bucket.read("log").endswith(b"line %d\n" % line)
    assert mount.bucket.read("log").count(b"\n") == 30


@pytest.mark.parametrize("size", [100, 9 * MIB, 20 * MIB])
def test_append(mount, random_bytes, size):
    """O_APPEND to an object another client wrote: below and above the size
    that is kept in memory. [S-01]"""
    old, new = random_bytes(size), random_bytes(6 * MIB + 1)
    mount.bucket.write("file", old)
    with open(mount.path / "file", "ab") as file:
        file.write(new)
        file.flush()
        assert os.fstat(file.fileno()).st_size == len(old) + len(new)
    wait_until(lambda: mount.bucket.read("file") == old + new,
               "the appended bytes are in S3", 15, 0.2)
    assert (mount.path / "file").read_bytes() == old + new


def test_reopen_and_extend(mount, random_bytes):
    """'r+b', seek to the end, write: what DCP's consolidation does. [S-01]"""
    old, new = random_bytes(17 * MIB), random_bytes(3 * MIB)
    (mount.path / "file").write_bytes(old)
    with open(mount.path / "file", "r+b") as file:
        file.seek(0, os.SEEK_END)
        file.write(new)
    wait_until(lambda: mount.bucket.read("file") == old + new,
               "the new bytes are in S3", 15, 0.2)


def test_python_logging(mount):
    """A FileHandler keeps one O_APPEND descriptor open. [S-01]"""
    logger = logging.Logger("test")
    for run in range(2):
        handler = logging.FileHandler(mount.path / "train.log")
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
        for line in range(50):
            logger.info("run %d line %d", run, line)
        logger.removeHandler(handler)
        handler.close()
    expected = b"".join(b"run %d line %d\n" % (run, line)
                        for run in range(2) for line in range(50))
    wait_until(lambda: mount.bucket.exists("train.log")
               and mount.bucket.read("train.log") == expected,
               "all lines are in S3", 15, 0.2)


def test_open_log_is_readable_by_others(mount):
    """Tailing a file that is still being written, through the mount. [S-22]"""
    with open(mount.path / "log", "a") as file:
        file.write("one\n")
        file.flush()
        assert (mount.path / "log").read_text() == "one\n"
        file.write("two\n")
        file.flush()
        assert (mount.path / "log").read_text() == "one\ntwo\n"


def test_rewrite_with_w(mount, random_bytes):
    """'w' on an existing file: a reader through S3 sees the old object until
    the close, and never an empty one. [S-01] [S-11]"""
    old, new = random_bytes(20 * MIB), random_bytes(10 * MIB)
    mount.bucket.write("file", old)
    with open(mount.path / "file", "wb") as file:
        if mount.remote:
            assert mount.bucket.read("file") == old
        file.write(new)
        file.flush()
        if mount.remote:
            assert mount.bucket.read("file") == old
    assert mount.bucket.read("file") == new
    assert (mount.path / "file").read_bytes() == new


def test_unlink_while_open(mount, random_bytes):
    """The name is gone at once, the bytes stay for who has it open. [S-21]"""
    body = random_bytes(20 * MIB)
    mount.bucket.write("file", body)
    with open(mount.path / "file", "rb", buffering=0) as reader:
        head = reader.read(1000)
        with mmap.mmap(reader.fileno(), 0, prot=mmap.PROT_READ) as mapped:
            os.unlink(mount.path / "file")
            assert not mount.bucket.exists("file")
            assert os.listdir(mount.path) == []
            assert os.fstat(reader.fileno()).st_nlink == 0
            rest = b""
            while chunk := reader.read(MIB):
                rest += chunk
            assert head + rest == body
            assert mapped[:] == body
    wait_until(lambda: mount.bucket.keys() == [], "nothing is left")


def test_unlink_while_dirty(mount, random_bytes):
    """Bytes of an unlinked file are never published, close or not. [S-16]"""
    with open(mount.path / "file", "w+b", buffering=0) as file:
        write_all(file.fileno(), random_bytes(3 * MIB))
        os.unlink(mount.path / "file")
        file.write(b"more")
        os.fsync(file.fileno())
    assert mount.bucket.keys() == []
    assert os.listdir(mount.path) == []


def test_rename_over_an_open_reader(mount, random_bytes):
    """The reader keeps the old bytes; who opens now gets the new ones. [S-21]
    [S-35]"""
    old, new = random_bytes(20 * MIB), random_bytes(9 * MIB)
    mount.bucket.write("file", old)
    mount.bucket.write("new", new)
    with open(mount.path / "file", "rb") as reader:
        assert reader.read(10) == old[:10]
        os.rename(mount.path / "new", mount.path / "file")
        assert mount.bucket.read("file") == new
        assert (mount.path / "file").read_bytes() == new
        reader.seek(0)
        assert reader.read() == old
    wait_until(lambda: mount.bucket.keys() == ["file"], "nothing else is left")


@pytest.mark.parametrize("name", ["model.tmp", "model.part"])
@pytest.mark.parametrize("size", [5, 30 * MIB])
def test_rename_of_an_open_dirty_file(mount, random_bytes, name, size):
    """The rename answers when the bytes are in S3 under the new name; the
    descriptor writes on. Temp-like names are held, others are not. [S-11]
    [S-15]"""
    body = random_bytes(size)
    mount.bucket.write("model", b"old")
    with open(mount.path / name, "xb", buffering=0) as file:
        write_all(file.fileno(), body)
        os.rename(mount.path / name, mount.path / "model")
        assert mount.bucket.read("model") == body
        assert mount.bucket.names() == ["model"]
        file.write(b"tail")
    assert mount.bucket.read("model") == body + b"tail"
    assert os.listdir(mount.path) == ["model"]


def test_new_file_under_the_old_name(mount, random_bytes):
    """a -> b, then a new a at once: no cross-talk. [S-35]"""
    first, second = random_bytes(12 * MIB), random_bytes(10 * MIB)
    (mount.path / "a").write_bytes(first)
    os.rename(mount.path / "a", mount.path / "b")
    (mount.path / "a").write_bytes(second)
    assert mount.bucket.read("b") == first
    assert mount.bucket.read("a") == second


def test_two_writers(mount):
    """Two descriptors, one file, as on a disk: each writes where it is, the
    last one to write a byte wins. [S-22]"""
    one = os.open(mount.path / "file", os.O_WRONLY | os.O_CREAT, 0o644)
    two = os.open(mount.path / "file", os.O_WRONLY)
    os.write(one, b"aaaaaa")
    os.write(two, b"bbb")
    os.close(one)
    os.write(two, b"cc")
    os.close(two)
    assert mount.bucket.read("file") == b"bbbcca"


def test_two_mounts(make_mount):
    """Two hosts overwrite one name: the last to close wins, whole. [S-18]"""
    one = make_mount()
    if not one.remote:
        pytest.skip("needs two mounts of one prefix")
    two = make_mount(server=one.server, prefix=one.prefix)
    with open(one.path / "file", "wb") as first:
        first.write(b"1" * (12 * MIB))
        (two.path / "file").write_bytes(b"2" * MIB)
        assert one.bucket.read("file") == b"2" * MIB
    assert one.bucket.read("file") == b"1" * (12 * MIB)
    wait_until(lambda: (two.path / "file").stat().st_size == 12 * MIB,
               "the other mount sees the new object", 10)
    assert (two.path / "file").read_bytes() == b"1" * (12 * MIB)


def test_exclusive_create(mount):
    """Of many that create a name exclusively, one succeeds. [S-17]"""
    outcomes = []
    barrier = threading.Barrier(16)

    def create(index):
        barrier.wait()
        try:
            fd = os.open(mount.path / "lock",
                         os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            outcomes.append(None)
            return
        os.write(fd, b"%d" % index)
        os.close(fd)
        outcomes.append(index)

    threads = [threading.Thread(target=create, args=(index,))
               for index in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [index for index in outcomes if index is not None]
    assert len(winners) == 1
    assert mount.bucket.read("lock") == b"%d" % winners[0]


@pytest.mark.ckptfs_only
def test_exclusive_create_on_two_mounts(make_mount):
    """Neither mount knows of the other's file: the commit decides, the loser's
    close says EEXIST, the winner's bytes stay. [S-17]"""
    one = make_mount()
    two = make_mount(server=one.server, prefix=one.prefix)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    first = os.open(one.path / "lock", flags, 0o600)
    second = os.open(two.path / "lock", flags, 0o600)
    os.write(first, b"first")
    os.write(second, b"second")
    os.close(second)
    with refused(errno.EEXIST):
        os.close(first)
    assert one.bucket.read("lock") == b"second"


def test_gone_after_delete(mount):
    """No stale name: what was just deleted answers ENOENT, what was just made
    is there. [S-23] [S-37]"""
    for turn in range(20):
        name = mount.path / f"f{turn % 3}"
        name.write_bytes(b"x")
        assert name.exists()
        assert name.name in os.listdir(mount.path)
        name.unlink()
        assert not name.exists()
        assert name.name not in os.listdir(mount.path)
        with refused(errno.ENOENT):
            open(name, "rb")
        with refused(errno.ENOENT):
            os.unlink(name)


def test_attributes_survive_a_remount(mount):
    """Mode and mtime, set before, while and after writing. [S-31] [S-32]"""
    paths = [mount.path / name for name in ("created", "closed", "open")]
    fd = os.open(paths[0], os.O_WRONLY | os.O_CREAT, 0o640)
    os.write(fd, b"x")
    os.close(fd)
    paths[1].write_bytes(b"x")
    os.chmod(paths[1], 0o755)
    os.utime(paths[1], ns=(1, 1_600_000_000_123_456_789))
    with open(paths[2], "wb") as file:
        file.write(b"x" * 100)
        os.fchmod(file.fileno(), 0o600)
        file.flush()
        os.utime(file.fileno(), ns=(1, 1_500_000_000_987_654_321))
    before = [os.stat(path) for path in paths]
    assert [stat.S_IMODE(found.st_mode) for found in before] == [
        0o640, 0o755, 0o600]
    assert before[1].st_mtime_ns == 1_600_000_000_123_456_789
    assert before[2].st_mtime_ns == 1_500_000_000_987_654_321
    mount.remount()
    after = [os.stat(path) for path in paths]
    for old, new in zip(before, after):
        assert (old.st_mode, old.st_mtime_ns, old.st_size, old.st_uid) == (
            new.st_mode, new.st_mtime_ns, new.st_size, new.st_uid)


def test_mtime_is_kept_by_an_upload(mount, random_bytes):
    """A file that went up in parts shows the same time before and after.
    [S-19] [S-31]"""
    (mount.path / "big").write_bytes(random_bytes(20 * MIB))
    before = os.stat(mount.path / "big").st_mtime_ns
    mount.remount()
    assert os.stat(mount.path / "big").st_mtime_ns == before


def test_sparse_growth(mount):
    """ftruncate up, then a sequential fill of a part of it: the rest is zeros.
    [S-01]"""
    with open(mount.path / "file", "wb", buffering=0) as file:
        file.truncate(20 * MIB)
        write_all(file.fileno(), b"x" * (9 * MIB))
    expected = b"x" * (9 * MIB) + bytes(11 * MIB)
    assert mount.bucket.read("file") == expected
    assert (mount.path / "file").read_bytes() == expected


def test_huge_file(mount):
    """1 GiB in 1 MiB writes, read back by a plain client and, after a remount,
    through the mount. [S-01]"""
    def pieces():
        for index in range(1024):
            yield index.to_bytes(8, "little") * (MIB // 8)

    digest = hashlib.sha256()
    fd = os.open(mount.path / "huge", os.O_WRONLY | os.O_CREAT, 0o644)
    for piece in pieces():
        digest.update(piece)
        write_all(fd, piece)
    os.close(fd)

    stored = hashlib.sha256()
    for chunk in mount.bucket.chunks("huge"):
        stored.update(chunk)
    assert stored.digest() == digest.digest()
    mount.remount()
    read = hashlib.sha256()
    with open(mount.path / "huge", "rb", buffering=0) as file:
        while chunk := file.read(MIB):
            read.update(chunk)
    assert read.digest() == digest.digest()


def test_sixty_four_files_at_once(mount):
    """64 writers side by side, 5 MiB to 15 MiB each, slowly interleaved.
    [S-43] [S-01]"""
    def body(index):
        return bytes([index]) * ((5 + index % 11) * MIB + index)

    errors = []

    def write(index):
        try:
            left = memoryview(body(index))
            with open(mount.path / f"f{index:02}", "wb", buffering=0) as file:
                while left:
                    left = left[file.write(left[:300_000]):]
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(index,))
               for index in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(mount.bucket.names()) == 64
    for index in range(64):
        assert mount.bucket.read(f"f{index:02}") == body(index)


def test_random_rewrite_is_refused_cleanly(mount, random_bytes):
    """Changing the middle of a large object is not served yet: the write says
    so, nothing is published, the object stays. [S-42] [S-02]"""
    if not mount.remote:
        pytest.skip("a plain directory does it")
    body = random_bytes(30 * MIB)
    mount.bucket.write("file", body)
    fd = os.open(mount.path / "file", os.O_WRONLY)
    os.lseek(fd, 10 * MIB, os.SEEK_SET)
    with refused(errno.EOPNOTSUPP):
        os.write(fd, b"changed")
    with refused(errno.EOPNOTSUPP):
        os.close(fd)
    assert mount.bucket.read("file") == body
    assert "file" in mount.log()


def test_small_file_can_be_rewritten_anywhere(mount):
    """Objects of a few MiB are changed in memory. [S-01]"""
    mount.bucket.write("file", b"0123456789")
    with open(mount.path / "file", "r+b") as file:
        file.seek(3)
        file.write(b"abc")
    wait_until(lambda: mount.bucket.read("file") == b"012abc6789",
               "the change is in S3", 10)

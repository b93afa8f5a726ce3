"""Orders of events that once broke the promise, one by one, on the in-tree server
and on radosgw. The in-tree server also holds calls back, so that there each order
is certain; on radosgw it is tried often."""
import contextlib
import errno
import itertools
import os
import signal
import threading
import time

import pytest

from support.programs import wait_until
from support.servers import S3Server
from torture import stamps
from torture.held_release import releases_held
from torture.holders import Holder

pytestmark = pytest.mark.ckptfs_only

LARGE = 9 << 20  # two parts


def in_tree(mount):
    return isinstance(mount.server, S3Server)


@contextlib.contextmanager
def late_release(mount):
    """RELEASE waits, where the server can be told to make it."""
    if in_tree(mount):
        with releases_held(mount.server, mount):
            yield
    else:
        yield


@contextlib.contextmanager
def held(mount, operation, when="before"):
    """That call of the mount is held while the block runs, in the in-tree
    server."""
    if not in_tree(mount):
        yield
        return
    mount.server.control(
        f"fault?op={operation}&action=hold&when={when}&count=-1")
    try:
        yield
    finally:
        mount.server.control("clear")


def wait_held(mount):
    if in_tree(mount):
        mount.server.control("wait-held?count=1", post=False)


def rounds(mount, many):
    """Where nothing can be held back, many tries."""
    return 4 if in_tree(mount) else many


def write_whole(path, version, size=5000):
    data = stamps.whole(1, version, size)
    path.write_bytes(data)
    return data


@pytest.mark.parametrize("writer", [0, 1])
@pytest.mark.parametrize("old", [False, True])
def test_two_descriptors_closed_in_either_order(any_mount, writer, old):
    """A process has a file open twice, writes through one, and closes both:
    published, whatever the order. [S-01] [S-11]"""
    mount = any_mount
    paths = [mount.path / f"twice-{i}" for i in range(rounds(mount, 100))]
    if old:
        for path in paths:
            write_whole(path, 1)
    data = stamps.whole(1, 2, 3000)
    lost = []
    with late_release(mount):
        for number, path in enumerate(paths):
            both = [os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
                    os.open(path, os.O_WRONLY)]
            os.write(both[writer], data)
            order = both if number % 2 else both[::-1]
            for fd in order:
                os.close(fd)
            if not mount.bucket.exists(path.name) \
                    or mount.bucket.read(path.name) != data:
                lost.append((path.name, "in order" if number % 2
                             else "in reverse"))
    assert not lost
    for path in paths:
        assert path.read_bytes() == data


def test_five_descriptors_closed_in_all_orders(any_mount):
    """Three open() and two dup() of one file: published by the last close, and
    by none before it. [S-11]"""
    mount = any_mount
    orders = list(itertools.permutations(range(5)))
    orders = orders[::3] if in_tree(mount) else orders[::10]
    data = stamps.whole(1, 2, 3000)
    for number, order in enumerate(orders):
        path = mount.path / f"five-{number}"
        fds = [os.open(path, os.O_WRONLY | os.O_CREAT),
               os.open(path, os.O_RDWR), os.open(path, os.O_WRONLY)]
        fds += [os.dup(fds[0]), os.dup(fds[1])]
        os.write(fds[number % 5], data)
        for which in order[:-1]:
            os.close(fds[which])
        assert not mount.bucket.exists(path.name), order
        os.close(fds[order[-1]])
        assert mount.bucket.exists(path.name), order
        assert mount.bucket.read(path.name) == data, order


def test_temporary_file_saved_by_its_name(any_mount):
    """NamedTemporaryFile and a save by its name: what was saved is published.
    [S-01] [S-11]"""
    mount = any_mount
    with late_release(mount):
        for number in range(rounds(mount, 50)):
            path = mount.path / f"named-{number}.bin"
            own = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            with open(path, "wb") as file:
                file.write(stamps.whole(1, 7, 20000))
            os.close(own)
            assert mount.bucket.exists(path.name)
            assert mount.bucket.read(path.name) == stamps.whole(1, 7, 20000)


def test_truncate_after_close(any_mount):
    """truncate(path) right after the last close is stored when it returns.
    [S-01]"""
    mount = any_mount
    with late_release(mount):
        for number in range(rounds(mount, 200)):
            path = mount.path / f"cut-{number}"
            data = write_whole(path, 3)
            os.truncate(path, 2000)
            assert mount.bucket.read(path.name) == data[:2000]
            assert path.stat().st_size == 2000


def test_fsync_by_a_reader(any_mount):
    """fsync makes the file durable, whoever asks. [S-11]"""
    path = any_mount.path / "model.pt"
    writer = os.open(path, os.O_WRONLY | os.O_CREAT)
    reader = os.open(path, os.O_RDONLY)
    try:
        os.write(writer, b"written and synced")
        os.fsync(reader)
        assert any_mount.bucket.read("model.pt") == b"written and synced"
    finally:
        os.close(writer)
        os.close(reader)


class Reading:
    """A program that has a file open and reads it all the time, past the page
    cache."""

    def __init__(self, path, expected):
        self._fd = os.open(path, os.O_RDONLY)
        self._expected = expected
        self._stop = threading.Event()
        self.passes = 0
        self.error = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._stop.is_set():
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)
            try:
                data = os.pread(self._fd, len(self._expected) + 1, 0)
                if data != self._expected:
                    self.error = stamps.describe(data)
            except OSError as error:
                self.error = errno.errorcode[error.errno]
            if self.error:
                return
            self.passes += 1

    def more(self):
        """Two passes that begin after this call."""
        seen = self.passes
        wait_until(lambda: self.error or self.passes >= seen + 2, "it reads")

    def meanwhile(self):
        """Some passes, if it need not wait for what is held."""
        with contextlib.suppress(TimeoutError):
            seen = self.passes
            wait_until(lambda: self.error or self.passes >= seen + 2,
                       "it reads", 0.5)

    def end(self):
        self._stop.set()
        self._thread.join()
        os.close(self._fd)
        assert self.error is None, self.error


@pytest.mark.parametrize("over", [False, True])
@pytest.mark.parametrize("operation,when", [
    ("CopyObject", "before"), ("CopyObject", "after"),
    ("DeleteObject", "before"), ("DeleteObject", "after")])
def test_reader_while_the_file_is_renamed(any_mount, over, operation, when):
    """Who has a file open reads the same bytes while it is renamed, also over
    another, and so does who has that other one open. [S-21]"""
    mount = any_mount
    if not in_tree(mount) and (operation, when) != ("CopyObject", "before"):
        pytest.skip("nothing can be held there: tried once")
    for number in range(rounds(mount, 20) if not in_tree(mount) else 1):
        source, target = (mount.path / f"{word}-{number}"
                          for word in ("source", "target"))
        data = write_whole(source, 4)
        readers = [Reading(source, data)]
        if over:
            readers.append(Reading(target, write_whole(target, 5)))
        for reader in readers:
            reader.more()
        with held(mount, operation, when):
            renaming = threading.Thread(target=os.rename,
                                        args=(source, target))
            renaming.start()
            wait_held(mount)
            for reader in readers:
                reader.meanwhile()
        renaming.join()
        for reader in readers:
            reader.more()
            reader.end()
        assert mount.bucket.read(target.name) == data
        assert not mount.bucket.exists(source.name)


@pytest.mark.parametrize("operation,when", [
    ("CopyObject", "before"), ("CopyObject", "after"),
    ("DeleteObject", "before"), ("DeleteObject", "after")])
@pytest.mark.parametrize("act", ["rename over it", "rename it", "unlink it"])
def test_open_in_the_middle(server, make_mount, act, operation, when):
    """Who opens a file while it is renamed, replaced or removed reads one
    version of it to the end, or is told at open that it is not there. [S-21]
    [S-04]"""
    mount = make_mount(server=server)
    source, target = mount.path / "source", mount.path / "target"
    mine, over = write_whole(source, 4), write_whole(target, 5)
    name, act_now = {
        "rename over it": (target, lambda: os.rename(source, target)),
        "rename it": (source, lambda: os.rename(source, target)),
        "unlink it": (target, lambda: os.unlink(target)),
    }[act]
    if act == "unlink it" and operation == "CopyObject":
        pytest.skip("nothing is copied")
    opened = []

    def open_it():
        try:
            opened.append(os.open(name, os.O_RDONLY))
        except FileNotFoundError:
            pass

    with held(mount, operation, when):
        acting = threading.Thread(target=act_now)
        acting.start()
        wait_held(mount)
        opening = threading.Thread(target=open_it)
        opening.start()
        opening.join(0.3)
        first = []
        if opened:
            reading = threading.Thread(
                target=lambda: first.append(os.pread(opened[0], 9999, 0)))
            reading.start()
            reading.join(0.3)
    acting.join()
    opening.join()
    for fd in opened:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        data = os.pread(fd, 9999, 0)
        assert data in (mine, over), stamps.describe(data)
        assert not first or first == [data]
        os.close(fd)


@pytest.mark.parametrize("end", ["close", "rename"])
def test_child_whose_bytes_are_published_is_killed(any_mount, end):
    """A child writes through the shared descriptor, and that is synced; the
    parent writes on, the child is killed: what is not published is the living
    parent's alone, and its rename or close publishes it. [S-01] [S-12]"""
    path = any_mount.path / "shared"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    child = Holder([fd])
    child.step("write", fd, 0, 1, 1, 0, 3000)
    os.fsync(fd)
    os.pwrite(fd, b"parent", 3000)
    child.end("die", signal.SIGKILL)
    if end == "rename":
        path = path.rename(any_mount.path / "renamed")
    else:
        os.close(fd)
    assert any_mount.bucket.read(path.name) == \
        stamps.stream(1, 1, 0, 3000) + b"parent"
    if end == "rename":
        os.close(fd)


def test_save_over_a_half_done_rename(server, make_mount):
    """A rename over a file fails in its DELETE: both names have the bytes. What
    is saved under the new name then is published. [S-01] [S-35]"""
    mount = make_mount(server=server)
    source, target = mount.path / "source", mount.path / "target"
    data = write_whole(source, 4)
    write_whole(target, 5)
    server.control("fault?op=DeleteObject&action=fail&status=403"
                   "&code=AccessDenied&count=-1")
    with pytest.raises(OSError):
        os.rename(source, target)
    server.control("clear")
    assert mount.bucket.read("source") == mount.bucket.read("target") == data
    newer = write_whole(target, 6)
    assert mount.bucket.read("target") == newer
    newest = write_whole(source, 7)
    assert mount.bucket.read("source") == newest


def test_truncating_open_of_an_empty_file_during_chmod(any_mount):
    """O_TRUNC of an empty, clean file while its attributes are on their way:
    every program goes on. [S-32]"""
    mount = any_mount
    for number in range(rounds(mount, 20)):
        path = mount.path / f"empty-{number}"
        path.touch()
        with held(mount, "CopyObject"):
            path.chmod(0o600)
            wait_held(mount)
            if not in_tree(mount):
                time.sleep(0.05 * number)
            fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
            closing = threading.Thread(target=os.close, args=(fd,))
            closing.start()
            closing.join(0.3)  # it may have to wait for the copy
        closing.join()
        assert mount.process.running()
        assert mount.bucket.read(path.name) == b""


def test_rename_of_a_large_file_being_rewritten(any_mount):
    """Opened with O_TRUNC, parts under way, renamed: the newer bytes are under
    the new name, nothing under the old. [S-01] [S-35]"""
    mount = any_mount
    for number in range(2):
        old, new = mount.path / f"old-{number}", mount.path / f"new-{number}"
        write_whole(old, 6)
        if number:
            write_whole(new, 8)
        data = stamps.whole(1, 7, LARGE)
        fd = os.open(old, os.O_WRONLY | os.O_TRUNC)
        for at in range(0, LARGE, 1 << 20):
            os.write(fd, data[at:at + (1 << 20)])
        os.rename(old, new)
        assert mount.bucket.read(new.name) == data
        assert not mount.bucket.exists(old.name)
        os.close(fd)
        assert mount.bucket.read(new.name) == data


@pytest.mark.parametrize("operation", ["CopyObject", "UploadPartCopy",
                                       "DeleteObject",
                                       "CompleteMultipartUpload"])
def test_rename_of_a_large_file_is_refused(server, make_mount, operation):
    """The same where the store refuses a call: the older object or the newer
    bytes are under a name, whatever rename() said. [S-02] [S-35]"""
    mount = make_mount(server=server)
    old = write_whole(mount.path / "old", 6)
    data = stamps.whole(1, 7, LARGE)
    fd = os.open(mount.path / "old", os.O_WRONLY | os.O_TRUNC)
    for at in range(0, LARGE, 1 << 20):
        os.write(fd, data[at:at + (1 << 20)])
    server.control(f"fault?op={operation}&action=fail&status=403"
                   "&code=AccessDenied&count=-1")
    failed = False
    for act in (lambda: os.rename(mount.path / "old", mount.path / "new"),
                lambda: os.close(fd)):
        try:
            act()
        except OSError:
            failed = True
    server.control("clear")
    stored = [mount.bucket.read(name) if mount.bucket.exists(name) else None
              for name in ("old", "new")]
    assert stored in ([old, None], [None, data], [data, data], [old, data],
                      [data, None]), [stamps.describe(each)
                                      for each in stored]
    if not failed:
        assert stored == [None, data]

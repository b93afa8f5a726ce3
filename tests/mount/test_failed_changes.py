"""A change that S3 refuses leaves everything as it was, also for programs that
have the file open; and what is open goes on working while its object changes."""
import errno
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.errors import refused
from support.programs import wait_until

MIB = 1 << 20
OLD = b"old" * 40000


def refuse(server, operation, **more):
    query = {"op": operation, "action": "fail", "status": 403,
             "code": "AccessDenied", **more}
    server.control("fault?" + "&".join(f"{k}={v}" for k, v in query.items()))


@pytest.fixture
def opened(server, make_mount):
    """(mount, path, descriptor) of an old object that is open for reading."""
    mount = make_mount(server=server)
    mount.bucket.write("model.pt", OLD)
    path = mount.path / "model.pt"
    fd = os.open(path, os.O_RDONLY)
    yield mount, path, fd
    os.close(fd)


def nothing_is_kept(mount):
    wait_until(lambda: mount.bucket.keys() == ["model.pt"],
               "no copy for readers is left")


@pytest.mark.parametrize("change", ["rewrite", "append", "nothing"])
def test_unlink_is_refused(server, opened, change):
    """The file stays, can be written, and is what S3 has. [S-01] [S-21]"""
    mount, path, fd = opened
    refuse(server, "DeleteObject")
    with refused(errno.EACCES):
        os.unlink(path)
    expected = OLD
    if change == "rewrite":
        path.write_bytes(b"new")
        expected = b"new"
    elif change == "append":
        with open(path, "ab") as file:
            file.write(b"more")
        expected = OLD + b"more"
    assert mount.bucket.read("model.pt") == expected
    assert path.read_bytes() == expected
    nothing_is_kept(mount)


@pytest.mark.parametrize("skip", [0, 1])
def test_rename_over_is_refused(server, opened, skip):
    """Whichever copy fails, the target keeps its bytes and its meaning.
    [S-01] [S-21]"""
    mount, path, fd = opened
    other = mount.path / "other"
    other.write_bytes(b"other")
    refuse(server, "CopyObject", skip=skip)
    with refused(errno.EACCES):
        os.rename(other, path)
    assert os.pread(fd, 3, 0) == b"old"
    path.write_bytes(b"new")
    assert mount.bucket.read("model.pt") == b"new"
    assert path.read_bytes() == b"new"
    os.unlink(other)
    nothing_is_kept(mount)


def test_rename_that_leaves_both_names(server, opened):
    """The delete of the old name fails: the new name has the new bytes, and the
    reader keeps the old ones. [S-21]"""
    mount, path, fd = opened
    other = mount.path / "other"
    other.write_bytes(b"other")
    refuse(server, "DeleteObject")
    with refused(errno.EACCES):
        os.rename(other, path)
    assert mount.bucket.read("model.pt") == b"other"
    assert mount.bucket.read("other") == b"other"
    assert os.pread(fd, 3, 0) == b"old"
    wait_until(lambda: path.read_bytes() == b"other", "the new bytes show")


def test_read_while_an_appender_closes(server, make_mount):
    """A read of what is being appended to may wait in S3 while the file is
    published. [S-16]"""
    mount = make_mount(server=server)
    mount.bucket.write("log", b"1" * (20 * MIB))
    path = mount.path / "log"
    writer = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(writer, b"+" * 100)
    reader = os.open(path, os.O_RDONLY)
    server.control("fault?op=GetObject&action=hold&when=before")
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(os.pread, reader, 4096, 5 * MIB)
        server.control("wait-held?count=1", post=False)
        os.close(writer)
        server.control("release")
        assert reading.result(60) == b"1" * 4096
    os.close(reader)
    assert mount.bucket.read("log") == b"1" * (20 * MIB) + b"+" * 100


@pytest.mark.parametrize("replaced", [False, True])
@pytest.mark.parametrize("written", [False, True])
def test_own_descriptor_outlives_the_name(mount, replaced, written):
    """A synced file that is unlinked or replaced is still read, cut and written
    through its descriptor. [S-16] [S-21]"""
    content = os.urandom(9 * MIB)
    path = mount.path / "model.pt"
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    for at in range(0, len(content), MIB):
        os.write(fd, content[at:at + MIB])
    os.fsync(fd)
    if written:
        os.write(fd, b"more")
        content += b"more"
    if replaced:
        (mount.path / "other").write_bytes(b"other")
        os.rename(mount.path / "other", path)
    else:
        os.unlink(path)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    assert b"".join(os.pread(fd, MIB, at)
                    for at in range(0, len(content), MIB)) == content
    os.ftruncate(fd, 5 * MIB)
    assert os.fstat(fd).st_size == 5 * MIB
    os.close(fd)
    # The kernel reports the last close of a descriptor without waiting for it.
    wait_until(lambda: mount.bucket.keys() == (["model.pt"] if replaced else []),
               "no copy for the descriptor is left")


@pytest.mark.parametrize("sizes", [(10, 5 * MIB, 4 * MIB + 7),
                                   (3 * MIB, 5 * MIB, 4 * MIB)])
def test_grown_and_cut_again(mount, sizes):
    """A small object that grows and shrinks before it was ever read. [S-13]"""
    first, grown, cut = sizes
    content = os.urandom(first)
    path = mount.path / "file"
    path.write_bytes(content)
    fd = os.open(path, os.O_RDWR)
    os.ftruncate(fd, grown)
    os.ftruncate(fd, cut)
    os.close(fd)
    assert mount.bucket.read("file") == (content + bytes(grown))[:cut]


@pytest.mark.parametrize("size", [0, 1000])
def test_an_error_inside_a_success(server, make_mount, size):
    """A 200 whose body is an error document is no success. [S-02]"""
    mount = make_mount(server=server)
    mount.bucket.write("model.pt", OLD)
    server.control("fault?op=PutObject&action=error200&code=AccessDenied"
                   "&count=-1")
    with refused(errno.EIO, errno.EACCES):
        (mount.path / "model.pt").write_bytes(bytes(size))
    server.control("clear")
    assert mount.bucket.read("model.pt") == OLD


def test_copy_for_readers_of_a_version_that_is_gone(server, make_mount):
    """Another client replaces the object while it is copied for its readers:
    the copy is of no use, and is not left. [S-05]"""
    mount = make_mount(server=server)
    path = mount.path / "model.pt"
    # In parts: the ETag of such an object is not that of its copy, and the
    # source is looked at once more.
    path.write_bytes(bytes(20 * MIB))
    fd = os.open(path, os.O_RDONLY)
    server.control("fault?op=HeadObject&action=hold&when=before")
    with ThreadPoolExecutor(1) as pool:
        unlinking = pool.submit(os.unlink, path)
        server.control("wait-held?count=1", post=False)
        assert len(mount.bucket.keys()) == 2  # the copy is made already
        mount.bucket.write("model.pt", b"another")
        server.control("release")
        unlinking.result(60)
    os.close(fd)
    wait_until(lambda: mount.bucket.keys() == [], "nothing is left")


@pytest.mark.parametrize("change", ["cut", "unlink"])
def test_given_up_while_the_upload_is_created(server, make_mount, change):
    """The server creates the upload when nobody wants it any more. [S-05]"""
    mount = make_mount(server=server)
    path = mount.path / "model.pt"
    server.control("fault?op=CreateMultipartUpload&action=hold&when=before")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    for _ in range(20):
        os.write(fd, bytes(MIB))
    server.control("wait-held?count=1", post=False)
    with ThreadPoolExecutor(1) as pool:
        if change == "cut":
            giving_up = pool.submit(os.ftruncate, fd, 0)
        else:
            giving_up = pool.submit(os.unlink, path)
            giving_up.result(60)
        server.control("release")
        giving_up.result(60)
    os.close(fd)
    created = [e for e in server.log() if e["op"] == "CreateMultipartUpload"]
    assert len(created) == 1
    wait_until(lambda: not mount.bucket.uploads(), "no upload is left")
    assert mount.bucket.keys() == (["model.pt"] if change == "cut" else [])

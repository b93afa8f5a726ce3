"""A store that fails: errors reach the writer at write, fsync or close, the
old object stays, and no multipart upload is left."""
import errno
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.errors import refused
from support.programs import wait_until
from support.renameat2 import RENAME_NOREPLACE, renameat2

MIB = 1 << 20
OLD = b"old object" * 1000


def save(path, size, fsync=False):
    """Writes `size` MiB; any error of write, fsync or close comes out."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        for index in range(size):
            os.write(fd, bytes([index % 251]) * MIB)
        if fsync:
            os.fsync(fd)
    except OSError:
        try:
            os.close(fd)
        except OSError:
            pass  # the first error is the one under test
        raise
    os.close(fd)


def content(size):
    return b"".join(bytes([index % 251]) * MIB for index in range(size))


@pytest.fixture
def impatient(server, monkeypatch):
    """Mounts of the server give a request up after five attempts."""
    plain = server.environment()
    monkeypatch.setattr(server, "environment",
                        lambda: {**plain, "AWS_MAX_ATTEMPTS": "5"})
    return server


def fail(server, operation, **more):
    """That operation is refused from now on, without hope of a retry."""
    query = {"op": operation, "action": "fail", "status": 403,
             "code": "AccessDenied", "count": -1, **more}
    server.control("fault?" + "&".join(f"{k}={v}" for k, v in query.items()))


@pytest.mark.parametrize("fsync", [False, True])
@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("operation,size", [
    ("PutObject", 1), ("CreateMultipartUpload", 20), ("UploadPart", 20),
    ("UploadPart", 300), ("CompleteMultipartUpload", 20)])
def test_failing_save(server, make_mount, operation, size, fsync, old):
    """Whichever request fails, the writer is told and nothing is published.
    [S-02] [S-05]"""
    mount = make_mount(server=server)
    if old:
        mount.bucket.write("model.pt", OLD)
    fail(server, operation)
    with refused(errno.EIO, errno.EACCES):
        save(mount.path / "model.pt", size, fsync)
    server.control("clear")
    if old:
        assert mount.bucket.read("model.pt") == OLD
        wait_until(lambda: (mount.path / "model.pt").read_bytes() == OLD,
                   "the mount shows the old object")
    else:
        assert not mount.bucket.exists("model.pt")
    wait_until(lambda: not mount.bucket.uploads(), "the upload is aborted")
    assert "model.pt" in mount.log()
    # The next save of that name works.
    save(mount.path / "model.pt", 12)
    assert mount.bucket.read("model.pt") == content(12)


def test_one_part_that_never_goes_up(impatient, make_mount):
    """500 for one part, again and again: retried, then reported. [S-02]
    [S-05]"""
    server = impatient
    mount = make_mount(server=server)
    mount.bucket.write("model.pt", OLD)
    server.control("fault?op=UploadPart&part=2&action=fail&count=-1")
    with refused(errno.EIO):
        save(mount.path / "model.pt", 40)
    requests = [entry for entry in server.log()
                if entry["op"] == "UploadPart" and entry["part"] == 2]
    assert len(requests) > 1
    server.control("clear")
    assert mount.bucket.read("model.pt") == OLD
    wait_until(lambda: not mount.bucket.uploads(), "the upload is aborted")


@pytest.mark.parametrize("fault", [
    "op=UploadPart&action=slow_down&count=3",
    "op=UploadPart&part=1&action=fail&count=2",
    "op=UploadPart&part=2&action=reset&at_byte=1000000",
    "op=UploadPart&part=2&action=lose_reply",
    "op=CreateMultipartUpload&action=fail",
    "op=CompleteMultipartUpload&action=fail",
    "op=CompleteMultipartUpload&action=error200",
    "op=CompleteMultipartUpload&action=lose_reply",
    "op=PutObject&action=lose_reply",
    "op=PutObject&action=reset&at_byte=100"])
def test_what_a_retry_cures(server, make_mount, fault):
    """Faults that pass are not seen by the writer. [S-01]"""
    mount = make_mount(server=server)
    size = 1 if "PutObject" in fault else 30
    server.control("fault?" + fault)
    save(mount.path / "model.pt", size)
    assert mount.bucket.read("model.pt") == content(size)
    assert not [f for f in server.control("faults", post=False)
                if f["count"] > 0], "the fault was not met"


@pytest.mark.parametrize("fault", [
    "action=reset&at_byte=700000", "action=truncate&at_byte=700000",
    "action=slow_down&count=2", "action=fail&count=2",
    "action=corrupt_range", "action=corrupt_etag&skip=1"])
def test_reads_that_break(server, make_mount, fault):
    """A broken answer to a ranged read is taken up where it broke, a wrong one
    is asked for again; the reader sees the object's bytes or an error, never
    anything else. [S-24]"""
    mount = make_mount(server=server)
    mount.bucket.write("model.pt", content(30))
    server.control("fault?op=GetObject&" + fault)
    try:
        body = (mount.path / "model.pt").read_bytes()
    except OSError as error:
        # A server that lies about range or version may be believed a liar.
        assert "corrupt" in fault and error.errno in (errno.EIO, errno.ESTALE)
    else:
        assert body == content(30)
    server.control("clear")
    assert (mount.path / "model.pt").read_bytes() == content(30)


def test_reads_that_fail(server, make_mount):
    """EIO, and the next reader gets the bytes. [S-24]"""
    mount = make_mount(server=server)
    mount.bucket.write("model.pt", content(2))
    fail(server, "GetObject")
    with refused(errno.EIO, errno.EACCES):
        (mount.path / "model.pt").read_bytes()
    server.control("clear")
    assert (mount.path / "model.pt").read_bytes() == content(2)


def test_object_replaced_under_a_reader(server, make_mount):
    """Another client overwrites the object while it is read: the reader gets
    ESTALE, never a mixture. [S-04] [S-21]"""
    mount = make_mount(server=server)
    size = 200
    mount.bucket.write("model.pt", b"1" * (size * MIB))
    with open(mount.path / "model.pt", "rb", buffering=0) as reader:
        body = reader.read(MIB)
        mount.bucket.write("model.pt", b"2" * (size * MIB))
        with refused(errno.ESTALE):
            while chunk := reader.read(MIB):
                body += chunk
        assert set(body) == {ord("1")}
    wait_until(lambda: (mount.path / "model.pt").read_bytes()[:1] == b"2",
               "a new open shows the new object", 10)


def test_failing_rename(server, make_mount):
    """A copy that is refused leaves both names as they were. [S-02]"""
    mount = make_mount(server=server)
    (mount.path / "new").write_bytes(b"new")
    (mount.path / "target").write_bytes(b"target")
    fail(server, "CopyObject")
    with refused(errno.EIO, errno.EACCES):
        os.rename(mount.path / "new", mount.path / "target")
    server.control("clear")
    assert mount.bucket.read("new") == b"new"
    assert mount.bucket.read("target") == b"target"
    assert (mount.path / "new").read_bytes() == b"new"
    assert (mount.path / "target").read_bytes() == b"target"


def test_failing_rename_of_a_dirty_file(server, make_mount):
    """safetensors hears of errors nowhere else: the rename fails, the target
    stays. [S-02] [S-14]"""
    mount = make_mount(server=server)
    (mount.path / "target").write_bytes(OLD)
    with open(mount.path / ".tmpabc", "xb", buffering=0) as file:
        file.write(b"x" * (20 * MIB))
        fail(server, "CompleteMultipartUpload")
        fail(server, "PutObject")
        with refused(errno.EIO, errno.EACCES):
            os.rename(mount.path / ".tmpabc", mount.path / "target")
        server.control("clear")
        assert mount.bucket.read("target") == OLD
        assert (mount.path / "target").read_bytes() == OLD
        # The error stays until the file is rewritten from the start.
        file.truncate(0)
        file.seek(0)
        file.write(b"again")
        os.rename(mount.path / ".tmpabc", mount.path / "target")
    assert mount.bucket.read("target") == b"again"
    assert mount.bucket.names() == ["target"]


def test_failing_listing(server, make_mount):
    """An error is an error, not an empty directory, and not ENOENT. [S-41]"""
    mount = make_mount(server=server)
    mount.bucket.write("dir/file", b"x")
    fail(server, "ListObjectsV2")
    with refused(errno.EIO, errno.EACCES):
        os.listdir(mount.path)
    fail(server, "HeadObject")
    with refused(errno.EIO, errno.EACCES):
        os.stat(mount.path / "dir/file")
    server.control("clear")
    assert os.listdir(mount.path) == ["dir"]


def test_slow_store(server, make_mount):
    """A daemon that waits for S3 in one close still serves everybody else.
    [S-41]"""
    mount = make_mount(server=server)
    mount.bucket.write("other", b"other")
    server.control("fault?op=PutObject&key=slow&action=hold&count=-1")
    children = []
    for index in range(40):
        child = os.fork()
        if child == 0:
            try:
                with open(mount.path / f"slow-{index}", "wb") as file:
                    file.write(b"x")
                os._exit(0)
            except BaseException:
                os._exit(1)
        children.append(child)
    try:
        server.control("wait-held?count=8&timeout_ms=30000", post=False)
        assert (mount.path / "other").read_bytes() == b"other"
        (mount.path / "quick").write_bytes(b"quick")
        assert "quick" in os.listdir(mount.path)
    finally:
        server.control("clear")
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                 for child in children]
    assert codes == [0] * len(children)
    assert len(mount.bucket.names()) == 42


def test_lost_replies(impatient, make_mount):
    """S3 has carried the write out and every reply to it got lost: the mount
    looks at the object, and the save is a success. [S-01]"""
    server = impatient
    mount = make_mount(server=server)
    for operation in ["PutObject", "CompleteMultipartUpload"]:
        server.control(f"fault?op={operation}&action=lose_reply&count=-1")
    with ThreadPoolExecutor() as pool:
        saves = [pool.submit(save, mount.path / f"{size}.pt", size)
                 for size in (1, 20)]
        for one in saves:
            one.result()
    server.control("clear")
    for size in (1, 20):
        assert mount.bucket.read(f"{size}.pt") == content(size)
    assert not mount.bucket.uploads()


def test_lost_replies_of_operations_on_names(server, make_mount):
    """One lost reply does not turn mkdir or a rename into EEXIST. [S-35]"""
    mount = make_mount(server=server)
    server.control("fault?op=PutObject&action=lose_reply")
    (mount.path / "dir").mkdir()
    (mount.path / "file").write_bytes(b"bytes")
    server.control("fault?op=CopyObject&action=lose_reply")
    renameat2(mount.path / "file", mount.path / "other", RENAME_NOREPLACE)
    assert (mount.path / "other").read_bytes() == b"bytes"
    assert set(mount.bucket.keys()) == {"dir/", "other"}


def test_outcome_that_nobody_can_tell(impatient, make_mount):
    """The reply got lost and S3 cannot be asked: the writer is told EIO, the
    log says that the outcome is not known, and what is there is shown once S3
    answers again. [S-02] [S-41]"""
    server = impatient
    mount = make_mount(server=server)
    save(mount.path / "model.pt", 1)
    server.control("fault?op=PutObject&action=lose_reply&count=-1")
    # Opening asks too; only what follows the write is to fail.
    fd = os.open(mount.path / "model.pt", os.O_WRONLY | os.O_TRUNC)
    os.write(fd, b"new")
    server.control("fault?op=HeadObject&action=fail&status=403&count=-1")
    with refused(errno.EIO):
        os.close(fd)
    server.control("clear")
    assert mount.bucket.read("model.pt") == b"new"
    assert "not known" in mount.log()
    wait_until(lambda: (mount.path / "model.pt").read_bytes() == b"new",
               "the mount shows what is there", 10)

"""The extended attributes by which a library finds the object behind a path."""
import errno
import os

import pytest

from support.errors import refused
from support.programs import wait_until


def test_file(mount):
    """Where the object is, which version it is, and that it is in S3.
    [S-38]"""
    (mount.path / "dir").mkdir()
    path = mount.path / "dir/model.pt"
    path.write_bytes(b"x" * 1000)
    key = f"{mount.bucket.prefix}dir/model.pt"
    assert os.getxattr(path, "user.ckptfs.uri").decode() == (
        f"s3://{mount.bucket.bucket}/{key}")
    assert os.getxattr(path, "user.ckptfs.endpoint").decode() == (
        mount.server.endpoint)
    assert os.getxattr(path, "user.ckptfs.durable") == b"1"
    assert os.getxattr(path, "user.ckptfs.etag").decode() == (
        mount.bucket.head("dir/model.pt")["ETag"])
    assert set(os.listxattr(path)) >= {
        "user.ckptfs.uri", "user.ckptfs.endpoint", "user.ckptfs.etag",
        "user.ckptfs.durable"}


def test_open_file(mount):
    """Whether somebody has the file open. [S-38]"""
    path = mount.path / "model.pt"
    path.write_bytes(b"x")
    def closed():
        return os.getxattr(path, "user.ckptfs.open") == b"0"

    # RELEASE follows close() by itself.
    wait_until(closed, "the file is closed")
    with open(path, "rb"):
        assert os.getxattr(path, "user.ckptfs.open") == b"1"
    wait_until(closed, "the file is closed again")


def test_directory_and_root(mount):
    """A directory has a place, too. [S-38]"""
    (mount.path / "dir").mkdir()
    assert os.getxattr(mount.path / "dir", "user.ckptfs.uri").decode() == (
        f"s3://{mount.bucket.bucket}/{mount.bucket.prefix}dir/")
    assert os.getxattr(mount.path, "user.ckptfs.uri").decode() == (
        f"s3://{mount.bucket.bucket}/{mount.bucket.prefix}")


def test_dirty_file(mount):
    """Bytes that are not in S3: not durable, and no version. [S-38]"""
    path = mount.path / "model.pt"
    with open(path, "wb") as file:
        file.write(b"x")
        file.flush()
        assert os.getxattr(path, "user.ckptfs.durable") == b"0"
        with refused(errno.ENODATA):
            os.getxattr(path, "user.ckptfs.etag")
        os.fsync(file.fileno())
        assert os.getxattr(path, "user.ckptfs.durable") == b"1"
        etag = os.getxattr(path, "user.ckptfs.etag")
        file.write(b"y")
        file.flush()
        assert os.getxattr(path, "user.ckptfs.durable") == b"0"
    assert os.getxattr(path, "user.ckptfs.durable") == b"1"
    assert os.getxattr(path, "user.ckptfs.etag") != etag


@pytest.mark.parametrize("name", ["user.other", "security.capability",
                                  "system.posix_acl_access"])
def test_others(mount, name):
    """No other attribute exists, and programs are told in the usual way.
    [S-38]"""
    path = mount.path / "file"
    path.write_bytes(b"x")
    with refused(errno.ENODATA, errno.EOPNOTSUPP):
        os.getxattr(path, name)
    with refused(errno.EOPNOTSUPP, errno.EPERM, errno.EINVAL):
        os.setxattr(path, "user.ckptfs.etag", b"forged")
    assert path.read_bytes() == b"x"

"""Paths below a mount: taken in S3 where the mount has nothing that S3 lacks,
and gone through the mount where it has."""
import os
import subprocess

import pytest
import torch

from support.ckptfs_mount import clean_environment
from support.programs import BIN_DIR, wait_until

pytestmark = pytest.mark.ckptfs_only


def run(mount, source, target, **environment):
    return subprocess.run(
        [BIN_DIR / "torch_file_copy", mount.path / source, mount.path / target],
        env={**clean_environment(mount.server), **environment},
        capture_output=True, text=True, check=False)


# With a wrong key whoever goes to S3 is refused, and whoever goes through the
# mount is not: so a test sees which way was taken.
WRONG = {"AWS_SECRET_ACCESS_KEY": "wrong"}


def save(mount, name, number):
    torch.save({"n": torch.full((1000,), number)}, mount.path / name)
    wait_until(lambda: os.getxattr(mount.path / name,
                                   "user.ckptfs.open") == b"0",
               "the file is closed")


def number(path):
    return int(torch.load(path)["n"][999])


def test_a_published_file_is_taken_in_s3(mount):
    """Nobody has it open, and nothing of it is missing in S3. [S-65]"""
    save(mount, "in.pt", 1)
    done = run(mount, "in.pt", "out.pt")
    assert done.returncode == 0, done.stderr
    assert number(mount.path / "out.pt") == 1
    done = run(mount, "in.pt", "out.pt", **WRONG)
    assert done.returncode == 1
    assert "PermissionDenied" in done.stderr or "Unauth" in done.stderr


def test_an_open_file_is_read_through_the_mount(mount, tmp_path):
    """Whoever has it open may be about to change it. [S-65]"""
    save(mount, "in.pt", 2)
    with open(mount.path / "in.pt", "rb"):
        done = subprocess.run(
            [BIN_DIR / "torch_file_copy", mount.path / "in.pt",
             tmp_path / "out.pt"],
            env={**clean_environment(mount.server), **WRONG},
            capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert number(tmp_path / "out.pt") == 2


def test_an_unpublished_file_is_read_through_the_mount(mount, tmp_path):
    """Its bytes are nowhere else. [S-65]"""
    torch.save({"n": torch.full((1000,), 3)}, tmp_path / "in.pt")
    with open(mount.path / "in.pt", "wb", buffering=0) as file:
        file.write((tmp_path / "in.pt").read_bytes())
        assert not mount.bucket.exists("in.pt")
        done = subprocess.run(
            [BIN_DIR / "torch_file_copy", mount.path / "in.pt",
             tmp_path / "out.pt"], env=clean_environment(mount.server),
            capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert number(tmp_path / "out.pt") == 3


def test_an_open_file_is_replaced_through_the_mount(mount, tmp_path):
    """So that whoever reads it goes on reading the old one. [S-65]"""
    save(mount, "out.pt", 4)
    torch.save({"n": torch.full((1000,), 5)}, tmp_path / "in.pt")
    old = (mount.path / "out.pt").read_bytes()
    with open(mount.path / "out.pt", "rb") as reader:
        done = subprocess.run(
            [BIN_DIR / "torch_file_copy", tmp_path / "in.pt",
             mount.path / "out.pt"],
            env={**clean_environment(mount.server), **WRONG},
            capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert reader.read() == old
    assert number(mount.path / "out.pt") == 5
    assert mount.bucket.read("out.pt") == (mount.path / "out.pt").read_bytes()
    assert mount.bucket.names() == ["out.pt"]


def test_the_mount_shows_a_direct_write_at_once(mount):
    """What the kernel and the mount remembered of the old object is gone: size,
    bytes, and the listing of the folder. [S-38]
    [S-65]"""
    (mount.path / "dir").mkdir()
    save(mount, "dir/in.pt", 6)
    torch.save({"n": torch.zeros(5, dtype=torch.int64)},
               mount.path / "dir/out.pt")
    before = (mount.path / "dir/out.pt").read_bytes()
    assert sorted(os.listdir(mount.path / "dir")) == ["in.pt", "out.pt"]
    wait_until(lambda: os.getxattr(mount.path / "dir/out.pt",
                                   "user.ckptfs.open") == b"0",
               "the file is closed")
    assert not (mount.path / "dir/new.pt").exists()
    for target in ("dir/out.pt", "dir/new.pt"):
        done = run(mount, "dir/in.pt", target)
        assert done.returncode == 0, done.stderr
        size = os.stat(mount.path / target).st_size
        body = mount.bucket.read(target)
        assert (size, (mount.path / target).read_bytes()) == (len(body), body)
        assert body != before
    assert sorted(os.listdir(mount.path / "dir")) == [
        "in.pt", "new.pt", "out.pt"]

"""Names on a real mount: listings, mkdir, rmdir, rename."""
import errno
import os
import stat
import threading

import pytest

from support.errors import refused
from support.programs import wait_until
from support.renameat2 import RENAME_EXCHANGE, RENAME_NOREPLACE, renameat2


def test_mkdir_and_rmdir(mount):
    """A directory is a marker object; an empty one survives a remount.
    [S-33]"""
    os.mkdir(mount.path / "a", 0o750)
    os.makedirs(mount.path / "b/c/d")
    assert set(mount.bucket.keys()) == {"a/", "b/", "b/c/", "b/c/d/"}
    mount.remount()
    assert sorted(os.listdir(mount.path)) == ["a", "b"]
    assert stat.S_IMODE(os.stat(mount.path / "a").st_mode) == 0o750
    with refused(errno.EEXIST):
        os.mkdir(mount.path / "a")
    with refused(errno.ENOTEMPTY):
        os.rmdir(mount.path / "b")
    os.removedirs(mount.path / "b/c/d")
    # removedirs goes on upwards until a directory is not empty.
    assert mount.bucket.keys() == ["a/"]
    os.rmdir(mount.path / "a")
    assert mount.bucket.keys() == []
    assert os.listdir(mount.path) == []


def test_implied_directory(mount):
    """Keys alone make a directory; emptied through the mount it stays until
    rmdir. [S-33]"""
    mount.bucket.write("step/model.pt", b"x")
    assert os.listdir(mount.path) == ["step"]
    os.unlink(mount.path / "step/model.pt")
    assert os.listdir(mount.path / "step") == []
    assert (mount.path / "step").is_dir()
    (mount.path / "step/again").write_bytes(b"y")
    assert mount.bucket.read("step/again") == b"y"
    os.unlink(mount.path / "step/again")
    os.rmdir(mount.path / "step")
    assert not (mount.path / "step").exists()
    assert mount.bucket.keys() == []


def test_errors_of_names(mount):
    """Each mistake has its errno. [S-41]"""
    (mount.path / "file").write_bytes(b"x")
    os.makedirs(mount.path / "dir/sub")
    with refused(errno.ENOENT):
        os.stat(mount.path / "absent")
    with refused(errno.ENOENT):
        os.stat(mount.path / "absent/deeper")
    with refused(errno.ENOTDIR):
        os.stat(mount.path / "file/below")
    with refused(errno.ENOTDIR):
        os.rmdir(mount.path / "file")
    with refused(errno.EISDIR):
        os.unlink(mount.path / "dir")
    with refused(errno.EISDIR):
        os.open(mount.path / "dir", os.O_WRONLY)
    with refused(errno.EISDIR):
        os.rename(mount.path / "file", mount.path / "dir")
    with refused(errno.ENOENT):
        os.rename(mount.path / "absent", mount.path / "new")
    with refused(errno.ENOENT):
        os.open(mount.path / "absent/file", os.O_WRONLY | os.O_CREAT)
    with refused(errno.ENAMETOOLONG):
        os.mkdir(mount.path / ("n" * 256))
    with refused(errno.EEXIST):
        os.mkdir(mount.path / "file")
    assert (mount.path / "file").read_bytes() == b"x"


def test_unserved_operations_say_so(mount):
    """What is not served answers EOPNOTSUPP (or what the kernel makes of it)
    at once, and changes nothing. [S-42]"""
    os.mkdir(mount.path / "dir")
    (mount.path / "dir/file").write_bytes(b"x")
    with refused(errno.EOPNOTSUPP):
        os.rename(mount.path / "dir", mount.path / "other")
    with refused(errno.EOPNOTSUPP, errno.EPERM, errno.ENOSYS):
        os.symlink("file", mount.path / "dir/link")
    with refused(errno.EOPNOTSUPP, errno.EPERM, errno.ENOSYS):
        os.link(mount.path / "dir/file", mount.path / "dir/hard")
    with refused(errno.EOPNOTSUPP, errno.EPERM, errno.ENOSYS):
        os.mkfifo(mount.path / "dir/fifo")
    assert mount.bucket.keys() == ["dir/", "dir/file"]


def test_rename(mount):
    """Within a directory, across directories, to itself, over another.
    [S-35]"""
    os.mkdir(mount.path / "dir")
    (mount.path / "a").write_bytes(b"a")
    os.rename(mount.path / "a", mount.path / "b")
    os.rename(mount.path / "b", mount.path / "dir/c")
    os.rename(mount.path / "dir/c", mount.path / "dir/c")
    (mount.path / "target").write_bytes(b"old")
    os.rename(mount.path / "dir/c", mount.path / "target")
    assert mount.bucket.keys() == ["dir/", "target"]
    assert mount.bucket.read("target") == b"a"
    assert sorted(os.listdir(mount.path)) == ["dir", "target"]
    for gone in ("a", "b", "dir/c"):
        assert not (mount.path / gone).exists()


def test_rename_and_chmod_keep_all_of_an_object(mount):
    """The copies that they make carry mode, time, foreign metadata, the headers
    that readers see, and tags. [S-35] [S-32] [S-31]"""
    mount.bucket.client.put_object(
        Bucket=mount.bucket.bucket, Key=mount.bucket.prefix + "a", Body=b"x",
        Metadata={"run": "42", "file-permissions": "0100640"},
        ContentType="application/x-test", ContentEncoding="gzip",
        CacheControl="max-age=60", ContentDisposition="attachment",
        ContentLanguage="de", Expires="Thu, 01 Dec 2033 16:00:00 GMT",
        Tagging="team=a&cost=b")
    os.utime(mount.path / "a", ns=(1, 1_600_000_000_000_000_007))
    os.rename(mount.path / "a", mount.path / "b")
    os.chmod(mount.path / "b", 0o600)
    mount.remount()
    found = os.stat(mount.path / "b")
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert found.st_mtime_ns == 1_600_000_000_000_000_007
    head = mount.bucket.head("b")
    assert head["Metadata"]["run"] == "42"
    assert head["Metadata"]["file-permissions"] == "0100600"
    assert head["ContentType"] == "application/x-test"
    assert head["ContentEncoding"] == "gzip"
    assert head["CacheControl"] == "max-age=60"
    assert head["ContentDisposition"] == "attachment"
    assert head["ContentLanguage"] == "de"
    assert head["ExpiresString"] == "Thu, 01 Dec 2033 16:00:00 GMT"
    tags = mount.bucket.client.get_object_tagging(
        Bucket=mount.bucket.bucket, Key=mount.bucket.prefix + "b")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {
        "team": "a", "cost": "b"}


def test_rename_flags(mount):
    """NOREPLACE is served, EXCHANGE is refused. [S-35]"""
    (mount.path / "a").write_bytes(b"a")
    (mount.path / "b").write_bytes(b"b")
    a, b = os.fsencode(mount.path / "a"), os.fsencode(mount.path / "b")
    with refused(errno.EEXIST):
        renameat2(a, b, RENAME_NOREPLACE)
    with refused(errno.EINVAL):
        renameat2(a, b, RENAME_EXCHANGE)
    os.unlink(mount.path / "b")
    renameat2(a, b, RENAME_NOREPLACE)
    assert mount.bucket.names() == ["b"]
    assert mount.bucket.read("b") == b"a"


def test_large_rename(mount):
    """An object of several copy parts. [S-35]"""
    body = bytes(range(256)) * 4096 * 40
    (mount.path / "a").write_bytes(body)
    os.rename(mount.path / "a", mount.path / "b")
    assert mount.bucket.names() == ["b"]
    assert mount.bucket.read("b") == body


def test_listing_is_exact(mount):
    """After each change the listing shows exactly what is there, for this
    mount at once and for changes of others within the time to live. [S-37]
    [S-23]"""
    expected = set()
    for turn in range(60):
        name = f"f{turn % 7}"
        if name in expected:
            os.unlink(mount.path / name)
            expected.remove(name)
        else:
            (mount.path / name).write_bytes(b"x")
            expected.add(name)
        assert set(os.listdir(mount.path)) == expected
    mount.bucket.write("foreign", b"x")
    wait_until(lambda: "foreign" in os.listdir(mount.path),
               "the other client's file shows", 5)
    mount.bucket.delete("foreign")
    wait_until(lambda: "foreign" not in os.listdir(mount.path),
               "the other client's delete shows", 5)
    wait_until(lambda: not (mount.path / "foreign").exists(),
               "and its name is gone", 5)


def test_object_replaced_by_another_client(mount):
    """A new open shows the new object, never old pages of the cache. [S-23]"""
    mount.bucket.write("file", b"old" * 10_000)
    assert (mount.path / "file").read_bytes() == b"old" * 10_000
    mount.bucket.write("file", b"new!" * 20_000)
    wait_until(lambda: (mount.path / "file").read_bytes() == b"new!" * 20_000,
               "the new object shows", 5)


def test_many_entries(mount):
    """A directory of more than one page of a listing, complete and without
    duplicates. [S-37]"""
    names = [f"object-{index:05}" for index in range(2500)]
    for name in names:
        mount.bucket.write("many/" + name, b"")
    assert sorted(os.listdir(mount.path / "many")) == names
    with os.scandir(mount.path / "many") as entries:
        assert all(entry.is_file() for entry in entries)
    # Entries vanish while somebody lists.
    with os.scandir(mount.path / "many") as entries:
        for count, entry in enumerate(entries):
            if count % 2:
                os.unlink(entry.path)
    left = sorted(os.listdir(mount.path / "many"))
    assert len(left) == 1250 and set(left) < set(names)
    assert left == [name.split("/", 1)[1] for name in mount.bucket.names()]


def test_mkdir_race(mount):
    """Of many that make one directory, one succeeds. [S-33] [S-41]"""
    outcomes = []
    barrier = threading.Barrier(16)

    def make():
        barrier.wait()
        try:
            os.mkdir(mount.path / "step")
            outcomes.append(True)
        except FileExistsError:
            outcomes.append(False)

    threads = [threading.Thread(target=make) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count(True) == 1 and len(outcomes) == 16


def test_statfs_and_block_size(mount):
    """df sees room; programs that ask use blocks of at least 1 MiB. [S-41]"""
    (mount.path / "file").write_bytes(b"x" * 5000)
    found = os.statvfs(mount.path)
    assert found.f_bavail > 0 and found.f_namemax == 255
    status = os.stat(mount.path / "file")
    assert status.st_blksize >= 1 << 20
    assert status.st_blocks >= 5000 / 512


def test_fsync_of_a_directory(mount):
    """Programs that sync the parent after a rename get success. [S-41]"""
    fd = os.open(mount.path, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(fd)
    os.close(fd)


@pytest.mark.parametrize("key", [
    "a//b", "//", "/lead", "a/../b", "..", ".", "./x", "a/./b", "a/b/",
    "x" * 1000, "d/" + "n" * 255, "d/" + "n" * 256, "new\nline", "tab\tq",
    "per%2Fcent", "plus+and space", "star*?[", "\\back", "ü/ß", "\u20ac",
    "-rf", "quote'\"", "amp&lt;<>", ".ckptfs/foreign", "control\x01x"])
def test_odd_keys(mount, key):
    """Keys of other clients neither break a listing nor crash; what a path can
    name is readable, everything else is hidden and stays untouched. [S-34]"""
    mount.bucket.write("good/file", b"good")
    mount.bucket.write(key, b"odd")
    shown = sorted(os.listdir(mount.path))
    assert "good" in shown
    assert "." not in shown and ".." not in shown and "" not in shown
    for directory, _, files in os.walk(mount.path):
        for name in files:
            body = open(os.path.join(directory, name), "rb").read()
            assert body in (b"good", b"odd")
    parts = key.split("/")
    nameable = (all(part not in ("", ".", "..") and len(part.encode()) <= 255
                    for part in parts) and parts[0] != ".ckptfs")
    if nameable:
        assert (mount.path / key).read_bytes() == b"odd"
    else:
        assert mount.bucket.read(key) == b"odd"
    # The mount works on, here too.
    (mount.path / "good/new").write_bytes(b"new")
    assert sorted(os.listdir(mount.path / "good")) == ["file", "new"]
    mount.bucket.delete(key)


def test_key_that_is_also_a_prefix(mount):
    """The directory wins; the object of that name is hidden and stays.
    [S-34]"""
    mount.bucket.write("both", b"object")
    mount.bucket.write("both/below", b"below")
    assert os.listdir(mount.path) == ["both"]
    assert (mount.path / "both").is_dir()
    assert (mount.path / "both/below").read_bytes() == b"below"
    os.unlink(mount.path / "both/below")
    assert mount.bucket.read("both") == b"object"


def test_longest_keys(mount):
    """Up to S3's 1,024 bytes for the whole key, an error beyond. [S-34]
    [S-41]"""
    parts = "/".join(["p" * 200] * 4)
    os.makedirs(mount.path / parts)
    room = 1024 - len(mount.bucket.prefix + parts + "/") - 1
    name = "n" * min(room, 255)
    (mount.path / parts / name).write_bytes(b"long")
    assert mount.bucket.read(f"{parts}/{name}") == b"long"
    deep = mount.path / parts / ("q" * 100)
    with refused(errno.ENAMETOOLONG):
        os.makedirs(deep / ("r" * 250))


def test_reserved_name(mount):
    """.ckptfs in the mount's root is private; below it is a name like any.
    [S-36]"""
    mount.bucket.write(".ckptfs/left", b"x")
    assert os.listdir(mount.path) == []
    assert not (mount.path / ".ckptfs").exists()
    with refused(errno.EACCES, errno.EPERM):
        os.mkdir(mount.path / ".ckptfs")
    os.makedirs(mount.path / "sub/.ckptfs")
    assert os.listdir(mount.path / "sub") == [".ckptfs"]
    mount.bucket.delete(".ckptfs/left")


def test_modes_of_strangers(mount):
    """suid, sgid and sticky of an object are masked. [S-31] [S-54]"""
    mount.bucket.client.put_object(
        Bucket=mount.bucket.bucket, Key=mount.bucket.prefix + "evil",
        Body=b"x", Metadata={"file-permissions": "0107755",
                             "file-owner": "nobody", "file-mtime": "junk"})
    assert stat.S_IMODE(os.stat(mount.path / "evil").st_mode) == 0o755

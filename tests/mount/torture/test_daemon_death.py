"""kill -9 of the daemon at each kind of S3 call: each name has one whole version,
the older or the newer, and a new mount goes on from there."""
import subprocess
import sys

import pytest

from support.programs import wait_until
from torture import stamps
from torture.s3_view import S3View

pytestmark = pytest.mark.ckptfs_only

OLD, OTHER, NEW = 1, 2, 3  # versions
SMALL, LARGE = 5000, 9 << 20  # one request, and two parts

# The call under way, the size of the older files, and what a program does
# (`a` and `b` are the two files, `new` the path of the newer bytes).
_SAVE = """
fd = os.open(a, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
data = open(new, "rb").read()
for at in range(0, len(data), 1 << 20):
    os.write(fd, data[at:at + (1 << 20)])
os.close(fd)
"""
_CASES = {
    # name: (operation, size of old, size of new, program)
    "small save": ("PutObject", SMALL, SMALL, _SAVE),
    "large save begins": ("CreateMultipartUpload", SMALL, LARGE, _SAVE),
    "large save, a part": ("UploadPart", SMALL, LARGE, _SAVE),
    "large save ends": ("CompleteMultipartUpload", LARGE, LARGE, _SAVE),
    "replaced version is kept for a reader":
        ("CopyObject", SMALL, SMALL,
         "reader = os.open(b, os.O_RDONLY)\nos.rename(a, b)"),
    "removed version is kept for a reader":
        ("CopyObject", SMALL, SMALL,
         "reader = os.open(a, os.O_RDONLY)\nos.unlink(a)"),
    "fsync": ("PutObject", SMALL, SMALL, _SAVE.replace(
        "os.close(fd)", "os.fsync(fd); os.close(fd)")),
    "save looks at the name": ("HeadObject", SMALL, SMALL, _SAVE.replace(
        " | os.O_TRUNC", "") + "os.truncate(a, len(data))"),
    "rename copies": ("CopyObject", SMALL, SMALL, "os.rename(a, b)"),
    "rename copies, large": ("CopyObject", LARGE, SMALL, "os.rename(a, b)"),
    "rename deletes": ("DeleteObject", SMALL, SMALL, "os.rename(a, b)"),
    "unlink deletes": ("DeleteObject", SMALL, SMALL, "os.unlink(a)"),
    "chmod copies": ("CopyObject", SMALL, SMALL, "os.chmod(a, 0o600)\n"
                     "time.sleep(600)"),
    "append reads": ("GetObject", SMALL, SMALL,
                     "fd = os.open(a, os.O_WRONLY | os.O_APPEND)\n"
                     "os.write(fd, b'more'); os.close(fd)"),
    "large append": ("UploadPartCopy", LARGE, SMALL,
                     "fd = os.open(a, os.O_WRONLY | os.O_APPEND)\n"
                     "os.write(fd, b'more'); os.close(fd)"),
    "read": ("GetObject", LARGE, SMALL, "open(a, 'rb').read()"),
    "listing": ("ListObjectsV2", SMALL, SMALL, "os.listdir(folder)"),
    "save given up": ("AbortMultipartUpload", SMALL, LARGE, _SAVE.replace(
        "os.close(fd)", "os.ftruncate(fd, 0); os.close(fd)")),
}

_PROGRAM = """
import os, sys, time
folder, new = sys.argv[1:]
a, b = os.path.join(folder, "a.ckpt"), os.path.join(folder, "b.ckpt")
try:
    exec(sys.stdin.read())
    print("done", flush=True)
except OSError as error:
    print("errno", error.errno, flush=True)
"""


def _allowed(old, other, new, case):
    """What `a` and `b` may hold, by program."""
    program = _CASES[case][3]
    if "os.rename" in program:
        return [(old, other), (old, old), (None, old)]
    if "os.unlink" in program:
        return [(old, other), (None, other)]
    if "b'more'" in program:
        return [(old, other), (old + b"more", other)]
    if "ftruncate" in program:
        return [(old, other), (b"", other)]
    if "os.write" in program:
        # Written over without O_TRUNC: what is longer shows through.
        return [(old, other), (new, other), (new + old[len(new):], other)]
    return [(old, other)]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("case", _CASES)
def test_daemon_is_killed(server, make_mount, tmp_path, case, when):
    """The call is held before or after it is executed, the daemon killed.
    [S-02] [S-03] [S-05] [S-35]"""
    operation, old_size, new_size, program = _CASES[case]
    bucket = server.prefix("death/")
    old = stamps.whole(1, OLD, old_size)
    other = stamps.whole(1, OTHER, old_size)
    new = stamps.whole(1, NEW, new_size)
    bucket.write("run/a.ckpt", old)
    bucket.write("run/b.ckpt", other)
    (tmp_path / "new").write_bytes(new)
    mount = make_mount(server=server, prefix="death")
    folder = mount.path / "run"
    server.control(f"fault?op={operation}&action=hold&when={when}&count=-1")
    worker = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, folder, tmp_path / "new"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        worker.stdin.write(program)
        worker.stdin.close()
        server.control("wait-held?count=1&timeout_ms=20000", post=False)
        mount.kill()
        said = worker.stdout.read() if "sleep" not in program else ""
    finally:
        worker.kill()
        worker.wait(60)
        worker.stdout.close()
    assert "done" not in said, said
    server.control("clear")
    view = S3View(server.endpoint, server.bucket, mount.prefix)
    allowed = _allowed(old, other, new, case)

    def stored():
        return view.read("run/a.ckpt"), view.read("run/b.ckpt")

    # What was held may still be executed, by a server that goes on.
    wait_until(lambda: server.stats()["in_flight"] == 0,
               "the server is done")
    found = stored()
    assert found in allowed, [stamps.describe(each) for each in found]

    mount.start()
    for name, content in zip(("a.ckpt", "b.ckpt"), found):
        if content is None:
            assert not (folder / name).exists()
        else:
            assert (folder / name).read_bytes() == content
    assert stored() == found
    again = stamps.whole(1, 9, new_size)
    (folder / "a.ckpt").write_bytes(again)
    assert view.read("run/a.ckpt") == again
    # What a killed daemon had under way stays: S-05.
    for upload in mount.bucket.uploads():
        assert upload.startswith(("run/", ".ckptfs/")), upload
    assert mount.stop() == 0
    _remove_leftovers(server, mount)


def _remove_leftovers(server, mount):
    client = server.client()
    for upload in client.list_multipart_uploads(
            Bucket=server.bucket, Prefix=mount.prefix).get("Uploads", []):
        client.abort_multipart_upload(
            Bucket=server.bucket, Key=upload["Key"],
            UploadId=upload["UploadId"])
    for key in mount.bucket.keys():
        if key.startswith(".ckptfs/"):
            mount.bucket.delete(key)

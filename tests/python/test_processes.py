"""Ctrl-C, other threads, and child processes."""
import multiprocessing
import subprocess
import sys
import threading

import ckptfs
import pytest
import torch

LARGE = {"a": torch.arange(12 << 20, dtype=torch.uint8)}
PARTS = ckptfs.S3ClientConfig(part_size=5 << 20)


# [S-72]
def test_ctrl_c_ends_a_save_and_leaves_nothing(bucket, held):
    ckptfs.save({"old": 1}, bucket.uri + "x.pt")
    held.requests("UploadPart")
    held.press_ctrl_c()
    with pytest.raises(KeyboardInterrupt):
        ckptfs.save(LARGE, bucket.uri + "x.pt", config=PARTS)
    assert bucket.uploads() == []
    assert ckptfs.load(bucket.uri + "x.pt") == {"old": 1}


# [S-72]
def test_ctrl_c_ends_a_load(bucket, held, s3server):
    ckptfs.save(LARGE, bucket.uri + "x.pt")
    s3server.control("fault?op=GetObject&action=hold&count=-1&skip=2")
    held.press_ctrl_c()
    with pytest.raises(KeyboardInterrupt):
        ckptfs.load(bucket.uri + "x.pt")
    s3server.control("clear")
    assert torch.equal(ckptfs.load(bucket.uri + "x.pt")["a"], LARGE["a"])


def test_other_threads_run_meanwhile(bucket, s3server):
    ckptfs.save(LARGE, bucket.uri + "x.pt")
    s3server.control("fault?op=GetObject&action=hold")

    def release():  # it needs the GIL to do so
        s3server.control("wait-held?count=1&timeout_ms=10000", post=False)
        s3server.control("release")
    thread = threading.Thread(target=release)
    thread.start()
    loaded = ckptfs.load(bucket.uri + "x.pt")
    thread.join()
    s3server.control("clear")
    assert torch.equal(loaded["a"], LARGE["a"])


def _load_and_save(uri):
    loaded = ckptfs.load(uri + "parent.pt")
    loaded["from"] = "child"
    ckptfs.save(loaded, uri + "child.pt")


# [S-72]
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_process_uses_an_engine_of_its_own(bucket, method):
    # The parent's engine is running when the child is made.
    ckptfs.save({"from": "parent", "t": torch.ones(3)},
                bucket.uri + "parent.pt")
    child = multiprocessing.get_context(method).Process(
        target=_load_and_save, args=(bucket.uri,))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert ckptfs.load(bucket.uri + "child.pt")["from"] == "child"


def _program(text, uri):
    return subprocess.run([sys.executable, "-c", text, uri],
                          capture_output=True, text=True, timeout=120)


# Its thread, a daemon, is in the engine when the interpreter ends.
_ENDS_IN_MID_SAVE = """
import sys, threading
sys.path[:0] = %r
import ckptfs
begun = threading.Event()
def save():
    writer = ckptfs.S3Checkpoint().writer(sys.argv[1] + "x")
    begun.set()
    while True:
        writer.write(b"x" * (1 << 20))
threading.Thread(target=save, daemon=True).start()
begun.wait()
"""


# [S-72]
def test_a_program_may_end_while_a_daemon_thread_saves(bucket):
    for _ in range(5):
        ended = _program(_ENDS_IN_MID_SAVE % sys.path, bucket.uri)
        assert (ended.returncode, ended.stderr) == (0, "")
    assert not ckptfs.exists(bucket.uri + "x")


_ENDS_WITH_A_WRITER = """
import sys
sys.path[:0] = %r
import ckptfs
def fail():
    writer = ckptfs.S3Checkpoint().writer(sys.argv[1] + "x")
    writer.write(b"abc")
    raise ValueError
try:
    fail()
except ValueError as error:
    sys.kept = error  # to the end of the interpreter, with the frame
"""


# [S-72]
def test_a_program_may_end_with_an_open_writer(bucket):
    ended = _program(_ENDS_WITH_A_WRITER % sys.path, bucket.uri)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert not ckptfs.exists(bucket.uri + "x")
    assert bucket.uploads() == []


# [S-72]
@pytest.mark.parametrize(("operation", "call"), [
    ("HeadObject", ckptfs.exists), ("DeleteObject", ckptfs.remove),
    ("ListObjectsV2", ckptfs.list)])
def test_ctrl_c_ends_a_short_call(bucket, held, operation, call):
    held.requests(operation)
    held.press_ctrl_c()
    with pytest.raises(KeyboardInterrupt):
        call(bucket.uri + "x.pt")


_SAVES_AT_THE_END = """
import atexit, sys
sys.path[:0] = %r
import torch
from ckptfs.lightning import S3AsyncLightningCheckpoint
plugin = S3AsyncLightningCheckpoint()
atexit.register(lambda: plugin.save_checkpoint(
    {"a": torch.ones(10 << 20)}, sys.argv[1] + "x"))
"""


# [S-75]
def test_a_save_that_an_atexit_function_begins_is_waited_for(bucket):
    ended = _program(_SAVES_AT_THE_END % sys.path, bucket.uri)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ckptfs.load(bucket.uri + "x")["a"].numel() == 10 << 20

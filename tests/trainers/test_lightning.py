"""The unmodified Lightning script of examples/ on a mount: fit, resume, and a
SIGKILL in the middle of a save."""
import os
import signal
import subprocess
import sys

import pytest
import torch

from support import programs, servers
from support.programs import wait_until

pytestmark = pytest.mark.slow

SCRIPT = programs.ROOT / "examples/lightning_train.py"
# A checkpoint of about 20 MiB: more than one part, and small enough for an
# OSD that keeps everything in memory.
WIDTH = 1280


def command(directory, epochs, *arguments):
    return [sys.executable, SCRIPT, "--dir", directory, "--epochs",
            str(epochs), "--width", str(WIDTH), *arguments]


def train(directory, epochs, *arguments):
    done = subprocess.run(
        command(directory, epochs, *arguments), capture_output=True, text=True,
        timeout=300, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return done.stdout


def checkpoints(mount):
    return sorted(name for name in mount.bucket.names()
                  if name.startswith("run/checkpoints/"))


def assert_whole(mount, name):
    """The object loads, and the mount shows the same bytes."""
    body = mount.bucket.read(name)
    assert (mount.path / name).read_bytes() == body
    loaded = torch.load(mount.path / name, weights_only=True)
    assert loaded["state_dict"]["layers.2.weight"].shape == (WIDTH, WIDTH)
    return loaded


def test_fit_and_resume(any_mount):
    """ModelCheckpoint keeps the best two and the last, CSVLogger its metrics;
    a second run, on a new mount, goes on where the first ended. [S-01]
    [S-05]"""
    mount = any_mount
    train(mount.path / "run", 3)
    names = checkpoints(mount)
    assert len(names) == 3 and names[-1].endswith("/last.ckpt")
    for name in names:
        assert_whole(mount, name)
    assert assert_whole(mount, "run/checkpoints/last.ckpt")["epoch"] == 2
    metrics = mount.bucket.read("run/logs/version_0/metrics.csv")
    assert metrics.count(b"\n") >= 4

    mount.remount()
    train(mount.path / "run", 5, "--resume")
    assert len(checkpoints(mount)) == 3
    assert assert_whole(mount, "run/checkpoints/last.ckpt")["epoch"] == 4
    assert mount.bucket.exists("run/logs/version_1/metrics.csv")
    leftovers = [name for name in mount.bucket.names() if "tmp" in name]
    assert not leftovers


@pytest.fixture
def slow_server():
    """Slow enough that an open upload is seen for certain. Named before
    make_mount, so that it ends after the mount."""
    server = servers.S3Server("--conn-mibs", "8")
    yield server
    server.stop()


@pytest.mark.ckptfs_only
@pytest.mark.parametrize("flavor", [
    "s3server", pytest.param("radosgw", marks=pytest.mark.radosgw)])
def test_kill_in_the_middle_of_a_save(request, slow_server, make_mount, flavor,
                                      tmp_path):
    """SIGKILL while the store holds an open upload: no torn checkpoint under
    any name, the last good ones untouched, and the training resumes. [S-03]
    [S-12]"""
    server = slow_server if flavor == "s3server" \
        else request.getfixturevalue(flavor)
    mount = make_mount(server=server)
    train(mount.path / "run", 2)
    before = {name: mount.bucket.read(name) for name in checkpoints(mount)}

    with open(tmp_path / "log", "wb") as log:
        trainer = subprocess.Popen(
            command(mount.path / "run", 100, "--resume"), stdout=log,
            stderr=log, stdin=subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": str(tmp_path)})
    try:
        victim = wait_until(
            lambda: trainer.poll() is not None or mount.bucket.uploads(),
            "a checkpoint is being uploaded", 120, 0.005)
        assert trainer.poll() is None, (tmp_path / "log").read_text()
        trainer.send_signal(signal.SIGKILL)
    finally:
        trainer.kill()
        trainer.wait(30)
    assert victim[0].startswith("run/checkpoints/")
    wait_until(lambda: not mount.bucket.uploads(), "the upload is aborted")

    # Whether the upload was that of a new name or of last.ckpt, whatever is
    # there is whole, and what was there has not changed.
    after = checkpoints(mount)
    assert "run/checkpoints/last.ckpt" in after
    for name in after:
        assert_whole(mount, name)
    if victim[0] in before:
        assert mount.bucket.read(victim[0]) == before[victim[0]]
    reached = assert_whole(mount, "run/checkpoints/last.ckpt")["epoch"] + 1
    train(mount.path / "run", reached + 1, "--resume")
    assert assert_whole(
        mount, "run/checkpoints/last.ckpt")["epoch"] == reached

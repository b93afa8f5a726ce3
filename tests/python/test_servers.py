"""The package on S3 servers of others: what it does is plain S3."""
import uuid

import ckptfs
import pytest
import torch
import torch.distributed.checkpoint as dcp
from ckptfs.dcp import S3StorageReader, S3StorageWriter
from ckptfs.fsspec import CkptFileSystem
from ckptfs.lightning import S3LightningCheckpoint

from .libraries import environment_of

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

MIB = 1 << 20
PARTS = ckptfs.S3ClientConfig(part_size=5 * MIB)
# More than two parts.
STATE = {"large": torch.arange(12 * MIB // 8), "small": torch.ones(3)}


@pytest.fixture(params=[
    pytest.param("radosgw", marks=pytest.mark.radosgw), "moto", "rclone"])
def server(request, monkeypatch):
    started = request.getfixturevalue(request.param)
    for name, value in environment_of(started).items():
        monkeypatch.setenv(name, value)
    return started


@pytest.fixture
def place(server):
    """What a path begins with. The names are those of nobody's habits."""
    return f"s3://{server.bucket}/py-{uuid.uuid4().hex[:8]}/a b+é&=%20/"


def _equal(loaded, state=STATE):
    assert loaded.keys() == state.keys()
    for name, tensor in state.items():
        assert torch.equal(loaded[name], tensor), name


def test_files(place):
    path = place + "x.pt"
    assert not ckptfs.exists(path)
    with pytest.raises(FileNotFoundError):
        ckptfs.load(path)
    for _ in range(2):  # the second replaces the first
        ckptfs.save(STATE, path, config=PARTS)
    assert ckptfs.exists(path) and ckptfs.list(place) == ["x.pt"]
    _equal(ckptfs.load(path))
    into = {name: torch.zeros_like(tensor) for name, tensor in STATE.items()}
    assert ckptfs.load_into(into, path) is None
    _equal(into)
    ckptfs.remove(path)
    assert ckptfs.list(place) == []


def test_streams(place):
    checkpoint = ckptfs.S3Checkpoint(s3client_config=PARTS)
    with checkpoint.writer(place + "x.pt") as writer:
        torch.save(STATE, writer)
    with checkpoint.reader(place + "x.pt") as reader:
        _equal(torch.load(reader))
    with pytest.raises(ZeroDivisionError), \
            checkpoint.writer(place + "x.pt") as writer:
        writer.write(bytes(12 * MIB))
        raise ZeroDivisionError
    _equal(ckptfs.load(place + "x.pt"))


def test_lightning(place):
    plugin = S3LightningCheckpoint()
    plugin.save_checkpoint({"state_dict": STATE, "epoch": 3}, place + "x.ckpt")
    loaded = plugin.load_checkpoint(place + "x.ckpt")
    assert loaded["epoch"] == 3
    _equal(loaded["state_dict"])
    plugin.remove_checkpoint(place + "x.ckpt")
    assert ckptfs.list(place) == []


def test_dcp(place):
    for factor in (1, 2):  # the second replaces the first
        state = {name: factor * tensor for name, tensor in STATE.items()}
        dcp.save(state, no_dist=True, storage_writer=S3StorageWriter(
            path=place + "x", s3client_config=PARTS))
        loaded = {name: torch.zeros_like(tensor)
                  for name, tensor in STATE.items()}
        dcp.load(loaded, no_dist=True,
                 storage_reader=S3StorageReader(path=place + "x"))
        _equal(loaded, state)
    assert len(ckptfs.list(place + "x")) == 2


def test_fsspec(place):
    files = CkptFileSystem()
    folder = place.removeprefix("s3://").rstrip("/")
    files.pipe({f"{folder}/{name}": name.encode() for name in "abc"})
    files.mv(f"{folder}/a", f"{folder}/d/a")
    assert sorted(files.find(folder)) == [
        f"{folder}/b", f"{folder}/c", f"{folder}/d/a"]
    assert files.cat_file(f"{folder}/d/a") == b"a"
    files.rm(folder, recursive=True)
    assert not files.exists(folder)


def test_a_bucket_that_is_not_there_is_named(place):
    with pytest.raises(ckptfs.S3Exception, match="no-such-bucket-here"):
        ckptfs.save(STATE, "s3://no-such-bucket-here/x.pt")


@pytest.mark.radosgw
@pytest.mark.parametrize("server", ["radosgw"], indirect=True)
def test_a_wrong_secret_is_refused(place, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(PermissionError):
        ckptfs.save(STATE, place + "x.pt")

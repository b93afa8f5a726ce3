"""Distributed checkpoints (DCP), written and read in C++ and by torch itself."""
import multiprocessing
import os
import pickle
import shutil
import subprocess

import pytest
import torch
import torch.distributed.checkpoint as dcp
import torch.multiprocessing
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

import dcp_ranks
from support.programs import BIN_DIR


def run(*arguments, server=None):
    environment = dict(os.environ)
    if server:
        environment |= server.environment()
        environment["AWS_ENDPOINT_URL"] = server.endpoint
    done = subprocess.run([BIN_DIR / "dcp_copy", *map(str, arguments)],
                          capture_output=True, text=True, check=False,
                          env=environment)
    assert done.returncode == 0, done.stderr


def same(a, b):
    assert type(a) is type(b), (a, b)
    if isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype and torch.equal(a, b)
    elif isinstance(a, dict):
        assert set(a) == set(b)
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b):
            same(x, y)
    else:
        assert a == b


# Ranks, dimension of the split, files per rank.
WRITTEN = [(1, 0, 1), (2, 0, 1), (4, 0, 2), (4, 1, 1)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """state.pt; cpp* as C++ has saved it; py1, py2, py4 as torch has; and what
    C++ saved was loaded by torch on 1 and 2 ranks."""
    path = tmp_path_factory.mktemp("dcp")
    torch.save(dcp_ranks.plain_state(), path / "state.pt")
    torch.save(dcp_ranks.zeroed(dcp_ranks.plain_state()), path / "zero.pt")
    written = []
    for ranks, dim, threads in WRITTEN:
        written.append(path / f"cpp{ranks}-{dim}")
        run("save", path / "state.pt", written[-1], ranks, dim, threads)
    # The server has imported torch once for all ranks.
    multiprocessing.set_forkserver_preload(
        ["torch", "torch.distributed.checkpoint", "torch.distributed.tensor"])
    torch.multiprocessing.start_processes(
        dcp_ranks.work, (str(path), [str(p) for p in written]), nprocs=4,
        start_method="forkserver")
    return path


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_the_whole_state_of_python_ranks(folder, tmp_path, ranks):
    """As torch's own converter makes it."""
    run("unpack", folder / f"py{ranks}", tmp_path / "cpp.pt")
    dcp_to_torch_save(folder / f"py{ranks}", tmp_path / "torch.pt")
    same(torch.load(tmp_path / "cpp.pt"), torch.load(tmp_path / "torch.pt"))


@pytest.mark.parametrize("saved", [1, 2, 4])
@pytest.mark.parametrize("ranks, dim", [(1, 0), (2, 0), (3, 0), (4, 1)])
def test_other_splits_of_python_shards(folder, tmp_path, saved, ranks, dim):
    run("fill", folder / f"py{saved}", folder / "zero.pt", tmp_path / "out.pt",
        ranks, dim)
    loaded = torch.load(tmp_path / "out.pt")
    same(loaded["model"], dcp_ranks.plain_state()["model"])
    same(loaded["optim"]["state"][0],
         dcp_ranks.plain_state()["optim"]["state"][0])
    if ranks == 1:
        same(loaded, dcp_ranks.plain_state())


@pytest.mark.parametrize("ranks, dim, threads", WRITTEN)
def test_torch_converts_what_cpp_wrote(folder, tmp_path, ranks, dim, threads):
    checkpoint = folder / f"cpp{ranks}-{dim}"
    dcp_to_torch_save(checkpoint, tmp_path / "torch.pt")
    dcp_to_torch_save(folder / "py1", tmp_path / "python.pt")
    same(torch.load(tmp_path / "torch.pt"), torch.load(tmp_path / "python.pt"))
    names = sorted(p.name for p in checkpoint.iterdir())
    assert names == [".metadata"] + [f"__{r}_{n}.distcp" for r in range(ranks)
                                     for n in range(threads)]


def test_metadata_through_cpp_is_the_same_object(folder, tmp_path):
    for ranks in (1, 2, 4):
        source = folder / f"py{ranks}" / ".metadata"
        run("metadata", source, tmp_path / "metadata")
        before = pickle.loads(source.read_bytes())
        after = pickle.loads((tmp_path / "metadata").read_bytes())
        before.storage_meta.checkpoint_id = str(
            before.storage_meta.checkpoint_id)
        assert after == before
        assert {i: i.index for i in after.storage_data} == {
            i: i.index for i in before.storage_data}


def test_over_an_older_checkpoint(folder, tmp_path):
    """Its files stay as they are; torch loads the new one."""
    shutil.copytree(folder / "py2", tmp_path / "ckpt")
    old = {p.name: p.read_bytes() for p in (tmp_path / "ckpt").iterdir()}
    torch.save({"only": torch.arange(5)}, tmp_path / "new.pt")
    run("save", tmp_path / "new.pt", tmp_path / "ckpt", 1, 0, 1)
    for name, data in old.items():
        assert ((tmp_path / "ckpt" / name).read_bytes() == data) == (
            name != ".metadata")
    into = {"only": torch.zeros(5, dtype=torch.int64)}
    dcp.load(into, checkpoint_id=tmp_path / "ckpt")
    assert into["only"].tolist() == [0, 1, 2, 3, 4]


def test_in_a_bucket(folder, tmp_path, s3server):
    """From and to objects; the data files and the metadata are those of torch."""
    path = f"s3://{s3server.bucket}/dcp/cpp"
    run("save", folder / "state.pt", path, 2, 0, 2, server=s3server)
    run("unpack", path, tmp_path / "out.pt", server=s3server)
    bucket = s3server.prefix("dcp/cpp/")
    (tmp_path / "ckpt").mkdir()
    for name in bucket.names():
        (tmp_path / "ckpt" / name).write_bytes(bucket.read(name))
    assert ".metadata" in bucket.names() and not bucket.uploads()
    dcp_to_torch_save(tmp_path / "ckpt", tmp_path / "torch.pt")
    same(torch.load(tmp_path / "out.pt"), torch.load(tmp_path / "torch.pt"))
    for file in (folder / "py4").iterdir():
        s3server.client().upload_file(str(file), s3server.bucket,
                                      f"dcp/py/{file.name}")
    run("fill", f"s3://{s3server.bucket}/dcp/py", folder / "zero.pt",
        tmp_path / "filled.pt", 3, 1, server=s3server)
    same(torch.load(tmp_path / "filled.pt")["model"],
         dcp_ranks.plain_state()["model"])


@pytest.mark.ckptfs_only
def test_on_a_mount(folder, tmp_path, mount):
    """Saved by C++ and by torch into the mount, loaded by the other there; the
    bucket has the same files. [S-65]"""
    run("save", folder / "state.pt", mount.path / "cpp", 2, 0, 2,
        server=mount.server)
    names = {"__0_0.distcp", "__0_1.distcp", "__1_0.distcp", "__1_1.distcp",
             ".metadata"}
    assert set(os.listdir(mount.path / "cpp")) == names
    assert {f"cpp/{name}" for name in names} <= set(mount.bucket.keys())
    dcp_to_torch_save(mount.path / "cpp", tmp_path / "torch.pt")
    run("unpack", mount.path / "cpp", tmp_path / "cpp.pt", server=mount.server)
    same(torch.load(tmp_path / "cpp.pt"), torch.load(tmp_path / "torch.pt"))
    shutil.copytree(folder / "py4", mount.path / "py")
    run("fill", mount.path / "py", folder / "zero.pt", tmp_path / "out.pt", 3,
        1, server=mount.server)
    same(torch.load(tmp_path / "out.pt")["model"],
         dcp_ranks.plain_state()["model"])

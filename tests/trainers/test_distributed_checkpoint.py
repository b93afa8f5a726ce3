"""torch.distributed.checkpoint in one process, fsync on (its default)."""
import pytest
import torch
import torch.distributed.checkpoint as dcp


def state_dict(seed):
    generator = torch.Generator().manual_seed(seed)
    return {"model": {f"layer{i}": torch.randn(1 << 20, generator=generator)
                      for i in range(6)},
            "step": seed}


def load(path):
    state = {"model": {f"layer{i}": torch.zeros(1 << 20) for i in range(6)},
             "step": 0}
    dcp.load(state, storage_reader=dcp.FileSystemReader(path), no_dist=True)
    return state


def assert_same(left, right):
    assert left["step"] == right["step"]
    assert left["model"].keys() == right["model"].keys()
    for name, tensor in left["model"].items():
        assert torch.equal(tensor, right["model"][name])


@pytest.mark.parametrize("options", [
    {}, {"single_file_per_rank": False}, {"thread_count": 3}])
def test_save_and_load(mount, tmp_path, options):
    """The checkpoint loads from the mount and from a copy that a plain S3
    client made; .metadata is renamed into place and no temporary is left.
    [S-01] [S-05] [S-35]"""
    for seed in (1, 2):
        directory = mount.path / f"step-{seed}"
        dcp.save(state_dict(seed), no_dist=True,
                 storage_writer=dcp.FileSystemWriter(directory, **options))
        names = [name for name in mount.bucket.names()
                 if name.startswith(f"step-{seed}/")]
        assert f"step-{seed}/.metadata" in names
        assert not [name for name in names if "tmp" in name]
        for name in names:
            body = mount.bucket.read(name)
            assert (mount.path / name).read_bytes() == body
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(body)
        assert_same(load(tmp_path / f"step-{seed}"), state_dict(seed))
    mount.remount()
    for seed in (1, 2):
        assert_same(load(mount.path / f"step-{seed}"), state_dict(seed))


def test_save_again_in_place(mount):
    """The second save unlinks .metadata and renames the new one there. [S-01]
    [S-05] [S-35]"""
    for seed in (1, 2):
        dcp.save(state_dict(seed), no_dist=True,
                 storage_writer=dcp.FileSystemWriter(mount.path / "latest"))
    assert_same(load(mount.path / "latest"), state_dict(2))
    assert mount.bucket.read("latest/.metadata") == (
        mount.path / "latest/.metadata").read_bytes()

"""torch.save and torch.load, unmodified."""
import os

import pytest
import torch

from support.programs import wait_until


def model_state(mib):
    """A state dict of about that size, with the usual mixture of entries."""
    generator = torch.Generator().manual_seed(mib)
    rows = mib * 256 // 4
    return {
        "epoch": 3,
        "state_dict": {
            f"layer{i}.weight": torch.randn(rows, 1024, generator=generator)
            for i in range(4)},
        "half": torch.randn(1001, generator=generator).bfloat16(),
        "empty": torch.empty(0),
        "optimizer": {"step": torch.tensor(7), "lr": 1e-3},
    }


def assert_same(left, right):
    assert type(left) is type(right)
    if isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_same(left[key], right[key])
    elif isinstance(left, torch.Tensor):
        assert left.dtype == right.dtype and torch.equal(left, right)
    else:
        assert left == right


def read_local(tmp_path, save, name):
    """The bytes that the same save makes on a local disk."""
    save(tmp_path / name)
    return (tmp_path / name).read_bytes()


@pytest.mark.parametrize("mib", [1, 40])
def test_save_and_load(any_mount, tmp_path, mib):
    """One PUT or a multipart upload: the object is byte for byte the file.
    [S-01] [S-05]"""
    state = model_state(mib)
    torch.save(state, any_mount.path / "model.pt")
    expected = read_local(tmp_path, lambda p: torch.save(state, p), "model.pt")
    assert any_mount.bucket.names() == ["model.pt"]
    assert any_mount.bucket.read("model.pt") == expected
    assert_same(torch.load(any_mount.path / "model.pt"), state)
    any_mount.remount()
    assert_same(torch.load(any_mount.path / "model.pt"), state)


def test_load_mapped(mount):
    """torch.load(mmap=True) maps the file privately and faults pages in.
    [S-01] [S-21]"""
    state = model_state(16)
    torch.save(state, mount.path / "model.pt")
    mount.remount()
    loaded = torch.load(mount.path / "model.pt", mmap=True)
    assert_same(loaded, state)
    loaded["state_dict"]["layer0.weight"].zero_()  # stays private
    assert_same(torch.load(mount.path / "model.pt"), state)


def test_mapping_survives_the_file(mount):
    """Rotation unlinks a checkpoint that a loader still maps. [S-21] [S-05]"""
    state, other = model_state(8), model_state(12)
    for name in ("unlinked.pt", "replaced.pt"):
        torch.save(state, mount.path / name)
    mount.remount()
    unlinked = torch.load(mount.path / "unlinked.pt", mmap=True)
    replaced = torch.load(mount.path / "replaced.pt", mmap=True)
    os.unlink(mount.path / "unlinked.pt")
    torch.save(other, mount.path / "new.pt")
    os.rename(mount.path / "new.pt", mount.path / "replaced.pt")
    assert_same(unlinked, state)
    assert_same(replaced, state)
    assert_same(torch.load(mount.path / "replaced.pt"), other)
    # What was kept for the loaders is gone when they are.
    del unlinked, replaced
    wait_until(lambda: mount.bucket.keys() == ["replaced.pt"],
               "nothing else is left")


def test_save_to_a_file_object(mount, tmp_path):
    """A Python file object: buffered writes instead of an ofstream's. [S-01]
    [S-05]"""
    state = model_state(12)

    def save(path):
        with open(path, "wb") as file:
            torch.save(state, file)

    save(mount.path / "model.pt")
    assert mount.bucket.read("model.pt") == read_local(
        tmp_path, save, "model.pt")
    with open(mount.path / "model.pt", "rb") as file:
        assert_same(torch.load(file), state)


def test_legacy_format(mount, tmp_path):
    """The format before zip: raw write(2) on the descriptor. [S-01] [S-05]"""
    tensors = {"w": torch.arange(3_000_000)}

    def save(path):
        torch.save(tensors, path, _use_new_zipfile_serialization=False)

    save(mount.path / "old.pt")
    assert mount.bucket.exists("old.pt")
    assert_same(torch.load(mount.path / "old.pt"), tensors)
    # Its storage keys are addresses, so two saves differ: compare with what
    # the mount says instead.
    assert mount.bucket.read("old.pt") == (mount.path / "old.pt").read_bytes()


def test_new_directory_and_odd_name(mount):
    """torch.save looks at the parent right after mkdir; a name that is not
    ASCII takes another way through torch. [S-05] [S-33]"""
    directory = mount.path / "step 100%" / "ü+?&"
    directory.mkdir(parents=True)
    state = model_state(1)
    torch.save(state, directory / "modèle.pt")
    assert mount.bucket.names() == ["step 100%/ü+?&/modèle.pt"]
    assert_same(torch.load(directory / "modèle.pt"), state)


def test_save_over_an_older_checkpoint(any_mount):
    """Overwriting in place: the new size, nothing of the old tail. [S-01]
    [S-05]"""
    torch.save(model_state(12), any_mount.path / "last.pt")
    state = model_state(1)
    torch.save(state, any_mount.path / "last.pt")
    assert_same(torch.load(any_mount.path / "last.pt"), state)
    assert any_mount.bucket.read("last.pt") == (
        any_mount.path / "last.pt").read_bytes()

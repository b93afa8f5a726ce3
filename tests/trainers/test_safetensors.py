"""safetensors 0.8: an exclusive temporary file, ftruncate to the final size,
a sequential fill, and a rename over the target while it is open and dirty."""
import os
import stat

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file


def tensors(mib, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return {f"layer{i}": torch.randn(mib * 64, 1024, generator=generator)
            for i in range(4)}


def assert_same(left, right):
    assert left.keys() == right.keys()
    for name in left:
        assert torch.equal(left[name], right[name])


@pytest.mark.parametrize("mib", [1, 64])
def test_save_and_load(mount, tmp_path, mib):
    """No temporary name is left; the object is what a local disk would hold.
    [S-01] [S-15]"""
    saved = tensors(mib)
    save_file(saved, mount.path / "model.safetensors")
    save_file(saved, tmp_path / "model.safetensors")
    assert mount.bucket.names() == ["model.safetensors"]
    assert os.listdir(mount.path) == ["model.safetensors"]
    assert mount.bucket.read("model.safetensors") == (
        tmp_path / "model.safetensors").read_bytes()
    assert_same(load_file(mount.path / "model.safetensors"), saved)
    mount.remount()
    assert_same(load_file(mount.path / "model.safetensors"), saved)
    mode = os.stat(mount.path / "model.safetensors").st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_overwrite_below_a_reader(mount):
    """The target is replaced by the rename; who mapped it keeps the old bytes.
    [S-21] [S-15]"""
    old, new = tensors(4, seed=1), tensors(6, seed=2)
    path = mount.path / "model.safetensors"
    save_file(old, path)
    mount.remount()
    with safe_open(path, framework="pt") as reader:
        save_file(new, path)
        assert_same({name: reader.get_tensor(name) for name in reader.keys()},
                    old)
    assert_same(load_file(path), new)
    assert mount.bucket.names() == ["model.safetensors"]

"""NumPy, and the zip headers that Python rewrites late."""
import io
import zipfile

import numpy as np
import pytest


@pytest.fixture
def array():
    return np.random.default_rng(1).standard_normal((1500, 1000))


def test_save(mount, array):
    """np.save and np.load, whole and mapped. [S-01]"""
    np.save(mount.path / "a.npy", array)
    expected = io.BytesIO()
    np.save(expected, array)
    assert mount.bucket.read("a.npy") == expected.getvalue()
    assert np.array_equal(np.load(mount.path / "a.npy"), array)
    mapped = np.load(mount.path / "a.npy", mmap_mode="r")
    assert np.array_equal(mapped, array)


def test_save_twice_into_one_open_file(mount, array):
    """ndarray.tofile duplicates the descriptor and closes the duplicate: a
    FLUSH in the middle that must publish nothing. [S-11]"""
    with open(mount.path / "two.npy", "wb") as file:
        np.save(file, array)
        file.flush()
        if mount.remote:
            assert not mount.bucket.exists("two.npy")
        np.save(file, array * 2)
    with open(mount.path / "two.npy", "rb") as file:
        assert np.array_equal(np.load(file), array)
        assert np.array_equal(np.load(file), array * 2)
    expected = io.BytesIO()
    np.save(expected, array)
    np.save(expected, array * 2)
    assert mount.bucket.read("two.npy") == expected.getvalue()


def test_savez(mount, tmp_path, array):
    """zipfile seeks back to rewrite each member's header. [S-01]"""
    arrays = {"a": array, "b": array[:10], "c": np.arange(5)}
    for save, name in ((np.savez, "s.npz"), (np.savez_compressed, "c.npz")):
        save(mount.path / name, **arrays)
        save(tmp_path / name, **arrays)
        assert mount.bucket.read(name) == (tmp_path / name).read_bytes()
        with np.load(mount.path / name) as loaded:
            for key, value in arrays.items():
                assert np.array_equal(loaded[key], value)


def test_zipfile_with_big_members(mount, random_bytes):
    """The header that is rewritten lies in a part that may be on its way.
    [S-01]"""
    bodies = {f"m{i}": random_bytes(5_000_000) for i in range(4)}
    with zipfile.ZipFile(mount.path / "z.zip", "w") as archive:
        for name, body in bodies.items():
            with archive.open(name, "w", force_zip64=True) as member:
                for start in range(0, len(body), 100_000):
                    member.write(body[start:start + 100_000])
    with zipfile.ZipFile(
            io.BytesIO(mount.bucket.read("z.zip"))) as archive:
        assert archive.testzip() is None
        for name, body in bodies.items():
            assert archive.read(name) == body

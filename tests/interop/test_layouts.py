"""The bytes around the values: layouts of every torch since 1.6, files beyond
4 GiB, and what torch itself writes of the same records."""
import io
import os
import shutil
import subprocess
import tarfile
import zipfile

import pytest
import torch

from support.programs import BIN_DIR
from support.torch_values import same


def run(source, target, *options):
    return subprocess.run(
        [BIN_DIR / "torch_file_copy", *options, source, target],
        capture_output=True, text=True, check=False)


def records(path):
    """(name without the archive's, bytes), in the order of the file."""
    with zipfile.ZipFile(path) as file:
        return [(info.filename.split("/", 1)[1], file.read(info))
                for info in sorted(file.infolist(),
                                   key=lambda info: info.header_offset)]


def test_layout_is_that_of_torch(tmp_path):
    """torch's own writer, given the records of our file, makes the same file:
    headers, padding, descriptors, directory, serialization id."""
    value = {f"w{i}": torch.arange(float(i)) for i in (0, 1, 17, 70000)}
    value["h"] = torch.ones(3, dtype=torch.float8_e5m2)
    torch.save(value, tmp_path / "in.pt")
    done = run(tmp_path / "in.pt", tmp_path / "out.pt")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "torch"
    folder.mkdir()
    writer = torch._C.PyTorchFileWriter(str(folder / "out.pt"), True, 64)
    for name, data in records(tmp_path / "out.pt"):
        # These are written by the end of the file.
        if name not in ("version", ".data/serialization_id"):
            writer.write_record(name, data, len(data))
    writer.write_end_of_file()
    assert (folder / "out.pt").read_bytes() == (
        tmp_path / "out.pt").read_bytes()
    assert [name for name, _ in records(tmp_path / "out.pt")] == [
        name for name, _ in records(tmp_path / "in.pt")]


# What each version wrote besides data.pkl and data/ (torch/serialization.py and
# caffe2/serialize/inline_container.cc of its tag).
VERSIONS = {
    "1.6": {"version": b"3\n"},
    "2.0": {"version": b"3\n"},
    "2.1": {"byteorder": b"little", "version": b"3\n",
            ".data/serialization_id": b"0" * 40},
    "2.13": None}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("version", VERSIONS)
def test_older_versions(tmp_path, version, method):
    """Their records, unpadded as other zip programs write them, and deflated as
    people who repack files do. `.data` is a folder beside `data`."""
    value = {"w": torch.randn(300, 7), "b": torch.arange(9),
             "view": torch.arange(12.0)[3:9:2]}
    torch.save(value, tmp_path / "new.pt")
    extra = VERSIONS[version]
    with zipfile.ZipFile(tmp_path / "in.pt", "w", method) as target:
        for name, data in records(tmp_path / "new.pt"):
            if (extra is None or name == "data.pkl"
                    or name.startswith("data/")):
                target.writestr(f"archive/{name}", data)
        for name, data in (extra or {}).items():
            target.writestr(f"archive/{name}", data)
    for options in ((), ("--into",)):
        done = run(tmp_path / "in.pt", tmp_path / "out.pt", "--weights-only",
                   *options)
        assert done.returncode == 0, done.stderr
        # In place only what a tensor reaches is filled, not all of a storage.
        result = torch.load(tmp_path / "out.pt")
        assert torch.equal(result.pop("view"), value["view"])
        same(result, {"w": value["w"], "b": value["b"]})


def test_legacy_is_refused_by_name(tmp_path):
    torch.save({}, tmp_path / "in.pt", _use_new_zipfile_serialization=False)
    done = run(tmp_path / "in.pt", tmp_path / "out.pt")
    assert done.returncode == 1
    assert "legacy format" in done.stderr and "Unsupported" in done.stderr
    assert not (tmp_path / "out.pt").exists()


def test_tar_is_refused_by_name(tmp_path):
    """What torch wrote before 0.1.10, and what people make of their folders."""
    with tarfile.open(tmp_path / "in.pt", "w") as file:
        info = tarfile.TarInfo("storages")
        info.size = 4
        file.addfile(info, io.BytesIO(b"data"))
    done = run(tmp_path / "in.pt", tmp_path / "out.pt")
    assert done.returncode == 1
    assert "is a tar file" in done.stderr and "Unsupported" in done.stderr
    assert not (tmp_path / "out.pt").exists()


BIG = 4_509_715_660


@pytest.fixture(scope="module")
def beyond_four_gib(tmp_path_factory):
    """(file, expected): a tensor behind one of 4.2 GiB, and the end of that one
    itself. The file is a hole, but for the two."""
    path = tmp_path_factory.mktemp("big") / "in.pt"
    big = torch.empty(BIG, dtype=torch.uint8)
    value = {"big": big, "end": big[-1000:], "small": torch.empty(1000)}
    with torch.serialization.skip_data():
        torch.save(value, path)
    assert os.stat(path).st_size > 1 << 32
    expected = {"end": torch.arange(1000).to(torch.uint8),
                "small": torch.arange(1000.0)}
    reader = torch._C.PyTorchFileReader(str(path))
    with open(path, "r+b") as file:
        file.seek(reader.get_record_offset("data/0") + BIG - 1000)
        file.write(expected["end"].numpy().tobytes())
        file.seek(reader.get_record_offset("data/1"))
        file.write(expected["small"].numpy().tobytes())
    return path, expected


def test_reading_beyond_four_gib(beyond_four_gib, tmp_path):
    """64-bit sizes and offsets; only the bytes that are wanted are fetched."""
    path, expected = beyond_four_gib
    for name, fetched in (("end", 1000), ("small", 4000)):
        done = run(path, tmp_path / "out.pt", "--only", name)
        assert done.returncode == 0, done.stderr
        # A view begins at a multiple of 16 bytes of its storage.
        assert fetched <= int(done.stdout.split()[1]) < fetched + 16
        result = torch.load(tmp_path / "out.pt")
        assert torch.equal(result.pop(name), expected[name]) and not result


def test_writing_beyond_four_gib(beyond_four_gib, tmp_path):
    """torch finds what lies behind 4 GiB, and the directory itself."""
    path, expected = beyond_four_gib
    if shutil.disk_usage(tmp_path).free < 2 * BIG:
        pytest.skip(f"{tmp_path} has no room for a file of {BIG} bytes")
    out = tmp_path / path.name  # it names the archive, too
    try:
        done = run(path, out, "--unverified")  # skip_data() left them out
        assert done.returncode == 0, done.stderr
        result = torch.load(out, mmap=True, weights_only=True)
        assert result["big"].shape == (BIG,)
        for name, tensor in expected.items():
            assert torch.equal(result[name], tensor)
        reader = torch._C.PyTorchFileReader(str(out))
        assert reader.get_record_offset("data/1") > 1 << 32
    finally:
        out.unlink(missing_ok=True)  # 4.2 GiB that pytest would keep


def test_a_pickle_that_inflates_without_end(tmp_path):
    """30 KiB that would take gigabytes: refused by its length."""
    torch.save({"w": torch.ones(2)}, tmp_path / "in.pt")
    with zipfile.ZipFile(tmp_path / "in.pt") as source, \
            zipfile.ZipFile(tmp_path / "bomb.pt", "w",
                            zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, b"\x80\x02" + b"}" * 30_000_000 + b"."
                            if name.endswith("data.pkl") else source.read(name))
    done = run(tmp_path / "bomb.pt", tmp_path / "out.pt")
    assert done.returncode == 1
    assert "data.pkl" in done.stderr and "TooLarge" in done.stderr

"""CkptFileSystem beyond fsspec's own tests."""
import datetime
import gc
import pickle
import subprocess
import sys
import types

import ckptfs
import ckptfs.fsspec
import fsspec
import pytest
from ckptfs.fsspec import CkptFileSystem


@pytest.fixture
def fs(bucket):
    return CkptFileSystem()


@pytest.fixture
def root(bucket):
    return bucket.uri[len("s3://"):].rstrip("/")


def test_the_module_is_not_fsspec_itself():
    assert fsspec.__name__ == "fsspec"
    assert ckptfs.fsspec.fsspec is fsspec
    assert fsspec.get_filesystem_class("ckptfs") is CkptFileSystem


def test_both_protocols_name_the_same(fs, bucket, root):
    fs.pipe_file(root + "/x", b"abc")
    assert fs.cat_file(bucket.uri + "x") == b"abc"
    assert fs.cat_file("ckptfs://" + root + "/x") == b"abc"
    with fsspec.open("ckptfs://" + root + "/x", "rb") as file:
        assert file.read() == b"abc"
    assert fs.unstrip_protocol(root + "/x") == bucket.uri + "x"
    assert ckptfs.exists(fs.unstrip_protocol("ckptfs://" + root + "/x"))


def test_info_of_a_file(fs, bucket, root):
    fs.pipe_file(root + "/x", b"abc")
    info = fs.info(root + "/x")
    head = bucket.head("x")
    assert (info["name"], info["size"], info["type"]) == (root + "/x", 3,
                                                          "file")
    assert info["ETag"] == head["ETag"]
    assert abs(info["LastModified"] - head["LastModified"]) < (
        datetime.timedelta(seconds=1))
    assert info["LastModified"].utcoffset() == datetime.timedelta(0)
    assert fs.modified(root + "/x") == fs.created(root + "/x") == info[
        "LastModified"]
    listed, = fs.ls(root)
    for name in ("name", "size", "type", "ETag"):
        assert listed[name] == info[name]


def test_folders_follow_from_keys(fs, bucket, root):
    assert not fs.exists(root)
    fs.makedirs(root + "/a/b", exist_ok=True)
    assert not fs.exists(root)
    fs.pipe_file(root + "/a/b/c", b"")
    bucket.write("a/marked/", b"")
    assert fs.isdir(root) and fs.isdir(root + "/a") and fs.isdir(root + "/a/b")
    assert not fs.isfile(root + "/a/b")
    assert fs.ls(root, detail=False) == [root + "/a"]
    assert fs.ls(root + "/a", detail=False) == [root + "/a/b",
                                                root + "/a/marked"]
    assert fs.ls(root + "/a/marked") == []
    with pytest.raises(IsADirectoryError):
        fs.modified(root + "/a")
    fs.rm(root + "/a", recursive=True)
    assert bucket.keys() == []


def test_a_file_and_a_folder_of_one_name(fs, root):
    fs.pipe_file(root + "/a", b"file")
    fs.pipe_file(root + "/a/b", b"below")
    fs.pipe_file(root + "/ab", b"other")
    assert fs.isfile(root + "/a")
    assert fs.ls(root + "/a", detail=False) == [root + "/a/b"]
    fs.rm(root + "/a", recursive=True)
    assert fs.find(root) == [root + "/ab"]


def test_find_and_walk_agree(fs, root):
    for name in ("x", "a/1", "a/2", "a/b/3", "c/d/e/4"):
        fs.pipe_file(f"{root}/{name}", name.encode())
    walked = sorted(f"{folder}/{name}" for folder, _, names in fs.walk(root)
                    for name in names)
    assert fs.find(root) == walked
    base = super(CkptFileSystem, fs).find(root, withdirs=True, detail=True)
    ours = fs.find(root, withdirs=True, detail=True)
    assert list(ours) == list(base)
    assert [entry["type"] for entry in ours.values()] == [
        entry["type"] for entry in base.values()]
    assert fs.find(root, maxdepth=1) == [root + "/x"]
    assert fs.find(root + "/x") == [root + "/x"]
    assert fs.find(root + "/none") == []
    assert fs.glob(root + "/**/[13]") == [root + "/a/1", root + "/a/b/3"]
    assert fs.du(root) == sum(len(n) for n in ("x", "a/1", "a/2", "a/b/3",
                                               "c/d/e/4"))


def test_a_folder_of_more_than_a_page(fs, bucket, root):
    for i in range(1005):
        bucket.write(f"many/{i:04}", b"")
    assert fs.ls(root + "/many", detail=False) == [
        f"{root}/many/{i:04}" for i in range(1005)]
    assert len(fs.find(root)) == 1005
    fs.rm(root + "/many", recursive=True)
    assert bucket.keys() == []


def test_what_is_not_there(fs, root):
    for call in (fs.info, fs.ls, fs.modified, fs.cat_file, fs.rm_file, fs.rm,
                 fs.open):
        with pytest.raises(FileNotFoundError):
            call(root + "/none")
    with pytest.raises(FileNotFoundError):
        fs.cp_file(root + "/none", root + "/x")
    for call in (fs.exists, fs.isdir, fs.isfile):
        assert call(root + "/none") is False
        assert call("there-is-no-such-bucket/key") is False
    with pytest.raises(FileNotFoundError):
        fs.ls("there-is-no-such-bucket")


def test_trouble_is_not_absence(fs, root, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    for call in (fs.exists, fs.isdir, fs.isfile, fs.ls, fs.open):
        with pytest.raises(PermissionError):
            call(root + "/x")


def test_folders_are_not_removed_or_opened_as_files(fs, root):
    fs.pipe_file(root + "/a/b", b"")
    for call in (fs.rm_file, fs.rm):
        with pytest.raises(IsADirectoryError):
            call(root + "/a")
    assert fs.exists(root + "/a/b")


@pytest.mark.parametrize("start,end", [
    (None, None), (2, 5), (2, None), (None, 3), (-4, None), (-4, -1), (3, 100),
    (5, 3), (100, None), (0, 0)])
def test_ranges_are_slices(fs, root, start, end):
    content = bytes(range(10))
    fs.pipe_file(root + "/x", content)
    assert fs.cat_file(root + "/x", start, end) == content[start:end]


def test_large_files(fs, bucket, root):
    content = bytes(range(256)) * (20 << 12)  # 20 MiB
    with fs.open(root + "/x", "wb") as file:
        for at in range(0, len(content), 3 << 20):
            file.write(content[at:at + (3 << 20)])
        assert file.tell() == len(content)
    assert bucket.read("x") == content
    with fs.open(root + "/x") as file:
        file.seek(-5, 2)
        assert file.read() == content[-5:]
        file.seek(1 << 20)
        assert file.read(100) == content[1 << 20:][:100]


def test_text(fs, root):
    with fs.open(root + "/x", "w", newline="") as file:
        file.write("one\r\ntwo\n")
    assert fs.cat_file(root + "/x") == b"one\r\ntwo\n"
    with fs.open(root + "/x", "r", encoding="utf-8") as file:
        assert file.read().splitlines() == ["one", "two"]


def test_appending(fs, root):
    for line in ("one\n", "two\n"):
        with fs.open(root + "/x", "a") as file:
            file.write(line)
    assert fs.cat_file(root + "/x") == b"one\ntwo\n"


# [S-73]
def test_appending_never_loses_what_another_wrote(fs, root):
    fs.pipe_file(root + "/x", b"one")
    file = fs.open(root + "/x", "ab")
    file.write(b"two")
    fs.pipe_file(root + "/x", b"another")
    with pytest.raises(ckptfs.S3Exception) as caught:
        file.close()
    assert caught.value.code == "PreconditionFailed"
    assert fs.cat_file(root + "/x") == b"another"


# [S-73]
def test_appending_is_for_small_files(fs, root, monkeypatch):
    monkeypatch.setattr("ckptfs._fsspec_files._MAX_APPEND_BYTES", 2)
    fs.pipe_file(root + "/x", b"abc")
    with pytest.raises(ValueError, match="written|writing it again"):
        fs.open(root + "/x", "ab")


@pytest.mark.parametrize("mode", ["r+b", "w+b", "rwb"])
def test_other_modes_are_refused(fs, root, mode):
    with pytest.raises(ValueError, match="not served"):
        fs.open(root + "/x", mode)


# [S-73]
@pytest.mark.parametrize("mode,content", [("wb", b"new"), ("w", "new"),
                                          ("ab", b"new"), ("a", "new")])
def test_a_failed_block_leaves_the_old_file(fs, bucket, root, mode, content):
    fs.pipe_file(root + "/x", b"old")
    with pytest.raises(KeyError):
        with fs.open(root + "/x", mode) as file:
            file.write(content)
            raise KeyError
    assert fs.cat_file(root + "/x") == b"old"
    assert bucket.uploads() == []


def test_a_forgotten_file_does_not_appear(fs, bucket, root):
    file = fs.open(root + "/x", "wb")
    file.write(b"a" * (9 << 20))
    del file
    assert bucket.keys() == []
    assert bucket.uploads() == []


def test_exclusive_where_the_other_comes_later(fs, root):
    file = fs.open(root + "/x", "xb")
    file.write(b"mine")
    fs.pipe_file(root + "/x", b"other")
    with pytest.raises(FileExistsError):
        file.close()
    assert fs.cat_file(root + "/x") == b"other"


def test_a_transaction_publishes_at_its_end(fs, bucket, root):
    with fs.transaction:
        with fs.open(root + "/x", "wb") as file:
            file.write(b"a")
        fs.pipe_file(root + "/y", b"b")
        assert bucket.keys() == []
    assert fs.cat_file(root + "/x") + fs.cat_file(root + "/y") == b"ab"


def test_a_failed_transaction_publishes_nothing(fs, bucket, root):
    fs.pipe_file(root + "/x", b"old")
    with pytest.raises(KeyError):
        with fs.transaction:
            fs.pipe_file(root + "/x", b"new")
            fs.pipe_file(root + "/y", b"a" * (9 << 20))
            raise KeyError
    assert fs.find(root) == [root + "/x"]
    assert fs.cat_file(root + "/x") == b"old"
    assert bucket.uploads() == []
    fs.pipe_file(root + "/z", b"after")
    assert fs.exists(root + "/z")


def test_copy_and_move(fs, root):
    fs.pipe_file(root + "/a b+&%", b"abc")
    fs.cp_file(root + "/a b+&%", root + "/c/ü")
    assert fs.cat_file(root + "/c/ü") == b"abc"
    fs.mv(root + "/a b+&%", root + "/d")
    assert fs.find(root) == [root + "/c/ü", root + "/d"]
    fs.mv(root + "/c", root + "/e", recursive=True)
    assert fs.find(root) == [root + "/d", root + "/e/ü"]


def test_copy_between_buckets(fs, s3server, root):
    other = f"other-{root[-8:]}".replace("/", "-").lower()
    s3server.client().create_bucket(Bucket=other)
    fs.pipe_file(root + "/x", b"abc")
    fs.cp_file(root + "/x", other + "/y")
    assert fs.cat_file(other + "/y") == b"abc"


def test_listings_are_cached_only_if_asked(bucket, root):
    plain, cached = CkptFileSystem(), CkptFileSystem(use_listings_cache=True)
    plain.pipe_file(root + "/x", b"")
    assert len(plain.ls(root)) == len(cached.ls(root)) == 1
    bucket.write("y", b"")
    assert len(plain.ls(root)) == 2
    assert len(cached.ls(root)) == 1
    assert len(cached.ls(root, refresh=True)) == 2
    cached.pipe_file(root + "/z", b"")
    assert len(cached.ls(root)) == 3
    cached.invalidate_cache()
    assert len(cached.ls(root)) == 3


def test_options(bucket, root):
    with pytest.raises(TypeError, match="key_id"):
        CkptFileSystem(key_id="a")
    fs = CkptFileSystem("us-east-1", bucket.uri and None,
                        ckptfs.S3ClientConfig(part_size=6 << 20))
    again = pickle.loads(pickle.dumps(fs))
    assert (again.region, again.config) == (fs.region, fs.config)
    again.pipe_file(root + "/x", b"abc")
    assert fs.cat_file(root + "/x") == b"abc"


def test_wrong_paths(fs):
    import pathlib

    with pytest.raises(ValueError, match="pathlib"):
        fs.exists(pathlib.Path("s3://bucket/key"))
    with pytest.raises(ValueError, match="no bucket"):
        fs.ls("")
    with pytest.raises(IsADirectoryError):
        fs.open("s3://bucket")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("scheme", ["ckptfs://", "s3://"])
def test_the_storage_of_torch_s_dcp(bucket, root, scheme):
    import torch
    from torch.distributed import checkpoint
    from torch.distributed.checkpoint._fsspec_filesystem import (FsspecReader,
                                                                 FsspecWriter)

    assert ckptfs.fsspec.register_s3()
    for value in (1.0, 2.0):  # the second replaces the first
        checkpoint.save({"a": torch.full((9,), value), "n": 3}, no_dist=True,
                        storage_writer=FsspecWriter(scheme + root + "/dcp"))
    loaded = {"a": torch.zeros(9), "n": 0}
    checkpoint.load(loaded, no_dist=True,
                    storage_reader=FsspecReader(scheme + root + "/dcp"))
    assert loaded["a"].tolist() == [2.0] * 9 and loaded["n"] == 3
    assert sorted(bucket.names()) == ["dcp/.metadata", "dcp/__0_0.distcp"]


def _run(program):
    paths = [str(path) for path in sys.path if path]
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}\n"
         + program], capture_output=True, text=True, timeout=120)


def test_s3_is_registered_where_nothing_else_is():
    done = _run("import ckptfs.fsspec, fsspec\n"
                "assert 's3' not in fsspec.registry\n"
                "assert ckptfs.fsspec.register_s3()\n"
                "assert ckptfs.fsspec.register_s3()\n"
                "assert fsspec.get_filesystem_class('s3') is "
                "ckptfs.fsspec.CkptFileSystem\n")
    assert done.returncode == 0, done.stderr


def test_another_s3_is_never_overridden(tmp_path):
    done = _run("import ckptfs.fsspec, fsspec\n"
                "class Other(fsspec.AbstractFileSystem): pass\n"
                "fsspec.register_implementation('s3', Other)\n"
                "assert not ckptfs.fsspec.register_s3()\n"
                "assert fsspec.get_filesystem_class('s3') is Other\n")
    assert done.returncode == 0, done.stderr
    (tmp_path / "s3fs.py").write_text(
        "import fsspec\n__version__ = '2026.1'\n"
        "class S3FileSystem(fsspec.AbstractFileSystem): pass\n")
    done = _run(f"sys.path.insert(0, {str(tmp_path)!r})\n"
                "import ckptfs.fsspec, fsspec\n"
                "assert not ckptfs.fsspec.register_s3()\n"
                "assert fsspec.get_filesystem_class('s3').__module__ == "
                "'s3fs'\n")
    assert done.returncode == 0, done.stderr


def test_the_package_does_not_import_it():
    done = _run("import ckptfs\n"
                "assert 'fsspec' not in sys.modules\n"
                "assert 'lightning' not in sys.modules\n"
                "assert 'torch' not in sys.modules\n")
    assert done.returncode == 0, done.stderr
    assert isinstance(ckptfs.fsspec, types.ModuleType)


# [S-73]
@pytest.mark.parametrize(("mode", "compression"), [
    ("wb", None), ("wt", None), ("wb", "gzip"), ("wt", "gzip")])
def test_a_with_block_of_fsspec_open_that_fails_publishes_nothing(
        bucket, mode, compression):
    ckptfs.save({"old": 1}, bucket.uri + "x")
    half = "half" if mode == "wt" else b"half"
    options = {"compression": compression}
    with pytest.raises(KeyError):
        with fsspec.open(f"ckptfs:{bucket.uri[3:]}x", mode, **options) as file:
            file.write(half)
            raise KeyError
    assert ckptfs.load(bucket.uri + "x") == {"old": 1}
    assert bucket.uploads() == []
    # One that is left well is there, also inside of an except.
    try:
        raise KeyError
    except KeyError:
        with fsspec.open(f"ckptfs:{bucket.uri[3:]}x", mode, **options) as file:
            file.write(half)
    with fsspec.open(f"ckptfs:{bucket.uri[3:]}x", mode.replace("w", "r"),
                     **options) as file:
        assert file.read() == half


# [S-73]
def test_a_forgotten_text_file_leaves_nothing(fs, root):
    fs.pipe_file(f"{root}/x", b"whole")
    file = fs.open(f"{root}/x", "w")
    file.write("half")
    del file
    gc.collect()
    assert fs.cat_file(f"{root}/x") == b"whole"


def test_a_folder_does_not_move_into_itself(fs, root):
    fs.pipe_file(f"{root}/r/x", b"a")
    with pytest.raises(ValueError, match="into itself"):
        fs.mv(f"{root}/r", f"{root}/r/sub", recursive=True)
    assert fs.cat_file(f"{root}/r/x") == b"a"
    fs.mv(f"{root}/r", f"{root}/r2", recursive=True)
    assert fs.cat_file(f"{root}/r2/x") == b"a"


def test_a_folder_that_was_made_is_there_until_it_is_removed(bucket):
    folder = bucket.uri + "made/inner"
    CkptFileSystem().makedirs(folder)
    files = CkptFileSystem()
    assert files.isdir(folder) and not files.isfile(folder)
    assert files.ls(folder) == []
    assert bucket.names() == []
    # The next process does not see it.
    assert not files.isdir(bucket.uri + "made") and not files.exists(folder)
    files.rm(bucket.uri + "made", recursive=True)
    assert not files.isdir(folder)
    with pytest.raises(FileNotFoundError):
        files.rm(bucket.uri + "made", recursive=True)

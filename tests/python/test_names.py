"""[S-69] Names are names: what in other places is a pattern, an escape or a
scheme is a letter here, and no call touches another file than the one it was
given."""
import os
import subprocess
import sys

import ckptfs
import pytest
from ckptfs.fsspec import CkptFileSystem
from ckptfs.lightning import S3AsyncLightningCheckpoint, S3LightningCheckpoint

# (a name, another that it fits as a pattern, means as an escape, begins, ...)
NAMES = [("run[1]", "run1"), ("run[!x]", "runA"), ("run?", "runA"),
         ("run*", "run-best"), ("**", "run"), ("a%20b", "a b"),
         ("a+b", "a b"), ("x%2Fy", "x/y"), ("x#1", "x"), ("x?y=1", "x"),
         ("x&amp;y", "x&y"), ("{0}", "0"), ("%s%d", "s"), ("a\\b", "ab"),
         ("$HOME", "HOME"), ("~", "home"), ("run1", "run10"), (" x ", "x"),
         ("x.", "x"), ("u://v", "v")]


# For what takes long.
FEW = NAMES[::3]


@pytest.fixture
def fs(bucket):
    return CkptFileSystem()


@pytest.fixture
def root(bucket):
    return bucket.uri[len("s3://"):].rstrip("/")


@pytest.fixture
def put(fs, root):
    def put_all(*names):
        for name in names:
            fs.pipe_file(f"{root}/{name}", name.encode())
    return put_all


@pytest.fixture
def left(fs, root):
    def names():
        return [name[len(root) + 1:] for name in fs.find(root)]
    return names


@pytest.mark.parametrize("name, other", NAMES)
def test_a_removal_is_of_that_name(bucket, fs, root, put, left, name, other):
    plugin = S3LightningCheckpoint()
    for remove in (
            lambda: fs.rm(f"{root}/{name}"),
            lambda: fs.rm([f"{root}/{name}"]),
            lambda: fs.rm(f"{root}/{name}", recursive=True),
            lambda: fs.rm(f"{root}/{name}", recursive=True, maxdepth=2),
            lambda: fs.rm_file(f"{root}/{name}"),
            lambda: ckptfs.remove(f"{bucket.uri}{name}"),
            lambda: plugin.remove_checkpoint(f"{bucket.uri}{name}")):
        put(name, other)
        remove()
        assert left() == [other]
        fs.rm_file(f"{root}/{other}")
    for remove in (
            lambda: fs.rm(f"{root}/{name}", recursive=True),
            lambda: fs.rm(f"{root}/{name}", recursive=True, maxdepth=3),
            lambda: plugin.remove_checkpoint(f"{bucket.uri}{name}")):
        put(f"{name}/c/__0_0.distcp", f"{other}/c/__0_0.distcp")
        remove()
        assert left() == [f"{other}/c/__0_0.distcp"]
        fs.rm(f"{root}/{other}", recursive=True)


@pytest.mark.parametrize("name, other", NAMES)
def test_a_move_is_of_that_name(fs, root, put, left, name, other):
    put(f"{name}.tmp", f"{other}.tmp", f"{name}/x", f"{other}/x")
    fs.mv(f"{root}/{name}.tmp", f"{root}/{name}.pt")
    fs.mv(f"{root}/{name}", f"{root}/new/{name}", recursive=True)
    assert left() == sorted([f"{name}.pt", f"{other}.tmp", f"new/{name}/x",
                             f"{other}/x"])
    assert fs.cat_file(f"{root}/{name}.pt") == f"{name}.tmp".encode()
    assert fs.cat_file(f"{root}/new/{name}/x") == f"{name}/x".encode()
    fs.mv([f"{root}/{name}.pt"], f"{root}/deep/")
    assert fs.isfile(f"{root}/deep/{name.rpartition('/')[2]}.pt")


@pytest.mark.parametrize("name, other", NAMES)
def test_a_copy_is_of_that_name(fs, root, put, left, name, other):
    put(f"{name}.a", f"{other}.a", f"{name}/x", f"{other}/x")
    before = left()
    fs.copy(f"{root}/{name}.a", f"{root}/copy")
    fs.copy(f"{root}/{name}", f"{root}/copies/", recursive=True)
    fs.copy([f"{root}/{name}.a"], f"{root}/copies")
    last = name.rpartition("/")[2]
    assert left() == sorted([*before, "copy", f"copies/{last}/x",
                             f"copies/{last}.a"])
    assert fs.cat_file(f"{root}/copy") == f"{name}.a".encode()
    assert fs.cat(f"{root}/{name}.a") == f"{name}.a".encode()


@pytest.mark.parametrize("name, other", NAMES)
def test_files_of_this_machine_go_by_their_names(fs, root, put, left, tmp_path,
                                                 name, other):
    for each in (name, other):
        (tmp_path / "from" / f"{each}.d").mkdir(parents=True)
        (tmp_path / "from" / f"{each}.d/x").write_text(each)
        (tmp_path / "from" / f"{each}.a").write_text(each)
    source = f"{tmp_path}/from/{name}"
    fs.put(f"{source}.a", f"{root}/put")
    fs.put(f"{source}.a", f"{root}/puts/")
    fs.put(f"{source}.d", f"{root}/puts/d", recursive=True)
    last = name.rpartition("/")[2]
    assert left() == sorted(["put", f"puts/{last}.a", "puts/d/x"])
    assert fs.cat_file(f"{root}/put") == name.encode()

    put(f"{name}.a", f"{other}.a", f"{name}.d/x", f"{other}.d/x")
    fs.get(f"{root}/{name}.a", f"{tmp_path}/to/")
    fs.get(f"{root}/{name}.d", f"{tmp_path}/to/{name}", recursive=True)
    fs.get([f"{root}/{name}.a"], [f"{tmp_path}/to/{name}.b"])
    got = sorted(os.path.relpath(os.path.join(folder, file), tmp_path / "to")
                 for folder, _, files in os.walk(tmp_path / "to")
                 for file in files)
    assert got == sorted(os.path.normpath(path) for path in (
        f"{last}.a", f"{name}/x", f"{name}.b"))


@pytest.mark.parametrize("name, other", NAMES)
def test_what_is_looked_at_is_that_name(bucket, fs, root, put, name, other):
    put(f"{other}.a", f"{other}/x")
    for look in (fs.exists, fs.isfile, fs.isdir):
        assert not look(f"{root}/{name}.a") and not look(f"{root}/{name}")
    assert not ckptfs.exists(f"{bucket.uri}{name}.a")
    assert fs.find(f"{root}/{name}") == []
    put(f"{name}.a", f"{name}/x")
    assert fs.ls(f"{root}/{name}", detail=False) == [f"{root}/{name}/x"]
    assert fs.find(f"{root}/{name}") == [f"{root}/{name}/x"]
    assert [files for _, _, files in fs.walk(f"{root}/{name}")] == [["x"]]
    assert fs.expand_path(f"{root}/{name}") == [f"{root}/{name}"]
    assert fs.expand_path(f"{root}/{name}", recursive=True) == [
        f"{root}/{name}", f"{root}/{name}/x"]
    assert ckptfs.list(f"{bucket.uri}{name}") == ["x"]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name, other", FEW)
def test_checkpoints_in_folders_of_these_names(place, name, other):
    import torch
    import torch.distributed.checkpoint as dcp
    from ckptfs.dcp import S3FileSystem, S3StorageReader, S3StorageWriter

    files = S3FileSystem()
    for value, folder in enumerate((name, other)):
        path = f"{place}{folder}"
        files.mkdir(path)
        for _ in range(2):  # the second removes the files of the first
            dcp.save({"w": torch.full((3,), value)}, no_dist=True,
                     storage_writer=S3StorageWriter(path=path))
        ckptfs.save(value, f"{path}/plain.pt")
    for value, folder in enumerate((name, other)):
        path = f"{place}{folder}"
        assert len(files.ls(path)) == 3
        state = {"w": torch.zeros(3, dtype=torch.int64)}
        dcp.load(state, no_dist=True, storage_reader=S3StorageReader(path=path))
        assert state["w"].tolist() == [value] * 3
        assert ckptfs.load(f"{path}/plain.pt") == value
        assert "plain.pt" in ckptfs.list(path)
    files.rename(f"{place}{name}/plain.pt", f"{place}{name}/moved.pt")
    ckptfs.remove(f"{place}{name}/moved.pt")
    assert len(files.ls(f"{place}{name}")) == 2
    assert len(files.ls(f"{place}{other}")) == 3


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name, other", FEW)
def test_torch_s_fsspec_writer(bucket, root, left, name, other):
    import torch
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint._fsspec_filesystem import FsspecWriter

    for folder in (other, name):
        for _ in range(2):  # the second replaces the first
            dcp.save({"w": torch.zeros(3)}, no_dist=True,
                     storage_writer=FsspecWriter(f"ckptfs://{root}/{folder}"))
    assert left() == sorted(f"{folder}/{file}" for folder in (name, other)
                            for file in (".metadata", "__0_0.distcp"))


def test_patterns_are_for_glob(fs, root, put):
    put("run1", "run[1]", "run10")
    assert fs.glob(f"{root}/run[1]") == [f"{root}/run1"]
    with pytest.raises(FileNotFoundError):
        fs.rm(f"{root}/run?")
    with pytest.raises(FileNotFoundError):
        fs.copy(f"{root}/run?", f"{root}/new")
    with pytest.raises(FileNotFoundError):
        fs.get(f"{root}/run?", "/nonexistent")
    fs.rm(fs.glob(f"{root}/run1*"))
    assert fs.find(root) == [f"{root}/run[1]"]


def test_a_move_removes_what_it_has_copied(fs, root, put, left):
    # Onto itself, however the name is spelled.
    put("x", "d/y")
    fs.mv(f"s3://{root}/x", f"{root}/x")
    fs.mv(f"{root}/x", f"{root}/x/")
    fs.mv(f"{root}/d/y", f"{root}/d/")
    fs.mv(f"{root}/d", f"{root}", recursive=True)
    assert left() == ["d/y", "x"]
    # What is deeper than it was to go.
    put("d/e/z")
    fs.mv(f"{root}/d", f"{root}/n", recursive=True, maxdepth=1)
    assert left() == ["d/e/z", "n/y", "x"]
    # A folder that a list would not have copied.
    with pytest.raises(IsADirectoryError):
        fs.mv([f"{root}/d"], [f"{root}/m"], recursive=True)
    with pytest.raises(IsADirectoryError):
        fs.mv(f"{root}/d", f"{root}/m")
    # One file over another of the same move.
    put("1/a", "2/a")
    with pytest.raises(ValueError, match="same move"):
        fs.mv([f"{root}/1/a", f"{root}/2/a"], f"{root}/m/")
    with pytest.raises(ValueError, match="same move"):
        fs.mv([f"{root}/1/a", f"{root}/2/a"], [f"{root}/2/a", f"{root}/3"])
    assert left() == ["1/a", "2/a", "d/e/z", "n/y", "x"]


def test_what_appears_while_a_folder_moves_stays(fs, root, put, left,
                                                 monkeypatch):
    put("d/x")
    original = CkptFileSystem.cp_file

    def copy_and_another_writes(self, *names, **options):
        original(self, *names, **options)
        fs.pipe_file(f"{root}/d/late", b"")
    monkeypatch.setattr(CkptFileSystem, "cp_file", copy_and_another_writes)
    fs.mv(f"{root}/d", f"{root}/e", recursive=True)
    assert left() == ["d/late", "e/x"]


def test_a_move_takes_the_markers_of_folders(fs, bucket, root):
    bucket.write("d/", b"")
    bucket.write("d/e/", b"")
    bucket.write("d/odd/", b"bytes in a marker")
    bucket.write("d/x", b"")
    bucket.write("d", b"a file")
    fs.mv(f"{root}/d", f"{root}/n", recursive=True)
    assert bucket.keys() == ["d/odd/", "n", "n/x"]


def test_keys_do_not_leave_the_folder_they_are_copied_to(fs, bucket, root,
                                                         tmp_path):
    bucket.write("d/../../evil", b"")
    with pytest.raises(ValueError, match="outside"):
        fs.get(f"{root}/d", f"{tmp_path}/to", recursive=True)
    assert os.listdir(tmp_path) == []


def test_a_slash_at_the_end_is_of_a_folder(place, tmp_path):
    ckptfs.save(1, f"{place}x")
    for call in (ckptfs.remove, ckptfs.load,
                 ckptfs.S3Checkpoint().reader):
        with pytest.raises(ValueError, match="folder"):
            call(f"{place}x/")
    assert not ckptfs.exists(f"{place}x/")
    from ckptfs.dcp import S3FileSystem
    with pytest.raises(ValueError, match="folder"):
        S3FileSystem().rename(f"{place}x/", f"{place}y")
    with pytest.raises(ValueError, match="folder"):
        S3FileSystem().rename(f"{place}x", f"{place}y/")
    assert ckptfs.load(f"{place}x") == 1


def test_two_slashes_are_not_one(bucket):
    ckptfs.save(1, f"{bucket.uri}a//x")
    ckptfs.save(2, f"{bucket.uri}a/y")
    assert ckptfs.list(f"{bucket.uri}a/") == ["y"]
    assert ckptfs.list(f"{bucket.uri}a//") == ["x"]
    ckptfs.remove(f"{bucket.uri}a/x")
    assert bucket.names() == ["a//x", "a/y"]


def test_removing_a_folder_leaves_a_file_of_its_name(bucket):
    plugin = S3LightningCheckpoint()
    bucket.write("run", b"")
    plugin.remove_checkpoint(f"{bucket.uri}run/")
    assert bucket.names() == ["run"]
    bucket.write("other/x", b"")
    plugin.remove_checkpoint(f"{bucket.uri}other/")
    assert bucket.names() == ["run"]


@pytest.mark.parametrize("plugin", [S3LightningCheckpoint,
                                    S3AsyncLightningCheckpoint])
def test_plain_paths_of_lightning(bucket, monkeypatch, tmp_path, plugin):
    # A mount is not needed for what is to be seen here.
    monkeypatch.setattr("ckptfs.lightning._below_a_mount", lambda path: True)
    monkeypatch.chdir(tmp_path)
    plugin = plugin()
    for name, other in NAMES:
        for each in (name, other):
            os.makedirs(f"{each}.d/inner")
            plugin.save_checkpoint({"name": each}, f"./{each}.ckpt")
            plugin.teardown()
        plugin.remove_checkpoint(f"./{name}.ckpt")
        plugin.remove_checkpoint(f"./{name}.d")
        assert plugin.load_checkpoint(f"./{other}.ckpt") == {"name": other}
        assert os.path.isdir(f"{other}.d/inner")
        assert not os.path.exists(f"{name}.ckpt")
        assert not os.path.exists(f"{name}.d")
        plugin.remove_checkpoint(f"./{other}.ckpt")
        plugin.remove_checkpoint(f"./{other}.d")
    # A link is removed, not what it leads to, with a slash at its end, too.
    os.makedirs("target")
    for slash in ("", "/"):
        open("target/kept", "w").close()
        os.symlink("target", "link")
        plugin.remove_checkpoint(f"link{slash}")
        assert os.listdir("target") == ["kept"]
        assert not os.path.lexists("link")
    # "x/.." is what the file system says, not what the text does.
    os.makedirs("deep/inner")
    os.symlink("deep/inner", "jump")
    plugin.save_checkpoint({"a": 1}, "jump/../x.ckpt")
    plugin.teardown()
    assert os.path.exists("deep/x.ckpt") and not os.path.exists("x.ckpt")
    open("x.ckpt", "w").close()
    plugin.remove_checkpoint("jump/../x.ckpt")
    assert os.path.exists("x.ckpt") and not os.path.exists("deep/x.ckpt")
    # What is done later is done where it was asked for.
    os.makedirs("elsewhere")
    plugin.save_checkpoint({"a": 1}, "later.ckpt")
    os.chdir("elsewhere")
    plugin.teardown()
    assert os.path.exists("../later.ckpt") and not os.listdir(".")


def test_a_user_s_home_is_no_name(fs, root, put, tmp_path):
    program = ("import ckptfs, os; os.mkdir('~'); ckptfs.save(1, '~/x.pt'); "
               "print(os.listdir('~'))")
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path,
                          env={**os.environ, "HOME": str(tmp_path / "home")},
                          text=True, capture_output=True, check=True)
    assert done.stdout.strip() == "['x.pt']"

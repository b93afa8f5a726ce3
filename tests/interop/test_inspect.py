"""ckptfs inspect and ckptfs verify on files that torch and safetensors wrote:
what they find, what they fetch for it, and how they end."""
import argparse
import datetime
import json
import os
import pathlib
import pickle
import resource
import subprocess
import sys
import uuid
import zipfile

import numpy
import pytest
import torch
import torch.distributed.checkpoint
from safetensors.torch import save_file
from torch.serialization import get_unsafe_globals_in_checkpoint

from support.programs import BIN_DIR, free_port

UNSAFE, DAMAGED = 8, 9


def ckptfs(*words, env=None):
    return subprocess.run(
        [BIN_DIR / "ckptfs", *words], capture_output=True, check=False,
        timeout=120, env={**os.environ, **(env or {})})


def inspect(path, *options, code=0, **how):
    done = ckptfs("inspect", "--json", path, *options, **how)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def error_of(command, path, code, *options, **how):
    """The one line of a command that fails."""
    done = ckptfs(command, path, *options, **how)
    assert done.returncode == code, (done.stdout, done.stderr)
    line = done.stderr.decode()
    assert line.startswith("ckptfs: ") and line.count("\n") == 1
    return line


@pytest.fixture
def state():
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(30, 40),
                                torch.nn.BatchNorm1d(40))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(4, 30)).sum().backward()
    optimizer.step()
    return {"epoch": 3, "model": model.state_dict(),
            "optimizer": optimizer.state_dict()}


def test_a_torch_file(tmp_path, state):
    torch.save(state, tmp_path / "last.ckpt")
    found = inspect(tmp_path / "last.ckpt")
    assert found["kind"] == "torch.save"
    assert found["file_bytes"] == (tmp_path / "last.ckpt").stat().st_size
    assert found["format"]["archive"] == "last"
    assert found["format"]["version"] == "3"
    assert found["format"]["byte order"] == "little"
    tensors = {t["name"]: t for t in found["tensors"]}
    for name, tensor in state["model"].items():
        entry = tensors[f"model.{name}"]
        assert entry["dtype"] == str(tensor.dtype).removeprefix("torch.")
        assert entry["shape"] == list(tensor.shape)
        assert entry["bytes"] == tensor.nbytes
    assert "optimizer.state.0.exp_avg" in tensors
    assert {"key": "epoch", "value": "3"} in found["others"]
    assert found["unsafe_globals"] == []
    text = ckptfs("inspect", tmp_path / "last.ckpt").stdout.decode()
    assert "model.0.weight" in text and "[40, 30]" in text


def test_a_dcp_folder(tmp_path, state):
    """By its .metadata, which torch itself pickled."""
    folder = tmp_path / "step-1"
    torch.distributed.checkpoint.save(state, checkpoint_id=folder,
                                      no_dist=True)
    found = inspect(folder)
    assert found["kind"] == "dcp"
    assert found["file"] == str(folder)
    tensors = {t["name"]: t for t in found["tensors"]}
    for name, tensor in state["model"].items():
        entry = tensors[f"model.{name}"]
        assert entry["dtype"] == str(tensor.dtype).removeprefix("torch.")
        assert entry["shape"] == list(tensor.shape)
        assert entry["bytes"] == tensor.nbytes
    assert "epoch" in {other["key"] for other in found["others"]}
    assert found["format"]["files"] == "1"
    assert found["file_bytes"] == sum(
        path.stat().st_size for path in folder.glob("*.distcp"))
    assert found["unsafe_globals"] == []
    (folder / ".metadata").write_bytes(b"damaged")
    assert ".metadata" in error_of("inspect", folder, DAMAGED)


class Getattr:
    """Reaches what no scan of names can see."""
    def __reduce__(self):
        return getattr, (torch.Size, "__class__")


def test_getattr_in_a_dcp_folder(tmp_path):
    """Python pickles an enumeration of DCP with it, and an attacker the rest.
    [S-63]"""
    folder = tmp_path / "step-1"
    torch.distributed.checkpoint.save({"w": torch.ones(2)},
                                      checkpoint_id=folder, no_dist=True)
    assert inspect(folder)["unsafe_globals"] == []
    metadata = pickle.loads((folder / ".metadata").read_bytes())
    metadata.unknown = Getattr()
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))
    done = ckptfs("inspect", folder)
    assert done.returncode == UNSAFE
    assert b"builtins.getattr" in done.stdout


def test_unsafe_globals_of_a_dcp_folder(tmp_path):
    """[S-63]"""
    folder = tmp_path / "step-1"
    torch.distributed.checkpoint.save({"w": torch.ones(2)},
                                      checkpoint_id=folder, no_dist=True)
    metadata = pickle.loads((folder / ".metadata").read_bytes())
    metadata.storage_meta.modules = [Malicious(tmp_path / "was-here")]
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))
    done = ckptfs("inspect", folder)
    assert done.returncode == UNSAFE
    assert b"posix.system" in done.stdout
    assert not (tmp_path / "was-here").exists()


def test_a_safetensors_file(tmp_path, state):
    save_file(state["model"], tmp_path / "m.safetensors", {"format": "pt"})
    found = inspect(tmp_path / "m.safetensors")
    assert found["kind"] == "safetensors"
    assert {t["name"]: (t["shape"], t["bytes"]) for t in found["tensors"]} == {
        name: (list(t.shape), t.nbytes) for name, t in state["model"].items()}
    assert found["others"] == [{"key": "format", "value": "pt"}]


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_a_malicious_file_is_named_and_not_run(tmp_path):
    """[S-63]"""
    torch.save({"w": torch.ones(2), "x": Malicious(tmp_path / "was-here")},
               tmp_path / "evil.pt")
    found = inspect(tmp_path / "evil.pt", code=UNSAFE)
    assert found["unsafe_globals"] == ["posix.system"]
    assert [t["name"] for t in found["tensors"]] == ["w"]
    done = ckptfs("inspect", tmp_path / "evil.pt")
    assert done.returncode == UNSAFE
    assert b"posix.system" in done.stdout
    assert not (tmp_path / "was-here").exists()


@pytest.mark.parametrize("value", [
    {"p": pathlib.PurePosixPath("a"), "w": torch.ones(2)},
    {"n": numpy.float64(1.5)},
    {"d": datetime.date(2026, 1, 2), "s": {1, 2}},
    {"e": argparse.Namespace(lr=0.1)},
    {"m": torch.nn.Linear(2, 3)},
    torch.nn.Linear(2, 3).state_dict(),
    {"c": 1j, "dtype": torch.float8_e5m2, "size": torch.Size([1])}],
    ids=["path", "numpy", "date", "namespace", "module", "state_dict", "safe"])
def test_unsafe_globals_as_torch_finds_them(tmp_path, value):
    torch.save(value, tmp_path / "f.pt")
    expected = set(get_unsafe_globals_in_checkpoint(tmp_path / "f.pt"))
    found = inspect(tmp_path / "f.pt", code=UNSAFE if expected else 0)
    assert set(found["unsafe_globals"]) == expected


def test_odd_names_cannot_act_on_a_terminal(tmp_path):
    name = "a\n\x1b[2J\x9b31m‮x"
    torch.save({name: torch.ones(2)}, tmp_path / "f.pt")
    assert inspect(tmp_path / "f.pt")["tensors"][0]["name"] == name
    text = ckptfs("inspect", tmp_path / "f.pt").stdout
    assert b"\x1b" not in text and "‮".encode() not in text
    assert rb"a\n\x1b[2J\xc2\x9b31m\xe2\x80\xaex" in text


def test_many_tensors(tmp_path):
    """100,000 of them, in both formats, are a matter of a moment."""
    tensors = {f"layer.{i}.weight": torch.zeros(i % 3) for i in range(100_000)}
    torch.save(tensors, tmp_path / "many.pt")
    save_file(tensors, tmp_path / "many.safetensors")
    for name in ("many.pt", "many.safetensors"):
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        found = inspect(tmp_path / name)
        spent = (resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
                 - children.ru_utime)
        assert len(found["tensors"]) == 100_000
        assert spent < 20, (name, spent)
        done = ckptfs("verify", tmp_path / name)
        assert done.returncode == 0, done.stderr


def test_a_whole_file_is_whole(tmp_path, state):
    torch.save(state, tmp_path / "last.ckpt")
    done = ckptfs("verify", tmp_path / "last.ckpt")
    assert done.returncode == 0, done.stderr
    assert b"all checksums match" in done.stdout
    save_file(state["model"], tmp_path / "m.safetensors")
    done = ckptfs("verify", tmp_path / "m.safetensors")
    assert done.returncode == 0
    assert b"no checksums" in done.stdout


def test_damaged_records_are_named(tmp_path, state):
    """[S-68]"""
    path = tmp_path / "last.ckpt"
    torch.save(state, path)
    body = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        damaged = [archive.getinfo(f"last/data/{i}") for i in (0, 3)]
    offsets = []
    for info in damaged:
        name, extra = (int.from_bytes(body[info.header_offset + at:][:2],
                                      "little") for at in (26, 28))
        offsets.append(info.header_offset + 30 + name + extra)
        body[offsets[-1]] ^= 0x80
    path.write_bytes(body)
    done = ckptfs("verify", path)
    assert done.returncode == DAMAGED
    lines = done.stdout.decode().splitlines()
    assert len(lines) == 3
    for line, info, offset in zip(lines, damaged, offsets):
        assert f"record {info.filename} at offset {offset}: " in line
        assert f"{info.CRC:#010x}" in line


@pytest.fixture
def dcp_folder(tmp_path, state):
    folder = tmp_path / "step-1"
    torch.distributed.checkpoint.save(state, checkpoint_id=folder,
                                      no_dist=True)
    return folder


def test_a_whole_dcp_folder(dcp_folder):
    """Every item, also through its .metadata."""
    metadata = pickle.loads((dcp_folder / ".metadata").read_bytes())
    for path in (dcp_folder, dcp_folder / ".metadata"):
        done = ckptfs("verify", path)
        assert done.returncode == 0, done.stderr
        records = int(done.stdout.split(b"whole: ")[1].split()[0])
        # At least pickle, version and byte order.
        assert records >= 3 * len(metadata.storage_data)
        assert b"all checksums match" in done.stdout


def test_damaged_items_are_named(dcp_folder, state):
    """A flipped bit, an item that is overwritten, a file that is cut, and one
    that is missing. [S-68]"""
    metadata = pickle.loads((dcp_folder / ".metadata").read_bytes())
    items = {index.fqn: info for index, info in metadata.storage_data.items()}
    path = dcp_folder / "__0_0.distcp"
    whole = path.read_bytes()

    def damages(body):
        path.write_bytes(body)
        done = ckptfs("verify", dcp_folder)
        assert done.returncode == DAMAGED, done.stderr
        *lines, last = done.stdout.decode().splitlines()
        assert f"damaged: {len(lines)} problems in" in last
        return lines

    weight = items["model.0.weight"]
    at = whole.index(state["model"]["0.weight"].numpy().tobytes())
    assert weight.offset < at < weight.offset + weight.length
    body = bytearray(whole)
    body[at + 5] ^= 1
    line, = damages(body)
    assert (f"record __0_0.distcp, model.0.weight, archive/data/0 at offset "
            f"{at}: ") in line
    body[weight.offset:weight.offset + weight.length] = bytes(weight.length)
    line, = damages(body)
    assert f"__0_0.distcp, model.0.weight at offset {weight.offset}" in line
    last = max(items.items(), key=lambda item: item[1].offset)
    line, = damages(whole[:-1])
    assert f"__0_0.distcp, {last[0]} at offset {last[1].offset}: the file" in line
    path.write_bytes(whole)
    metadata.state_dict_metadata["model.0.weight"].chunks.clear()
    (dcp_folder / ".metadata").write_bytes(pickle.dumps(metadata))
    line, = damages(whole)
    assert "model.0.weight" in line and "0 of its 1200 elements" in line
    path.unlink()
    done = ckptfs("verify", dcp_folder)
    assert done.returncode == DAMAGED
    assert b"__0_0.distcp at offset 0: there is no such file" in done.stdout


def test_truncated_files(tmp_path, state):
    torch.save(state, tmp_path / "whole.pt")
    save_file(state["model"], tmp_path / "whole.safetensors")
    for name in ("whole.pt", "whole.safetensors"):
        body = (tmp_path / name).read_bytes()
        (tmp_path / "cut").write_bytes(body[:-100])
        for command in ("inspect", "verify"):
            assert "cut" in error_of(command, tmp_path / "cut", DAMAGED)


def test_what_is_no_checkpoint(tmp_path):
    (tmp_path / "text").write_text("hello, this is no checkpoint")
    torch.save({}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    for command in ("inspect", "verify"):
        assert "neither" in error_of(command, tmp_path / "text", DAMAGED)
        assert "legacy format" in error_of(command, tmp_path / "old.pt",
                                           DAMAGED)
        assert "absent" in error_of(command, tmp_path / "absent", 1)
        assert ".metadata" in error_of(command, tmp_path, DAMAGED)


def test_verify_needs_little_memory(tmp_path):
    """A file of 1 GiB; the most that the program ever had in memory."""
    path = tmp_path / "large.pt"
    torch.save({"w": torch.zeros(256 << 20, dtype=torch.float32)}, path)
    peak = tmp_path / "peak"
    done = subprocess.run(
        [sys.executable, "-c",
         "import resource, subprocess, sys\n"
         "code = subprocess.run(sys.argv[2:], check=False).returncode\n"
         "peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss\n"
         "open(sys.argv[1], 'w').write(str(peak))\n"
         "sys.exit(code)", peak, BIN_DIR / "ckptfs", "verify", path],
        capture_output=True, check=False, timeout=120)
    path.unlink()
    assert done.returncode == 0, done.stderr
    assert int(peak.read_text()) < 128 << 10  # KiB


@pytest.fixture
def bucket(s3server):
    prefix = s3server.prefix(f"test-{uuid.uuid4().hex[:8]}/")
    prefix.base = f"s3://{s3server.bucket}/{prefix.prefix}"
    yield prefix
    prefix.clear()


def test_in_s3_only_headers_and_tails_move(s3server, bucket, tmp_path):
    """[S-63] [S-68]"""
    env = s3server.environment()
    options = ("--endpoint-url", s3server.endpoint, "--region", "us-east-1")
    tensors = {f"layer.{i}": torch.randn(4, 1 << 20) for i in range(4)}
    torch.save(tensors, tmp_path / "f.pt")
    save_file(tensors, tmp_path / "f.safetensors")
    head, tail = 1088 << 10, 256 << 10
    for name, most in (("f.pt", head + tail), ("f.safetensors", head)):
        body = (tmp_path / name).read_bytes()
        bucket.write(name, body)
        s3server.control("reset-stats")
        found = inspect(bucket.base + name, *options, env=env)
        stats = s3server.stats()
        assert [t["shape"] for t in found["tensors"]] == [[4, 1 << 20]] * 4
        assert found["file_bytes"] == len(body) > 64 << 20
        # Bodies alone; the control requests count nothing.
        assert stats["bytes_out"] <= most + 4096
        s3server.control("reset-stats")
        done = ckptfs("verify", bucket.base + name, *options, env=env)
        assert done.returncode == 0, done.stderr
    torch.distributed.checkpoint.save(tensors, no_dist=True,
                                      checkpoint_id=tmp_path / "dcp")
    for path in (tmp_path / "dcp").iterdir():
        bucket.write(f"dcp/{path.name}", path.read_bytes())
    done = ckptfs("verify", bucket.base + "dcp", *options, env=env)
    assert done.returncode == 0, done.stderr
    bucket.write("cut.pt", (tmp_path / "f.pt").read_bytes()[:-1])
    error_of("verify", bucket.base + "cut.pt", DAMAGED, *options, env=env)


def test_failures_of_s3_have_codes(s3server, bucket):
    env = s3server.environment()
    options = ("--endpoint-url", s3server.endpoint)
    wrong = {**env, "AWS_SECRET_ACCESS_KEY": "wrong"}
    for command in ("inspect", "verify"):
        assert "absent" in error_of(command, bucket.base + "absent", 1,
                                    *options, env=env)
        error_of(command, bucket.base + "f.pt", 3, *options, env=wrong)
        error_of(command, f"s3://no-such-{uuid.uuid4().hex[:8]}/f.pt", 4,
                 *options, env=env)
        assert ".metadata" in error_of(command, bucket.base + "no-dcp/",
                                       DAMAGED, *options, env=env)
        error_of(command, f"s3://no-such-{uuid.uuid4().hex[:8]}", 4,
                 *options, env=env)
        error_of(command, "gs://bucket/f.pt", 2)
        error_of(command, "s3://b/f.pt", 2, *options, env=env)
    error_of("inspect", bucket.base + "f.pt", 5, "--endpoint-url",
             f"http://127.0.0.1:{free_port()}", env=env)

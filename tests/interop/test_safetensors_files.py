"""safetensors files read and written in C++, compared with Python's
safetensors 0.8 byte by byte."""
import json
import os
import struct
import subprocess
import uuid

import numpy
import pytest
import torch
from safetensors.torch import load_file, save, save_file

from support.programs import BIN_DIR


def run(source, target, *options, env=None):
    return subprocess.run(
        [BIN_DIR / "safetensors_copy", source, target, *options],
        capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, **(env or {})})


@pytest.fixture(params=[(), ("--into",)], ids=["load", "load-into"])
def through_cpp(request, tmp_path):
    """copy(tensors, metadata): the bytes of the file that Python saved, and of
    the one that C++ made of it."""
    def copy(tensors, metadata=None):
        source, target = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
        save_file(tensors, source, metadata)
        done = run(source, target, *request.param)
        assert done.returncode == 0, done.stderr
        return source.read_bytes(), target.read_bytes()
    return copy


def filled(dtype, *shape):
    """A tensor of any dtype, by its bytes."""
    count = int(numpy.prod(shape)) * dtype.itemsize
    raw = torch.arange(count, dtype=torch.int64).to(torch.uint8)
    if dtype == torch.bool:
        raw &= 1
    return raw.view(dtype).reshape(shape)


def saved_by_python(dtype):
    try:
        return bool(save({"t": filled(dtype, 2)}))
    except (KeyError, ValueError, TypeError, RuntimeError,
            NotImplementedError):
        return False


DTYPES = sorted({str(value).removeprefix("torch.")
                 for value in vars(torch).values()
                 if isinstance(value, torch.dtype) and value.itemsize
                 and saved_by_python(value)})


def test_the_list_of_dtypes():
    """All that Python's safetensors saves, float8 and float4 among them."""
    assert {"bfloat16", "bool", "complex64", "float16", "float32", "float64",
            "float4_e2m1fn_x2", "float8_e4m3fn", "float8_e4m3fnuz",
            "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "int8",
            "int16", "int32", "int64", "uint8", "uint16", "uint32",
            "uint64"} == set(DTYPES)


@pytest.mark.parametrize("name", DTYPES)
def test_dtypes(through_cpp, name):
    ours, theirs = through_cpp({"t": filled(getattr(torch, name), 3, 4)})
    assert ours == theirs


def test_all_dtypes_in_one_file(through_cpp):
    """The order in which they are laid out."""
    tensors = {f"{prefix}.{name}": filled(getattr(torch, name), 2, 3)
               for name in DTYPES for prefix in ("b", "a", "é")}
    ours, theirs = through_cpp(tensors)
    assert ours == theirs


@pytest.mark.parametrize("tensors", [
    {}, {"scalar": torch.tensor(1.5)},
    {"none": torch.zeros(0), "wide": torch.zeros(3, 0, 5),
     "one": torch.ones(1, 1, 1)},
    {"": torch.ones(2), "a\"\\\n\x01\x7f/é中😀": torch.ones(3)}],
    ids=["empty", "scalar", "without-elements", "odd-names"])
def test_shapes_and_names(through_cpp, tensors):
    ours, theirs = through_cpp(tensors)
    assert ours == theirs


def parts(data):
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    return header.pop("__metadata__", {}), header, data[8 + length:]


def test_metadata(through_cpp):
    """One entry byte for byte; several in an order of their own, since
    Python's is random."""
    tensors = {"w": torch.randn(4, 5)}
    ours, theirs = through_cpp(tensors, {"format": "pt"})
    assert ours == theirs
    ours, theirs = through_cpp(
        tensors, {"format": "pt", "b": "\"\n\\", "a": "é", "": ""})
    assert parts(ours) == parts(theirs)


def test_a_model(through_cpp, tmp_path):
    """Python loads what C++ wrote, several parts long."""
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(1024, 4096),
                                torch.nn.BatchNorm1d(4096),
                                torch.nn.Linear(4096, 1024))
    ours, theirs = through_cpp(model.state_dict(), {"format": "pt"})
    assert ours == theirs
    loaded = load_file(tmp_path / "out.safetensors")
    model.load_state_dict(loaded)


def test_in_s3(s3server, tmp_path):
    """Both ways through objects."""
    prefix = s3server.prefix(f"test-{uuid.uuid4().hex[:8]}/")
    tensors = {f"layer.{i}": torch.randn(512, 1024) for i in range(12)}
    save_file(tensors, tmp_path / "in.safetensors")
    body = (tmp_path / "in.safetensors").read_bytes()
    prefix.write("in.safetensors", body)
    base = f"s3://{s3server.bucket}/{prefix.prefix}"
    done = run(base + "in.safetensors", base + "out.safetensors",
               env={**s3server.environment(),
                    "AWS_ENDPOINT_URL_S3": s3server.endpoint})
    assert done.returncode == 0, done.stderr
    assert prefix.read("out.safetensors") == body
    prefix.clear()


@pytest.mark.parametrize("damage, why", [
    (lambda b: b[:-1], "end at"),
    (lambda b: b + b"x", "end at"),
    (lambda b: b[:6], "fewer than 8 bytes"),
    (lambda b: b"\xff" * 8 + b[8:], "over the limit"),
    (lambda b: b.replace(b"F32", b"F99"), "F99"),
    (lambda b: b.replace(b"[0,", b"[4,", 1), "do not match"),
    (lambda b: b.replace(b'{"dtype', b'["dtype', 1), "is not an object"),
    (lambda b: b.replace(b'}}', b'}]', 1), "JSON")])
def test_damaged_files(tmp_path, damage, why):
    save_file({"w": torch.ones(3)}, tmp_path / "in.safetensors")
    body = (tmp_path / "in.safetensors").read_bytes()
    (tmp_path / "in.safetensors").write_bytes(damage(body))
    done = run(tmp_path / "in.safetensors", tmp_path / "out.safetensors")
    assert done.returncode == 1
    assert why in done.stderr and "in.safetensors" in done.stderr
    assert not (tmp_path / "out.safetensors").exists()

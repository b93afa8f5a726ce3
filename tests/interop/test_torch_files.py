"""torch.save files read and written in C++, compared by torch itself."""
import argparse
import collections
import datetime
import functools
import pathlib
import subprocess
import sys
import zipfile

import numpy
import pytest
import torch
from torch.utils.serialization import config

from support.programs import BIN_DIR
from support.torch_values import same


def run(source, target, *options):
    return subprocess.run(
        [BIN_DIR / "torch_file_copy", *options, source, target],
        capture_output=True, text=True, check=False)


@pytest.fixture(params=[(), ("--into",)], ids=["load", "load_into"])
def through_cpp(request, tmp_path):
    """copy(value): the value saved by torch, read and written in C++, and
    loaded by torch again."""
    def copy(value, weights_only=True, admitted=None):
        source, target = tmp_path / "in.pt", tmp_path / "out.pt"
        torch.save(value, source)
        if admitted is None:
            admitted = weights_only
        options = ("--weights-only",) if admitted else ()
        done = run(source, target, *options, *request.param)
        assert done.returncode == 0, done.stderr
        with zipfile.ZipFile(target) as archive:
            assert archive.testzip() is None  # the CRCs
        return torch.load(target, weights_only=weights_only)
    return copy


DTYPES = [value for value in vars(torch).values()
          if isinstance(value, torch.dtype)]


def filled(dtype, *shape):
    """A tensor of any dtype, by its bytes."""
    count = int(numpy.prod(shape)) * dtype.itemsize
    raw = torch.arange(count, dtype=torch.int64).to(torch.uint8)
    if dtype == torch.bool:
        raw &= 1
    return raw.view(dtype).reshape(shape)


@pytest.mark.parametrize("name", sorted(
    {str(d) for d in DTYPES if d.itemsize and not str(d).startswith(
        ("torch.q", "torch.int1", "torch.int2", "torch.int3", "torch.int4",
         "torch.int5", "torch.int6", "torch.int7", "torch.uint1",
         "torch.uint2", "torch.uint3", "torch.uint4", "torch.uint5",
         "torch.uint6", "torch.uint7", "torch.bits"))}
    | {"torch.int16", "torch.int32", "torch.int64", "torch.uint16",
       "torch.uint32", "torch.uint64"}))
def test_dtypes(through_cpp, name):
    """Every dtype that holds data, float8 and complex among them."""
    dtype = getattr(torch, name.removeprefix("torch."))
    value = {"t": filled(dtype, 3, 4)}
    same(through_cpp(value), value)


def test_scalars_and_containers(through_cpp):
    """All that weights_only admits besides tensors."""
    value = {"i": [0, -1, 255, 256, 65535, 65536, -2**31, 2**31, 2**62, -2**63,
                   2**64, -2**200],
             "f": [0.0, -1.5, float("inf"), 1e-300], "s": ["", "é\n", "x" * 300],
             "b": [b"\x00\xff" * 10, bytearray(b"ab")], 3: None,
             (1, "t"): True, "set": {1, "two"}, "size": torch.Size([1, 2]),
             "device": torch.device("cpu"), "dtype": torch.float8_e5m2,
             "complex": 1 - 2j, "empty": [(), [], {}, set()],
             "counter": collections.Counter("aab"),
             "long": list(range(2500)), "many": {i: i for i in range(2500)}}
    same(through_cpp(value), value)


def test_model_and_optimizer(through_cpp):
    """state_dicts of a real model and of Adam after a step."""
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Flatten(),
                                torch.nn.LazyLinear(10),
                                torch.nn.BatchNorm1d(10))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(4, 3, 8, 8)).sum().backward()
    optimizer.step()
    value = {"model": model.state_dict(), "optimizer": optimizer.state_dict(),
             "parameters": list(model.parameters())}
    loaded = through_cpp(value)
    same(loaded, value)
    model.load_state_dict(loaded["model"])
    optimizer.load_state_dict(loaded["optimizer"])


def test_shared_and_strided(through_cpp):
    """One storage for all its views; transposed, expanded and empty ones."""
    base = torch.arange(24.0).reshape(4, 6)
    value = {"base": base, "t": base.t(), "row": base[2], "step": base[:, ::2],
             "wide": torch.ones(3, 1).expand(3, 5), "none": base[:0],
             "scalar": base[1, 1]}
    value["again"] = value["t"]
    loaded = through_cpp(value)
    same(loaded, value)
    loaded["base"][0, 0] = 7
    assert loaded["t"][0, 0] == 7
    assert loaded["again"] is loaded["t"]


def test_sparse_and_quantized(through_cpp):
    """They travel as what rebuilds them."""
    value = {"sparse": torch.eye(3).to_sparse(),
             "q": torch.quantize_per_tensor(torch.randn(4), 0.1, 2,
                                            torch.quint8),
             "qc": torch.quantize_per_channel(
                 torch.randn(2, 3), torch.tensor([0.1, 0.2]),
                 torch.tensor([0, 1]), 0, torch.qint8)}
    same(through_cpp(value), value)


def test_lazy_views(through_cpp):
    """Conjugated and negated without touching the memory; both bits."""
    base = torch.tensor([1 + 1j, 2 - 3j])
    value = {"conj": base.conj(), "plain": base,
             "neg": torch.tensor([3 + 1j]).conj().imag}
    loaded = through_cpp(value)
    assert loaded["conj"].is_conj() and loaded["neg"].is_neg()
    assert all(torch.equal(loaded[name], value[name]) for name in value)


def test_opaque_objects(through_cpp):
    """Classes that nobody here knows come back as they were."""
    value = {"path": pathlib.PurePosixPath("a/b"),
             "namespace": argparse.Namespace(lr=0.1, nested=[1, {"a": 2}]),
             "date": datetime.date(2026, 1, 2),
             "numpy": numpy.float64(1.5),
             "array": numpy.arange(3),
             "default": collections.defaultdict(list, {"k": [1]})}
    loaded = through_cpp(value, weights_only=False)
    assert str(loaded) == str(value)
    assert [type(v) for v in loaded.values()] == [
        type(v) for v in value.values()]


def test_names_of_python_two(through_cpp):
    """Protocol 2 calls them __builtin__ long, xrange, ...; torch loads what
    comes back."""
    value = {"types": [int, str, range, dict, KeyError],
             "range": range(3, 9, 2), "partial": functools.partial(int, base=2),
             "default": collections.defaultdict(int, {"k": 1}),
             "functions": [chr, functools.reduce, sys.intern, zip]}
    loaded = through_cpp(value, weights_only=False)
    assert loaded["partial"]("101") == 5
    for name in ("types", "range", "default", "functions"):
        assert loaded[name] == value[name]


def test_empty_bytes(through_cpp):
    """torch itself loads its own empty bytes with weights_only=False alone;
    written here they are admitted always."""
    assert through_cpp({"b": b""}, admitted=False) == {"b": b""}


@pytest.mark.parametrize("alignment", [1, 64, 4096])
def test_other_alignments(tmp_path, alignment):
    """Files without padding, and with more."""
    value = {str(i): torch.arange(float(i)) for i in range(40)}
    old = config.save.storage_alignment
    config.save.storage_alignment = alignment
    try:
        torch.save(value, tmp_path / "in.pt")
    finally:
        config.save.storage_alignment = old
    done = run(tmp_path / "in.pt", tmp_path / "out.pt")
    assert done.returncode == 0, done.stderr
    same(torch.load(tmp_path / "out.pt"), value)


def test_many_tensors(through_cpp):
    """More records than a batch of the pickler, and than one zip tail."""
    value = {f"layer.{i}.weight": torch.full((i % 5,), float(i))
             for i in range(3000)}
    same(through_cpp(value), value)

"""Makes corpus/, the seeds of the fuzz targets, with torch 2.13.0 and
safetensors 0.8.0. Files that a fuzzer found, corpus/*/found-*, stay.

    python make_corpus.py
"""
import collections
import contextlib
import io
import pathlib
import pickle
import struct
import tempfile
import zipfile

import safetensors.torch
import torch
from torch.distributed import checkpoint

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"


class Opaque:
    """A class with state, which nobody allows."""

    def __init__(self):
        self.lr = 0.1
        self.names = ["a", ("b", 2)]


def tensors():
    base = torch.arange(6.0)
    return {"w": base.reshape(2, 3), "view": base[1:5:2],
            "h": torch.tensor([1.5], dtype=torch.bfloat16),
            "u": torch.tensor([7], dtype=torch.uint16),
            "e": torch.zeros(0, 3), "t": torch.ones(2, 2).t()}


def optimizer():
    layer = torch.nn.Linear(2, 1)
    adam = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 2)).sum().backward()
    adam.step()
    return {"model": layer.state_dict(), "optimizer": adam.state_dict()}


def scalars():
    return {"i": [0, -1, 300, 70000, 1 << 40, 1 << 70], "f": -0.5,
            "b": b"\xff\x00", "s": "\u00e9", "set": {1}, "n": None,
            "t": (True, (1, 2, 3, 4)), "size": torch.Size([2]),
            "d": torch.device("cpu"), "dt": torch.float16,
            "c": collections.Counter("ab"),
            "o": collections.OrderedDict(k=1)}


VALUES = {"tensors": tensors, "optimizer": optimizer, "scalars": scalars,
          "parameter": lambda: torch.nn.Parameter(torch.ones(2)),
          "sparse": lambda: torch.eye(2).to_sparse(),
          "csr": lambda: torch.eye(2).to_sparse_csr(),
          "quantized": lambda: torch.quantize_per_tensor(
              torch.ones(2), 0.1, 2, torch.quint8),
          "shared": lambda: [torch.ones(1)] * 2 + [{}] * 2,
          "empty": dict}


def saved(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer


def rewritten(buffer, method):
    """The same records, not aligned."""
    out = io.BytesIO()
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(
            out, "w", method) as target:
        for name in source.namelist():
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            target.writestr(info, source.read(name), method)
    return out.getvalue()


def put(target, name, data):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def main():
    torch.manual_seed(1)
    for old in CORPUS.glob("*/*"):
        if not old.name.startswith("found-"):
            old.unlink()
    for name, make in VALUES.items():
        buffer = saved(make())
        put("torch_file", name, buffer.getvalue())
        with zipfile.ZipFile(buffer) as file:
            record = file.read(file.namelist()[0])
        for target in ("pickle", "pickle_round_trip"):
            put(target, name, record)
    buffer = saved(tensors())
    deflated = rewritten(buffer, zipfile.ZIP_DEFLATED)
    put("torch_file", "deflated", deflated)
    put("torch_file", "unaligned", rewritten(buffer, zipfile.ZIP_STORED))
    put("zip", "torch", buffer.getvalue())
    put("zip", "deflated", deflated)
    put("zip", "empty", rewritten(saved({}), zipfile.ZIP_STORED))
    commented = io.BytesIO(deflated)
    with zipfile.ZipFile(commented, "a") as file:
        file.comment = b"PK\x05\x06 a comment"
    put("zip", "commented", commented.getvalue())
    for protocol in (2, 4, 5):
        data = pickle.dumps(
            {"k": [1.5, {2}, (), frozenset({1}), 1 << 40, bytearray(b"x"),
                   b"y"] * 2, "o": Opaque()}, protocol)
        for target in ("pickle", "pickle_round_trip"):
            put(target, f"protocol{protocol}", data)
    for name, value in (("tensors", tensors()), ("nested", optimizer()),
                        ("values", {"a": [1, "b", {"c": None}]})):
        # A relative path: it stands in the file.
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            checkpoint.save(value, checkpoint_id="saved", no_dist=True)
            put("dcp_metadata", name, pathlib.Path(
                "saved/.metadata").read_bytes())
    for name, value, metadata in (
            ("tensors", {"w": torch.ones(2, 3), "h": torch.ones(
                2, dtype=torch.bfloat16), "i": torch.tensor(3)}, None),
            ("metadata", {"w": torch.ones(1)}, {"format": "pt"}),
            ("empty", {"e": torch.zeros(0)}, None),
            ("nothing", {}, {"a\n\"": "\u00e9"})):
        data = safetensors.torch.save(value, metadata)
        put("safetensors_header", name, data)
    put("safetensors_header", "without_data", struct.pack("<Q", len(
        HEADER)) + HEADER)


HEADER = (b'{"a":{"dtype":"F8_E4M3","shape":[4,1024],"data_offsets":[0,4096]}}')

main()

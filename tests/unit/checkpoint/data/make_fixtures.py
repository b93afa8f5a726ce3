"""Makes the files of this folder, with torch 2.13.0:

    python make_fixtures.py
"""
import collections
import io
import pathlib
import pickle
import zipfile

import torch

HERE = pathlib.Path(__file__).parent


def values():
    base = torch.arange(6, dtype=torch.float32)
    state = collections.OrderedDict(
        w=base.reshape(2, 3), view=base[2:5:2],
        h=torch.tensor([1.5, -2], dtype=torch.bfloat16),
        u=torch.tensor([7], dtype=torch.uint16), e=torch.zeros(0, 3))
    state._metadata = collections.OrderedDict([("", {"version": 1})])
    return {"epoch": 3, "lr": 0.5, "big": 1 << 70, "neg": -5,
            "t": (1, 2, 3, 4), "l": [None, True, False], "s": {1},
            "b": b"\xff\x00a", "size": torch.Size([2, 3]),
            "dt": torch.float16, "state_dict": state,
            "p": torch.nn.Parameter(torch.ones(2))}


def main():
    buffer = io.BytesIO()
    torch.save(values(), buffer)
    (HERE / "values.pt").write_bytes(buffer.getvalue())
    # The same records, compressed and not aligned.
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(
            HERE / "deflated.pt", "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    torch.save({"w": torch.ones(2)}, HERE / "legacy.pt",
               _use_new_zipfile_serialization=False)
    torch.save({"path": pathlib.PurePosixPath("a/b")}, HERE / "unsafe.pt")
    # Protocol 4, as DCP writes its .metadata.
    (HERE / "protocol4.pkl").write_bytes(pickle.dumps(
        {"k": [1.5, "é", {2}, (), 1 << 40, bytearray(b"x")] * 2}, protocol=4))


main()

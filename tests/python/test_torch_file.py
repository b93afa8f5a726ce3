"""save and load against torch.save and torch.load, both ways."""
import collections
import io
import pickle

import ckptfs
import pytest
import torch

VIEWED = torch.arange(1000, dtype=torch.int64)


class Custom:
    def __init__(self, tensor):
        self.tensor = tensor


def _optimizer():
    model = torch.nn.Linear(30, 20)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(30)).sum().backward()
    optimizer.step()
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict()}


STATES = {
    "empty": lambda: {},
    "values": lambda: {"a": 1, "b": [1.5, None, "text"], "c": (True, b"x")},
    "tensor": lambda: torch.randn(100, 100),
    "no bytes": lambda: [torch.zeros(0), torch.ones(3)],
    "views": lambda: [VIEWED, VIEWED[10:20], VIEWED.reshape(10, 100).t()],
    "dtypes": lambda: [torch.zeros(7, dtype=d) for d in (
        torch.bfloat16, torch.float16, torch.bool, torch.complex64,
        torch.float8_e4m3fn, torch.uint16)],
    "many": lambda: {f"layer.{i}": torch.full((i,), i) for i in range(500)},
    "parts": lambda: {"large": torch.arange(6 << 20), "small": torch.ones(2)},
    "parameter": lambda: torch.nn.Parameter(torch.ones(4)),
    "ordered": lambda: collections.OrderedDict(a=torch.ones(2)),
    "sparse": lambda: torch.eye(5).to_sparse(),
    "optimizer": _optimizer,
    "storage": lambda: torch.ones(5).untyped_storage(),
}


@pytest.fixture(params=STATES)
def state(request):
    torch.manual_seed(1)
    return STATES[request.param]()


def _bytes_of(place, name, request):
    if place.startswith("s3:"):
        return request.getfixturevalue("bucket").read(name)
    with open(place + name, "rb") as file:
        return file.read()


def _torch_bytes(state, folder, name="x.pt"):
    torch.save(state, folder / name)
    return (folder / name).read_bytes()


# [S-71]
def test_a_saved_file_is_torch_s_byte_for_byte(place, state, tmp_path,
                                               request):
    ckptfs.save(state, place + "x.pt")
    (tmp_path / "torch").mkdir()
    assert (_bytes_of(place, "x.pt", request)
            == _torch_bytes(state, tmp_path / "torch"))


# [S-71]
def test_a_load_gives_what_torch_gives(place, state, tmp_path):
    ckptfs.save(state, place + "x.pt")
    loaded = ckptfs.load(place + "x.pt", weights_only=False)
    (tmp_path / "torch").mkdir()
    _torch_bytes(state, tmp_path / "torch")
    torchs = torch.load(tmp_path / "torch/x.pt", weights_only=False)
    # Saved again, equal objects with equal sharing give equal files.
    assert (_torch_bytes(loaded, tmp_path, "y.pt")
            == _torch_bytes(torchs, tmp_path, "y.pt"))


def test_views_share_memory_after_a_load(place):
    ckptfs.save([VIEWED, VIEWED[10:20]], place + "x.pt")
    whole, view = ckptfs.load(place + "x.pt")
    whole[10] = -1
    assert view[0] == -1


def _outcome(load, *arguments, **keywords):
    try:
        return load(*arguments, **keywords)
    except Exception as error:  # noqa: BLE001
        return type(error), str(error)


# [S-71]
def test_weights_only_refuses_in_torch_s_words(tmp_path):
    path = tmp_path / "x.pt"
    torch.save({"a": torch.ones(2), "custom": Custom(torch.ones(3))}, path)
    ours, torchs = (_outcome(load, path) for load in (ckptfs.load, torch.load))
    assert ours == torchs
    assert ours[0] is pickle.UnpicklingError
    assert ckptfs.load(path, weights_only=False)["custom"].tensor.sum() == 3
    with torch.serialization.safe_globals([Custom]):
        assert ckptfs.load(path)["custom"].tensor.sum() == 3


@pytest.mark.parametrize("variables", [
    {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1"},
    {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"},
    {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1",
     "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}])
@pytest.mark.parametrize("weights_only", [None, True, False])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_variables_of_torch_count(tmp_path, monkeypatch, variables,
                                      weights_only):
    path = tmp_path / "x.pt"
    torch.save(Custom(1), path)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    ours, torchs = (_outcome(load, path, weights_only=weights_only)
                    for load in (ckptfs.load, torch.load))
    assert type(ours) is type(torchs)
    assert isinstance(ours, Custom) or ours == torchs


def test_map_location(place):
    ckptfs.save({"a": torch.ones(3)}, place + "x.pt")
    seen = []

    def locate(storage, location):
        seen.append(location)
        return storage
    assert ckptfs.load(place + "x.pt", locate)["a"].sum() == 3
    assert seen == ["cpu"]
    assert ckptfs.load(place + "x.pt", "meta")["a"].device.type == "meta"


def test_a_load_to_meta_fetches_no_tensors(bucket, s3server):
    ckptfs.save({"a": torch.ones(8 << 20)}, bucket.uri + "x.pt")
    before = s3server.stats()["bytes_out"]
    ckptfs.load(bucket.uri + "x.pt", "meta")
    # The head of 1 MiB, the tail of 256 KiB and headers, of 32 MiB.
    assert s3server.stats()["bytes_out"] - before < 2 << 20


def test_mmap_is_refused(place):
    with pytest.raises(ValueError, match="mmap"):
        ckptfs.load(place + "x.pt", mmap=True)


def test_files_of_before_torch_1_6(tmp_path):
    torch.save({"a": torch.ones(3)}, tmp_path / "x.pt",
               _use_new_zipfile_serialization=False)
    assert ckptfs.load(tmp_path / "x.pt")["a"].sum() == 3


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_torchscript_as_torch_does(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "x.pt")
    ours, torchs = (_outcome(load, tmp_path / "x.pt")
                    for load in (ckptfs.load, torch.load))
    assert ours == torchs
    module = ckptfs.load(tmp_path / "x.pt", weights_only=False)
    assert module(torch.zeros(2)).shape == (2,)


def test_a_condition_keeps_what_is_there(bucket):
    path = bucket.uri + "x.pt"
    ckptfs.save({"a": 1}, path, if_none_match=True)
    with pytest.raises(ckptfs.S3Exception) as caught:
        ckptfs.save({"a": 2}, path, if_none_match=True)
    assert caught.value.code == "PreconditionFailed"
    assert ckptfs.load(path) == {"a": 1}
    ckptfs.save({"a": 3}, path, if_match=bucket.head("x.pt")["ETag"])
    assert ckptfs.load(path) == {"a": 3}


def test_a_torch_without_save_and_load(place, monkeypatch):
    monkeypatch.delattr(torch.serialization, "_load")
    torch_load = torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **k: "torch's")
    ckptfs.save({"a": 1}, place + "x.pt")
    assert ckptfs.load(place + "x.pt") == "torch's"
    assert torch_load is not torch.load


@pytest.mark.parametrize("cut", [10, 200, 2000])
def test_a_file_cut_short(tmp_path, cut):
    whole = _torch_bytes({"a": torch.ones(1000)}, tmp_path)
    (tmp_path / "cut.pt").write_bytes(whole[:-cut])
    with pytest.raises(ckptfs.S3Exception) as caught:
        ckptfs.load(tmp_path / "cut.pt")
    assert "cut.pt" in str(caught.value)


def test_a_pickle_that_says_more_than_its_record_has(tmp_path):
    state = {"a": torch.ones(1000)}
    buffer = io.BytesIO()
    with torch.serialization._open_zipfile_writer(buffer) as writer:
        class Short:
            def write_record(self, name, data, nbytes):
                if name == "data/0":
                    data, nbytes = b"short", 5
                writer.write_record(name, data, nbytes)
        torch.serialization._save(state, Short(), pickle, 2, False)
    (tmp_path / "x.pt").write_bytes(buffer.getvalue())
    with pytest.raises(RuntimeError, match="damaged"):
        ckptfs.load(tmp_path / "x.pt")


def test_a_pickle_that_says_less_than_its_record_has(tmp_path):
    torch.save(torch.arange(300_000, dtype=torch.uint8), tmp_path / "x.pt")
    content = (tmp_path / "x.pt").read_bytes()
    told = b"J" + (300_000).to_bytes(4, "little")  # BININT
    assert content.count(told) == 2  # of the storage, and of the tensor
    (tmp_path / "x.pt").write_bytes(
        content.replace(told, b"J" + (1).to_bytes(4, "little")))
    with pytest.raises(RuntimeError, match="damaged"):
        ckptfs.load(tmp_path / "x.pt")


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_the_default_device_is_not_where_the_bytes_go(place, device):
    state = {"a": torch.arange(5), "b": torch.ones(3, 3).to_sparse()}
    ckptfs.save(state, place + "x.pt")
    into = {"a": torch.zeros(5, dtype=torch.int64),
            "b": torch.zeros(3, 3).to_sparse()}
    with torch.device(device):
        loaded = ckptfs.load(place + "x.pt")
        ckptfs.load_into(into, place + "x.pt")
    assert torch.equal(loaded["a"], state["a"])
    assert torch.equal(into["a"], state["a"])
    # torch.load builds sparse ones on the default device.
    assert loaded["b"].device.type == device
    assert torch.equal(into["b"].to_dense(), torch.ones(3, 3))


def test_skip_data_is_refused(place):
    ckptfs.save({"a": torch.ones(3)}, place + "x.pt")
    with torch.serialization.skip_data():
        with pytest.raises(ValueError, match="skip_data"):
            ckptfs.save({"a": torch.zeros(3)}, place + "x.pt")
        with pytest.raises(ValueError, match="skip_data"):
            ckptfs.load_into({"a": torch.zeros(3)}, place + "x.pt")
    assert torch.equal(ckptfs.load(place + "x.pt")["a"], torch.ones(3))

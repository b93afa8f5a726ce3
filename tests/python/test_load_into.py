"""load_into: tensors that exist, filled in place or not at all."""
import collections
import sys

import ckptfs
import pytest
import torch
from ckptfs.s3checkpoint import open_writer

MIB = 1 << 20


class Custom:
    def __init__(self, tensor):
        self.tensor = tensor
        self.total = float(tensor.sum())

    def __setstate__(self, state):
        self.__dict__.update(state)
        self.seen = float(self.tensor.sum())


def _copy(value):
    if isinstance(value, torch.Tensor):
        return torch.zeros_like(value)
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value


def _tensors(value):
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (dict, list)):
        for item in (value.values() if isinstance(value, dict) else value):
            yield from _tensors(item)


def test_tensors_are_filled_where_they_are(place):
    saved = {"a": torch.rand(2 * MIB), "b": [torch.arange(7), torch.ones(())],
             "c": {"d": torch.rand(30, 20), "e": torch.zeros(0)}}
    ckptfs.save(saved, place + "x.pt")
    state = _copy(saved)
    before = list(_tensors(state))
    assert ckptfs.load_into(state, place + "x.pt") is None
    for mine, same, theirs in zip(_tensors(state), before, _tensors(saved),
                                  strict=True):
        assert mine is same
        assert torch.equal(mine, theirs)


# [S-74]
def test_what_has_no_tensor_is_left_to_apply(place):
    ckptfs.save({"epoch": 3, "model": {"w": torch.ones(3), "step": 7},
                 "list": [torch.ones(2), 5], "other": torch.full((2,), 9.0)},
                place + "x.pt")
    state = {"model": {"w": torch.zeros(3)}, "list": [torch.zeros(2)],
             "epoch": 0}
    rest = ckptfs.load_into(state, place + "x.pt")
    assert torch.equal(rest.pop("other"), torch.full((2,), 9.0))
    assert rest == {"epoch": 3, "model": {"step": 7}, "list": [None, 5]}
    assert torch.equal(state["model"]["w"], torch.ones(3))
    assert torch.equal(state["list"][0], torch.ones(2))


LAYOUTS = {
    "transposed": lambda: torch.zeros(30, 20).t(),
    "view": lambda: torch.zeros(5, 20, 30)[3],
    "every second": lambda: torch.zeros(20, 60)[:, ::2],
    "parameter": lambda: torch.nn.Parameter(torch.zeros(20, 30)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("saved", ["whole", "transposed", "part"])
def test_any_layout_is_served(place, layout, saved):
    values = torch.rand(20, 30)
    kept = {"whole": values, "transposed": values.t().contiguous().t(),
            "part": torch.cat([torch.zeros(2, 30), values])[2:]}[saved]
    ckptfs.save({"a": kept}, place + "x.pt")
    target = LAYOUTS[layout]()
    base = target._base
    assert ckptfs.load_into({"a": target}, place + "x.pt") is None
    assert torch.equal(target, values)
    if layout == "view":
        assert base[2].count_nonzero() == 0 and base[4].count_nonzero() == 0


def test_shared_tensors(place):
    tied = torch.rand(100)
    ckptfs.save({"a": tied, "b": tied, "c": tied[:10]}, place + "x.pt")
    state = {"a": torch.zeros(100), "b": torch.zeros(100),
             "c": torch.zeros(10)}
    assert ckptfs.load_into(state, place + "x.pt") is None
    assert torch.equal(state["a"], tied) and torch.equal(state["b"], tied)
    assert torch.equal(state["c"], tied[:10])
    one = torch.zeros(100)
    assert ckptfs.load_into({"a": one, "b": one, "c": one[:10]},
                            place + "x.pt") is None
    assert torch.equal(one, tied)


# [S-74]
@pytest.mark.parametrize(("state", "message"), [
    ({"a": torch.zeros(3), "b": {"c": torch.zeros(5)}}, "b.c is torch.float32"),
    ({"a": torch.zeros(3, dtype=torch.float64)}, "a is torch.float32"),
    ({"a": torch.zeros(3), "n": torch.zeros(1)}, "n is a int"),
    ({"a": torch.zeros(3), "z": torch.zeros(1)}, "z is missing"),
    ({"a": torch.zeros(3), "b": {}}, "b.c of the file is unexpected"),
    ([torch.zeros(3)], "0 is missing"),
])
def test_what_does_not_fit_changes_nothing(place, state, message):
    ckptfs.save({"a": torch.ones(3), "b": {"c": torch.ones(4)}, "n": 1},
                place + "x.pt")
    with pytest.raises(ValueError, match=message):
        ckptfs.load_into(state, place + "x.pt")
    assert all(tensor.count_nonzero() == 0 for tensor in _tensors(state))


def test_not_strict(place):
    ckptfs.save({"m": {"a": torch.ones(3), "extra": torch.ones(2)}},
                place + "x.pt")
    state = {"m": {"a": torch.zeros(3), "missing": torch.zeros(2)}}
    rest = ckptfs.load_into(state, place + "x.pt", strict=False)
    assert torch.equal(rest["m"].pop("extra"), torch.ones(2))
    assert rest == {"m": {}}
    assert torch.equal(state["m"]["a"], torch.ones(3))
    assert state["m"]["missing"].count_nonzero() == 0
    with pytest.raises(ValueError, match="a is torch.float32"):
        ckptfs.load_into({"m": {"a": torch.zeros(4)}}, place + "x.pt",
                         strict=False)


def _trained(seed):
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(30, 20),
                                torch.nn.BatchNorm1d(20))
    optimizer = torch.optim.AdamW(model.parameters(), lr=seed / 10)
    model(torch.rand(4, 30)).sum().backward()
    optimizer.step()
    return model, optimizer


def _same(ours, theirs):
    if isinstance(ours, torch.Tensor):
        return torch.equal(ours, theirs)
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(
            _same(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(_same, ours, theirs))
    return ours == theirs


def test_modules_and_optimizers(place):
    model, optimizer = _trained(1)
    ckptfs.save({"model": model.state_dict(), "epoch": 4,
                 "optimizers": [optimizer.state_dict()]}, place + "x.pt")
    other, its_optimizer = _trained(2)
    weight = other[0].weight
    version = weight._version
    rest = ckptfs.load_into({"model": other, "optimizers": [its_optimizer]},
                            place + "x.pt")
    assert rest == {"epoch": 4}
    assert other[0].weight is weight and weight._version > version
    assert _same(dict(other.state_dict()), dict(model.state_dict()))
    assert _same(its_optimizer.state_dict(), optimizer.state_dict())


def test_a_module_itself(place):
    model, _ = _trained(1)
    ckptfs.save(collections.OrderedDict(model.state_dict()), place + "x.pt")
    other, _ = _trained(2)
    assert ckptfs.load_into(other, place + "x.pt") is None
    assert _same(dict(other.state_dict()), dict(model.state_dict()))
    with pytest.raises(ValueError, match="1.weight of the file is unexpected"):
        ckptfs.load_into(other[:1], place + "x.pt")
    with pytest.raises(ValueError, match="2.weight is missing"):
        ckptfs.load_into(
            torch.nn.Sequential(*other, torch.nn.Linear(2, 2)), place + "x.pt")


def test_an_optimizer_of_other_groups_changes_nothing(place):
    model, optimizer = _trained(1)
    ckptfs.save({"model": model.state_dict(), "o": optimizer.state_dict()},
                place + "x.pt")
    other, _ = _trained(2)
    before = {key: value.clone() for key, value in other.state_dict().items()}
    with pytest.raises(ValueError, match="o has not the parameter groups"):
        ckptfs.load_into(
            {"model": other,
             "o": torch.optim.SGD(other[0].parameters(), lr=1)},
            place + "x.pt")
    assert _same(dict(other.state_dict()), before)


def test_extra_state(place):
    class Counting(torch.nn.Linear):
        count = 0

        def get_extra_state(self):
            return {"count": self.count}

        def set_extra_state(self, state):
            self.count = state["count"]
    model, other = Counting(3, 3), torch.nn.Sequential(Counting(3, 3))
    model.count = 5
    ckptfs.save(torch.nn.Sequential(model).state_dict(), place + "x.pt")
    assert ckptfs.load_into(other, place + "x.pt") is None
    assert other[0].count == 5


def test_objects_see_their_tensors_whole(place):
    ckptfs.save({"a": torch.ones(1000), "custom": Custom(torch.ones(3))},
                place + "x.pt")
    state = {"a": torch.zeros(1000)}
    rest = ckptfs.load_into(state, place + "x.pt", weights_only=False)
    assert rest["custom"].seen == 3 == rest["custom"].total
    assert state["a"].sum() == 1000


def test_files_that_torch_alone_reads(tmp_path):
    torch.save({"a": torch.ones(3), "epoch": 1}, tmp_path / "x.pt",
               _use_new_zipfile_serialization=False)
    state = {"a": torch.zeros(3)}
    assert ckptfs.load_into(state, tmp_path / "x.pt") == {"epoch": 1}
    assert torch.equal(state["a"], torch.ones(3))


def test_a_file_of_the_other_byte_order(place, tmp_path, monkeypatch):
    with monkeypatch.context() as other:
        other.setattr(sys, "byteorder", "big")
        torch.save({"a": torch.arange(9)}, tmp_path / "torch.pt")
    with open_writer(place + "x.pt") as writer:
        writer.write((tmp_path / "torch.pt").read_bytes())
    state = {"a": torch.zeros(9, dtype=torch.int64)}
    assert ckptfs.load_into(state, place + "x.pt") is None
    assert torch.equal(state["a"], torch.load(tmp_path / "torch.pt")["a"])
    assert state["a"][1] == 1 << 56


def test_modules_that_are_not_strict_drop_what_they_have_not(bucket, s3server):
    ckptfs.save({"m": {"weight": torch.ones(3, 3), "bias": torch.ones(3),
                       "other": torch.ones(30 * MIB)}}, bucket.uri + "x.pt")
    model = torch.nn.Linear(3, 3)
    before = s3server.stats()["bytes_out"]
    assert ckptfs.load_into({"m": model}, bucket.uri + "x.pt",
                            strict=False) is None
    assert s3server.stats()["bytes_out"] - before < 5 * MIB
    assert torch.equal(model.bias, torch.ones(3))


def test_a_load_in_place_takes_no_memory_of_its_own(bucket):
    ckptfs.save({"a": torch.ones(50 * MIB)}, bucket.uri + "x.pt")
    state = {"a": torch.zeros(50 * MIB)}
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak begins anew: proc(5)
    before = _peak()
    assert ckptfs.load_into(state, bucket.uri + "x.pt") is None
    assert _peak() - before < 60 * MIB
    assert state["a"].sum() == 50 * MIB


def _peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file
                    if line.startswith("VmHWM"))


def test_a_missing_file(place):
    with pytest.raises(FileNotFoundError):
        ckptfs.load_into({}, place + "missing")


def test_what_has_no_memory_of_its_own_is_refused_before_anything(place):
    ckptfs.save({"a": torch.ones(3), "b": torch.ones(3)}, place + "x.pt")
    for target, why in ((torch.zeros(1).expand(3), "expanded"),
                        (torch.zeros(3, device="meta"), "meta")):
        state = {"a": torch.zeros(3), "b": target}
        with pytest.raises(ValueError, match=f"b is .*{why}"):
            ckptfs.load_into(state, place + "x.pt")
        assert torch.equal(state["a"], torch.zeros(3))


@pytest.mark.parametrize("sparse", ["file", "state"])
def test_another_layout_is_an_error_before_anything_changes(tmp_path, sparse):
    dense = torch.eye(3)
    ckptfs.save({"a": dense.to_sparse() if sparse == "file" else dense,
                 "b": torch.ones(2)}, tmp_path / "x.pt")
    state = {"a": dense.to_sparse() if sparse == "state" else dense.clone(),
             "b": torch.zeros(2)}
    with pytest.raises(ValueError, match="a is torch.sparse_coo|a is torch.str"):
        ckptfs.load_into(state, tmp_path / "x.pt")
    assert state["b"].sum() == 0

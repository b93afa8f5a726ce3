"""Checkpoints that libtorch programs and Python exchange: what C++ writes is
loaded by torch.load(weights_only=True) and load_state_dict, and the reverse."""
import subprocess

import pytest
import torch

from support.programs import BIN_DIR
from test_torch_files import same


def run(*words):
    done = subprocess.run([BIN_DIR / "libtorch_program", *words],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Net(torch.nn.Module):
    """That of libtorch_program.cc."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, bias=False)
        self.bn = torch.nn.BatchNorm2d(4)
        self.fc = torch.nn.Linear(4 * 6 * 6, 5)

    def forward(self, x):
        return self.fc(torch.relu(self.bn(self.conv(x))).flatten(1))


def make_optimizer(kind, net):
    parameters = list(net.parameters())
    if kind == "sgd":
        return torch.optim.SGD(parameters, 0.1, momentum=0.9, nesterov=True)
    if kind == "adam":
        return torch.optim.Adam(parameters, 0.01, betas=(0.8, 0.95),
                                amsgrad=True)
    return torch.optim.AdamW([{"params": parameters[:2]},
                              {"params": parameters[2:], "lr": 0.02,
                               "weight_decay": 0.3}], 0.01)


def train(net, optimizer, first, last):
    net.train()
    for step in range(first, last):
        optimizer.zero_grad()
        x = torch.arange(2.0 * 3 * 8 * 8)
        x = ((x * 7 + step).fmod(11) / 11).reshape(2, 3, 8, 8)
        net(x).square().mean().backward()
        optimizer.step()


def close(a, b):
    """Equal in structure; floats as close as two ways to compute them are."""
    assert type(a) is type(b)
    if isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            close(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b):
            close(x, y)
    else:
        assert a == b


KINDS = ["sgd", "adam", "adamw"]


@pytest.mark.parametrize("kind", KINDS)
def test_cpp_saves_python_resumes(tmp_path, kind):
    """Both train two steps further from the same file of C++, and agree."""
    run("save-training", kind, tmp_path / "a.pt")
    saved = torch.load(tmp_path / "a.pt", weights_only=True)
    assert saved["step"] == 3
    net = Net()
    optimizer = make_optimizer(kind, net)
    assert net.load_state_dict(saved["model"]) == ([], [])
    optimizer.load_state_dict(saved["optimizer"])
    same(dict(net.state_dict()), dict(saved["model"]))
    train(net, optimizer, 3, 5)

    run("train-on", kind, tmp_path / "a.pt", tmp_path / "b.pt")
    further = torch.load(tmp_path / "b.pt", weights_only=True)
    close(dict(net.state_dict()), dict(further["model"]))
    close(optimizer.state_dict()["state"], further["optimizer"]["state"])


@pytest.mark.parametrize("kind", KINDS)
def test_layout_is_pythons(tmp_path, kind):
    """The same keys in the same order, with the same types."""
    run("save-training", kind, tmp_path / "a.pt")
    saved = torch.load(tmp_path / "a.pt", weights_only=True)
    net = Net()
    optimizer = make_optimizer(kind, net)
    train(net, optimizer, 0, 1)
    ours, theirs = saved["optimizer"], optimizer.state_dict()
    assert list(saved["model"]) == list(net.state_dict())
    assert list(ours) == list(theirs)
    for a, b in zip(ours["param_groups"], theirs["param_groups"]):
        # With groups of their own, Python puts what the caller named first.
        assert kind == "adamw" or list(a) == list(b)
        assert a == b
    for a, b in zip(ours["state"].items(), theirs["state"].items()):
        assert a[0] == b[0] and list(a[1]) == list(b[1])
        for x, y in zip(a[1].values(), b[1].values()):
            assert (x.dtype, x.shape) == (y.dtype, y.shape)


@pytest.mark.parametrize("command", ["train-on", "in-place"])
@pytest.mark.parametrize("kind", KINDS)
def test_python_saves_cpp_resumes(tmp_path, kind, command):
    """By copies, and straight into the module's memory."""
    torch.manual_seed(2)
    net = Net()
    optimizer = make_optimizer(kind, net)
    train(net, optimizer, 0, 3)
    # What schedulers leave in the groups is of no use to C++, and no obstacle.
    optimizer.param_groups[0]["initial_lr"] = 0.5
    torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict(),
                "step": 3}, tmp_path / "a.pt")
    run(command, kind, tmp_path / "a.pt", tmp_path / "b.pt")
    train(net, optimizer, 3, 5)
    further = torch.load(tmp_path / "b.pt", weights_only=True)
    assert further["step"] == 5
    close(dict(net.state_dict()), dict(further["model"]))
    close(optimizer.state_dict()["state"], further["optimizer"]["state"])


def test_kinds_of_tensors(tmp_path):
    """Views, dtypes and containers that were made in C++."""
    run("kinds", tmp_path / "a.pt")
    loaded = torch.load(tmp_path / "a.pt", weights_only=True)
    base = torch.arange(24.0).reshape(4, 6)
    numbers = torch.arange(6.0)
    expected = {
        "base": base, "transposed": base.t(), "row": base[2],
        "step": base[:, ::2], "wide": torch.ones(3, 1).expand(3, 5),
        "none": base[:0], "scalar": torch.tensor(1.5),
        "parameter": torch.full((3,), 2.0, requires_grad=True),
        "conj": torch.tensor([1 - 1j, 1 - 1j]),
        "bool": torch.tensor([True, False]),
        "channels": torch.arange(16.0).reshape(1, 2, 2, 4).contiguous(
            memory_format=torch.channels_last)}
    for name in ("bfloat16", "complex128", "float8_e4m3fn", "float8_e5m2",
                 "int64", "uint16"):
        expected[name] = numbers.to(getattr(torch, name))
    same(loaded["nested"], expected)
    same({name: loaded[name] for name in expected}, expected)
    assert loaded["scalars"] == (2**40, 0.5, True, "text", 1 - 2j, [1.0, 2.0],
                                 torch.device("cuda:1"), 2**64 - 1)
    # One storage in the file and after it, across parts.
    loaded["base"][2, 0] = 100
    assert loaded["row"][0] == 100
    assert loaded["nested"]["transposed"][0, 2] == 100


def test_python_values_through_ivalues(tmp_path):
    """Through C++'s own types and back, nothing changed."""
    base = torch.randn(3, 4)
    value = {
        "tensors": [base, base.t(), base[1:], base.to(torch.float8_e5m2)],
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "mixed": [1, 2.5, None, "x", True, (1, "a"), [], {}],
        "ints": [1, 2, 3], "complex": 2 + 1j, "device": torch.device("cuda:3"),
        "by_int": {0: base, 1: base * 2}, "deep": {"a": {"b": [{"c": base}]}}}
    torch.save(value, tmp_path / "a.pt")
    run("copy", tmp_path / "a.pt", tmp_path / "b.pt")
    loaded = torch.load(tmp_path / "b.pt", weights_only=True)
    # An IValue knows tensors, not Parameters.
    assert loaded["parameter"].requires_grad
    value["parameter"] = loaded["parameter"]
    same(loaded, value)
    loaded["deep"]["a"]["b"][0]["c"][0, 0] = 100
    assert loaded["tensors"][0][0, 0] == 100


@pytest.mark.parametrize("part, reason", [
    ({1, 2}, "set"), (b"x", "bytes"), (torch.eye(2).to_sparse(), "sparse"),
    (torch.float32, "torch.float32")])
def test_what_an_ivalue_cannot_be(tmp_path, part, reason):
    """An error that names the part and the type, and no file."""
    torch.save({"good": 1, "bad": {"inner": part}}, tmp_path / "a.pt")
    done = subprocess.run([BIN_DIR / "libtorch_program", "copy",
                           tmp_path / "a.pt", tmp_path / "b.pt"],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "bad" in done.stderr and "inner" in done.stderr
    assert reason in done.stderr
    assert not (tmp_path / "b.pt").exists()

"""What ckptfs writes s3torchconnector 1.5.0 reads, and the other way round."""
import sys
import uuid

import ckptfs
import ckptfs.dcp
import pytest
import torch
import torch.distributed.checkpoint as dcp
from support.torch_values import same

from .libraries import Ours, Theirs, environment_of

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning",
                                        "ignore::FutureWarning")

MIB = 1 << 20
DIRECTIONS = [pytest.param(("ours", "theirs"), id="ours-theirs"),
              pytest.param(("theirs", "ours"), id="theirs-ours")]


@pytest.fixture(params=["s3server", "moto"])
def prefix(request, monkeypatch):
    """A fresh place on one of the servers; .uri ends with a slash."""
    server = request.getfixturevalue(request.param)
    for name, value in environment_of(server).items():
        monkeypatch.setenv(name, value)
    made = server.prefix(f"compat-{uuid.uuid4().hex[:8]}/")
    made.uri = f"s3://{server.bucket}/{made.prefix}"
    made.sides = {"ours": Ours(server.endpoint),
                  "theirs": Theirs(server.endpoint)}
    return made


@pytest.fixture(params=DIRECTIONS)
def sides(request, prefix):
    """Who writes, and who reads."""
    return [prefix.sides[name] for name in request.param]


def _state(big=False):
    base = torch.arange(3000.).reshape(30, 100)
    return {
        "base": base, "transposed": base.t(), "row": base[3],
        "empty": base[:0], "half": base.to(torch.bfloat16),
        "parameter": torch.nn.Parameter(base[:2] + 1),
        "optimizer": {"state": {0: {"step": torch.tensor(3.)}},
                      "param_groups": [{"lr": 0.1, "params": [0]}]},
        # More than one part, of the smallest that there may be.
        **({"big": torch.arange(12 * MIB // 8)} if big else {}),
    }


@pytest.mark.parametrize("big", [False, True], ids=["small", "parts"])
def test_streams(prefix, sides, big):
    writes, reads = sides
    state = _state(big)
    with writes.checkpoint(part_size=5 * MIB).writer(
            prefix.uri + "x.pt") as stream:
        torch.save(state, stream)
    with reads.checkpoint(part_size=5 * MIB).reader(
            prefix.uri + "x.pt") as stream:
        same(torch.load(stream), state)


def test_save_and_load(prefix):
    theirs = prefix.sides["theirs"].checkpoint()
    state = _state()
    ckptfs.save(state, prefix.uri + "x.pt")
    with theirs.reader(prefix.uri + "x.pt") as stream:
        same(torch.load(stream), state)
    with theirs.writer(prefix.uri + "y.pt") as stream:
        torch.save(state, stream)
    same(ckptfs.load(prefix.uri + "y.pt"), state)
    into = {"base": torch.zeros(30, 100)}
    ckptfs.load_into(into, prefix.uri + "y.pt")
    assert torch.equal(into["base"], state["base"])


def test_lightning(prefix, sides):
    writes, reads = (side.lightning() for side in sides)
    state = {"state_dict": _state(), "epoch": 3, "loops": {"fit_loop": {}}}
    path = prefix.uri + "epoch=0-step=3.ckpt"
    writes.save_checkpoint(state, path)
    same(reads.load_checkpoint(path, "cpu", True), state)
    reads.remove_checkpoint(path)
    assert prefix.names() == []


def _strategy(side, name):
    module = side.dcp
    if name == "round robin":
        # The package of the original does not export it.
        found = sys.modules.get(f"{module.__name__}.s3_prefix_strategy", module)
        return found.RoundRobinPrefixStrategy(["a", "b/c"], epoch_num=1)
    return {"default": lambda: module.DefaultPrefixStrategy(),
            "binary": lambda: module.BinaryPrefixStrategy(epoch_num=2),
            "hex": lambda: module.HexPrefixStrategy(min_prefix_length=4),
            }[name]()


@pytest.mark.parametrize("name", ["default", "binary", "hex", "round robin"])
def test_dcp(prefix, sides, name):
    writes, reads = sides
    state = {"a": torch.arange(200.).reshape(20, 10),
             "b": torch.ones(5, dtype=torch.bfloat16), "nested": {"n": 5}}
    uri = prefix.uri + "a folder+with é&=/x"
    dcp.save(state, no_dist=True, storage_writer=writes.dcp_writer(
        uri, prefix_strategy=_strategy(writes, name), thread_count=2))
    loaded = {"a": torch.zeros(20, 10),
              "b": torch.zeros(5, dtype=torch.bfloat16), "nested": {"n": 0}}
    dcp.load(loaded, no_dist=True, storage_reader=reads.dcp_reader(uri))
    same(loaded, state)


@pytest.mark.parametrize("name", ["default", "binary", "hex", "round robin"])
def test_both_name_the_files_alike(prefix, name):
    for rank in (0, 1, 7):
        ours, theirs = (_strategy(prefix.sides[side], name)(rank)
                        for side in ("ours", "theirs"))
        assert ours == theirs


def test_a_part_of_a_checkpoint_of_dcp(prefix, sides):
    writes, reads = sides
    state = {name: torch.full((1000,), float(number))
             for number, name in enumerate("abcdef")}
    dcp.save(state, no_dist=True,
             storage_writer=writes.dcp_writer(prefix.uri + "x"))
    loaded = {name: torch.zeros(1000) for name in "eb"}
    dcp.load(loaded, no_dist=True,
             storage_reader=reads.dcp_reader(prefix.uri + "x"))
    same(loaded, {name: state[name] for name in "eb"})


@pytest.mark.parametrize("kind", ["sequential", "range_based",
                                  "dcp_optimized"])
def test_reader_constructors(prefix, sides, kind):
    writes, reads = sides
    state = {"a": torch.arange(1000.), "b": torch.ones(10)}
    dcp.save(state, no_dist=True,
             storage_writer=writes.dcp_writer(prefix.uri + "x"))
    loaded = {"a": torch.zeros(1000), "b": torch.zeros(10)}
    constructor = getattr(reads.module.S3ReaderConstructor, kind)()
    dcp.load(loaded, no_dist=True, storage_reader=reads.dcp_reader(
        prefix.uri + "x", reader_constructor=constructor))
    same(loaded, state)


def test_files_of_each_tensor(prefix, sides):
    writes, reads = sides
    state = {"a": torch.arange(100.)}
    dcp.save(state, no_dist=True, storage_writer=writes.dcp_writer(
        prefix.uri + "x", single_file_per_rank=False))
    loaded = {"a": torch.zeros(100)}
    dcp.load(loaded, no_dist=True,
             storage_reader=reads.dcp_reader(prefix.uri + "x"))
    same(loaded, state)


def test_async_save(prefix, sides):
    writes, reads = sides
    state = {"a": torch.arange(100.)}
    dcp.async_save(state, no_dist=True, storage_writer=writes.dcp_writer(
        prefix.uri + "x")).result()
    loaded = {"a": torch.zeros(100)}
    dcp.load(loaded, no_dist=True,
             storage_reader=reads.dcp_reader(prefix.uri + "x"))
    same(loaded, state)


def test_streams_of_the_file_systems(prefix, sides):
    writes, reads = (side.files() for side in sides)
    path = prefix.uri + "odd name+é%20"
    with writes.create_stream(path, "wb") as stream:
        stream.write(b"12345")
    assert reads.exists(path)
    reads.rename(path, prefix.uri + "y z")
    with writes.create_stream(prefix.uri + "y z", "rb") as stream:
        assert stream.read() == b"12345"
    assert not writes.exists(path)
    reads.rm_file(prefix.uri + "y z")
    assert prefix.names() == []

"""Cases (compat_cases.py) of Lightning's checkpoints and of distributed ones."""
import contextlib
import pathlib
import pickle

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.planner import LoadPlan

from .compat_cases import case


# S3LightningCheckpoint.

@case("`save_checkpoint` with `storage_options`")
def _(library, place):
    library.lightning().save_checkpoint({}, place.uri + "x", {"acl": "x"})


@case("`save_checkpoint` of a state that cannot be pickled")
def _(library, place):
    library.lightning().save_checkpoint({"f": lambda: 0}, place.uri + "x")


@case("`save_checkpoint`, the older object after that")
def _(library, place):
    place.write("x", b"1")
    try:
        library.lightning().save_checkpoint({"f": lambda: 0}, place.uri + "x")
    except Exception:  # noqa: BLE001
        return "stays" if place.read("x") == b"1" else "is lost"


@case("`load_checkpoint(path, state=...)`")
def _(library, place):
    state = {"a": torch.zeros(3)}
    library.lightning().load_checkpoint(place.uri + "there.pt", state=state)
    return "restored" if state["a"].sum() == 3 else "ignored"


@case("`load_checkpoint` of tensors of a GPU that is not here, no "
      "`map_location`")
def _(library, place):
    with place.tensors_tagged("cuda:99"):
        torch.save({"a": torch.ones(3)}, place.plain_file)
    place.write("x", pathlib.Path(place.plain_file).read_bytes())
    loaded = library.lightning().load_checkpoint(place.uri + "x")
    return f"on the {loaded['a'].device.type.upper()}"


@case("`load_checkpoint` of any class, no `weights_only`")
def _(library, place):
    library.lightning().save_checkpoint({"c": place.any_object},
                                        place.uri + "x")
    library.lightning().load_checkpoint(place.uri + "x")


@case("`load_checkpoint` of a file that is none of torch's")
def _(library, place):
    place.write("x", b"no checkpoint")
    library.lightning().load_checkpoint(place.uri + "x")


@case("`load_checkpoint` of a file that ends too early")
def _(library, place):
    place.write("x", place.read("there.pt")[:-100])
    library.lightning().load_checkpoint(place.uri + "x")


# DCP.

class _Twice(DefaultLoadPlanner):
    """Wants every tensor twice, as a rank with two chunks of one does."""

    def create_local_plan(self):
        return LoadPlan([item for item in super().create_local_plan().items
                         for _ in range(2)])


def _save(library, uri, value=1.):
    dcp.save({"a": torch.full((3,), value)}, no_dist=True,
             storage_writer=library.dcp_writer(uri))


@case("`dcp.load`: a stored tensor is wanted twice")
def _(library, place):
    _save(library, place.uri + "x")
    state = {"a": torch.zeros(3)}
    dcp.load(state, no_dist=True, planner=_Twice(),
             storage_reader=library.dcp_reader(place.uri + "x"))
    return "loaded" if state["a"].sum() == 3 else "not loaded"


@case("`dcp.save(use_collectives=False)` with a prefix strategy")
def _(library, place):
    dcp.save({"a": torch.ones(3)}, no_dist=True, use_collectives=False,
             storage_writer=library.dcp_writer(
                 place.uri + "x",
                 prefix_strategy=library.dcp.HexPrefixStrategy(
                     min_prefix_length=2)))
    return ", ".join(f"`{name[2:]}`" for name in place.names("x/"))


@case("`dcp.load` after a `dcp.save` over the checkpoint has failed at its end")
def _(library, place):
    _save(library, place.uri + "x", 1.)
    with place.denied("PutObject", "x/.metadata"), \
            place.denied("CreateMultipartUpload", "x/.metadata"), \
            contextlib.suppress(CheckpointException):
        _save(library, place.uri + "x", 2.)
        return "it did not fail"
    loaded = {"a": torch.zeros(3)}
    dcp.load(loaded, no_dist=True,
             storage_reader=library.dcp_reader(place.uri + "x"))
    return {1: "the older values", 2: "the newer values"}[loaded["a"][0].item()]


@case("`S3StorageWriter(sync_files=True)`")
def _(library, place):
    library.dcp.S3StorageWriter("us-east-1", place.uri + "x", sync_files=True)
    return "no effect"


@case("`S3StorageWriter(endpoint=...)`")
def _(library, place):
    library.dcp.S3StorageWriter("us-east-1", place.uri + "x",
                                endpoint="http://127.0.0.1:1")
    return "made"


@case("`pickle.dumps` of an `S3StorageWriter` that was used")
def _(library, place):
    writer = library.dcp_writer(place.uri + "x")
    dcp.save({"a": torch.ones(3)}, no_dist=True, storage_writer=writer)
    pickle.dumps(writer)


@case("`from <package>.dcp import RoundRobinPrefixStrategy`")
def _(library, place):
    library.dcp.RoundRobinPrefixStrategy(["a"])
    return "there"


@case("`HexPrefixStrategy(min_prefix_length=0)`")
def _(library, place):
    library.dcp.HexPrefixStrategy(min_prefix_length=0)

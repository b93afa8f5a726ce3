"""torch.save files of real models in every place that a path can name: plain
files, S3 by two servers, and a mount, which is either taken around (with
credentials) or gone through (without)."""
import io
import os
import subprocess

import pytest
import torch

from support import trained_values
from support.ckptfs_mount import clean_environment
from support.programs import BIN_DIR
from support.torch_values import same, sharing


class Folder:
    """A folder of plain files, or of a mount."""

    def __init__(self, path, environment):
        self.folder = path
        self.environment = environment

    def path(self, name):
        return str(self.folder / name)

    def write(self, name, data):
        (self.folder / name).write_bytes(data)

    def read(self, name):
        return (self.folder / name).read_bytes()

    def names(self):
        return sorted(os.listdir(self.folder))


class Bucket:
    """Objects below a prefix, by their URIs."""

    def __init__(self, server, prefix):
        self.objects = server.prefix(prefix)
        self.environment = {**clean_environment(server),
                            "AWS_ENDPOINT_URL": server.endpoint}

    def path(self, name):
        return f"s3://{self.objects.bucket}/{self.objects.prefix}{name}"

    def write(self, name, data):
        self.objects.write(name, data)

    def read(self, name):
        return self.objects.read(name)

    def names(self):
        return self.objects.names()


def without_credentials():
    """No AWS settings at all."""
    return {name: value for name, value in os.environ.items()
            if not name.startswith("AWS_")} | {
                "AWS_EC2_METADATA_DISABLED": "true"}


@pytest.fixture(params=[
    "files", "s3server", pytest.param("radosgw", marks=pytest.mark.radosgw),
    "mount_bypassed", "mount"])
def place(request, tmp_path, make_mount):
    """Where the files of a test are."""
    if request.param == "files":
        yield Folder(tmp_path, without_credentials())
    elif request.param in ("s3server", "radosgw"):
        bucket = Bucket(request.getfixturevalue(request.param),
                        f"{tmp_path.name}/")
        yield bucket
        bucket.objects.clear()
    else:
        mount = make_mount()
        yield Folder(mount.path, clean_environment(mount.server)
                     if request.param == "mount_bypassed"
                     else without_credentials())


def copy(place, *options, source="in.pt", target="out.pt"):
    done = subprocess.run(
        [BIN_DIR / "torch_file_copy", *options, place.path(source),
         place.path(target)], env=place.environment, capture_output=True,
        text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def saved(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def loaded(place, name="out.pt", weights_only=True):
    return torch.load(io.BytesIO(place.read(name)), weights_only=weights_only)


@pytest.mark.parametrize("name", sorted(trained_values.SAFE))
def test_states(place, name):
    """Python -> C++ -> Python: equal values, dtypes, strides and sharing, under
    weights_only on both sides; the same loaded in place; and saved over."""
    torch.manual_seed(1)
    value = trained_values.SAFE[name]()
    place.write("in.pt", saved(value))
    for options in ((), ("--into",)):
        copy(place, "--weights-only", *options)
        result = loaded(place)
        same(result, value)
        assert sharing(result) == sharing(value)
    # What was written here is read here, to the same bytes.
    copy(place, "--weights-only", source="out.pt", target="again.pt")
    same(loaded(place, "again.pt"), value)
    assert place.names() == ["again.pt", "in.pt", "out.pt"]


def test_models_take_what_was_copied(place):
    """load_state_dict of modules and optimizers, and the next step is equal."""
    torch.manual_seed(1)
    value = trained_values.resnet_with_momentum()
    place.write("in.pt", saved(value))
    copy(place, "--weights-only")
    outputs = []
    for state in (value, loaded(place)):
        model = trained_values.resnet()
        model.load_state_dict(state["model"])
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
        optimizer.load_state_dict(state["optimizer"])
        x = torch.linspace(0, 1, 2 * 3 * 16 * 16).reshape(2, 3, 16, 16)
        model(x).square().sum().backward()
        optimizer.step()
        outputs.append(model(x))
    assert torch.equal(*outputs)


@pytest.fixture(scope="module")
def lightning_checkpoint(tmp_path_factory):
    return trained_values.lightning_checkpoint(
        tmp_path_factory.mktemp("lightning"))


def test_lightning_checkpoint(place, lightning_checkpoint):
    """Hyper-parameters of any class go through as they are, and are refused
    where weights_only is asked for."""
    value = lightning_checkpoint
    assert set(value) >= {"hyper_parameters", "state_dict", "loops",
                          "optimizer_states"}
    place.write("in.pt", saved(value))
    copy(place)
    result = loaded(place, weights_only=False)
    assert result["hyper_parameters"] == value["hyper_parameters"]
    same(result["state_dict"], value["state_dict"])
    same(result["optimizer_states"], value["optimizer_states"])
    assert result["loops"] == value["loops"]
    assert set(result) == set(value)
    done = subprocess.run(
        [BIN_DIR / "torch_file_copy", "--weights-only", place.path("in.pt"),
         place.path("none.pt")], env=place.environment, capture_output=True,
        text=True, check=False)
    assert done.returncode == 1
    assert "is not allowed with weights_only" in done.stderr
    assert "none.pt" not in place.names()


def test_several_parts(place):
    """More than one part of an upload and one range of a download."""
    value = {"a": torch.arange(5_000_000), "b": torch.arange(100.0)}
    place.write("in.pt", saved(value))
    copy(place, "--weights-only")
    same(loaded(place), value)
    fetched = copy(place, "--only", "b", target="b.pt")
    assert fetched == "fetched 400\n"
    same(loaded(place, "b.pt"), {"b": value["b"]})

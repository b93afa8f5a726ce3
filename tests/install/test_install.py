"""What `cmake --install` leaves: programs that include only <ckptfs/...> are
configured, built and run against the installed tree, by CMake and pkg-config."""
import os
import pathlib
import re
import shutil
import subprocess

import pytest
import torch
import torch.distributed.checkpoint as dcp

from support.programs import ROOT

BUILD = ROOT / "build/release"
EXAMPLES = ROOT / "examples/cpp"


def call(*words, env=None, code=0):
    """Output and error output of a program that must end with `code`."""
    done = subprocess.run([str(word) for word in words], env=env, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False)
    assert done.returncode == code, done.stdout
    return done.stdout


def cmake():
    """The one that configured the build; another may be too old."""
    cache = (BUILD / "CMakeCache.txt").read_text()
    return re.search(r"^CMAKE_COMMAND:INTERNAL=(.+)$", cache, re.M)[1]


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    path = tmp_path_factory.mktemp("install") / "prefix"
    call(cmake(), "--install", BUILD, "--prefix", path)
    return path


@pytest.fixture(scope="module")
def compiling(prefix):
    """The environment for compilers: ccache, if there, knows sources again
    although each run has another prefix."""
    return dict(os.environ, CCACHE_NOHASHDIR="1",
                CCACHE_BASEDIR=str(prefix.parent))


def configure(prefix, source, build, *options, env=None, code=0):
    launcher = shutil.which("ccache")
    return call(cmake(), "-S", source, "-B", build, "-G", "Ninja",
                f"-DCMAKE_PREFIX_PATH={prefix}",
                *([f"-DCMAKE_CXX_COMPILER_LAUNCHER={launcher}"] if launcher
                  else []), *options, env=env, code=code)


@pytest.fixture(scope="module")
def examples(prefix, compiling):
    """Where the examples are, built against the installed tree alone."""
    source = prefix.parent / "examples"
    shutil.copytree(EXAMPLES, source)
    build = prefix.parent / "examples-build"
    configure(prefix, source, build, env=compiling)
    call(cmake(), "--build", build, env=compiling)
    return build


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "last.ckpt"
    weight = torch.randn(100, 10)
    torch.save({"model": {"weight": weight, "tied": weight},
                "optimizer": {"exp_avg": torch.zeros(300, 10)}}, path)
    return path


def library_folder(prefix):
    return next(prefix.rglob("libckptfs.so")).parent


def test_what_is_installed(prefix):
    """Public headers, shared libraries, package files; nothing internal."""
    installed = {path.relative_to(prefix) for path in prefix.rglob("*")
                 if not path.is_dir()}
    headers = {path for path in installed if path.parts[0] == "include"}
    public = {path.relative_to(ROOT) for path in
              (ROOT / "include").rglob("*.h")}
    assert headers == public
    libraries = library_folder(prefix).relative_to(prefix)
    assert {path.name for path in installed if path.parent == libraries} == {
        f"lib{name}.so{version}" for name in ("ckptfs", "ckptfs_torch")
        for version in ("", ".0.1", ".0.1.0")}
    assert {path.name for path in installed
            if libraries in path.parents and path.parent != libraries} == {
        "ckptfs.pc", "FindLibtorch.cmake", "ckptfsConfig.cmake",
        "ckptfsConfigVersion.cmake", "ckptfsCoreTargets.cmake",
        "ckptfsCoreTargets-relwithdebinfo.cmake", "ckptfsTorchBuild.cmake",
        "ckptfsTorchTargets.cmake", "ckptfsTorchTargets-relwithdebinfo.cmake"}
    assert pathlib.Path("bin/ckptfs") in installed


@pytest.mark.parametrize("library", ["libckptfs.so", "libckptfs_torch.so"])
def test_only_what_headers_declare_is_exported(prefix, library):
    """Each symbol's class or function is one of a public header's words."""
    words = set(re.findall(r"\w+", "".join(
        path.read_text() for path in (prefix / "include").rglob("*.h"))))
    listing = call("nm", "-DC", "--defined-only",
                   library_folder(prefix) / library)
    names = re.findall(r"^\w+ \w (?:(?:vtable|typeinfo|typeinfo name|VTT) for )?"
                       r"(.+)$", listing, re.M)
    assert len(names) > 20
    leaked = []
    for name in names:
        found = re.match(r"ckptfs::(?:libtorch::)?(\w+)", name)
        if not found or found[1] not in words or found[1] == "internal":
            leaked.append(name)
    assert not leaked


def test_headers_compile_alone(prefix, compiling, tmp_path):
    """Each core header by itself, with warnings as errors."""
    for header in sorted((prefix / "include").rglob("*.h")):
        if "torch" in header.parent.name:
            continue
        source = tmp_path / "alone.cc"
        source.write_text(
            f"#include <{header.relative_to(prefix / 'include')}>\n")
        call("g++", "-std=c++20", "-fsyntax-only", "-Wall", "-Wextra",
             "-Wpedantic", "-Werror", f"-I{prefix / 'include'}", source,
             env=compiling)


@pytest.fixture(params=["plain", "s3"])
def place(request, s3server, tmp_path):
    """put(file), path(name) and the environment for a place of files."""
    class Place:
        env = dict(os.environ, **s3server.environment(),
                   AWS_ENDPOINT_URL=s3server.endpoint)

        def path(self, name):
            if request.param == "plain":
                return tmp_path / name
            return f"s3://{s3server.bucket}/{tmp_path.name}/{name}"

        def put(self, file):
            if request.param == "plain":
                shutil.copy(file, tmp_path)
            else:
                s3server.client().upload_file(
                    str(file), s3server.bucket, f"{tmp_path.name}/{file.name}")
            return self.path(file.name)

        def get(self, name):
            if request.param == "s3":
                s3server.client().download_file(
                    s3server.bucket, f"{tmp_path.name}/{name}",
                    str(tmp_path / name))
            return tmp_path / name
    return Place()


def test_inspect(examples, checkpoint, place):
    output = call(examples / "inspect", place.put(checkpoint), env=place.env)
    lines = [line.split() for line in output.splitlines()]
    assert lines == [["model.weight", "float32", "[100,", "10]"],
                     ["model.tied", "float32", "[100,", "10]"],
                     ["optimizer.exp_avg", "float32", "[300,", "10]"],
                     ["2", "storages,", "16000", "bytes"]]


def test_partial_load(examples, checkpoint, place):
    """The optimizer's bytes do not move."""
    output = call(examples / "partial_load", place.put(checkpoint), "model.",
                  env=place.env)
    assert output.splitlines() == ["model.weight", "model.tied",
                                   "2 of 3 tensors, 4000 bytes moved"]


def test_dcp_reshard(examples, place, tmp_path):
    """Three ranks' rows of what torch saved as one; only theirs move."""
    state = {"model": {"weight": torch.randn(100, 10), "scale": torch.ones(())},
             "step": 7}
    dcp.save(state, checkpoint_id=tmp_path / "saved", no_dist=True)
    for file in (tmp_path / "saved").iterdir():
        place.put(file)
    rows = []
    for rank in range(3):
        output = call(examples / "dcp_reshard", place.path(""), rank, 3,
                      tmp_path / "part.pt", env=place.env)
        part = torch.load(tmp_path / "part.pt", weights_only=True)
        assert part["model.scale"] == 1
        rows.append(part["model.weight"])
        moved = rows[-1].numel() * 4 + 4
        assert output == f"2 tensors, {moved} bytes moved\n"
    assert [len(part) for part in rows] == [34, 34, 32]
    assert torch.equal(torch.cat(rows), state["model"]["weight"])


def test_train_and_resume(examples, place):
    """Stopped and resumed, the last loss is the same to the last digit."""
    program = examples / "train_and_resume"
    whole = call(program, place.path("a.ckpt"), 20, env=place.env)
    assert whole.startswith("started at step 0\nstep 20, loss ")
    # Stops two steps after it saved.
    call(program, place.path("b.ckpt"), 12, env=place.env)
    resumed = call(program, place.path("b.ckpt"), 20, env=place.env)
    assert resumed.startswith("resumed at step 10\n")
    assert resumed.splitlines()[1] == whole.splitlines()[1]
    saved = torch.load(place.get("b.ckpt"), weights_only=True)
    assert saved["step"] == 20
    assert list(saved["model"]) == ["0.weight", "0.bias", "3.weight", "3.bias"]


def test_errors_of_programs(examples, place):
    output = call(examples / "inspect", place.path("none.ckpt"),
                  env=place.env, code=1)
    assert "NotFound" in output


def test_pkg_config(prefix, compiling, checkpoint, tmp_path):
    """The flags of ckptfs.pc are enough, wherever the tree lies."""
    env = dict(compiling, PKG_CONFIG_PATH=str(
        next(prefix.rglob("ckptfs.pc")).parent))
    assert call("pkg-config", "--modversion", "ckptfs",
                env=env).strip() == "0.1.0"
    flags = call("pkg-config", "--cflags", "--libs", "ckptfs",
                 env=env).split()
    program = tmp_path / "inspect"
    call("g++", "-std=c++20", EXAMPLES / "inspect.cpp", "-o", program, *flags,
         f"-Wl,-rpath,{library_folder(prefix)}", env=env)
    assert "16000 bytes" in call(program, checkpoint)


CONSUMER = """
cmake_minimum_required(VERSION 3.25)
project(consumer LANGUAGES CXX)
find_package(ckptfs {version} {components})
message(STATUS "core ${{ckptfs_core_FOUND}}, torch ${{ckptfs_torch_FOUND}}")
"""


@pytest.fixture
def consumer(prefix, tmp_path):
    """run(components): the output of a project that looks for ckptfs in a tree
    that was built without libtorch."""
    tree = tmp_path / "prefix"
    shutil.copytree(prefix, tree, symlinks=True)
    for path in tree.rglob("ckptfsTorch*"):
        path.unlink()

    def run(components, version="0.1", code=0):
        source = tmp_path / "source"
        source.mkdir()
        (source / "CMakeLists.txt").write_text(
            CONSUMER.format(components=components, version=version))
        return " ".join(configure(tree, source, tmp_path / "build",
                                  code=code).split())
    return run


def test_core_without_torch(consumer):
    assert "core TRUE, torch" in consumer("REQUIRED")


def test_torch_missing_is_said(consumer):
    output = consumer("REQUIRED COMPONENTS core torch", code=1)
    assert "built without libtorch: build it with CKPTFS_TORCH=ON" in output


def test_torch_may_be_optional(consumer):
    assert "core TRUE, torch FALSE" in consumer(
        "REQUIRED COMPONENTS core OPTIONAL_COMPONENTS torch")


def test_unknown_components_are_refused(consumer):
    output = consumer("REQUIRED COMPONENTS core jax", code=1)
    assert "jax" in output


def test_other_versions_are_refused(consumer):
    """While it is 0.x, each minor version is another interface."""
    assert "0.2" in consumer("REQUIRED", version="0.2", code=1)


def test_another_libtorch_is_refused(prefix, tmp_path):
    """ckptfs::torch belongs to the libtorch it was built with."""
    include = tmp_path / "libtorch/include/torch"
    (include / "headeronly").mkdir(parents=True)
    (include / "csrc/api/include/torch").mkdir(parents=True)
    (include / "csrc/api/include/torch/torch.h").touch()
    (include / "headeronly/version.h").write_text(
        "#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR 9\n"
        "#define TORCH_VERSION_PATCH 1\n")
    (tmp_path / "libtorch/lib").mkdir()
    (tmp_path / "libtorch/lib/libtorch_cpu.so").touch()
    source = tmp_path / "source"
    source.mkdir()
    (source / "CMakeLists.txt").write_text(CONSUMER.format(
        version="0.1", components="REQUIRED COMPONENTS torch"))
    output = configure(prefix, source, tmp_path / "build",
                       f"-DCKPTFS_TORCH_ROOT={tmp_path / 'libtorch'}", code=1)
    assert f"libtorch {torch.__version__.split('+')[0]} was not found" in \
        " ".join(output.split())

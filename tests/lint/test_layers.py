"""The include rules between the layers (ARCHITECTURE.md), from #include lines.

A layer may include its own headers, those of the layers listed for it, and the
libraries listed for it. Everything else is an error, so that nobody reaches
around a layer by accident.
"""
import re

import pytest

from source_tree import code, text

# Layer -> (layers, libraries) it may include besides itself, the C++ standard
# library, the C library and the kernel's headers.
ALLOWED = {
    "common": (set(), {"tl", "openssl", "spdlog"}),
    "http": ({"common"}, {"curl"}),
    "s3": ({"http", "common"}, {"openssl", "libxml", "nlohmann"}),
    "store": ({"s3", "http", "common"}, set()),
    "transfer": ({"common"}, set()),
    "checkpoint": ({"transfer", "common"}, {"zlib.h", "libdeflate.h", "nlohmann"}),
    # A library of its own, which sees of the others what everybody sees.
    "torch": (set(), {"torch", "ATen", "c10"}),
    "python": ({"checkpoint", "transfer", "common"}, {"nanobind", "Python.h"}),
    "fs": ({"transfer", "common"}, set()),
    "fuse": ({"fs", "common"}, {"fuse_lowlevel.h", "fuse.h"}),
    "cli": ({"common", "http", "s3", "store", "transfer", "checkpoint", "fs",
             "fuse"},
            {"CLI", "nlohmann", "prometheus"}),
}

# Within a layer, some libraries and layers belong to few files alone.
ONLY_IN = {
    "spdlog": r"src/common/log\.cc",
    "libxml": r"src/s3/xml\.(cc|h)",
    "s3/": r"src/(s3/.*|store/(s3_object_store(_conditions|_deletes|_settling)?|open_s3_store)\.(cc|h)|cli/.*)",
    "http/": r"src/(http|s3)/.*"
             r"|src/store/(s3_object_store(_conditions|_deletes|_settling)?|open_s3_store)\.(cc|h)|src/cli/.*",
}

# Headers of the C library and the kernel; the rest of <...> without a dot is
# the C++ standard library.
SYSTEM = re.compile(
    r"(sys|linux|netinet|arpa|net|asm)/.*\.h|"
    r"(unistd|fcntl|poll|signal|spawn|errno|string|strings|stdlib|stdio|"
    r"pthread|time|limits|dirent|sched|fnmatch|pwd|grp|malloc|endian|netdb)\.h|"
    r"[a-z_0-9]+")

INCLUDE = re.compile(r'^\s*#\s*include\s+(?P<open>[<"])(?P<name>[^>"]+)[>"]',
                     re.MULTILINE)


def includes(path):
    return [(match["open"] == "<", match["name"])
            for match in INCLUDE.finditer(text(path))]


def problem(path, angle, name):
    """What is wrong with an include of a file below src/, or None."""
    layer = path.parts[1]
    layers, libraries = ALLOWED[layer]
    for prefix, places in ONLY_IN.items():
        if name.startswith(prefix) and not re.fullmatch(places, str(path)):
            return f"{prefix} belongs to {places}"
    head = name.split("/", 1)[0]
    if name.startswith("ckptfs/"):
        return None if angle else "public headers are included with <...>"
    if not angle:
        if head == layer or head in layers:
            return None
        return f"{layer} may not include {head}"
    if head in libraries or name in libraries or SYSTEM.fullmatch(name):
        return None
    return f"{layer} may not use <{name}>"


@pytest.mark.parametrize("layer", sorted(ALLOWED))
def test_includes_of_a_layer(layer):
    problems = [f"{path}: {name}: {what}"
                for path in code(f"src/{layer}") if path.suffix in (".cc", ".h")
                for angle, name in includes(path)
                if (what := problem(path, angle, name))]
    assert not problems, "\n".join(problems)


def test_every_folder_is_a_layer():
    assert {path.parts[1] for path in code("src")} <= set(ALLOWED)


def test_public_headers_stand_alone():
    """They include the standard library, tl::expected and each other; those of
    libtorch belong to include/ckptfs/torch, which nobody else includes."""
    problems = []
    for path in code("include"):
        torch = path.parts[:3] == ("include", "ckptfs", "torch")
        for angle, name in includes(path):
            head = name.split("/", 1)[0]
            if not angle or not (
                    head == "ckptfs" and (torch or "/torch/" not in name)
                    or torch and head in ALLOWED["torch"][1]
                    or name == "tl/expected.hpp" or SYSTEM.fullmatch(name)):
                problems.append(f"{path}: {name}")
    assert not problems, "\n".join(problems)


def test_the_server_of_the_tests_shares_no_code():
    """A mistake that both sides share would never be found."""
    problems = [f"{path}: {name}"
                for path in code("tests/s3server")
                if path.suffix in (".cc", ".h")
                for angle, name in includes(path)
                if name.split("/", 1)[0] in ALLOWED
                or name.startswith("ckptfs/")]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("path, line, wrong", [
    ("src/fs/a.cc", '#include "fuse/session.h"', True),
    ("src/fs/a.cc", '#include "transfer/object_writer.h"', False),
    ("src/fs/a.cc", "#include <curl/curl.h>", True),
    ("src/common/clock.cc", "#include <spdlog/spdlog.h>", True),
    ("src/common/log.cc", "#include <spdlog/spdlog.h>", False),
    ("src/store/memory_object_store.cc", '#include "s3/s3_client.h"', True),
    ("src/http/a.cc", "#include <curl/curl.h>", False),
    ("src/http/a.cc", '#include "s3/sigv4.h"', True),
])
def test_the_lint_itself(path, line, wrong):
    import pathlib
    match = INCLUDE.search(line)
    found = problem(pathlib.Path(path), match["open"] == "<", match["name"])
    assert (found is not None) == wrong

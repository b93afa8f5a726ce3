"""Fixtures for programs that write to a mount."""
import os
import random

import pytest

from support.python_program import PythonProgram

MIB = 1 << 20
PLAIN = os.environ.get("CKPTFS_TEST_PLAIN_DIR") == "1"


@pytest.fixture
def program():
    """Starts short Python programs; none outlives the test."""
    programs = []

    def start(source, *arguments):
        programs.append(PythonProgram(source, *arguments))
        return programs[-1]

    yield start
    for each in programs:
        each.end()


@pytest.fixture(params=[
    "s3server", pytest.param("radosgw", marks=pytest.mark.radosgw)])
def any_mount(request, make_mount):
    """A mount on the in-tree server, and one on a Ceph radosgw."""
    if PLAIN:
        if request.param != "s3server":
            pytest.skip("CKPTFS_TEST_PLAIN_DIR=1")
        return make_mount()
    return make_mount(server=request.getfixturevalue(request.param))


@pytest.fixture
def random_bytes():
    """random_bytes(n): n bytes, the same in every run, never the same twice."""
    generator = random.Random(1)
    return generator.randbytes

"""Fixtures for tests of the mount itself."""
import pytest

from support import servers
from support.python_program import PythonProgram


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


@pytest.fixture
def server():
    """An in-tree server of the test's own, to break."""
    made = servers.S3Server()
    yield made
    made.stop()

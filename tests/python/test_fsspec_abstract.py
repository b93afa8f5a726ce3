"""fsspec's own tests of file systems, on s3server; some on moto, too, which
is slow. Without those that copy by patterns, which CkptFileSystem takes for
names (test_names.py)."""
import os
import uuid

import pytest
from ckptfs.fsspec import CkptFileSystem
from fsspec.tests.abstract import (AbstractCopyTests, AbstractFixtures,
                                   AbstractGetTests, AbstractOpenTests,
                                   AbstractPipeTests, AbstractPutTests)


def without_patterns(tests):
    """The class, without its tests of patterns."""
    for name in dir(tests):
        if "_glob_" in name or "_same_name_prefix" in name:
            setattr(tests, name, None)
    return tests


class Fixtures(AbstractFixtures):
    @pytest.fixture
    def server_name(self):
        return "s3server"

    @pytest.fixture
    def server(self, request, server_name, monkeypatch):
        server = request.getfixturevalue(server_name)
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        return server

    @pytest.fixture
    def fs(self, server):
        return CkptFileSystem(endpoint=server.endpoint)

    @pytest.fixture
    def fs_path(self, server):
        return f"{server.bucket}/abstract-{uuid.uuid4().hex[:8]}"

    @pytest.fixture
    def fs_join(self):
        return lambda *parts: "/".join(os.fspath(part) for part in parts)

    @pytest.fixture
    def supports_empty_directories(self):
        return False


@without_patterns
class TestCopy(AbstractCopyTests, Fixtures):
    pass


@without_patterns
class TestGet(AbstractGetTests, Fixtures):
    pass


@without_patterns
class TestPut(AbstractPutTests, Fixtures):
    pass


class TestOpen(AbstractOpenTests, Fixtures):
    pass


class TestPipe(AbstractPipeTests, Fixtures):
    pass


class OnMoto(Fixtures):
    @pytest.fixture
    def server_name(self):
        return "moto"


class TestOpenOnMoto(AbstractOpenTests, OnMoto):
    pass


class TestPipeOnMoto(AbstractPipeTests, OnMoto):
    pass


@without_patterns
class TestCopyOnMoto(AbstractCopyTests, OnMoto):
    pass

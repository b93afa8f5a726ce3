"""Fixtures of the torture: a server to break, on either kind of store."""
import pytest

from support import servers


@pytest.fixture
def server():
    """An in-tree server of the test's own, to break."""
    made = servers.S3Server()
    yield made
    made.stop()


@pytest.fixture(params=[
    "s3server", pytest.param("radosgw", marks=pytest.mark.radosgw)])
def store(request):
    """The in-tree server, of the test's own, and a Ceph radosgw."""
    return request.getfixturevalue(
        "server" if request.param == "s3server" else request.param)


@pytest.fixture
def any_mount(store, make_mount):
    """A mount on either."""
    return make_mount(server=store)

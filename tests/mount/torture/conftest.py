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
def any_mount(request, make_mount):
    """A mount on the in-tree server, and one on a Ceph radosgw."""
    store = request.getfixturevalue(
        "server" if request.param == "s3server" else request.param)
    return make_mount(server=store)

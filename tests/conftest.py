"""Fixtures of all Python tests.

  s3server   the in-tree server, one per test run
  radosgw    a Ceph radosgw with its own cluster, one per test run
  moto, rclone  likewise
  mount      a fresh prefix of s3server, mounted: .path, .bucket (the same
             prefix seen by a plain S3 client), .log(), .remount(), ...
  make_mount the same by a call: make_mount(server=..., options=[...])

With CKPTFS_TEST_PLAIN_DIR=1 `mount` is a plain local directory: what fails
then is wrong in the test itself. Tests of what only ckptfs promises are marked
ckptfs_only and are skipped.
"""
import os
import pathlib
import signal
import sys
import uuid

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from support import bucket as buckets  # noqa: E402
from support import ckptfs_mount, servers  # noqa: E402
from support.ceph import RadosGw  # noqa: E402

PLAIN = os.environ.get("CKPTFS_TEST_PLAIN_DIR") == "1"


def pytest_configure(config):
    # Ignored in what a shell has started in the background and in workers of
    # pytest-xdist, and inherited from there; tests press Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line(
        "markers", "ckptfs_only: tests what a plain directory does not do")
    config.addinivalue_line(
        "markers", "radosgw: needs the Ceph cluster (15 s to start)")
    config.addinivalue_line("markers", "slow: a file of minutes, begun first")


def pytest_collection_modifyitems(items):
    # First, so that other workers have something to do beside them.
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    if not PLAIN:
        return
    skip = pytest.mark.skip(reason="CKPTFS_TEST_PLAIN_DIR=1")
    for item in items:
        if item.get_closest_marker("ckptfs_only"):
            item.add_marker(skip)


def _server_fixture(server_class):
    def start():
        server = server_class()
        yield server
        server.stop()
    return pytest.fixture(scope="session")(start)


s3server = _server_fixture(servers.S3Server)
radosgw = _server_fixture(RadosGw)
moto = _server_fixture(servers.MotoServer)
rclone = _server_fixture(servers.RcloneServer)


@pytest.fixture
def make_mount(request):
    """Makes mounts that end with the test. At the end each must unmount with
    exit code 0 (or `exit_code`, set by the test that loses files on purpose),
    leave no multipart upload and nothing under the reserved prefix."""
    mounts = []

    def make(server=None, prefix=None, options=()):
        if PLAIN:
            mounts.append(ckptfs_mount.PlainDirectory(buckets.DirectoryBucket))
            return mounts[-1]
        server = server or request.getfixturevalue("s3server")
        made = ckptfs_mount.CkptfsMount(
            server, f"test-{uuid.uuid4().hex[:8]}" if prefix is None
            else prefix, *options)
        made.expected_exit_code = 0
        mounts.append(made)
        return made

    yield make
    problems = []
    for made in mounts:
        try:
            if not PLAIN:
                problems += _end(made)
        finally:
            if getattr(request.node, "failed_call", False) or problems:
                sys.stderr.write(f"log of {made.path}:\n{made.log()[-8000:]}\n")
            made.destroy()
    assert not problems, problems


def _end(made):
    problems = []
    ended_by_test = made.exit_code is not None
    code = made.stop()
    if not ended_by_test and code != made.expected_exit_code:
        problems.append(f"the daemon ended with {code}, "
                        f"not {made.expected_exit_code}")
    if made.mounted():
        problems.append(f"{made.path} is still mounted")
    if code is not None and code >= 0:
        if made.server.flavor != "rclone" and made.bucket.uploads():
            problems.append(f"uploads left: {made.bucket.uploads()}")
        reserved = [k for k in made.bucket.keys() if k.startswith(".ckptfs/")]
        if reserved:
            problems.append(f"reserved objects left: {reserved}")
    made.bucket.clear()
    return problems


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call":
        item.failed_call = report.failed
    return report


@pytest.fixture
def mount(make_mount):
    return make_mount()

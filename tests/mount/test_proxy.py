"""A mount behind a proxy, as *_proxy variables name it: what the proxy says is
never taken for what the store says, NO_PROXY is honoured, and a proxy that
refuses is named."""
import os
import subprocess

import pytest

from support import programs, servers
from support.ckptfs_mount import clean_environment
from support.proxy import Proxy

pytestmark = pytest.mark.ckptfs_only
BASE = b"base " * 300_000


@pytest.fixture(params=["http", "https"])
def reached(request, tmp_path, monkeypatch):
    """A server of that scheme, and the options of a mount that trusts it."""
    if request.param == "http":
        server, options = servers.S3Server(), ()
    else:
        server = servers.S3Server("--tls-self-signed", str(tmp_path))
        bundle = str(tmp_path / "ca.pem")
        monkeypatch.setenv("AWS_CA_BUNDLE", bundle)  # of the test's own client
        options = ("--ca-file", bundle)
    assert server.endpoint.startswith(request.param + ":")
    yield server, options
    server.stop()


@pytest.fixture
def make_proxy():
    made = []

    def make(**options):
        made.append(Proxy(**options))
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()


def behind(server, monkeypatch, **variables):
    """Mounts of `server` see these variables."""
    plain = server.environment()
    monkeypatch.setattr(server, "environment",
                        lambda: {**plain, **variables})


def through(server, url, monkeypatch, **more):
    scheme = server.endpoint.split(":")[0]
    behind(server, monkeypatch, **{f"{scheme}_proxy": url}, **more)


def test_appends_keep_their_base(reached, make_mount, make_proxy, monkeypatch):
    """The reply to CONNECT has a length and no ETag: an object of no bytes.
    [S-18] [S-41]"""
    server, options = reached
    proxy = make_proxy()
    through(server, proxy.url, monkeypatch)
    mount = make_mount(server=server, options=options)
    mount.bucket.write("model.pt", BASE)
    assert os.stat(mount.path / "model.pt").st_size == len(BASE)
    with open(mount.path / "model.pt", "ab") as file:
        file.write(b"more")
    assert mount.bucket.read("model.pt") == BASE + b"more"
    large = os.urandom(20 << 20)
    (mount.path / "large.pt").write_bytes(large)
    assert mount.bucket.read("large.pt") == large
    assert (mount.path / "large.pt").read_bytes() == large
    verb = "CONNECT " if server.endpoint.startswith("https") else "PUT http://"
    assert any(request.startswith(verb) for request in proxy.requests)


def test_no_proxy(reached, make_mount, make_proxy, monkeypatch):
    """[S-41]"""
    server, options = reached
    proxy = make_proxy()
    through(server, proxy.url, monkeypatch, NO_PROXY="localhost,127.0.0.0/8")
    mount = make_mount(server=server, options=options)
    (mount.path / "model.pt").write_bytes(BASE)
    assert mount.bucket.read("model.pt") == BASE
    assert not proxy.requests


@pytest.mark.parametrize("status", [407, 502])
def test_a_proxy_that_refuses_is_named(reached, make_proxy, monkeypatch,
                                       tmp_path, status):
    """[S-41] [S-51]"""
    server, options = reached
    proxy = make_proxy(refuse=status)
    secret = proxy.url.replace("//", "//someone:hush@")
    through(server, secret, monkeypatch)
    place = tmp_path / "ckpt"
    place.mkdir()
    done = subprocess.run(
        [programs.BIN_DIR / "ckptfs", "mount", "--foreground",
         "--endpoint-url", server.endpoint, *options,
         f"s3://{server.bucket}/x", place],
        env=clean_environment(server), capture_output=True, text=True,
        timeout=120, check=False)
    assert done.returncode != 0
    assert proxy.url in done.stderr
    assert str(status) in done.stderr
    assert "hush" not in done.stderr

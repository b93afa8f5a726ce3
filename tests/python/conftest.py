"""The package as the build has put it together, and places to save in."""
import os
import pathlib
import signal
import sys
import threading
import uuid

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = pathlib.Path(os.environ.get("CKPTFS_PYTHON_DIR",
                                      ROOT / "build/release/python"))
sys.path.insert(0, str(PACKAGE))
if not list(PACKAGE.glob("ckptfs/_core*.so")):
    raise RuntimeError(f"{PACKAGE} holds no built package: `make demo` or `make "
                       "test` builds it")


@pytest.fixture
def bucket(s3server, monkeypatch):
    """A fresh prefix of s3server, which the environment names."""
    for name, value in s3server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3server.endpoint)
    made = s3server.prefix(f"py-{uuid.uuid4().hex[:8]}/")
    made.uri = f"s3://{s3server.bucket}/{made.prefix}"
    return made


@pytest.fixture(params=["s3", "file"])
def place(request, tmp_path):
    """What a path begins with: "s3://.../" or a folder and a slash."""
    if request.param == "s3":
        return request.getfixturevalue("bucket").uri
    return f"{tmp_path}/"


@pytest.fixture
def held(s3server):
    """Holds requests of an operation; press_ctrl_c() does so when one is."""
    threads = []

    class Held:
        def requests(self, operation, count=-1):
            s3server.control(f"fault?op={operation}&action=hold&count={count}")

        def press_ctrl_c(self):
            def press():
                s3server.control("wait-held?count=1&timeout_ms=10000",
                                 post=False)
                os.kill(os.getpid(), signal.SIGINT)
            threads.append(threading.Thread(target=press))
            threads[-1].start()

    yield Held()
    for thread in threads:
        thread.join()
    s3server.control("clear")

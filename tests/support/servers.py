"""The S3 servers of the tests. Each has: endpoint, bucket, access_key,
secret_key, flavor, client(), stop()."""
import json
import pathlib
import re
import shutil
import tempfile
import urllib.error
import urllib.request

from . import programs
from .bucket import BucketPrefix, s3_client


class Server:
    """What all servers share. `start` leaves the bucket in place."""
    flavor = ""
    bucket = "ckptfs-test"
    access_key = "testaccess"
    secret_key = "testsecret123"
    endpoint = ""

    def __init__(self):
        self.directory = pathlib.Path(
            tempfile.mkdtemp(prefix=f"ckptfs-{self.flavor}-"))
        self.process = None

    def client(self):
        return s3_client(self.endpoint, self.access_key, self.secret_key)

    def prefix(self, prefix):
        return BucketPrefix(self.client(), self.bucket, prefix)

    def environment(self):
        """What the AWS tools (and ckptfs) read."""
        return {"AWS_ACCESS_KEY_ID": self.access_key,
                "AWS_SECRET_ACCESS_KEY": self.secret_key,
                "AWS_REGION": "us-east-1"}

    def stop(self):
        if self.process:
            self.process.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


class S3Server(Server):
    """The in-tree server (tests/s3server)."""
    flavor = "s3server"

    def __init__(self, *options):
        super().__init__()
        self.process = programs.Process(
            [programs.BIN_DIR / "s3server", "--port", "0",
             "--bucket", self.bucket, "--access-key", self.access_key,
             "--secret-key", self.secret_key, *options],
            self.directory / "log")
        self.endpoint = self.process.wait_for(
            self._listening, "s3server listens")

    def _listening(self):
        found = re.search(r"^listening (\S+)$", self.process.log(), re.M)
        return found and found[1]

    def control(self, request, post=True):
        """Asks /_control/REQUEST (tests/s3server/control_api.h)."""
        call = urllib.request.Request(
            f"{self.endpoint}/_control/{request}",
            method="POST" if post else "GET")
        with urllib.request.urlopen(call, timeout=60) as reply:
            return json.load(reply)

    def stats(self):
        return self.control("stats", post=False)

    def log(self):
        return self.control("log", post=False)


class MotoServer(Server):
    """moto, AWS's behaviour in Python."""
    flavor = "moto"

    def __init__(self):
        super().__init__()
        port = programs.free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        self.process = programs.Process(
            [programs.ROOT / "build/venv/bin/moto_server", "-H", "127.0.0.1",
             "-p", port], self.directory / "log")
        self.process.wait_for(lambda: programs.listens(port), "moto listens",
                              90)
        self.client().create_bucket(Bucket=self.bucket)


class RcloneServer(Server):
    """`rclone serve s3` over a plain directory."""
    flavor = "rclone"

    def __init__(self):
        super().__init__()
        port = programs.free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        files = self.directory / "files"
        (files / self.bucket).mkdir(parents=True)
        self.process = programs.Process(
            [programs.ROOT / "build/venv/bin/rclone", "serve", "s3",
             "--config", "/dev/null", "--addr", f"127.0.0.1:{port}",
             "--auth-key", f"{self.access_key},{self.secret_key}",
             "--vfs-cache-mode", "off", files],
            self.directory / "log")
        self.process.wait_for(lambda: programs.listens(port),
                              "rclone listens", 60)

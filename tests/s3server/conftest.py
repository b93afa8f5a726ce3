"""Starts the in-tree S3 server for the tests of this directory."""
import json
import os
import pathlib
import signal
import subprocess
import urllib.request

import boto3
import botocore.config
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN_DIR = pathlib.Path(os.environ.get("CKPTFS_BIN_DIR", ROOT / "build/bin"))
ACCESS_KEY, SECRET_KEY = "test", "testtesttest"


class S3Server:
    """One server process; `bucket` exists in it."""

    def __init__(self, *options, ca=None):
        self.ca = ca
        self.process = subprocess.Popen(
            [BIN_DIR / "s3server", "--bucket", "bucket", "--access-key",
             ACCESS_KEY, "--secret-key", SECRET_KEY, *options],
            stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline().split()
        assert line and line[0] == "listening", "the server did not start"
        self.url = line[1]

    def client(self, **changes):
        """A boto3 client that does not retry."""
        settings = dict(
            endpoint_url=self.url, region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY,
            verify=self.ca,
            config=botocore.config.Config(
                retries={"total_max_attempts": 1},
                s3={"addressing_style": "path"}))
        settings.update(changes)
        return boto3.client("s3", **settings)

    def control(self, request, post=True):
        """Asks /_control/REQUEST and returns the JSON answer."""
        call = urllib.request.Request(
            f"{self.url}/_control/{request}", method="POST" if post else "GET")
        with urllib.request.urlopen(call, timeout=30) as reply:
            return json.load(reply)

    def stop(self):
        """Ends the server; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=30)
        self.process.stdout.close()
        return code


@pytest.fixture
def start_server():
    """Starts servers that end with the test."""
    servers = []

    def start(*options, ca=None):
        servers.append(S3Server(*options, ca=ca))
        return servers[-1]

    yield start
    for server in servers:
        assert server.stop() == 0


@pytest.fixture
def server(start_server):
    return start_server()


@pytest.fixture
def s3(server):
    return server.client()

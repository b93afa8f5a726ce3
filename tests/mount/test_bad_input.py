"""Mounts that cannot be: one line that says what is wrong and what to do, an
exit code of its own for each kind, and nothing mounted. [S-51]"""
import os
import pathlib
import re
import subprocess

import pytest

from support import programs, servers
from support.ckptfs_mount import clean_environment, mount_type

pytestmark = pytest.mark.ckptfs_only

USAGE, CREDENTIALS, BUCKET, ENDPOINT, MOUNT_POINT = 2, 3, 4, 5, 6
SECRET = servers.Server.secret_key


@pytest.fixture
def start_server():
    """Servers of the test's own; they end with it."""
    started = []

    def start(*options):
        started.append(servers.S3Server(*options))
        return started[-1]

    yield start
    for each in started:
        each.stop()


class Attempt:
    """What one `ckptfs mount` said."""

    def __init__(self, server, point, *options, bucket=None, env=None,
                 wrapper=(), foreground=False):
        self.point = point
        environment = clean_environment(server)
        for name, value in (env or {}).items():
            if value is None:
                environment.pop(name, None)
            else:
                environment[name] = value
        command = [*wrapper, programs.BIN_DIR / "ckptfs", "mount",
                   *(["--endpoint-url", server.endpoint]
                     if "--endpoint-url" not in options else []),
                   *options, f"s3://{bucket or server.bucket}/bad", point]
        if foreground:
            command.append("--foreground")
        elif "--log-file" not in options:
            command += ["--log-file", point.parent / "ckptfs-log"]
        done = subprocess.run(command, env=environment, capture_output=True,
                              text=True, timeout=60, check=False,
                              stdin=subprocess.DEVNULL)
        self.code = done.returncode
        self.out = done.stdout
        self.err = done.stderr

    def refused(self, code, *said):
        """One line with each of `said`, that exit code, and no mount."""
        assert self.out == ""
        assert self.err.startswith("ckptfs: "), self.err
        assert self.err.count("\n") == 1, self.err
        for text in said:
            assert re.search(text, self.err), self.err
        assert self.code == code, self.err
        assert SECRET not in self.err
        assert mount_type(self.point) is None


@pytest.fixture
def point(tmp_path):
    where = tmp_path / "ckpt"
    where.mkdir()
    yield where
    if mount_type(where):
        subprocess.run(["fusermount3", "-uz", where], check=False)


@pytest.mark.parametrize("foreground", [False, True])
def test_wrong_bucket(s3server, point, foreground):
    Attempt(s3server, point, bucket="no-such-bucket",
            foreground=foreground).refused(
                BUCKET, "no-such-bucket", "does not exist", "--endpoint-url")


@pytest.mark.parametrize("bucket", ["UPPER_case", "a", "x" * 64])
def test_bucket_names_that_cannot_be(s3server, point, bucket):
    attempt = Attempt(s3server, point, bucket=bucket)
    assert attempt.code in (USAGE, BUCKET)
    attempt.refused(attempt.code, bucket)


def test_wrong_access_key(s3server, point):
    Attempt(s3server, point, env={"AWS_ACCESS_KEY_ID": "somebody"}).refused(
        CREDENTIALS, "access key id")


def test_wrong_secret_key(s3server, point):
    Attempt(s3server, point,
            env={"AWS_SECRET_ACCESS_KEY": "something else"}).refused(
                CREDENTIALS, "secret access key")


def test_no_credentials(s3server, point):
    Attempt(s3server, point,
            env={"AWS_ACCESS_KEY_ID": None,
                 "AWS_SECRET_ACCESS_KEY": None}).refused(
                     CREDENTIALS, "AWS_ACCESS_KEY_ID")


def test_a_profile(s3server, point, tmp_path):
    """Its keys mount, and those of the environment do not count."""
    keys = clean_environment(s3server)
    (tmp_path / "credentials").write_text(
        f"[team]\naws_access_key_id = {keys['AWS_ACCESS_KEY_ID']}\n"
        f"aws_secret_access_key = {keys['AWS_SECRET_ACCESS_KEY']}\n")
    files = {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
             "AWS_ACCESS_KEY_ID": "somebody"}
    attempt = Attempt(s3server, point, "--profile", "team", env=files)
    assert attempt.code == 0, attempt.err
    subprocess.run([programs.BIN_DIR / "ckptfs", "umount", point], check=True,
                   timeout=60)
    Attempt(s3server, point, "--profile", "teem", env=files).refused(
        CREDENTIALS, 'no profile "teem"', "credentials")


def test_expired_token(s3server, point):
    Attempt(s3server, point, env={"AWS_SESSION_TOKEN": "expired"}).refused(
        CREDENTIALS, "ExpiredToken", "new temporary credentials")


def test_no_permission_to_list(start_server, point):
    Attempt(start_server("--deny-list"), point).refused(
        CREDENTIALS, "s3:ListBucket")


def test_wrong_region(start_server, point):
    server = start_server("--region", "eu-central-1")
    Attempt(server, point, "--region", "us-west-2").refused(
        BUCKET, "--region eu-central-1")


def test_wrong_clock(start_server, point):
    server = start_server("--clock-offset", "3600")
    Attempt(server, point).refused(CREDENTIALS, "clock", "(3599|36..) s behind")


def test_unreachable_server(s3server, point):
    endpoint = f"http://127.0.0.1:{programs.free_port()}"
    Attempt(s3server, point, "--endpoint-url", endpoint).refused(
        ENDPOINT, re.escape(endpoint), "check the endpoint")


def test_unknown_host(s3server, point):
    Attempt(s3server, point, "--endpoint-url",
            "http://no-such-host.invalid").refused(
                ENDPOINT, "no-such-host.invalid")


@pytest.mark.parametrize("url", ["127.0.0.1:9000", "ftp://host", "http://",
                                 "http://host:port"])
def test_malformed_endpoint(s3server, point, url):
    Attempt(s3server, point, "--endpoint-url", url).refused(
        USAGE, re.escape(url))


def test_https_to_a_plain_server(s3server, point):
    url = s3server.endpoint.replace("http://", "https://")
    Attempt(s3server, point, "--endpoint-url", url).refused(
        ENDPOINT, "TLS|https")


def test_untrusted_certificate(start_server, point, tmp_path):
    """Refused without its authority, accepted with it."""
    server = start_server("--tls-self-signed", tmp_path)
    Attempt(server, point).refused(ENDPOINT, "certificate", "--ca-file")
    attempt = Attempt(server, point, "--ca-file", tmp_path / "ca.pem")
    assert attempt.code == 0, attempt.err
    (point / "file").write_bytes(b"x")
    subprocess.run([programs.BIN_DIR / "ckptfs", "umount", point], check=True,
                   timeout=60)


def test_missing_ca_file(s3server, point, tmp_path):
    Attempt(s3server, point, "--ca-file", tmp_path / "none.pem").refused(
        USAGE, "none.pem")


def test_missing_mount_point(s3server, point):
    Attempt(s3server, point / "none").refused(MOUNT_POINT, "does not exist",
                                              "mkdir")


def test_mount_point_is_a_file(s3server, point):
    (point / "file").write_bytes(b"")
    Attempt(s3server, point / "file").refused(MOUNT_POINT, "not a directory")


def test_busy_mount_point(s3server, point):
    first = Attempt(s3server, point)
    assert first.code == 0, first.err
    second = Attempt(s3server, point)
    assert second.code == MOUNT_POINT
    assert "already" in second.err and "ckptfs umount" in second.err
    assert second.err.count("\n") == 1
    # The first still works.
    (point / "file").write_bytes(b"x")
    subprocess.run([programs.BIN_DIR / "ckptfs", "umount", point], check=True,
                   timeout=60)
    assert mount_type(point) is None


def test_no_fuse_device(s3server, point, tmp_path):
    """As in a container without --device /dev/fuse: a /dev of its own, in a
    mount namespace of its own, with nothing but what a daemon needs."""
    dev = tmp_path / "dev"
    dev.mkdir()
    (dev / "null").touch()
    script = (f"mount --bind /dev/null {dev}/null && "
              f"mount --rbind {dev} /dev && exec \"$@\"")
    unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["-r"])]
    Attempt(s3server, point,
            wrapper=[*unshare, "sh", "-c", script, "sh"]).refused(
                MOUNT_POINT, "no /dev/fuse", "modprobe fuse")


def test_misspelt_option(s3server, point):
    Attempt(s3server, point, "--read-olny").refused(
        USAGE, "did you mean --read-only")


@pytest.mark.parametrize("arguments", [
    [], ["mount"], ["mount", "s3://bucket"], ["mount", "bucket", "/mnt"],
    ["unmount", "/mnt"], ["mount", "s3://b//c", "/mnt"],
    ["mount", "--cache-dir", "/c", "s3://b", "/mnt"],
    ["mount", "--memory-limit", "much", "s3://b", "/mnt"]])
def test_wrong_arguments(arguments):
    done = subprocess.run([programs.BIN_DIR / "ckptfs", *arguments],
                          capture_output=True, text=True, timeout=30,
                          check=False)
    assert done.returncode == USAGE
    assert done.stderr.startswith("ckptfs: ")
    assert done.stderr.count("\n") == 1


def test_closed_standard_streams(s3server, point):
    """As some service managers start programs: what the daemon opens must not
    become its terminal."""
    attempt = Attempt(s3server, point,
                      wrapper=["sh", "-c", "exec \"$@\" <&- >&- 2>&-", "sh"])
    assert attempt.code == 0
    (point / "file").write_bytes(b"x")
    subprocess.run([programs.BIN_DIR / "ckptfs", "umount", point], check=True,
                   timeout=60)
    assert "mounted" in (point.parent / "ckptfs-log").read_text()


def test_unwritable_log(s3server, point):
    """Before anything is mounted."""
    attempt = Attempt(s3server, point, "--log-file", "/dev/null/log")
    attempt.refused(attempt.code, "log file")
    assert attempt.code != 0


def test_umount_of_what_is_no_mount(tmp_path):
    for path in (tmp_path, tmp_path / "none", pathlib.Path("/proc")):
        done = subprocess.run([programs.BIN_DIR / "ckptfs", "umount", path],
                              capture_output=True, text=True, timeout=30,
                              check=False)
        assert done.returncode == MOUNT_POINT
        assert "is not a mount of ckptfs" in done.stderr
        assert done.stderr.count("\n") == 1


def test_interrupted_mount_command_leaves_no_mount(start_server, point):
    """Ctrl-C while the command still waits: the daemon that it has begun does
    not stay behind."""
    server = start_server("--fault",
                          "op=ListObjectsV2&action=hold&count=1")
    command = subprocess.Popen(
        [programs.BIN_DIR / "ckptfs", "mount", "--endpoint-url",
         server.endpoint, "--log-file", point.parent / "ckptfs-log",
         f"s3://{server.bucket}", point],
        env=clean_environment(server), stdin=subprocess.DEVNULL)
    server.control("wait-held?count=1", post=False)
    command.kill()
    command.wait()
    server.control("release")
    log = point.parent / "ckptfs-log"
    programs.wait_until(lambda: "unmounted" in log.read_text(),
                        "the daemon has left")
    assert mount_type(point) is None

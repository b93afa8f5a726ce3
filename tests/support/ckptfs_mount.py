"""One running `ckptfs mount`."""
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading

from . import programs

# The kernel waits for a daemon that hangs, and so would the test: after this
# long the daemon is killed, which fails whatever waits.
LIFE_LIMIT_S = 600


def mount_type(path):
    """The file system type mounted at exactly `path`, None if there is none."""
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, tail = line.partition(" - ")
        where = fields.split()[4].encode().decode("unicode_escape")
        if where == str(path):
            return tail.split()[0]
    return None


def clean_environment(server):
    """The caller's environment with this server's credentials and no other
    AWS settings."""
    env = {name: value for name, value in os.environ.items()
           if not name.startswith("AWS_")}
    env.update(server.environment())
    env["AWS_EC2_METADATA_DISABLED"] = "true"
    return env


class CkptfsMount:
    """`prefix` of `server`'s bucket, mounted at `path` while this lives."""
    remote = True

    def __init__(self, server, prefix, *options, life_limit=LIFE_LIMIT_S,
                 launcher=()):
        self.server = server
        self.prefix = prefix if not prefix or prefix.endswith("/") \
            else prefix + "/"
        self.options = options
        self.launcher = launcher  # the words before the command
        self.bucket = server.prefix(self.prefix)
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="ckptfs-mount-"))
        self.path = self.directory / "ckpt"
        self.path.mkdir()
        self.life_limit = life_limit
        self.process = None
        self.exit_code = None
        self._watchdog = None
        try:
            self.start()
        except BaseException:
            self.destroy()
            raise

    def start(self):
        """Mounts; also again after stop() or kill()."""
        uri = f"s3://{self.server.bucket}/{self.prefix}".rstrip("/")
        self.exit_code = None
        endpoint = ["--endpoint-url", self.server.endpoint] \
            if self.server.endpoint else []
        self.process = programs.Process(
            [*self.launcher, programs.BIN_DIR / "ckptfs", "mount",
             "--foreground", *endpoint, *self.options, uri, self.path],
            self.directory / "log", env=clean_environment(self.server),
            death_signal="TERM")
        self._watchdog = threading.Timer(self.life_limit, self._abandon,
                                         [self.process])
        self._watchdog.daemon = True
        self._watchdog.start()
        self.process.wait_for(self.mounted, "the mount appears")

    def _abandon(self, process):
        if process.running():
            process.popen.kill()

    @property
    def pid(self):
        return self.process.pid

    def mounted(self):
        return mount_type(self.path) is not None

    def log(self):
        return self.process.log() if self.process else ""

    def stop(self, how="SIGTERM", timeout=90):
        """Ends the mount in order; returns the daemon's exit code."""
        if self.exit_code is not None or self.process is None:
            return self.exit_code
        if how == "umount":
            subprocess.run([programs.BIN_DIR / "ckptfs", "umount", self.path],
                           check=True, timeout=timeout,
                           stdin=subprocess.DEVNULL)
        elif self.process.running():
            self.process.signal(getattr(signal, how))
        try:
            self.exit_code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise TimeoutError(
                f"the daemon did not end within {timeout} s of {how}:\n"
                + self.log()[-4000:]) from None
        self._watchdog.cancel()
        return self.exit_code

    def remount(self):
        """A new mount of the same prefix at the same place."""
        assert self.stop() == 0, self.log()[-4000:]
        self.start()

    def kill(self):
        """kill -9 of the daemon, and the dead mount goes away."""
        if self._watchdog:
            self._watchdog.cancel()
        if self.process:
            self.process.kill()
            self.exit_code = self.process.popen.returncode
        self.detach()

    def detach(self):
        """Takes away a mount point that nobody serves any more."""
        if self.mounted():
            subprocess.run(["fusermount3", "-uzq", self.path], check=False,
                           timeout=30)
        if self.mounted():
            subprocess.run(["umount", "-l", self.path], check=False,
                           timeout=30)

    def destroy(self):
        """Whatever the state, nothing is left behind."""
        if self.process and self.process.running():
            self.kill()
        self.detach()
        shutil.rmtree(self.directory, ignore_errors=True)


class PlainDirectory:
    """A plain directory with the interface of CkptfsMount, to check the tests
    themselves (CKPTFS_TEST_PLAIN_DIR=1)."""
    remote = False

    def __init__(self, bucket_class):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="ckptfs-plain-"))
        self.path = self.directory / "ckpt"
        self.path.mkdir()
        self.bucket = bucket_class(self.path)

    def remount(self):
        pass

    def log(self):
        return ""

    def stop(self):
        return 0

    def destroy(self):
        shutil.rmtree(self.directory, ignore_errors=True)

"""Where the programs are, and how a test runs and ends them.

Every process is ended by its pid, and dies with the test run (PDEATHSIG), so
that an interrupted run leaves nothing behind.
"""
import os
import pathlib
import signal
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN_DIR = pathlib.Path(os.environ.get("CKPTFS_BIN_DIR", ROOT / "build/bin"))


def wait_until(condition, what, timeout=30.0, interval=0.02):
    """The first true value of condition(); TimeoutError after `timeout` s."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout:g} s")
        time.sleep(interval)


def free_port():
    """A port nobody listens on now, for programs that cannot pick one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port):
    """Whether somebody accepts connections on that loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Process:
    """A program in the background; its output goes to a log file."""

    def __init__(self, command, log, env=None, cwd=None, death_signal="KILL"):
        self.command = [str(word) for word in command]
        self.log_path = pathlib.Path(log)
        with open(self.log_path, "ab") as out:
            self.popen = subprocess.Popen(
                ["setpriv", "--pdeathsig", death_signal, *self.command],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env,
                cwd=cwd)

    @property
    def pid(self):
        return self.popen.pid

    def log(self):
        return self.log_path.read_text(errors="replace")

    def running(self):
        return self.popen.poll() is None

    def wait_for(self, condition, what, timeout=30.0):
        """As wait_until, but gives up at once when the program has ended."""
        def check():
            value = condition()
            if not value and not self.running():
                raise RuntimeError(
                    f"{self.command[0]} ended with {self.popen.returncode} "
                    f"before {what}:\n{self.log()[-4000:]}")
            return value
        try:
            return wait_until(check, what, timeout)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.log()[-4000:]}") from None

    def wait(self, timeout=30.0):
        return self.popen.wait(timeout)

    def signal(self, number):
        self.popen.send_signal(number)

    def stop(self, timeout=30.0):
        """SIGTERM, then SIGKILL. Returns the exit code, None if killed."""
        if self.running():
            self.signal(signal.SIGTERM)
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def kill(self):
        if self.running():
            self.popen.kill()
        self.popen.wait(30)

"""Short Python programs that a test runs beside itself, to end or to watch."""
import os
import select
import subprocess
import sys
import textwrap
import time

PREAMBLE = """
import os, resource, signal, sys, threading, time
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
# A shell starts background jobs with SIGINT ignored, and children inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)
MIB = 1 << 20
def say(text):
    print(text, flush=True)
def wait():
    # Until the test says how to go on.
    return sys.stdin.readline().strip()
"""


class PythonProgram:
    """A running program. It says() lines and waits() for ours."""

    def __init__(self, source, *arguments):
        self.popen = subprocess.Popen(
            [sys.executable, "-c", PREAMBLE + textwrap.dedent(source),
             *map(str, arguments)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, bufsize=1,
            env={**os.environ, "PYTHONUNBUFFERED": "1"})
        # What was read and not expected yet. Not in a stream of Python's, whose
        # buffer select() would not see.
        self.heard = b""

    @property
    def pid(self):
        return self.popen.pid

    def expect(self, line, timeout=60):
        """Waits until the program says `line`."""
        deadline = time.monotonic() + timeout
        while True:
            said, newline, rest = self.heard.partition(b"\n")
            if newline:
                self.heard = rest
                if said.decode().strip() == line:
                    return
                continue
            left = deadline - time.monotonic()
            ready = select.select([self.popen.stdout], [], [], max(left, 0))[0]
            if not ready:
                self.popen.kill()
                raise TimeoutError(f"no '{line}' within {timeout} s")
            got = os.read(self.popen.stdout.fileno(), 65536)
            if not got:
                self.popen.wait(30)
                raise RuntimeError(
                    f"ended with {self.popen.returncode} before '{line}': "
                    + self.popen.stderr.read())
            self.heard += got

    def tell(self, line=""):
        self.popen.stdin.write(line + "\n")
        self.popen.stdin.flush()

    def signal(self, number):
        self.popen.send_signal(number)

    def finish(self, timeout=120):
        """Waits for the end; returns the exit code (-N: died by signal N)."""
        try:
            _, self.errors = self.popen.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.communicate()
            raise
        return self.popen.returncode

    def end(self):
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait(30)
        for stream in (self.popen.stdin, self.popen.stdout, self.popen.stderr):
            stream.close()

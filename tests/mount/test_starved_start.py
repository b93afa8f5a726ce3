"""Mounts that lack descriptors or threads: each start either works or says in
one line what is missing, and leaves no mount. [S-51]"""
import resource
import subprocess

import pytest

from support import programs
from support.ckptfs_mount import clean_environment, mount_type
from support.programs import wait_until

pytestmark = pytest.mark.ckptfs_only

OTHER, MOUNT_POINT = 1, 6

# The start that makes this many threads (fewer are made today) is a whole one.
MANY_THREADS = 20

# A pthread_create that fails at its N-th call.
FAILING_THREADS = r"""
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

typedef int (*create)(pthread_t*, const pthread_attr_t*, void* (*)(void*),
                      void*);
static int calls;

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                   void* (*run)(void*), void* argument) {
  const char* const fails = getenv("FAILING_THREAD");
  const int call = __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
  if (fails != NULL && call == atoi(fails)) return EAGAIN;
  return ((create)dlsym(RTLD_NEXT, "pthread_create"))(thread, attributes, run,
                                                      argument);
}
"""


@pytest.fixture(scope="module")
def failing_threads(tmp_path_factory):
    """The library with that function."""
    folder = tmp_path_factory.mktemp("failing-threads")
    (folder / "create.c").write_text(FAILING_THREADS)
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-D_GNU_SOURCE", "-o", folder / "create.so",
         folder / "create.c", "-ldl"], check=True, timeout=60)
    return folder / "create.so"


@pytest.fixture
def point(tmp_path):
    where = tmp_path / "ckpt"
    where.mkdir()
    yield where
    if mount_type(where):
        subprocess.run(["fusermount3", "-uz", where], check=False)


def start(server, point, env=None, before=None):
    """What `ckptfs mount` said if it did not work: its exit code and its line;
    nothing is left then. Where it works it is ended in order: (0, "")."""
    daemon = subprocess.Popen(
        [programs.BIN_DIR / "ckptfs", "mount", "--foreground",
         "--log-level", "off", "--endpoint-url", server.endpoint,
         f"s3://{server.bucket}/starved", point],
        env={**clean_environment(server), **(env or {})}, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, preexec_fn=before)
    try:
        # Mounted is not started: SIGTERM waits for the end of the start.
        wait_until(lambda: daemon.poll() is not None or mount_type(point),
                   "the mount appears or the command ends")
        daemon.terminate()
        out, err = daemon.communicate(timeout=60)
    finally:
        daemon.kill()
    assert mount_type(point) is None, err
    assert out == ""
    if daemon.returncode == 0:
        return 0, ""
    assert err.startswith("ckptfs: ") and err.count("\n") == 1, err
    return daemon.returncode, err


def test_every_number_of_descriptors(s3server, point):
    """From enough of them down to where the daemon has none of its own; with
    fewer, S3 cannot be reached."""
    def start_with(number):
        return start(s3server, point, before=lambda: resource.setrlimit(
            resource.RLIMIT_NOFILE, (number, number)))

    failures = []
    for number in range(48, 3, -1):
        code, line = start_with(number)
        if code == 0:
            assert not failures, f"works with {number}, but not with more"
            continue
        assert "open files" in line and code in (OTHER, MOUNT_POINT), line
        failures.append(code)
        if "signalfd" in line:
            break
    assert {OTHER, MOUNT_POINT} == set(failures)
    code, line = start_with(4)  # one besides the standard streams
    assert code == OTHER and "event loop" in line, line


def test_every_thread_that_cannot_be_had(s3server, point, failing_threads):
    codes = []
    for number in range(1, MANY_THREADS + 1):
        code, line = start(s3server, point,
                           env={"LD_PRELOAD": str(failing_threads),
                                "FAILING_THREAD": str(number)})
        assert code == 0 or "Resource temporarily unavailable" in line, line
        codes.append(code)
    needed = codes.index(0)
    assert needed > 8
    assert codes == [OTHER] * needed + [0] * (MANY_THREADS - needed)

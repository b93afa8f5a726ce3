"""How a writer ends decides whether its file is published: by itself, yes; by
a signal, never. Names that do not look temporary, so that nothing is held."""
import signal

import pytest

from support.programs import wait_until

MIB = 1 << 20
OLD = b"the checkpoint before" * 1000

# Writes SIZE MiB to PATH in 1 MiB pieces, then does as told.
WRITER = """
path, size = sys.argv[1], int(sys.argv[2])
fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
for index in range(size):
    os.write(fd, bytes([index % 251]) * MIB)
say("written")
"""


def content(size):
    return b"".join(bytes([index % 251]) * MIB for index in range(size))


def assert_untouched(mount, name, old):
    """The object, and what the mount shows, are as before the writer."""
    if old:
        assert mount.bucket.read(name) == OLD
        wait_until(lambda: (mount.path / name).read_bytes() == OLD,
                   "the mount shows the old file")
    else:
        assert not mount.bucket.exists(name)
        wait_until(lambda: not (mount.path / name).exists(),
                   "the torn file is gone")
    wait_until(lambda: not mount.bucket.uploads(), "the upload is aborted")


@pytest.mark.ckptfs_only
@pytest.mark.parametrize("number", [
    signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
@pytest.mark.parametrize("size", [1, 40])
@pytest.mark.parametrize("old", [True, False])
def test_death_by_signal(mount, program, number, size, old):
    """Killed in the middle of a save: nothing is published, the old object
    stays, the lost file is named in the log. [S-03] [S-12]"""
    if old:
        mount.bucket.write("model.pt", OLD)
    writer = program(WRITER + "wait()", mount.path / "model.pt", size)
    writer.expect("written")
    writer.signal(number)
    assert writer.finish() == -number
    assert_untouched(mount, "model.pt", old)
    assert "model.pt" in mount.log()


@pytest.mark.ckptfs_only
def test_death_after_fsync(mount, program):
    """What fsync answered for is there; what came after it is not. [S-11]
    [S-12]"""
    writer = program(WRITER + """
os.fsync(fd)
os.write(fd, b"more")
say("more")
wait()
""", mount.path / "log.bin", 20)
    writer.expect("more")
    writer.signal(signal.SIGKILL)
    assert writer.finish() == -signal.SIGKILL
    assert mount.bucket.read("log.bin") == content(20)
    wait_until(lambda: (mount.path / "log.bin").stat().st_size == 20 * MIB,
               "the mount shows the size that is stored")
    assert (mount.path / "log.bin").read_bytes() == content(20)


@pytest.mark.ckptfs_only
def test_death_of_one_thread_group_among_two(mount, program):
    """Parent and child share the descriptor and both write; the child is
    killed, the parent closes: the file is whole and is published. [S-12]"""
    parent = program(WRITER + """
child = os.fork()
if child == 0:
    os.write(fd, b"child")
    os.kill(os.getpid(), signal.SIGKILL)
os.waitpid(child, 0)
say("child died")
wait()
os.write(fd, b"parent")
os.close(fd)
""", mount.path / "both.bin", 1)
    parent.expect("child died")
    assert not mount.bucket.exists("both.bin")
    parent.tell()
    assert parent.finish() == 0
    assert mount.bucket.read("both.bin") == content(1) + b"childparent"


def test_threaded_program_exits_without_closing(mount, program):
    """An ordinary exit publishes, although the kernel kills the other threads
    of the group on the way, as it does for a signal. [S-11]"""
    writer = program("""
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o644)
def write():
    for index in range(20):
        os.write(fd, bytes([index]) * MIB)
    say("written")
    time.sleep(600)
threads = [threading.Thread(target=write)]
threads += [threading.Thread(target=time.sleep, args=(600,)) for _ in range(6)]
for thread in threads:
    thread.start()
wait()
os._exit(int(sys.argv[2]))
""", mount.path / "threads.bin", 3)
    writer.expect("written")
    writer.tell()
    assert writer.finish() == 3  # the exit code does not matter
    wait_until(lambda: mount.bucket.exists("threads.bin"), "it is published")
    assert mount.bucket.read("threads.bin") == content(20)


def test_main_thread_leaves_first(mount, program):
    """The main thread is gone (a zombie) while another still writes. [S-11]"""
    writer = program("""
import ctypes
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o644)
def write():
    wait()
    for index in range(20):
        os.write(fd, bytes([index]) * MIB)
    os.close(fd)
    os._exit(0)
threading.Thread(target=write).start()
say("leaving")
ctypes.CDLL(None).pthread_exit(None)
""", mount.path / "leader.bin")
    writer.expect("leaving")
    writer.tell()
    assert writer.finish() == 0
    assert mount.bucket.read("leader.bin") == content(20)


@pytest.mark.parametrize("end", ["os._exit(0)", "os._exit(1)",
                                 "os.kill(os.getpid(), signal.SIGKILL)"])
def test_forked_child_that_ends(mount, program, end):
    """A child that neither opened nor wrote the file says nothing about it by
    ending, in whatever way; the parent writes on. [S-11]"""
    writer = program(WRITER + f"""
child = os.fork()
if child == 0:
    {end}
os.waitpid(child, 0)
say("forked")
wait()
os.write(fd, b"after the child")
os.close(fd)
say("closed")
""", mount.path / "model.pt", 12)
    writer.expect("forked")
    if mount.remote:
        assert not mount.bucket.exists("model.pt")
    writer.tell()
    assert writer.finish() == 0
    assert mount.bucket.read("model.pt") == content(12) + b"after the child"


def test_child_that_inherits_and_closes_last(mount, program):
    """The parent leaves the descriptor to its child, which writes and exits
    without close: published. [S-11]"""
    writer = program("""
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o644)
os.write(fd, b"parent ")
if os.fork() == 0:
    os.close(0)
    os.write(fd, b"child")
    os._exit(0)
os.close(fd)
os.wait()
""", mount.path / "inherited.txt")
    assert writer.finish() == 0
    wait_until(lambda: mount.bucket.exists("inherited.txt")
               and mount.bucket.read("inherited.txt") == b"parent child",
               "what the child wrote is published")


def test_exception_publishes(mount, program):
    """Python closes its files when an exception ends the program: an explicit
    close is a close, whatever the exit code. [S-11]"""
    writer = program("""
file = open(sys.argv[1], "wb")
file.write(b"x" * (20 * MIB))
raise RuntimeError("out of luck")
""", mount.path / "model.pt")
    assert writer.finish() == 1
    assert mount.bucket.read("model.pt") == b"x" * (20 * MIB)


def test_keyboard_interrupt_publishes(mount, program):
    """Ctrl-C in Python raises an exception, the `with` closes the file, and
    only then the program dies by the signal. [S-11]"""
    writer = program("""
with open(sys.argv[1], "wb") as file:
    file.write(b"x" * (20 * MIB))
    file.flush()
    say("written")
    time.sleep(600)
""", mount.path / "model.pt")
    writer.expect("written")
    writer.signal(signal.SIGINT)
    assert writer.finish() == -signal.SIGINT
    assert mount.bucket.read("model.pt") == b"x" * (20 * MIB)


@pytest.mark.ckptfs_only
def test_interrupt_without_close(mount, program):
    """The same signal to a program that closes nothing on its way out.
    [S-12]"""
    writer = program(WRITER + "wait()", mount.path / "model.pt", 20)
    writer.expect("written")
    writer.signal(signal.SIGINT)
    assert writer.finish() == -signal.SIGINT
    assert_untouched(mount, "model.pt", old=False)


@pytest.mark.ckptfs_only
def test_a_new_attempt_after_a_torn_one(mount, program):
    """The name is free again: the next save of it is published. [S-12]
    [S-01]"""
    torn = program(WRITER + "wait()", mount.path / "model.pt", 20)
    torn.expect("written")
    torn.signal(signal.SIGKILL)
    torn.finish()
    again = program(WRITER + "os.close(fd)", mount.path / "model.pt", 24)
    again.expect("written")
    assert again.finish() == 0
    assert mount.bucket.read("model.pt") == content(24)
    assert (mount.path / "model.pt").read_bytes() == content(24)
    wait_until(lambda: not mount.bucket.uploads(), "no upload is left")

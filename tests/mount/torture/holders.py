"""Processes that hold descriptors of somebody else: forked children, and
receivers of passed descriptors. They do what they are told, one step at a time.
"""
import os
import pickle
import signal
import socket
import sys

from . import stamps

STEP_LIMIT_S = 150.0


def _answer(link, result):
    link.send(pickle.dumps(result))


def _serve(link):
    """The child's whole life."""
    while True:
        message, fds, _, _ = socket.recv_fds(link, 4096, 8)
        if not message:
            os._exit(0)
        step, *arguments = pickle.loads(message)
        try:
            if step == "keep":
                _close_others(set(arguments[0]) | {0, 1, 2, link.fileno()})
                result = None
            elif step == "take":
                result = fds[0]
            elif step == "open":
                result = os.open(*arguments, 0o644)
            elif step == "write":
                fd, offset, *stamp = arguments
                data = stamps.stream(*stamp)
                result = os.write(fd, data) if offset is None \
                    else os.pwrite(fd, data, offset)
            elif step == "save":
                _save(link, *arguments)
                continue
            elif step == "close":
                result = os.close(arguments[0])
            elif step == "fsync":
                result = os.fsync(arguments[0])
            elif step == "exit":
                os._exit(arguments[0])
            elif step == "exec":
                os.execv("/bin/true", ["true"])
            elif step == "die":
                os.kill(os.getpid(), arguments[0])
            _answer(link, (None, result))
        except OSError as error:
            _answer(link, (error.errno, None))


def _save(link, path, flags, writer, version, size, piece):
    """A whole save, which tells how far it has come: a kill may come at any
    point. The first answer is "closing", the second the result."""
    fd = os.open(path, flags, 0o644)
    data = stamps.whole(writer, version, size)
    for at in range(0, size, piece):
        os.write(fd, data[at:at + piece])
    _answer(link, (None, "closing"))
    os.close(fd)
    _answer(link, (None, "closed"))


def _close_others(kept):
    for fd in sorted(int(name) for name in os.listdir("/proc/self/fd")):
        if fd not in kept:
            try:
                os.close(fd)
            except OSError:
                pass


class Holder:
    """A child process; `inherits` are the descriptors that it keeps. It closes
    all others at once: those of other threads of the parent too."""

    def __init__(self, inherits=()):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            # Nothing but os calls from here on: other threads of the parent
            # may hold any lock.
            try:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                ours.close()
                _serve(theirs)
            except BaseException:
                os._exit(70)
            os._exit(71)
        theirs.close()
        self._link = ours
        self._link.settimeout(STEP_LIMIT_S)
        self.ended = False
        self.step("keep", list(inherits))

    def tell(self, *step, fds=()):
        message = pickle.dumps(step)
        if fds:
            socket.send_fds(self._link, [message], list(fds))
        else:
            self._link.send(message)

    def answer(self):
        """(errno or None, result); None if it is gone."""
        message = self._link.recv(4096)
        return pickle.loads(message) if message else None

    def step(self, *step, fds=()):
        self.tell(*step, fds=fds)
        answer = self.answer()
        if answer is None:
            raise RuntimeError(f"holder {self.pid} ended in {step}")
        return answer

    def end(self, *step):
        """Ends it by the step "exit", "exec" or "die"; returns when it is
        gone."""
        if self.ended:
            return
        if step:
            self.tell(*step)
        os.waitpid(self.pid, 0)
        self.ended = True
        self._link.close()

    def kill(self):
        if not self.ended:
            os.kill(self.pid, signal.SIGKILL)
            self.end()


if sys.version_info < (3, 9):
    raise ImportError("socket.send_fds came with Python 3.9")

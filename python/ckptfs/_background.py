"""Saves and removals on a thread of their own, in order."""
from __future__ import annotations

import atexit
import collections
import os
import sys
import threading
import traceback
from collections.abc import Callable
from typing import NamedTuple

from .errors import S3Exception


class AsyncSaveError(S3Exception):
    """Work in the background failed. `code`, `status` and the other facts are
    those of the first failure, which is the `__cause__`.

    Attributes:
        failures: (path, exception) of each, in order.
    """

    failures: list[tuple[str, BaseException]]

    @classmethod
    def of(cls, failures: list[tuple[str, BaseException]]) -> AsyncSaveError:
        """The error that tells of all these."""
        message = "; ".join(
            f"{path}: {type(error).__name__}: {error}"
            for path, error in failures)
        first = failures[0][1]
        facts = ((first.code, first.s3_code, first.status, first.request_id,
                  first.key) if isinstance(first, S3Exception) else ())
        made = cls(f"checkpointing in the background failed: {message}",
                   *facts)
        made.failures = failures
        made.__cause__ = first
        return made


class Job(NamedTuple):
    """One thing to do; its closure holds the bytes of a save."""

    path: str
    is_save: bool
    run: Callable[[], None]


class Background:
    """Runs jobs one after another, in the order they came in.

    A failure is kept until somebody asks; after one, and until then, nothing
    is removed any more: what would have gone may be the last good checkpoint.
    The thread ends when there is nothing to do. It is no daemon: the
    interpreter waits for it at exit, and failures that nobody has asked for
    are printed then.

    Args:
        max_saves: waiting or running at once.
    """

    def __init__(self, max_saves: int) -> None:
        self._max_saves = max_saves
        self._pid = os.getpid()
        self._changed = threading.Condition()
        # Guarded by _changed.
        self._jobs: collections.deque[Job] = collections.deque()
        self._running = False
        self._failures: list[tuple[str, BaseException]] = []
        self._room_taken = 0

    def take_room(self) -> None:
        """Waits until one more save may be pending, and takes its place."""
        with self._changed:
            self._changed.wait_for(lambda: self._room_taken < self._max_saves)
            self._room_taken += 1

    def give_room_back(self) -> None:
        """For a save that did not come to `add`."""
        with self._changed:
            self._room_taken -= 1
            self._changed.notify_all()

    def add(self, job: Job) -> None:
        """A save has its room already.

        Raises:
            RuntimeError: the interpreter is at its end and starts no thread.
        """
        with self._changed:
            if not self._running:
                threading.Thread(target=self._work, daemon=False,
                                 name="ckptfs-save").start()
                self._running = True
                _at_work.add(self)
            self._jobs.append(job)

    def idle(self) -> bool:
        """Whether nothing waits or runs."""
        with self._changed:
            return not self._jobs

    def has(self, path: str) -> bool:
        """Whether something waits or runs for this path."""
        with self._changed:
            return any(job.path == path for job in self._jobs)

    def wait(self, path: str | None = None) -> None:
        """Until nothing waits or runs for this path, or at all."""
        with self._changed:
            self._changed.wait_for(lambda: not any(
                path is None or job.path == path for job in self._jobs))

    def raise_failures(self) -> None:
        """Raises what failed since the last call, once.

        Raises:
            AsyncSaveError: something did.
        """
        with self._changed:
            failures, self._failures = self._failures, []
            _with_failures.discard(self)
        if failures:
            raise AsyncSaveError.of(failures)

    def of_this_process(self) -> bool:
        """False in a child that was forked off: the jobs are the parent's."""
        return self._pid == os.getpid()

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._jobs:
                    self._running = False
                    _at_work.discard(self)
                    return
                job = self._jobs[0]
                kept = not job.is_save and bool(self._failures)
            error: BaseException | None = None
            if kept:
                error = S3Exception("it was not removed, because of the "
                                    "failure before", "Cancelled")
            else:
                try:
                    job.run()
                except BaseException as caught:  # noqa: BLE001
                    error = caught
            is_save, path = job.is_save, job.path
            del job  # and the bytes, before there is room for the next
            with self._changed:
                self._jobs.popleft()
                if is_save:
                    self._room_taken -= 1
                if error is not None:
                    self._failures.append((path, error))
                    _with_failures.add(self)
                self._changed.notify_all()
            error = None

    def report(self) -> None:
        """Prints the failures that nobody has asked for."""
        if not self.of_this_process():
            return
        try:
            self.raise_failures()
        except AsyncSaveError:
            print("ckptfs: at the end of the program:", file=sys.stderr)
            traceback.print_exc()


# Until they have told: their owners may be gone.
_with_failures: set[Background] = set()
_at_work: set[Background] = set()


@atexit.register
def _report_all() -> None:
    # The interpreter has waited for its threads already, and not for those
    # that other atexit functions have begun.
    for background in list(_at_work):
        if background.of_this_process():
            background.wait()
    for background in list(_with_failures):
        background.report()

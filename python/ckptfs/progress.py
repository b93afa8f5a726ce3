"""How far a save or load is, for a person or a program."""
from __future__ import annotations

import sys
import time
from typing import Callable, Protocol, Union

Progress = Union[bool, Callable[[int, int], object], None]

_LARGE = 1 << 30
_LONG_S = 2.0


class _Bar(Protocol):
    def show(self, done: int, total: int) -> None: ...
    def close(self) -> None: ...


class _Line:
    """One line of text that is written again and again."""

    def __init__(self, title: str) -> None:
        self._title = title

    def show(self, done: int, total: int) -> None:
        percent = 100 * done // total if total else 100
        sys.stderr.write(f"\r{self._title}: {percent:3d} % of "
                         f"{total / (1 << 20):.0f} MiB")
        sys.stderr.flush()

    def close(self) -> None:
        sys.stderr.write("\n")


class _Tqdm:
    def __init__(self, title: str, total: int) -> None:
        from tqdm import tqdm

        self._bar = tqdm(total=total, desc=title, unit="B", unit_scale=True,
                         unit_divisor=1024)

    def show(self, done: int, total: int) -> None:
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        self._bar.close()


def _make_bar(title: str, total: int) -> _Bar:
    try:
        return _Tqdm(title, total)
    except ImportError:
        return _Line(title)


class Report:
    """Takes `(done, total)` and passes it on as the user asked.

    Args:
        progress: None: a bar on stderr, if that is a terminal, once there is
            1 GiB to do or 2 s have passed; True: a bar at once, if stderr is a
            terminal; False: nothing; a function: called with both numbers, in
            the thread of the save or load.
        title: of the bar.

    Raises:
        TypeError: another `progress`.
    """

    def __init__(self, progress: Progress, title: str) -> None:
        self._function: Callable[[int, int], object] | None = None
        if progress is not None and not isinstance(progress, bool):
            if not callable(progress):
                raise TypeError("progress is None, a bool or a function, not "
                                f"{type(progress).__name__}")
            self._function = progress
        self._at_once = progress is True
        self._wanted = progress is not False and (
            self._function is not None or _terminal())
        self._title = title
        self._began = time.monotonic()
        self._bar: _Bar | None = None

    @property
    def hook(self) -> Callable[[int, int], object] | None:
        """What the engine is to call; None if nobody is interested."""
        if self._function is not None:
            return self._function
        return self._show if self._wanted else None

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def _show(self, done: int, total: int) -> None:
        if self._bar is None:
            late = time.monotonic() - self._began > _LONG_S and done < total
            if not (self._at_once or total >= _LARGE or late):
                return
            self._bar = _make_bar(self._title, total)
        self._bar.show(done, total)


def _terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # None, or closed
        return False

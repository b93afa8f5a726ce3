"""The bulk operations of CkptFileSystem, which take names letter by letter.
fsspec's own take [, ? and * for patterns."""
from __future__ import annotations

import os
from typing import Any, NamedTuple

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.implementations.local import LocalFileSystem, make_path_posix
from fsspec.spec import AbstractFileSystem

_Info = dict[str, Any]


class _Copy(NamedTuple):
    name: str
    info: _Info | None  # of `name`; None: not known
    target: str


def _is_one(path: Any) -> bool:
    return isinstance(path, (str, os.PathLike))


def _named(fs: AbstractFileSystem, path: Any, recursive: bool,
           maxdepth: int | None) -> list[tuple[str, _Info | None]]:
    """The names that are given, and with `recursive` the files and folders
    below; sorted, each with its info where that is known by now.

    Raises:
        FileNotFoundError: `recursive`, and nothing is there.
        ValueError: maxdepth below 1.
    """
    if maxdepth is not None and maxdepth < 1:
        raise ValueError("maxdepth must be at least 1")
    found: dict[str, _Info | None] = {}
    for given in [path] if _is_one(path) else path:
        name = fs._strip_protocol(given)
        if recursive:
            found.update(fs.find(name, maxdepth=maxdepth, withdirs=True,
                                 detail=True))
            if name not in found and not fs.exists(name):
                continue
        # `find` says folder where there is a file of the same name, too.
        found[name] = None
    if not found:
        raise FileNotFoundError(path)
    return sorted(found.items(), key=lambda entry: entry[0])


def _copies(source: AbstractFileSystem, path1: Any, path2: Any, into: bool,
            recursive: bool, maxdepth: int | None) -> list[_Copy]:
    """What is to be copied, and to where. `into`: path2 is a folder that is
    there.

    Raises:
        ValueError: lists of different lengths.
    """
    one = _is_one(path1)
    if not _is_one(path2):
        names = [source._strip_protocol(path)
                 for path in ([path1] if one else path1)]
        if len(names) != len(path2):
            raise ValueError(f"{len(names)} files for {len(path2)} names")
        return [_Copy(name, None, os.fspath(target))
                for name, target in zip(names, path2)]
    found = _named(source, path1, recursive, maxdepth)
    target = os.fspath(path2).rstrip("/")
    if not one:
        return [_Copy(name, info, f"{target}/{name.rpartition('/')[2]}")
                for name, info in found]
    if not recursive or maxdepth is not None:
        found = [(name, info) for name, info in found
                 if not source.isdir(name)]
    top = source._strip_protocol(path1)
    into = into or os.fspath(path2).endswith("/")
    if not into or os.fspath(path1).endswith("/"):
        return [_Copy(name, info, target + name[len(top):])
                for name, info in found]
    above = top.rfind("/") + 1
    return [_Copy(name, info, f"{target}/{name[above:]}")
            for name, info in found]


def _check_below(folder: str, paths: list[str]) -> None:
    """For copies to this machine: a key may hold ".." and empty parts.

    Raises:
        ValueError: a path leads out of the folder, or two are the same.
    """
    top = os.path.abspath(folder)
    seen: set[str] = set()
    for path in paths:
        place = os.path.abspath(path)
        if os.path.commonpath([top, place]) != top:
            raise ValueError(f"{path!r} lies outside of {folder!r}")
        if place in seen:
            raise ValueError(f"two files would become {place!r}")
        seen.add(place)


def _check_moves(moves: list[tuple[str, str]]) -> None:
    """Raises:
        ValueError: a file would be lost under another.
    """
    sources = {name for name, _ in moves}
    seen: set[str] = set()
    for name, target in moves:
        if target in sources or target in seen:
            raise ValueError(f"{name} cannot be moved to {target}: another "
                             "file of the same move comes from there or goes "
                             "there")
        seen.add(target)


class LiteralNames(AbstractFileSystem):
    """mv, copy, get, put and expand_path by names as they are."""

    def mv(self, path1: Any, path2: Any, recursive: bool = False,
           maxdepth: int | None = None, **kwargs: Any) -> None:
        """Moves by copy and removal. Removes what it has copied, nothing else,
        and nothing before all is copied.

        Args:
            path1: one or a list; a folder only as one, with `recursive`.
            path2: as that of `copy`.
            recursive: with what is below.
            maxdepth: how far below; what is deeper stays.

        Raises:
            FileNotFoundError: there is no `path1`.
            IsADirectoryError: a folder, without `recursive` or in a list.
            ValueError: into a folder below itself, or one file over another
                of the same move.
        """
        one, new = _is_one(path1), path2
        if one:
            source = self._strip_protocol(path1)
            if _is_one(path2):
                target = self._strip_protocol(path2)
                if target == source:
                    return
                if target.startswith(f"{source}/"):
                    raise ValueError(
                        f"{path1} cannot be moved into itself: {path2}")
        whole = one and recursive and maxdepth is None
        markers = self._markers(source) if whole else []
        moves = []
        for name, info, target in self._copies(path1, new, recursive, maxdepth):
            if (info or self.info(name))["type"] != "file":
                if not (one and recursive):
                    raise IsADirectoryError(name)
            elif name != (target := self._strip_protocol(target)):
                moves.append((name, target))
        if not moves and one and not recursive and self.isdir(source):
            raise IsADirectoryError(source)
        _check_moves(moves)
        for name, target in moves:
            self.cp_file(name, target, **kwargs)
        self._remove([name for name, _ in moves] + markers)
        if whole:
            self._forget_made(source)

    def copy(self, path1: Any, path2: Any, recursive: bool = False,
             maxdepth: int | None = None, on_error: str | None = None,
             **kwargs: Any) -> None:
        """Copies files.

        Args:
            path1: one or a list; a folder only with `recursive`.
            path2: the new name; with a slash at its end, or where it is a
                folder already, the folder to put it into. A list: name by
                name.
            recursive: with what is below.
            maxdepth: how far below.
            on_error: "ignore" passes over what is not there, "raise" does not;
                None: "ignore" if `recursive`.

        Raises:
            FileNotFoundError: there is no `path1`.
        """
        copies = self._copies(path1, path2, recursive, maxdepth)
        super().copy([each.name for each in copies],
                     [each.target for each in copies], recursive=recursive,
                     on_error=on_error, **kwargs)

    def get(self, rpath: Any, lpath: Any, recursive: bool = False,
            callback: Any = None, maxdepth: int | None = None,
            **kwargs: Any) -> None:
        """Copies files to this machine.

        Args:
            rpath, lpath: as path1 and path2 of `copy`.
            recursive, maxdepth: as those of `copy`.
            callback: of fsspec; None: none.

        Raises:
            FileNotFoundError: there is no `rpath`.
            ValueError: a name would leave the folder `lpath`.
        """
        if _is_one(lpath):
            lpath = make_path_posix(os.fspath(lpath))
        copies = _copies(self, rpath, lpath,
                         _is_one(lpath) and os.path.isdir(lpath), recursive,
                         maxdepth)
        targets = [each.target for each in copies]
        if _is_one(lpath):
            _check_below(lpath, targets)
        super().get([each.name for each in copies], targets,
                    callback=callback or DEFAULT_CALLBACK, **kwargs)

    def put(self, lpath: Any, rpath: Any, recursive: bool = False,
            callback: Any = None, maxdepth: int | None = None,
            **kwargs: Any) -> None:
        """Copies files of this machine.

        Args:
            lpath, rpath: as path1 and path2 of `copy`.
            recursive, maxdepth: as those of `copy`.
            callback: of fsspec; None: none.

        Raises:
            FileNotFoundError: there is no `lpath`.
        """
        copies = _copies(LocalFileSystem(), lpath, rpath,
                         _is_one(rpath) and self.isdir(rpath), recursive,
                         maxdepth)
        super().put([each.name for each in copies],
                    [each.target for each in copies],
                    callback=callback or DEFAULT_CALLBACK, **kwargs)

    def expand_path(self, path: Any, recursive: bool = False,
                    maxdepth: int | None = None, **kwargs: Any) -> list[str]:
        """The names that are given, sorted; no patterns.

        Args:
            path: one or a list.
            recursive: with the files and folders below.
            maxdepth: how far below.

        Raises:
            FileNotFoundError: `recursive`, and nothing is there.
        """
        return [name for name, _ in self._named(path, recursive, maxdepth)]

    def _named(self, path: Any, recursive: bool,
               maxdepth: int | None) -> list[tuple[str, _Info | None]]:
        return _named(self, path, recursive, maxdepth)

    def _copies(self, path1: Any, path2: Any, recursive: bool,
                maxdepth: int | None) -> list[_Copy]:
        return _copies(self, path1, path2,
                       _is_one(path2) and self.isdir(path2), recursive,
                       maxdepth)

    def _markers(self, path: str) -> list[str]:
        """The empty objects, with a slash at the end of their names, of a
        folder and of those below."""
        raise NotImplementedError

    def _remove(self, names: list[str]) -> None:
        """Objects by full names."""
        raise NotImplementedError

    def _forget_made(self, path: str) -> bool:
        raise NotImplementedError

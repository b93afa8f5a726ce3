"""A file system of fsspec over the engine.

Importing this module registers the protocol "ckptfs"; `register_s3` lets it
serve "s3", too. Both name the same: "ckptfs://bucket/key", "s3://bucket/key".
"""
from __future__ import annotations

import datetime
import importlib.util
from collections.abc import Iterator
from typing import Any, ClassVar

# Absolute imports: this is fsspec itself.
import fsspec
from fsspec.registry import known_implementations

from . import _core
from ._engines import engine_for
from ._fsspec_files import AppendedFile, NewFile, TextFile
from ._fsspec_names import LiteralNames
from .config import S3ClientConfig
from .s3checkpoint import open_reader

_PAGE = 1000

_Info = dict[str, Any]


class CkptFileSystem(LiteralNames):
    """Buckets and keys as fsspec's files and folders.

    Folders follow from keys: one is there while a key below it is, and making
    one changes nothing in S3. To `isdir` and `ls` what this process has made by
    `makedirs` is an empty folder until it removes it: programs, Lightning among
    them, look for what they have made. A file appears whole, when it is closed
    or its transaction ends, or not at all. Listings are not cached unless
    asked.

    Names are names: "run[1]", "run?" and "run*" are taken letter by letter
    everywhere but in `glob`. fsspec's own rm, mv, copy, get, put, cat and
    expand_path expand them; give these what `glob` returns.

    Args:
        region: of the buckets; None: AWS_REGION, AWS_DEFAULT_REGION,
            us-east-1.
        endpoint: URL of the service; None: AWS_ENDPOINT_URL_S3,
            AWS_ENDPOINT_URL, AWS.
        config: other settings.
        use_listings_cache: keep listings until something below them is
            written here; changes made elsewhere are not seen then.
        listings_expiry_time, max_paths: of that cache, as fsspec's.

    Raises:
        TypeError: an option that is not known.

    Every call may raise S3Exception; what is not there is a FileNotFoundError,
    what is not allowed a PermissionError (both are S3Exceptions where the
    service said so).
    """

    protocol = ("ckptfs", "s3")
    # Instances are cheap, and the text of a configuration, by which fsspec
    # would tell them apart, does not show its secrets.
    cachable = False
    # Folders without keys, (endpoint, path) each. Of the class: Lightning makes
    # a folder by one instance and looks for it by the next.
    _made: ClassVar[set[tuple[str | None, str]]] = set()

    def __init__(self, region: str | None = None, endpoint: str | None = None,
                 config: S3ClientConfig | None = None,
                 use_listings_cache: bool = False,
                 listings_expiry_time: float | None = None,
                 max_paths: int | None = None, **options: Any) -> None:
        # What fsspec itself gives to every file system.
        for name in ("asynchronous", "loop", "batch_size"):
            options.pop(name, None)
        if options:
            raise TypeError("unknown options of CkptFileSystem: "
                            + ", ".join(sorted(options)))
        super().__init__(use_listings_cache=use_listings_cache,
                         listings_expiry_time=listings_expiry_time,
                         max_paths=max_paths)
        self.region = region
        self.endpoint = endpoint
        self.config = config

    def _engine(self) -> _core.Engine:
        return engine_for(self.region, self.endpoint, self.config)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        stripped = super()._strip_protocol(path)
        if isinstance(stripped, str) and stripped.startswith("s3:/"):
            raise ValueError(f"{stripped}: a URI does not survive pathlib; "
                             "give it as a str")
        return stripped

    def unstrip_protocol(self, name: str) -> str:
        """The URI that all of ckptfs takes: "s3://bucket/key"."""
        return "s3://" + self._strip_protocol(name)

    @classmethod
    def _split(cls, path: str) -> tuple[str, str]:
        bucket, _, key = cls._strip_protocol(path).partition("/")
        if not bucket:
            raise ValueError(f"{path!r} names no bucket; write "
                             "s3://bucket/key")
        return bucket, key

    # Looking.

    @staticmethod
    def _file(bucket: str, facts: _core._Facts) -> _Info:
        key, size, etag, seconds, storage_class = facts
        return {"name": f"{bucket}/{key}", "size": size, "type": "file",
                "ETag": etag, "StorageClass": storage_class,
                "LastModified": datetime.datetime.fromtimestamp(
                    seconds, datetime.timezone.utc)}

    @staticmethod
    def _folder(name: str) -> _Info:
        return {"name": name, "size": 0, "type": "directory"}

    def _pages(self, bucket: str, prefix: str, delimiter: str = "") -> Iterator[
            tuple[list[_core._Facts], list[str]]]:
        token = ""
        while True:
            objects, prefixes, token = _core.list_objects(
                self._engine(), bucket, prefix, delimiter, token, _PAGE)
            yield objects, prefixes
            if not token:
                return

    def _is_prefix(self, bucket: str, prefix: str) -> bool:
        objects, prefixes, _ = _core.list_objects(
            self._engine(), bucket, prefix, "", "", 1)
        return bool(objects or prefixes)

    def info(self, path: str, **kwargs: Any) -> _Info:
        """Name, size, type, and for a file ETag, LastModified (UTC) and more.

        A file comes before a folder of the same name.

        Raises:
            FileNotFoundError: neither file nor folder.
        """
        path = self._strip_protocol(path)
        if not path:
            return self._folder("")
        cached = self._ls_from_cache(path)
        for entry in cached or ():
            if entry["name"] == path:
                return entry
        bucket, key = self._split(path)
        if not key:
            self._is_prefix(bucket, "")  # the bucket is there
            return self._folder(bucket)
        try:
            facts, version, content_type, metadata = _core.head_object(
                self._engine(), bucket, key)
        except FileNotFoundError:
            if self._is_prefix(bucket, key + "/"):
                return self._folder(path)
            raise
        info = self._file(bucket, facts)
        info.update(name=path, VersionId=version or None,
                    ContentType=content_type, metadata=metadata)
        return info

    def ls(self, path: str, detail: bool = True, refresh: bool = False,
           **kwargs: Any) -> list[Any]:
        """What is right below a folder, sorted by name; of a file, itself.

        Args:
            path: of the folder.
            detail: infos rather than names.
            refresh: ask even where the listing is in the cache.

        Raises:
            FileNotFoundError: neither file nor folder.
            ValueError: no bucket; buckets are not listed.
        """
        path = self._strip_protocol(path)
        found = None
        if not refresh and path in self.dircache:
            found = self.dircache[path]
        if found is None:
            found = self._list(path)
        if detail:
            return list(found)
        return [entry["name"] for entry in found]

    def _list(self, path: str) -> list[_Info]:
        bucket, key = self._split(path)
        prefix = key + "/" if key else ""
        found: list[_Info] = []
        there = not key
        for objects, prefixes in self._pages(bucket, prefix, "/"):
            there = there or bool(objects or prefixes)
            # The key of the folder itself is its marker.
            found.extend(self._file(bucket, facts) for facts in objects
                         if facts[0] != prefix)
            found.extend(self._folder(f"{bucket}/{common[:-1]}")
                         for common in prefixes)
        if not there:
            try:
                return [self.info(path)]
            except FileNotFoundError:
                if self._is_made(path):
                    return []
                raise
        found.sort(key=lambda entry: entry["name"])
        self.dircache[path] = found
        return found

    def find(self, path: str, maxdepth: int | None = None,
             withdirs: bool = False, detail: bool = False,
             **kwargs: Any) -> Any:
        """All files below a folder, as fsspec's; without `maxdepth` by one
        listing."""
        path = self._strip_protocol(path)
        if maxdepth is not None or not path:
            return super().find(path, maxdepth=maxdepth, withdirs=withdirs,
                                detail=detail, **kwargs)
        bucket, key = self._split(path)
        prefix = key + "/" if key else ""
        found: dict[str, _Info] = {}
        for facts in self._keys(bucket, prefix):
            if withdirs:
                folder = facts[0].rpartition("/")[0]
                while len(folder) + 1 > len(prefix) and folder:
                    name = f"{bucket}/{folder}"
                    if name in found:
                        break
                    found[name] = self._folder(name)
                    folder = folder.rpartition("/")[0]
                found.setdefault(path, self._folder(path))
            if not facts[0].endswith("/"):
                entry = self._file(bucket, facts)
                found[entry["name"]] = entry
        if not found and key:
            try:
                entry = self.info(path)
            except FileNotFoundError:
                pass
            else:
                if entry["type"] == "file" or withdirs:
                    found[path] = entry
        names = sorted(found)
        return {name: found[name] for name in names} if detail else names

    def _keys(self, bucket: str, prefix: str) -> Iterator[_core._Facts]:
        try:
            for objects, _ in self._pages(bucket, prefix):
                yield from objects
        except FileNotFoundError:  # no such bucket
            return

    def exists(self, path: str, **kwargs: Any) -> bool:
        """Whether it is a file or a folder. Trouble is raised, not False."""
        try:
            self.info(path)
        except FileNotFoundError:
            return False
        return True

    def isdir(self, path: str) -> bool:
        """Whether it is a folder and no file. Trouble is raised."""
        try:
            return self.info(path)["type"] == "directory"
        except FileNotFoundError:
            return self._is_made(path)

    def isfile(self, path: str) -> bool:
        """Whether it is a file. Trouble is raised."""
        try:
            return self.info(path)["type"] == "file"
        except FileNotFoundError:
            return False

    def modified(self, path: str) -> datetime.datetime:
        """When the file was written, in UTC.

        Raises:
            IsADirectoryError: a folder has no time.
            FileNotFoundError: it is not there.
        """
        info = self.info(path)
        if info["type"] == "directory":
            raise IsADirectoryError(path)
        return info["LastModified"]

    # An object is made when it is written.
    created = modified

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forgets the listings at, above and below a path, or all."""
        super().invalidate_cache(path)
        if path is None:
            self.dircache.clear()
            return
        path = self._strip_protocol(path)
        for listed in list(self.dircache):
            if (listed == path or listed.startswith(path + "/")
                    or path.startswith(listed + "/")):
                self.dircache.pop(listed, None)

    # Folders.

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Makes nothing but an entry for this process; see the class."""
        self._made.add((self.endpoint, self._strip_protocol(path)))

    def _is_made(self, path: str) -> bool:
        return (self.endpoint, self._strip_protocol(path)) in self._made

    def _forget_made(self, path: str) -> bool:
        """With what is below. Whether there was any."""
        made = [entry for entry in self._made if entry[0] == self.endpoint
                and f"{entry[1]}/".startswith(f"{path}/")]
        self._made.difference_update(made)
        return bool(made)

    # Reading and writing.

    def open(self, path: str, mode: str = "rb",
             block_size: int | None = None,
             cache_options: dict[str, Any] | None = None,
             compression: str | None = None, **kwargs: Any) -> Any:
        """Opens a file, as fsspec's open.

        Args:
            path: of the file.
            mode: "r", "w", "x" (only if there is none; told at once where it
                is known, and in any case before anything is replaced) or "a"
                (by writing it again, up to 64 MiB), with "b" or "t".
            block_size, cache_options: not used.
            compression: of a file that is read. To write one, use
                fsspec.open, which closes both files.
            kwargs: encoding, errors, newline; autocommit.

        Raises:
            FileNotFoundError, FileExistsError, IsADirectoryError: as `open`.
            ValueError: another mode.
        """
        if compression is not None and "r" not in mode:
            raise ValueError("open() does not compress what is written; use "
                             "fsspec.open(uri, mode, compression=...)")
        if "b" in mode:
            return super().open(path, mode, compression=compression, **kwargs)
        text = {name: kwargs.pop(name)
                for name in ("encoding", "errors", "newline") if name in kwargs}
        return TextFile(
            super().open(path, mode.replace("t", "") + "b",
                         compression=compression, **kwargs), **text)

    def _open(self, path: str, mode: str = "rb", block_size: int | None = None,
              autocommit: bool = True,
              cache_options: dict[str, Any] | None = None,
              **kwargs: Any) -> Any:
        if kwargs:
            raise TypeError("unknown options of open(): "
                            + ", ".join(sorted(kwargs)))
        bucket, key = self._split(path)
        if not key:
            raise IsADirectoryError(path)
        if mode == "rb":
            return open_reader(self.unstrip_protocol(path), self.region,
                               self.endpoint, self.config)
        if mode == "xb" and self.isfile(path):
            raise FileExistsError(path)
        if mode in ("wb", "xb"):
            return NewFile(self, path, mode, autocommit)
        if mode == "ab":
            return AppendedFile(self, path, mode, autocommit)
        raise ValueError(f"mode {mode!r} is not served: an object is read "
                         "('rb') or written anew ('wb', 'xb', 'ab')")

    def cat_file(self, path: str, start: int | None = None,
                 end: int | None = None, **kwargs: Any) -> bytes:
        """The bytes of a file, or those from `start` to `end`, which count as
        in a slice."""
        with self.open(path, "rb", **kwargs) as file:
            first, last, _ = slice(start, end).indices(file.size)
            if first >= last:
                return b""
            file.seek(first)
            return file.read(last - first)

    def pipe_file(self, path: str, value: Any, mode: str = "overwrite",
                  **kwargs: Any) -> None:
        """Writes a file. With mode="create" only if there is none: the service
        sees to it.

        Raises:
            FileExistsError: there is one, and mode="create".
        """
        with self.open(path, "xb" if mode == "create" else "wb",
                       **kwargs) as file:
            file.write(value)

    # Changing names.

    def cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        """Copies a file; inside one bucket the service does it, whatever the
        size. A folder is a success: it follows from its files.

        Raises:
            FileNotFoundError: there is no `path1`.
        """
        bucket1, key1 = self._split(path1)
        bucket2, key2 = self._split(path2)
        try:
            if not key1:
                raise FileNotFoundError(path1)
            if bucket1 == bucket2:
                _core.copy_object(self._engine(), bucket1, key1, key2)
            else:
                self._copy_between_buckets(path1, path2)
        except FileNotFoundError:
            if not self.isdir(path1):
                raise
        self.invalidate_cache(path2)

    def _copy_between_buckets(self, path1: str, path2: str) -> None:
        with self.open(path1, "rb") as source:
            with self.open(path2, "wb", autocommit=True) as target:
                buffer = memoryview(bytearray(8 << 20))
                while count := source.readinto(buffer):
                    target.write(buffer[:count])

    def rm_file(self, path: str) -> None:
        """Removes a file.

        Raises:
            FileNotFoundError: it is not there.
            IsADirectoryError: it is a folder.
        """
        if self.info(path)["type"] == "directory":
            raise IsADirectoryError(path)
        bucket, key = self._split(path)
        _core.delete_objects(self._engine(), bucket, [key])
        self.invalidate_cache(path)

    def rm(self, path: Any, recursive: bool = False,
           maxdepth: int | None = None) -> None:
        """Removes files, and with `recursive` folders with all below them.

        Args:
            path: one or a list.
            recursive: needed for folders.
            maxdepth: how far below.

        Raises:
            FileNotFoundError: nothing is there.
            IsADirectoryError: a folder, without `recursive`.
        """
        names: list[str] = []
        if recursive and maxdepth is None:
            for root in self.expand_path(path):
                found = self._names_of(root)
                if not self._forget_made(root) and not found:
                    raise FileNotFoundError(root)
                names += found
        else:
            for name, info in self._named(path, recursive, maxdepth):
                if (info or self.info(name))["type"] == "file":
                    names.append(name)
                elif not recursive:
                    raise IsADirectoryError(name)
        self._remove(names)

    def _remove(self, names: list[str]) -> None:
        """Objects by their full names: "bucket/key", markers' with a slash."""
        keys: dict[str, dict[str, None]] = {}
        for name in names:
            bucket, _, key = name.partition("/")
            keys.setdefault(bucket, {})[key] = None
        for bucket, of_bucket in keys.items():
            _core.delete_objects(self._engine(), bucket, list(of_bucket))
        for name in names:
            self.invalidate_cache(name)

    def _names_of(self, root: str) -> list[str]:
        """A file and all of the folder of its name, markers too."""
        bucket, key = self._split(root)
        found = [f"{bucket}/{facts[0]}"
                 for facts in self._keys(bucket, key and f"{key}/")]
        try:
            if key:
                _core.head_object(self._engine(), bucket, key)
                found.append(f"{bucket}/{key}")
        except FileNotFoundError:
            pass
        return found

    def _markers(self, path: str) -> list[str]:
        bucket, key = self._split(path)
        return [f"{bucket}/{name}"
                for name, size, *_ in self._keys(bucket, key and f"{key}/")
                if name.endswith("/") and size == 0]


def register_s3() -> bool:
    """Lets CkptFileSystem serve "s3://" in fsspec, unless another
    implementation is registered or installed (s3fs).

    Returns:
        Whether it serves it.
    """
    registered = fsspec.registry.get("s3")
    if registered is not None:
        return registered is CkptFileSystem
    known = known_implementations.get("s3", {}).get("class")
    if known not in (None, "s3fs.S3FileSystem"):
        return False
    if importlib.util.find_spec("s3fs") is not None:
        return False
    fsspec.register_implementation("s3", CkptFileSystem)
    return True


fsspec.register_implementation("ckptfs", CkptFileSystem, clobber=True)

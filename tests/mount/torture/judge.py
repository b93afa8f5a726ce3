"""The judge: what S3 and readers may hold, given what the programs were told.

He keeps a model of each file that one owner works on (nobody else does), hears of
each operation and its result, and compares. The rules (SEMANTICS.md, by number):

The live content L is what POSIX says: every write, truncate and store through a
mapping, in order. The published content P is what S3 holds under the name.
 1. Nothing but a publish point changes P: open, write, truncate of a descriptor,
    chmod, utimens, a reader's close, and the end of a process that neither opened
    nor wrote the file leave it. [S-11]
 2. A close that succeeded makes P = L, unless the process that closed has another
    descriptor of the file open for writing, or neither opened nor wrote the file
    through this description and has no bytes of its own in L: then it leaves P.
    Where another living process has
    bytes of its own in L and still has a descriptor, P or L is right. [S-01] [S-11]
 3. fsync through any descriptor, a rename, and a truncate by path make P = L when
    they succeed. Where somebody has written what is not published, a truncate by
    path may leave that to his close. [S-01] [S-11]
 4. An ordinary end of a process, and exec, close what they close: rule 2. [S-11]
 5. Death by a signal publishes nothing. When no other process has the file open
    for writing, L goes back to P, soon. Else a later close by a living process
    that opened or wrote it publishes L; a rename before the next write leaves P
    or publishes L. [S-03] [S-12]
 6. A publish point that failed leaves P. If the log says that the outcome is not
    known, it is P or L, whole. The file has failed: until it is truncated to
    nothing or all its descriptors are closed, each close and fsync of a
    descriptor open for writing reports it. [S-02] [S-14]
 7. A file that was unlinked or replaced is never published; its descriptors work
    on. [S-16]
 8. A rename that succeeded leaves nothing under the old name. One that failed
    leaves the older content under the new name, or the bytes under both. [S-35]
 9. Readers see L, whoever opened what when; nothing else, and no byte less. A read
    may fail only while the store does, or with EOPNOTSUPP where a large file is
    not published yet. [S-21] [S-22] [S-24]
10. Without a fault of the store no operation fails but with EOPNOTSUPP for what
    is not served, and with what POSIX asks for. ESTALE is never right: there is
    no other client. [S-41]
11. A page that a mapping changed after the last close is published when the
    mapping ends, soon.
"""
import errno
import os
import re
import time

from . import stamps

SOON_S = 30.0
# Larger than this, bytes may have left memory before they are published.
PART = 8 << 20
_UNKNOWN = re.compile("not known|unknown|the new or the old one")


class BrokenPromise(Exception):
    """`kind` is a short, stable name of what was broken, for counting."""

    def __init__(self, kind, name, message):
        super().__init__(f"{kind}: {name}: {message}")
        self.kind = kind
        self.name = name


class Description:
    """An open file description: what open() makes and dup() shares."""

    def __init__(self, file, flags, opener):
        self.file = file
        self.readable = flags & os.O_ACCMODE != os.O_WRONLY
        self.writable = flags & os.O_ACCMODE != os.O_RDONLY
        self.append = bool(flags & os.O_APPEND)
        self.speakers = {opener}  # who opened or wrote it


class Descriptor:
    def __init__(self, description, holder, fd):
        self.description = description
        self.holder = holder
        self.fd = fd

    @property
    def file(self):
        return self.description.file

    @property
    def writable(self):
        return self.description.writable


class File:
    _made = 0

    def __init__(self, name, content):
        File._made += 1
        self.number = File._made
        self.name = name          # None: gone (unlinked or replaced)
        self.live = bytearray(content or b"")  # None: not known
        self.dirty = False        # L may differ from P
        self.failed = False       # an error must be reported
        self.refused = False      # a write was not served: either way is right
        self.weather = None       # when it became dirty
        self.writers = set()      # who wrote what is not published
        self.descriptors = []
        self.mapped = False
        self.torn = False         # the last to speak, or one of them, was killed
        self.pending = False      # stores that may not have left the page cache

    def open_for_writing(self, holder=None):
        return [d for d in self.descriptors if d.writable
                and (holder is None or d.holder == holder)]


class Judge:
    """`stored(name)` reads S3 directly, `weather()` is odd while the store has
    faults and changes with them, `log()` is the daemon's log."""

    def __init__(self, stored, weather, log):
        self._stored = stored
        self._weather = weather
        self._log = log
        self.may = {}    # name -> what S3 may hold: contents; None: absent
        self.must = {}   # name -> (content, since): what it must come to hold
        self.files = {}  # name -> File
        self.cause = {}     # name -> (the last publish point, P before it)
        self.unknown = {}   # name -> what a failed publish may have made
        self.unsettled = {}  # name -> when the mount had to show P again
        self.checks = 0

    # What may fail.

    def excused(self, began, file=None):
        now = self._weather()
        if now % 2 or now != began:
            return True
        return file is not None and (
            file.failed or file.refused or
            (file.dirty and file.weather != now))

    def error(self, what, name, error, began, file=None, fine=()):
        """Rule 10. `error` is an errno, or None."""
        if error is None or error in fine:
            return
        text = errno.errorcode.get(error, str(error))
        if error in (errno.ENOTCONN, errno.ECONNABORTED):
            raise BrokenPromise("daemon died", name, f"{what}: {text}")
        if error == errno.ESTALE:
            raise BrokenPromise(f"ESTALE from {what}", name,
                                "no other client changed it")
        if not self.excused(began, file):
            raise BrokenPromise(f"{what} failed without a fault", name, text)

    # Names.

    def forget(self, name):
        """Takes what S3 holds now for the truth: after a broken promise."""
        content = self._stored(name)
        self.may[name] = [content]
        self.must.pop(name, None)
        self.files.pop(name, None)
        if content is not None:
            self.files[name] = File(name, content)

    def file(self, name):
        return self.files.get(name)

    def _one(self, name):
        """P where there is one candidate, else what S3 holds."""
        if len(self.may[name]) > 1:
            self.check(name)
        return self.may[name][0]

    def check(self, name):
        """S3 holds what it may hold."""
        self.checks += 1
        self._check(name)
        self.unknown.pop(name, None)

    def _outcome_is_told(self, name):
        """The log tells that a failed publish may have been executed."""
        deadline = time.monotonic() + SOON_S
        while time.monotonic() < deadline:
            if any(name in line and _UNKNOWN.search(line)
                   for line in self._log().splitlines()):
                return True
            time.sleep(0.1)
        return False

    def _check(self, name):
        if name in self.must:
            content, since = self.must[name]
            while True:
                got = self._stored(name)
                if got == content or time.monotonic() > since + SOON_S:
                    break
                self._one_of(name, got, "wrong bytes in between")
                time.sleep(0.02)
            del self.must[name]
            self.may[name] = [content]
        else:
            got = self._stored(name)
        self._one_of(name, got, None)
        self.may[name] = [got]

    def _one_of(self, name, got, kind):
        allowed = self.may[name]
        if any(got == content for content in allowed):
            return
        if name in self.unknown and got == self.unknown[name]:
            if self._outcome_is_told(name):
                return
            raise BrokenPromise(
                "a publish that failed is in S3, and the log says nothing",
                name, f"S3 has {stamps.describe(got)}")
        file = self.files.get(name)
        cause, before = self.cause.get(name, ("nothing", ()))
        if kind is None:
            kind = (f"{cause} succeeded and published nothing"
                    if any(got == content for content in before)
                    else "unpublished bytes are in S3"
                    if file is not None and file.live is not None
                    and got == bytes(file.live) else
                    "S3 lacks what was published" if got is None else
                    "S3 has what must not be there" if allowed == [None] else
                    "S3 has other bytes")
        raise BrokenPromise(
            kind, name, f"S3 has {stamps.describe(got)}; may have "
            + " or ".join(stamps.describe(c) for c in allowed)
            + (f"; live {stamps.describe(bytes(file.live))}"
               if file is not None and file.live is not None else ""))

    def check_all(self):
        for name in list(self.may):
            self.check(name)

    # Publishing.

    def _published(self, file, cause, certain=True):
        if file.name is None:
            file.dirty = False
            file.writers.clear()
            return
        if file.live is None:
            # What was not known is what is there now.
            content = self._stored(file.name)
            self.may[file.name] = [content]
            file.live = None if content is None else bytearray(content)
            file.dirty = False
            return
        content = bytes(file.live)
        if certain:
            self.cause[file.name] = cause, self.may[file.name]
            self.may[file.name] = [content]
            file.dirty = False
            file.writers.clear()
        elif content not in self.may[file.name]:
            self.may[file.name] = self.may[file.name] + [content]

    def _publish_failed(self, file):
        file.failed = True
        if file.name is None:
            return
        if file.live is not None and bytes(file.live) not in \
                self.may[file.name]:
            self.unknown[file.name] = bytes(file.live)

    def _let_go(self, file):
        """The last descriptor for writing is gone: rules 5 and 6."""
        if file.open_for_writing() or file.mapped:
            return
        if file.dirty or file.failed or file.refused:
            if file.name is None:
                file.live = None
            else:
                self.unsettled[file.name] = time.monotonic()
                old = self._one(file.name)
                file.live = None if old is None else bytearray(old)
                if old is None:
                    file.name, name = None, file.name
                    if self.files.get(name) is file:
                        del self.files[name]
        file.dirty = file.failed = file.refused = False
        file.writers.clear()

    def _changed(self, file, holder):
        file.torn = False
        if not file.dirty:
            file.weather = self._weather()
        file.dirty = True
        file.writers.add(holder)

    # What happened. `began` is weather() before the call.

    def opened(self, name, flags, holder, fd, error, began):
        file = self.files.get(name)
        if name not in self.may:
            self.may[name] = [None]
        if error is not None:
            fine = []
            if file is None and not flags & os.O_CREAT:
                fine.append(errno.ENOENT)
            if file is not None and flags & os.O_EXCL:
                fine.append(errno.EEXIST)
            self.error("open", name, error, began, file, fine)
            return None
        if file is None:
            if not flags & os.O_CREAT:
                raise BrokenPromise("open of an absent name succeeded", name,
                                    "")
            file = self.files[name] = File(name, None)
            self._changed(file, holder)
        elif flags & os.O_EXCL:
            raise BrokenPromise("O_EXCL of an existing name succeeded", name,
                                "")
        description = Description(file, flags, holder)
        made = Descriptor(description, holder, fd)
        file.descriptors.append(made)
        if flags & os.O_TRUNC:
            file.live = bytearray()
            file.failed = file.refused = False
            self._changed(file, holder)
        return made

    def shared(self, descriptor, holder, fd):
        """dup, fork, or a descriptor that came over a socket."""
        made = Descriptor(descriptor.description, holder, fd)
        descriptor.file.descriptors.append(made)
        return made

    def wrote(self, descriptor, offset, data, count, error, began):
        """`offset` None: appended."""
        file = descriptor.file
        descriptor.description.speakers.add(descriptor.holder)
        if error is not None:
            if error == errno.EOPNOTSUPP:
                file.refused = True
            else:
                self.error("write", file.name, error, began, file)
                file.failed = True
            self._changed(file, descriptor.holder)
            return
        if file.failed and file.name is not None:
            # A write that is taken after an error: the next close tells.
            pass
        if count < len(data):
            file.refused = True
        if file.live is not None:
            at = len(file.live) if offset is None else offset
            if at > len(file.live):
                file.live.extend(bytes(at - len(file.live)))
            file.live[at:at + count] = data[:count]
        self._changed(file, descriptor.holder)

    def truncated(self, file, size, descriptor, holder, error, began):
        if error is not None:
            if error == errno.EOPNOTSUPP:
                return
            self.error("truncate", file.name, error, began, file)
            if descriptor is not None or file.open_for_writing():
                # S-41 says that what failed changed nothing, or the file
                # failed: either is seen at the next close.
                file.refused = True
            return
        before = bytes(file.live) if file.live is not None else None
        if size == 0:
            file.live = bytearray()
            file.failed = file.refused = False
        elif file.live is not None:
            if size > len(file.live):
                file.live.extend(bytes(size - len(file.live)))
            else:
                del file.live[size:]
        if descriptor is not None:
            descriptor.description.speakers.add(descriptor.holder)
        if descriptor is None:
            certain = not file.dirty
            if before != file.live or size == 0:
                self._changed(file, holder)
            self._published(file, "truncate by path", certain)
        elif before is None or before != file.live or size == 0:
            self._changed(file, holder)

    def closed(self, descriptor, error, began, told=True):
        """`told` False: by the end of a process, which hears of no error."""
        file = descriptor.file
        holder = descriptor.holder
        file.pending = False  # each close writes them back
        file.descriptors.remove(descriptor)
        owner = holder in descriptor.description.speakers \
            or holder in file.writers
        last = descriptor.writable and owner \
            and not file.open_for_writing(holder)
        others = any(d.holder in file.writers
                     for d in file.open_for_writing()
                     if d.holder != holder)
        bad = self.excused(began, file)
        if error is not None:
            self.error("close", file.name, error, began, file)
            if descriptor.writable:
                self._publish_failed(file)
        elif descriptor.writable and owner and file.failed and told \
                and file.name is not None:
            file.failed = False
            raise BrokenPromise(
                "close succeeded on a failed file", file.name,
                "an earlier write, fsync or close of it failed")
        elif last and file.name is not None:
            self._published(
                file, "close" if told else "the end of a process",
                certain=not (others or file.refused or (bad and not told)))
        self._let_go(file)

    def ended(self, holder, files, by_signal, began):
        """A process is gone, with all its descriptors."""
        for file in files:
            mine = [d for d in file.descriptors if d.holder == holder]
            if not by_signal:
                for descriptor in mine:
                    self.closed(descriptor, None, began, told=False)
                continue
            for descriptor in mine:
                file.descriptors.remove(descriptor)
            file.torn = file.dirty and holder in file.writers
            file.writers.discard(holder)
            self._let_go(file)

    def synced(self, descriptor, error, began):
        file = descriptor.file
        file.pending = False
        if error is not None:
            self.error("fsync", file.name, error, began, file)
            self._publish_failed(file)
        elif file.failed and file.name is not None:
            file.failed = False
            raise BrokenPromise("fsync succeeded on a failed file", file.name,
                                "an earlier write, fsync or close failed")
        else:
            self._published(
                file, "fsync" if descriptor.writable else "fsync by a reader",
                certain=not file.refused)

    def unlinked(self, name, error, began):
        file = self.files.get(name)
        if error is not None:
            self.error("unlink", name, error, began, file,
                       [errno.ENOENT] if file is None else [])
            if file is not None:
                self.may[name] = self.may[name] + [None]
                self._unclear(name)
            return
        if file is None:
            raise BrokenPromise("unlink of an absent name succeeded", name,
                                "")
        self._detach(name)
        self.may[name] = [None]
        self.must.pop(name, None)

    def _detach(self, name):
        file = self.files.pop(name, None)
        if file is not None:
            file.name = None

    def _unclear(self, name):
        """After a change of names that failed. Where S3 is as before, so is
        all else; where it is not, what is there is right if it may be, and what
        is open is left alone from now on."""
        before = self.may[name][0]
        file = self.files.get(name)
        self.check(name)
        if file is not None and self.may[name] == [before]:
            return
        self._detach(name)
        self.forget(name)

    def renamed(self, old, new, error, began):
        file = self.files.get(old)
        if new not in self.may:
            self.may[new] = [None]
        if error is not None:
            self.error("rename", old, error, began, file,
                       [errno.ENOENT] if file is None else [])
            if file is not None:
                self._rename_failed(old, new, file)
            return
        if file is None:
            raise BrokenPromise("rename of an absent name succeeded", old, "")
        if old == new:
            return
        self._detach(new)
        may_old = self.may[old]
        must = self.must.pop(old, None)
        self.must.pop(new, None)
        self.may[old] = [None]
        del self.files[old]
        self.files[new] = file
        file.name = new
        if file.dirty and (file.refused or file.torn):
            self.may[new] = may_old
            self._published(file, "rename", certain=False)
        elif file.dirty:
            self._published(file, "rename")
        else:
            self.may[new] = may_old
            if must:
                self.must[new] = must

    def _rename_failed(self, old, new, file):
        contents = list(self.may[old])
        if file.live is not None:
            contents.append(bytes(file.live))
        self.may[old] = contents + [None]
        self.may[new] = self.may[new] + [c for c in contents if c is not None]
        had = any(content is not None for content in contents)
        if had and self._stored(old) is None and self._stored(new) not in [
                c for c in contents if c is not None]:
            if None not in contents:
                raise BrokenPromise("a failed rename destroyed the file", old,
                                    f"neither {old} nor {new} has it")
        file.refused = file.refused or file.dirty  # perhaps in its publish
        self._unclear(old)
        self._unclear(new)

    def stored_through_mapping(self, file, offset, data, holder):
        if file.live is not None:
            file.live[offset:offset + len(data)] = data
        file.pending = True
        self._changed(file, holder)

    def mapping_ended(self, file):
        file.mapped = False
        if file.name is not None and file.dirty \
                and not file.open_for_writing() and not file.failed \
                and not file.refused and file.live is not None:
            content = bytes(file.live)
            if content not in self.may[file.name]:
                self.may[file.name] = self.may[file.name] + [content]
            self.must[file.name] = (content, time.monotonic())
            file.dirty = False
            file.writers.clear()
        else:
            self._let_go(file)

    # What readers see.

    def settle(self, name, path):
        """After a death or a failure: the mount shows P again, soon."""
        since = self.unsettled.pop(name, None)
        if since is None:
            return
        file = self.files.get(name)
        size = None if file is None or file.live is None else len(file.live)
        while True:
            try:
                shown = os.stat(path).st_size
            except FileNotFoundError:
                shown = None
            except OSError:
                shown = -1
            if shown == size or (file is not None and file.live is None):
                return
            if time.monotonic() > since + SOON_S:
                raise BrokenPromise(
                    "the mount goes on to show lost bytes", name,
                    f"size {shown}, S3 has {size}")
            time.sleep(0.01)

    def read(self, file, name, offset, length, data, error, began):
        """Rule 9."""
        if error is not None:
            fine = []
            if file.dirty or file.name is None:
                fine.append(errno.EOPNOTSUPP)
            self.error("read", name, error, began, file, fine)
            return
        if file.live is None or file.failed or file.refused:
            return
        expected = bytes(file.live[offset:offset + length])
        if data == expected:
            return
        raise BrokenPromise(
            "a reader saw other bytes", name,
            f"at {offset}+{length}: got {len(data)} bytes, "
            f"{_first_difference(data, expected)}; whole file expected: "
            f"{stamps.describe(bytes(file.live))}")


def _first_difference(got, expected):
    for at, (one, other) in enumerate(zip(got, expected)):
        if one != other:
            return (f"which differ at +{at}: {got[at:at + 16]!r} for "
                    f"{expected[at:at + 16]!r}")
    return f"not {len(expected)}"

"""One thread's random operations on files of its own, each told to the judge.

A name belongs to one player. Its operations come from the seed alone, so that
two runs do the same in the same order; what differs is time.
"""
import contextlib
import os
import signal
import socket
import subprocess
import time

from . import stamps
from .holders import Holder
from .mappings import SharedMapping
from .owner import NAMES, SELF, Owner

MAX_DESCRIPTORS = 5


class Player(Owner):

    # The loop.

    def step(self):
        actions = (
            (16, self.open), (22, self.write), (4, self.duplicate),
            (18, self.close), (5, self.fsync), (5, self.truncate_descriptor),
            (5, self.truncate_path), (6, self.rename), (3, self.unlink),
            (4, self.attributes), (12, self.read_descriptor),
            (6, self.read_path), (3, self.fork), (7, self.holder_acts),
            (2, self.subprocess), (3, self.map_store), (3, self.unmap),
            (5, self.close_burst), (3, self.save), (3, self.killed_save),
            (3, self.named_temporary), (2, self.queued_descriptor),
            (3, self.check_all))
        weights = [weight for weight, _ in actions]
        action = self.random.choices([a for _, a in actions], weights)[0]
        self.operations[action.__name__] += 1
        action()
        self.files = self._open_files()

    def finish(self):
        """Closes everything; the judge looks a last time."""
        for mapping in list(self.mappings):
            self._unmap(*mapping)
        for key in list(self.holders):
            self._end_holder(key, "exit", 0)
        for descriptor in self._descriptors():
            self._close(descriptor)
        self.judge.check_all()

    def abandon(self, name):
        """After a broken promise: everything of this player is let go of, and
        what S3 has then is the truth."""
        for _, mapping in self.mappings:
            mapping.end()
        self.mappings.clear()
        for holder, _ in self.holders.values():
            holder.kill()
        self.holders.clear()
        for file in self.files:
            for descriptor in file.descriptors:
                if descriptor.holder == SELF:
                    with contextlib.suppress(OSError):
                        os.close(descriptor.fd)
        self.files = []
        time.sleep(1.5)
        self.judge.unsettled.clear()
        self.judge.unknown.clear()
        for each in list(self.judge.may):
            self.judge.forget(each)

    # Checks.

    def check_all(self):
        self._settle()
        self.judge.check_all()

    # Opening, writing, closing.

    def open(self):
        name = self._any_name()
        file = self.judge.file(name)
        if file is not None and len(file.descriptors) >= MAX_DESCRIPTORS:
            return
        if len(self._descriptors()) > 12:
            return
        self._settle()
        flags = self.random.choice(
            (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY, os.O_RDWR))
        if flags != os.O_RDONLY:
            flags |= self.random.choice((0, os.O_CREAT, os.O_CREAT))
            flags |= self.random.choice((0, 0, os.O_TRUNC))
            flags |= self.random.choice((0, 0, 0, os.O_APPEND))
            if flags & os.O_CREAT and self.random.random() < 0.1:
                flags |= os.O_EXCL
        self._open(name, flags)

    def _size(self):
        kind = self.random.random()
        if kind < 0.6:
            return self.random.randint(1, 6000)
        if kind < 0.94:
            return self.random.randint(6000, 400000)
        return self.random.randint(1 << 20, 10 << 20)

    def write(self):
        choices = [d for d in self._descriptors() if d.writable]
        if choices:
            descriptor = self.random.choice(choices)
            self._write(descriptor, self._size())
            self._look(descriptor.file.name, 0.1)

    def close(self):
        choices = self._descriptors()
        if choices:
            name = self._close(self.random.choice(choices))
            self._look(name, 0.6)

    def close_burst(self):
        """Up to five descriptors of one file, writes through some, and all
        closed in odd order without a pause."""
        name = self._any_name()
        file = self.judge.file(name)
        if file is not None and file.descriptors:
            return
        self._settle()
        made = []
        flags = os.O_CREAT | self.random.choice((0, os.O_TRUNC))
        for _ in range(self.random.randint(2, MAX_DESCRIPTORS)):
            if made and self.random.random() < 0.3:
                made.append(self._duplicate(self.random.choice(made)))
                continue
            one = self._open(name, flags | self.random.choice(
                (os.O_WRONLY, os.O_WRONLY, os.O_RDWR)))
            flags = 0
            if one is not None:
                made.append(one)
        made = [one for one in made if one is not None]
        for _ in range(self.random.randint(1, 3)):
            if made:
                self._write(self.random.choice(made),
                            self.random.randint(1, 5000))
        self.random.shuffle(made)
        for one in made:
            self._close(one)
        if self.random.random() < 0.3:
            self._truncate_path(name)
        self._look(name, 0.7)

    def duplicate(self):
        choices = [d for d in self._descriptors()
                   if len(d.file.descriptors) < MAX_DESCRIPTORS]
        if choices:
            self._duplicate(self.random.choice(choices))

    def fsync(self):
        choices = self._descriptors()
        if not choices:
            return
        descriptor = self.random.choice(choices)
        file = descriptor.file
        with self.call(file.name, f"fsync fd {descriptor.fd}") as done:
            os.fsync(descriptor.fd)
        self.judge.synced(descriptor, done.error, done.began)
        self._look(file.name)

    # Sizes, names, attributes.

    def truncate_descriptor(self):
        choices = [d for d in self._descriptors() if d.writable]
        if not choices:
            return
        descriptor = self.random.choice(choices)
        file = descriptor.file
        size = self._new_size(file)
        with self.call(file.name,
                       f"ftruncate fd {descriptor.fd} to {size}") as done:
            os.ftruncate(descriptor.fd, size)
        self.judge.truncated(file, size, descriptor, SELF, done.error,
                             done.began)

    def truncate_path(self):
        name = self._any_name()
        self._truncate_path(name)
        self._look(name, 0.7)

    def rename(self):
        old, new = self._any_name(), self._any_name()
        self._settle()
        file = self.judge.file(old)
        if file is not None and file.pending:
            return  # no promise says which comes first
        with self.call(old, f"rename to {new}") as done:
            os.rename(self._path(old), self._path(new))
        self.judge.renamed(old, new, done.error, done.began)
        self.note(new, f"renamed from {old}")
        if file is not None and file not in self.files:
            self.files.append(file)
        self._look(old, 0.7)
        self._look(new, 0.7)

    def unlink(self):
        name = self._any_name()
        self._settle()
        with self.call(name, "unlink") as done:
            os.unlink(self._path(name))
        self.judge.unlinked(name, done.error, done.began)
        self._look(name)

    def attributes(self):
        name = self._any_name()
        file = self.judge.file(name)
        if file is None:
            return
        self._settle()
        mode = self.random.choice((0o600, 0o640, 0o644, 0o755))
        if self.random.random() < 0.5:
            with self.call(name, f"chmod {mode:o}") as done:
                os.chmod(self._path(name), mode)
        else:
            with self.call(name, "utimens") as done:
                os.utime(self._path(name),
                         (1e9, 1e9 + self.random.randint(0, 10 ** 8)))
        self.judge.error("chmod", name, done.error, done.began, file)

    # Reading.

    def read_descriptor(self):
        choices = [d for d in self._descriptors() if d.description.readable]
        if not choices:
            return
        self._settle()
        descriptor = self.random.choice(choices)
        file = descriptor.file
        length = len(file.live or b"")
        if self.random.random() < 0.4:
            offset, count = 0, length + 1
        else:
            offset = self.random.randint(0, length)
            count = self.random.randint(1, 300000)
        self._judge_read(file, file.name, descriptor.fd, offset, count)

    def read_path(self):
        name = self._any_name()
        self._settle()
        made = self._open(name, os.O_RDONLY)
        if made is None:
            return
        self._judge_read(made.file, name, made.fd, 0,
                         len(made.file.live or b"") + 1)
        self._close(made)

    # Mappings.

    def map_store(self):
        choices = [d for d in self._descriptors()
                   if d.writable and d.description.readable
                   and not d.description.append and d.file.live
                   and len(d.file.live) <= 4 << 20 and not d.file.mapped
                   and not d.file.failed and not d.file.refused]
        if not choices:
            return
        descriptor = self.random.choice(choices)
        file = descriptor.file
        version = self._next_version()
        with self.call(file.name, f"map fd {descriptor.fd}") as done:
            done.result = SharedMapping(descriptor.fd, len(file.live))
        self.judge.error("mmap", file.name, done.error, done.began, file)
        if done.result is None:
            return
        mapping = done.result
        for _ in range(self.random.randint(1, 3)):
            offset = self.random.randrange(len(file.live))
            size = self.random.randint(1, min(9000, len(file.live) - offset))
            data = stamps.stream(self.number, version, offset, size)
            self.note(file.name, f"store v{version} {size} at {offset}")
            mapping.store(offset, data)
            self.judge.stored_through_mapping(file, offset, data, SELF)
        file.mapped = True
        self.mappings.append((file, mapping))
        if self.random.random() < 0.5:
            with self.call(file.name, "msync") as done:
                mapping.sync()
            self.judge.synced(descriptor, done.error, done.began)
            self._look(file.name)

    def unmap(self):
        if self.mappings:
            self._unmap(*self.random.choice(self.mappings))

    def _unmap(self, file, mapping):
        self.mappings.remove((file, mapping))
        mapping.end()
        self.note(file.name, "munmap")
        self.judge.mapping_ended(file)
        self._look(file.name, 0.5)

    # Other processes.

    def fork(self):
        if len(self.holders) >= 2:
            return
        mine = self._descriptors()
        inherits = self.random.sample(mine, min(len(mine), 3))
        holder = Holder([d.fd for d in inherits])
        key = f"holder-{holder.pid}"
        self.holders[key] = (holder, [])
        for descriptor in inherits:
            self.judge.shared(descriptor, key, descriptor.fd)
            self.note(descriptor.file.name,
                      f"{key} inherits fd {descriptor.fd}")

    def _end_holder(self, key, *how):
        holder, _ = self.holders.pop(key)
        files = [f for f in self._open_files()
                 if any(d.holder == key for d in f.descriptors)]
        began = self.weather()
        holder.end(*how)
        for file in files:
            self.note(file.name, f"{key} ends by {how}")
        self.judge.ended(key, files, how[0] == "die", began)
        for file in files:
            self._look(file.name, 0.6)

    def holder_acts(self):
        if not self.holders:
            return
        key = self.random.choice(sorted(self.holders))
        holder, _ = self.holders[key]
        theirs = self._descriptors(key)
        kind = self.random.random()
        if kind < 0.25 or not theirs and kind < 0.6:
            self._end_holder(key, *self.random.choice(
                (("exit", 0), ("exit", 3), ("exec",),
                 ("die", signal.SIGKILL), ("die", signal.SIGTERM),
                 ("die", signal.SIGKILL))))
        elif kind < 0.4:
            self._pass(key, holder)
        elif theirs:
            self._holder_uses(key, holder, self.random.choice(theirs))

    def _holder_uses(self, key, holder, descriptor):
        file = descriptor.file
        kind = self.random.random()
        if kind < 0.5 and descriptor.writable:
            version, size = self._next_version(), self._size() % 300000 + 1
            append = descriptor.description.append
            at = len(file.live or b"") if append else self._offset(file, size)
            data = stamps.stream(self.number, version, at, size)
            began = self.weather()
            error, count = holder.step(
                "write", descriptor.fd, None if append else at, self.number,
                version, at, size)
            self.note(file.name, f"{key} writes v{version} {size} at {at} "
                      f"-> {error or count}")
            self.judge.wrote(descriptor, None if append else at, data, count,
                             error, began)
        elif kind < 0.6:
            began = self.weather()
            error, _ = holder.step("fsync", descriptor.fd)
            self.note(file.name, f"{key} fsync -> {error}")
            self.judge.synced(descriptor, error, began)
        else:
            began = self.weather()
            error, _ = holder.step("close", descriptor.fd)
            self.note(file.name, f"{key} close fd {descriptor.fd} -> {error}")
            self.judge.closed(descriptor, error, began)
        self._look(file.name, 0.6)

    def _pass(self, key, holder):
        choices = [d for d in self._descriptors()
                   if len(d.file.descriptors) < MAX_DESCRIPTORS]
        if not choices:
            return
        descriptor = self.random.choice(choices)
        _, fd = holder.step("take", fds=[descriptor.fd])
        self.judge.shared(descriptor, key, fd)
        self.note(descriptor.file.name,
                  f"{key} gets fd {descriptor.fd} as {fd}")
        if self.random.random() < 0.5:
            self._look(self._close(descriptor))

    def subprocess(self):
        """Forks and execs with all descriptors of this process open."""
        subprocess.run(["/bin/true"], check=True,
                       close_fds=self.random.random() < 0.5)
        for file in self._open_files():
            self._look(file.name, 0.3)

    def queued_descriptor(self):
        """A descriptor that ends in a socket's queue: no FLUSH for it."""
        choices = [d for d in self._descriptors()
                   if len(d.file.descriptors) < MAX_DESCRIPTORS]
        if not choices:
            return
        descriptor = self.random.choice(choices)
        one, other = socket.socketpair()
        socket.send_fds(one, [b"x"], [descriptor.fd])
        self.note(descriptor.file.name, f"fd {descriptor.fd} queued")
        if self.random.random() < 0.5:
            self._close(descriptor)
        one.close()
        other.close()
        self._look(descriptor.file.name, 0.5)

    # Whole saves.

    def _unused(self):
        names = [self._name(n) for n in NAMES]
        names = [n for n in names if self.judge.file(n) is None
                 or not (self.judge.file(n).descriptors
                         or self.judge.file(n).mapped)]
        return self.random.choice(names) if names else None

    def save(self):
        """As torch.save does, and perhaps renamed."""
        name = self._unused()
        if name is None:
            return
        made = self._open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        if made is None:
            return
        for _ in range(self.random.randint(1, 4)):
            self._write(made, self._size())
        if self.random.random() < 0.3:
            self.rename()
        self._close(made)
        self._look(name)

    def named_temporary(self):
        """NamedTemporaryFile and a save by its name, then a rename."""
        name = self._unused()
        if name is None or self.judge.file(name) is not None:
            return
        first = self._open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        second = self._open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for one in (first, second):
            if one is not None and self.random.random() < 0.7:
                self._write(one, self._size() % 100000 + 1)
        order = [one for one in (first, second) if one is not None]
        self.random.shuffle(order)
        for one in order:
            self._close(one)
        self._look(name)

    def killed_save(self):
        """Another process saves and is killed at any point: what is published
        then is the version before or, if its close was reached, its own."""
        name = self._unused()
        if name is None:
            return
        holder = Holder()
        version, size = self._next_version(), max(self._size(), 100)
        data = stamps.whole(self.number, version, size)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        began = self.weather()
        holder.tell("save", self._path(name), flags, self.number, version,
                    size, self.random.choice((4096, 65536, 1 << 20)))
        self.note(name, f"save v{version} of {size} by {holder.pid} begins")
        time.sleep(self.random.choice((0, 0.001, 0.005, 0.02, 0.1)))
        with contextlib.suppress(ProcessLookupError):
            os.kill(holder.pid, signal.SIGKILL)
        states = []
        with contextlib.suppress(OSError):
            while (answer := holder.answer()) is not None:
                states.append(answer)
        holder.end()
        words = [word for _, word in states]
        self.note(name, f"killed; it said {states}")
        old = self.judge.may[name]
        if "closed" in words:
            self.judge.may[name] = [data]
        elif "closing" in words:
            self.judge.may[name] = list(old) + [data]
        elif any(error is not None for error, _ in states):
            self.judge.error("save", name, states[-1][0], began,
                             self.judge.file(name))
        self.judge.must.pop(name, None)
        self.judge.unknown.pop(name, None)
        self.judge.check(name)
        self.judge.forget(name)
        self.judge.unsettled[name] = time.monotonic()
        if self.random.random() < 0.7:
            self._settle()

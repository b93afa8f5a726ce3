"""Shared mappings without what Python's mmap adds: a descriptor of its own, and
a copy in each forked child."""
import ctypes
import os

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mmap.restype = ctypes.c_void_p
_LIBC.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int,
                       ctypes.c_int, ctypes.c_int, ctypes.c_long)
for _call in (_LIBC.munmap, _LIBC.msync, _LIBC.madvise):
    _call.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_LIBC.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)

_PROT_READ_WRITE = 3
_MAP_SHARED = 1
_MADV_DONTFORK = 10
_MS_SYNC = 4


def _check(failed):
    if failed:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


class SharedMapping:
    """`length` bytes of the file, until end(). A store that the mount cannot
    serve ends the process by SIGBUS, as everywhere."""

    def __init__(self, fd, length):
        self._length = length
        self._address = _LIBC.mmap(None, length, _PROT_READ_WRITE,
                                   _MAP_SHARED, fd, 0)
        _check(self._address == ctypes.c_void_p(-1).value)
        _check(_LIBC.madvise(self._address, length, _MADV_DONTFORK))

    def __repr__(self):
        return "mapped"

    def store(self, offset, data):
        ctypes.memmove(self._address + offset, data, len(data))

    def sync(self):
        _check(_LIBC.msync(self._address, self._length, _MS_SYNC))

    def end(self):
        if self._address is not None:
            _LIBC.munmap(self._address, self._length)
            self._address = None

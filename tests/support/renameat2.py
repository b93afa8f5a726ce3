"""renameat2(2), which Python's os module does not have."""
import ctypes
import os

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
_AT_FDCWD = -100


def renameat2(old, new, flags):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, bytes(old), _AT_FDCWD, bytes(new),
                      flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

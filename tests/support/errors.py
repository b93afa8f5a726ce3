"""Expecting one errno."""
import contextlib
import errno

import pytest


@contextlib.contextmanager
def refused(*numbers):
    """The block must raise OSError with one of these errno values."""
    with pytest.raises(OSError) as info:
        yield info
    names = [errno.errorcode[number] for number in numbers]
    assert info.value.errno in numbers, f"{info.value!r}, expected {names}"

"""Bytes that tell by themselves which version of a file they are of.

A version is an endless stream of 4 KiB blocks. Each block holds 64 copies of a
header: writer, version, the block's number in the file, the size of the whole
version (0 where it is not known beforehand), and a check value over these. A
file that was written in one go holds blocks of one version alone; in every other
file, the runs of blocks show what is mixed, torn, or at the wrong place.
"""
import struct
import zlib

BLOCK = 4096
_HEADER = struct.Struct("<4sIIIQQ24sQ")  # 64 bytes
_MAGIC = b"CKPT"
_REPEATS = BLOCK // _HEADER.size


def _header(writer, version, index, size):
    check = zlib.crc32(struct.pack("<IIQQ", writer, version, index, size))
    return _HEADER.pack(_MAGIC, writer, version, check, index, size,
                        b"w%05d v%08d b%06d" % (writer, version,
                                                index % 1000000), index)


def stream(writer, version, offset, length, size=0):
    """`length` bytes of that version from `offset` on."""
    if length == 0:
        return b""
    first = offset // BLOCK
    last = (offset + length - 1) // BLOCK
    data = b"".join(_header(writer, version, index, size) * _REPEATS
                    for index in range(first, last + 1))
    start = offset - first * BLOCK
    return data[start:start + length]


def whole(writer, version, size):
    """A version that knows its own size."""
    return stream(writer, version, 0, size, size)


def _blocks(data):
    """(index, what) of each block: (writer, version, size), or a word."""
    for index in range((len(data) + BLOCK - 1) // BLOCK):
        block = data[index * BLOCK:(index + 1) * BLOCK]
        if not block.strip(b"\0"):
            yield index, "zeros"
            continue
        if len(block) < _HEADER.size or not block.startswith(_MAGIC):
            yield index, "in pieces"
            continue
        _, writer, version, check, at, size, _, _ = _HEADER.unpack_from(block)
        header = _header(writer, version, at, size)
        if check != _HEADER.unpack(header)[3]:
            yield index, "in pieces"
        elif (header * _REPEATS)[:len(block)] != block:
            yield index, ("partly", writer, version)
        elif at != index:
            yield index, ("of block %d" % at, writer, version)
        else:
            yield index, (writer, version, size)


def describe(data):
    """What `data` is made of, for people: runs of blocks."""
    if data is None:
        return "absent"
    runs = []
    for index, what in _blocks(data):
        if runs and runs[-1][0] == what:
            runs[-1][2] = index
        else:
            runs.append([what, index, index])
    text = []
    for what, first, last in runs[:12]:
        if not isinstance(what, str):
            what = "w%d v%d" % what[:2] if len(what) == 3 and isinstance(
                what[0], int) else "%s w%d v%d" % what
        text.append(f"{what} [{first}..{last}]")
    if len(runs) > 12:
        text.append(f"and {len(runs) - 12} runs more")
    return f"{len(data)} bytes: " + ", ".join(text)


def version_of(data):
    """(writer, version) of a version that was written whole by whole(), None
    if `data` is anything else: cut, mixed, torn."""
    if len(data) < _HEADER.size or not data.startswith(_MAGIC):
        return None
    _, writer, version, _, _, size, _, _ = _HEADER.unpack_from(data)
    if size != len(data) or whole(writer, version, size) != data:
        return None
    return writer, version

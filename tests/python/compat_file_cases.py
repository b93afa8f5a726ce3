"""Cases (compat_cases.py) of paths, files, streams and client settings."""
import contextlib
import gc
import pathlib

import torch
import torch.distributed.checkpoint as dcp

from .compat_cases import case

MIB = 1 << 20


def _there(place):
    return "is there" if place.exists("x") else "nothing is there"


# Paths.

@case("`S3Checkpoint.reader` of a plain path")
def _(library, place):
    with library.checkpoint().reader(place.plain_file) as reader:
        return f"reads {len(reader.read())} bytes"


@case("`S3Checkpoint.reader` of `gs://bucket/key`")
def _(library, place):
    library.checkpoint().reader("gs://bucket/key")


@case("`S3Checkpoint.reader` of `s3://`")
def _(library, place):
    library.checkpoint().reader("s3://")


@case("`S3Checkpoint.writer` of `s3://bucket`, without a key")
def _(library, place):
    with library.checkpoint().writer(f"s3://{place.bucket}") as writer:
        writer.write(b"1")


@case("`S3LightningCheckpoint`: a plain path that is below no mount")
def _(library, place):
    library.lightning().save_checkpoint({}, place.plain_file)


@case('`S3LightningCheckpoint`: `Path("s3://bucket/key")`')
def _(library, place):
    library.lightning().save_checkpoint({}, pathlib.Path(place.uri + "x"))


@case("`S3LightningCheckpoint`: a path that is a number")
def _(library, place):
    library.lightning().load_checkpoint(7)


@case("`validate_checkpoint_id` of `gs://bucket/key`")
def _(library, place):
    return library.dcp.S3FileSystem.validate_checkpoint_id("gs://bucket/key")


@case('`validate_checkpoint_id` of `Path("s3://bucket/key")`')
def _(library, place):
    return library.dcp.S3FileSystem.validate_checkpoint_id(
        pathlib.Path("s3://bucket/key"))


@case("`validate_checkpoint_id` of `/plain/folder`, a `str`")
def _(library, place):
    return library.dcp.S3FileSystem.validate_checkpoint_id("/plain/folder")


# What is not there, or not allowed.

@case("`S3Checkpoint.reader` of a key that is not there")
def _(library, place):
    library.checkpoint().reader(place.uri + "x")
    return "a reader, which fails later"


@case("`torch.load` of a key that is not there")
def _(library, place):
    torch.load(library.checkpoint().reader(place.uri + "x"))


@case("`S3Checkpoint.reader`, `read` in a bucket that is not there")
def _(library, place):
    library.checkpoint().reader("s3://no-such-bucket/x").read()


@case("`S3Checkpoint`, `read` with a wrong secret key")
def _(library, place):
    place.environment("AWS_SECRET_ACCESS_KEY", "wrong")
    library.checkpoint().reader(place.uri + "there.pt").read()


@case("`load_checkpoint` of a key that is not there")
def _(library, place):
    library.lightning().load_checkpoint(place.uri + "x")


@case("`remove_checkpoint` of a key that is not there")
def _(library, place):
    library.lightning().remove_checkpoint(place.uri + "x")


@case("`remove_checkpoint` of the folder of a sharded checkpoint")
def _(library, place):
    place.write("x/.metadata", b"1")
    library.lightning().remove_checkpoint(place.uri + "x")
    return "stays" if place.exists("x/.metadata") else "removed"


@case("`dcp.load` where no checkpoint is")
def _(library, place):
    dcp.load({"a": torch.zeros(3)}, no_dist=True,
             storage_reader=library.dcp_reader(place.uri + "x"))


# S3FileSystem.

@case("`S3FileSystem.exists` of a key that is not there")
def _(library, place):
    return library.files().exists(place.uri + "x")


@case("`S3FileSystem.exists` of a prefix with keys below it")
def _(library, place):
    place.write("x/y", b"1")
    return library.files().exists(place.uri + "x")


@case("`S3FileSystem.rm_file` of a key that is not there")
def _(library, place):
    library.files().rm_file(place.uri + "x")


@case("`S3FileSystem.rm_file` that the service denies")
def _(library, place):
    with place.denied("DeleteObject"):
        library.files().rm_file(place.uri + "there.pt")


@case("`S3FileSystem.rename` to another bucket")
def _(library, place):
    library.files().rename(place.uri + "there.pt", "s3://other-bucket/x")


@case("`S3FileSystem.rename` of a key that is not there")
def _(library, place):
    library.files().rename(place.uri + "x", place.uri + "y")


@case("`S3FileSystem.create_stream` with mode `ab`")
def _(library, place):
    with library.files().create_stream(place.uri + "x", "ab"):
        pass


@case("`S3FileSystem.create_stream` of `wb`, an exception inside")
def _(library, place):
    try:
        with library.files().create_stream(place.uri + "x", "wb") as stream:
            stream.write(b"1")
            raise ZeroDivisionError
    except ZeroDivisionError:
        return _there(place)


@case("`S3FileSystem.ls`")
def _(library, place):
    names = library.files().ls(place.uri)
    return f"{len(names)} path"


@case("`S3FileSystem(region, s3_client=...)`")
def _(library, place):
    library.dcp.S3FileSystem("us-east-1", object())


# Streams.

@case("`S3Writer.write` after `close`")
def _(library, place):
    writer = library.checkpoint().writer(place.uri + "x")
    writer.write(b"1")
    writer.close()
    writer.write(b"2")


@case("`S3Writer.close` twice")
def _(library, place):
    writer = library.checkpoint().writer(place.uri + "x")
    writer.close()
    writer.close()


@case("`S3Writer`, an exception inside `with`")
def _(library, place):
    try:
        with library.checkpoint().writer(place.uri + "x") as writer:
            writer.write(b"1")
            raise ZeroDivisionError
    except ZeroDivisionError:
        return _there(place)


@case("`S3Writer` that is forgotten without `close`")
def _(library, place):
    library.checkpoint().writer(place.uri + "x").write(b"1")
    gc.collect()
    return _there(place)


def _refused_part(library, place):
    with place.denied("UploadPart"), library.checkpoint(
            part_size=5 * MIB).writer(place.uri + "x") as writer:
        writer.write(bytes(12 * MIB))


@case("`S3Writer`, the service refuses a part")
def _(library, place):
    _refused_part(library, place)


@case("`S3Writer`, the older object after that")
def _(library, place):
    place.write("x", b"1")
    with contextlib.suppress(library.module.S3Exception):
        _refused_part(library, place)
    return "stays" if place.read("x") == b"1" else "is lost"


@case("`S3Writer.write` of a `bytearray`")
def _(library, place):
    with library.checkpoint().writer(place.uri + "x") as writer:
        return writer.write(bytearray(b"12"))


@case("`S3Writer.write` of a `str`")
def _(library, place):
    with library.checkpoint().writer(place.uri + "x") as writer:
        writer.write("12")


@case("`S3Writer.readable`, `seekable`, `writable`")
def _(library, place):
    with library.checkpoint().writer(place.uri + "x") as writer:
        return ", ".join(str(answer) for answer in (
            writer.readable(), writer.seekable(), writer.writable()))


@case("`S3Reader.seek` past the end")
def _(library, place):
    reader = library.checkpoint().reader(place.uri + "there.pt")
    return "to the end" if reader.seek(1 << 40) == place.size else "past it"


@case("`S3Reader.seek` before the beginning")
def _(library, place):
    library.checkpoint().reader(place.uri + "there.pt").seek(-1)


@case("`S3Reader.seek` with `whence=3`")
def _(library, place):
    library.checkpoint().reader(place.uri + "there.pt").seek(0, 3)


@case("`S3Reader.read` after `close`")
def _(library, place):
    reader = library.checkpoint().reader(place.uri + "there.pt")
    reader.close()
    return f"{len(reader.read(4))} bytes"


@case("`S3Reader.bucket`, `key`")
def _(library, place):
    reader = library.checkpoint().reader(place.uri + "there.pt")
    return (f"{reader.bucket == place.bucket}, "
            f"{f's3://{reader.bucket}/{reader.key}' == place.uri + 'there.pt'}")


@case("`S3Reader.prefetch`")
def _(library, place):
    library.checkpoint().reader(place.uri + "there.pt").prefetch()


@case("`S3Reader`: the object is replaced between two reads of ranges")
def _(library, place):
    place.write("x", b"old." * (4 * MIB))
    constructor = library.module.S3ReaderConstructor.range_based(0)
    with library.files(constructor).create_stream(place.uri + "x",
                                                  "rb") as stream:
        stream.read(4)
        place.write("x", b"new." * (4 * MIB))
        stream.seek(12 * MIB)
        return f"reads `{stream.read(4).decode()}`"


# S3ClientConfig.

@case("`S3ClientConfig(part_size=1 MiB)`")
def _(library, place):
    library.config(part_size=MIB)
    return "made"


@case("`S3ClientConfig(part_size=1 MiB)`, used")
def _(library, place):
    with library.checkpoint(part_size=MIB).writer(place.uri + "x"):
        pass


@case("`S3ClientConfig(max_attempts=65)`, used")
def _(library, place):
    with library.checkpoint(max_attempts=65).writer(place.uri + "x"):
        pass


@case("`S3ClientConfig(max_attempts=0)`, used")
def _(library, place):
    with library.checkpoint(max_attempts=0).writer(place.uri + "x"):
        pass


@case("`S3ClientConfig(requester_pays=True)`")
def _(library, place):
    library.config(requester_pays=True)
    return "made"


@case("`S3ClientConfig(requester_pays=True, unsigned=True)`")
def _(library, place):
    library.config(requester_pays=True, unsigned=True)


@case("`S3ClientConfig(profile=...)` that no file has, used")
def _(library, place):
    library.checkpoint(profile="nobody").reader(place.uri + "there.pt").read()


@case("setting a field of an `S3ClientConfig`")
def _(library, place):
    library.config().part_size = 8 * MIB


@case("`S3Checkpoint()` without a region")
def _(library, place):
    library.module.S3Checkpoint()
    return "made"

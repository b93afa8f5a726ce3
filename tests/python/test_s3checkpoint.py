"""Readers and writers: the file interface, requests, faults."""
import array
import gc
import io
import multiprocessing
import os
import pathlib
import pickle
import random
import signal
import threading

import ckptfs
import pytest
import torch
from ckptfs.s3checkpoint import open_reader, open_writer

from support.programs import wait_until

MIB = 1 << 20
PARTS = ckptfs.S3ClientConfig(part_size=5 * MIB)


@pytest.fixture
def checkpoint():
    return ckptfs.S3Checkpoint(s3client_config=PARTS)


@pytest.fixture
def faults(s3server):
    yield lambda text: s3server.control(f"fault?{text}")
    s3server.control("clear")


@pytest.fixture
def requests(s3server):
    """The operations since the test, or the last call, began."""
    def settle():
        # A request is in the log only some time after its reply was sent.
        wait_until(lambda: not s3server.stats()["in_flight"],
                   "the end of all requests")

    settle()
    s3server.control("reset-stats")

    def take():
        settle()
        log = [(entry["op"], entry["range"]) for entry in s3server.log()]
        s3server.control("reset-stats")
        return log
    return take


def _bytes(count):
    return random.Random(count).randbytes(count)


def _put(place, name, content):
    with open_writer(place + name) as writer:
        writer.write(content)


@pytest.mark.parametrize("size", [
    0, 1, 4 * MIB, 5 * MIB, 5 * MIB + 1, 23 * MIB, 100 * MIB])
@pytest.mark.parametrize("step", [3 * MIB + 7, 7 * MIB, 1 << 40])
def test_what_is_written_is_read(place, checkpoint, size, step):
    content = _bytes(size)
    with checkpoint.writer(place + "x") as writer:
        for at in range(0, size, step):
            view = memoryview(content)[at:at + step]
            assert writer.write(view) == len(view)
            assert writer.tell() == at + len(view)
        writer.flush()
    with checkpoint.reader(place + "x") as reader:
        assert reader.size == size
        assert reader.read() == content
        assert reader.read() == b""


@pytest.mark.parametrize("data", [
    b"abcdefgh", bytearray(b"abcdefgh"), memoryview(b"abcdefgh"),
    array.array("d", [1.0]), memoryview(array.array("h", [1, 2, 3, 4]))])
def test_any_contiguous_buffer_is_written(place, data):
    with open_writer(place + "x") as writer:
        assert writer.write(data) == 8
    assert open_reader(place + "x").read() == bytes(data)


@pytest.mark.parametrize("data", ["text", 5, None, memoryview(b"abcd")[::2]])
def test_what_is_no_buffer_is_refused_and_changes_nothing(place, data):
    with open_writer(place + "x") as writer:
        writer.write(b"a")
        with pytest.raises((TypeError, BufferError)):
            writer.write(data)
        writer.write(b"b")
    assert open_reader(place + "x").read() == b"ab"


def test_paths_may_be_path_objects(tmp_path):
    _put(f"{tmp_path}/", "x", b"abc")
    assert open_reader(tmp_path / "x").read() == b"abc"
    with pytest.raises(ValueError, match="pathlib"):
        open_reader(pathlib.Path("s3://bucket/key"))
    with pytest.raises(TypeError):
        open_reader(5)


def test_a_reader_of_a_plain_file_has_no_bucket(tmp_path):
    (tmp_path / "x").write_bytes(b"12")
    with ckptfs.S3Checkpoint().reader(tmp_path / "x") as reader:
        assert (reader.bucket, reader.key) == (None, None)


def test_a_reader_seeks_as_files_do(place):
    content = _bytes(3 * MIB)
    _put(place, "x", content)
    reader = open_reader(place + "x")
    ours, theirs = io.BytesIO(content), reader
    for whence, offset in [(2, -100), (0, 5), (1, 10), (1, -3), (2, 0),
                           (0, 2 * MIB), (2, -2 * MIB), (0, MIB - 1)]:
        assert ours.seek(offset, whence) == theirs.seek(offset, whence)
        assert ours.read(50) == theirs.read(50)
        assert ours.tell() == theirs.tell()
    assert reader.seek(1 << 50) == len(content)
    assert reader.read(1) == b""
    for wrong in [(-1, 0), (-len(content) - 1, 2), (0, 7)]:
        with pytest.raises(ValueError):
            reader.seek(*wrong)
    assert reader.tell() == len(content)
    assert reader.readable() and reader.seekable() and not reader.writable()


def test_any_pattern_of_reads_gives_the_bytes(place):
    content = _bytes(40 * MIB)
    _put(place, "x", content)
    reader = open_reader(place + "x")
    choice = random.Random(7)
    for _ in range(150):
        if choice.random() < 0.3:
            reader.seek(choice.randrange(len(content) + 1))
        at = reader.tell()
        size = choice.choice([1, 30, 4096, MIB - 1, 3 * MIB, 9 * MIB])
        memory = bytearray(size)
        count = reader.readinto(memory)
        assert count == min(size, len(content) - at)
        assert memory[:count] == content[at:at + count]
        assert reader.tell() == at + count


def test_lines_and_peeks(place):
    _put(place, "x", b"one\ntwo\n" + b"z" * MIB)
    reader = open_reader(place + "x")
    assert reader.peek(3)[:3] == b"one"
    assert [reader.readline(), reader.readline()] == [b"one\n", b"two\n"]
    assert reader.read1(4) == b"zzzz"


def test_readinto_wants_writable_memory(place):
    _put(place, "x", b"abc")
    reader = open_reader(place + "x")
    with pytest.raises((TypeError, BufferError)):
        reader.readinto(b"abc")
    assert reader.tell() == 0


def test_a_missing_file_is_an_error_at_once(place):
    with pytest.raises(FileNotFoundError):
        open_reader(place + "missing")


def test_a_closed_stream_says_so(place):
    writer = open_writer(place + "x")
    writer.write(b"abc")
    writer.close()
    writer.close()
    reader = open_reader(place + "x")
    reader.close()
    reader.close()
    assert writer.closed and reader.closed
    for call in (lambda: writer.write(b"d"), lambda: reader.read(1),
                 lambda: reader.readinto(bytearray(1)),
                 lambda: reader.seek(0), reader.tell, writer.__enter__):
        with pytest.raises(ValueError, match="closed"):
            call()
    assert not writer.readable() and not writer.seekable()
    with pytest.raises(io.UnsupportedOperation):
        writer.read()


def test_one_part_or_less_is_one_put(bucket, requests):
    _put(bucket.uri, "x", b"a" * (5 * MIB - 1))
    with ckptfs.S3Checkpoint(s3client_config=PARTS).writer(
            bucket.uri + "y") as writer:
        writer.write(b"a" * (5 * MIB))
    assert [op for op, _ in requests()] == ["PutObject", "PutObject"]


def test_large_memory_is_sent_without_a_copy(bucket, checkpoint):
    content = bytearray(200 * MIB)
    before = _new_peak_of_memory()
    with checkpoint.writer(bucket.uri + "x") as writer:
        writer.write(content)
        # It is the caller's again.
        for at in range(0, len(content), MIB):
            content[at:at + MIB] = b"x" * MIB
    assert _peak_of_memory() - before < 20 * MIB
    assert bucket.head("x")["ContentLength"] == len(content)
    assert set(open_reader(bucket.uri + "x").read(100 * MIB)) == {0}


def _new_peak_of_memory():
    # Begins anew from what is in use: proc(5), clear_refs.
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    return _peak_of_memory()


def _peak_of_memory():
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) << 10


# [S-73]
def test_an_exception_in_with_leaves_nothing(place, request):
    _put(place, "x", b"old")
    with pytest.raises(KeyError):
        with open_writer(place + "x") as writer:
            writer.write(b"a" * (40 * MIB))
            raise KeyError
    assert open_reader(place + "x").read() == b"old"
    _check_clean(place, request)
    with pytest.raises(ValueError, match="closed"):
        writer.write(b"b")


def test_a_position_is_an_integer(place):
    _put(place, "x", b"abc")
    with open_reader(place + "x") as reader:
        with pytest.raises(TypeError):
            reader.seek(1.5)
        assert reader.read() == b"abc"


# [S-73]
def test_a_forgotten_writer_leaves_nothing(place, request):
    _put(place, "x", b"old")
    writer = open_writer(place + "x")
    writer.write(b"a" * (40 * MIB))
    del writer
    gc.collect()
    assert open_reader(place + "x").read() == b"old"
    _check_clean(place, request)


def _check_clean(place, request):
    if place.startswith("s3:"):
        bucket = request.getfixturevalue("bucket")
        assert bucket.uploads() == []
        assert bucket.keys() == ["x"]
    else:
        assert os.listdir(place) == ["x"]


@pytest.mark.parametrize("fault", [
    "op=UploadPart&part=2&action=fail&status=403&code=AccessDenied&count=-1",
    "op=CreateMultipartUpload&action=fail&status=403&code=AccessDenied",
    "op=CompleteMultipartUpload&action=fail&status=403&code=AccessDenied"])
@pytest.mark.parametrize("step", [MIB, 60 * MIB])
def test_a_part_that_fails(bucket, checkpoint, faults, fault, step):
    bucket.write("x", b"old")
    faults(fault)
    writer = checkpoint.writer(bucket.uri + "x")
    with pytest.raises(PermissionError) as caught:
        for _ in range(0, 60 * MIB, step):
            writer.write(bytes(step))
        writer.close()
    assert isinstance(caught.value, ckptfs.S3Exception)
    assert caught.value.status == 403 and "x" in str(caught.value)
    for _ in range(2):
        with pytest.raises(PermissionError):
            writer.close()
    assert writer.closed
    assert bucket.read("x") == b"old"
    assert bucket.uploads() == []


def test_a_small_file_that_fails(bucket, faults):
    faults("op=PutObject&action=fail&status=403&code=AccessDenied")
    writer = open_writer(bucket.uri + "x")
    writer.write(b"abc")
    for _ in range(2):
        with pytest.raises(PermissionError):
            writer.close()
    assert bucket.keys() == []


def test_torch_save_tells_of_the_part_that_failed(bucket, checkpoint, faults):
    faults("op=UploadPart&part=2&action=fail&status=403&code=AccessDenied"
           "&count=-1")
    with pytest.raises(PermissionError):
        with checkpoint.writer(bucket.uri + "x") as writer:
            torch.save([torch.ones(3 * MIB) for _ in range(5)], writer)
    assert bucket.keys() == [] and bucket.uploads() == []


def test_a_part_that_is_lost_is_sent_again(bucket, checkpoint, faults):
    faults("op=UploadPart&part=2&action=reset&at_byte=1000000")
    content = _bytes(60 * MIB)
    with checkpoint.writer(bucket.uri + "x") as writer:
        writer.write(content)
    assert bucket.read("x") == content


def test_a_replaced_object_is_an_error_and_no_mixture(bucket):
    bucket.write("x", b"a" * (20 * MIB))
    reader = open_reader(bucket.uri + "x")
    assert reader.read(10) == b"a" * 10
    bucket.write("x", b"b" * (20 * MIB))
    with pytest.raises(ckptfs.S3Exception) as caught:
        reader.read()
    assert caught.value.code == "Stale"
    reader.seek(15 * MIB)
    with pytest.raises(ckptfs.S3Exception):
        reader.read(10)


def test_a_condition(bucket):
    _put(bucket.uri, "x", b"old")
    writer = open_writer(bucket.uri + "x", if_none_match=True)
    writer.write(b"new")
    with pytest.raises(ckptfs.S3Exception) as caught:
        writer.close()
    assert caught.value.code == "PreconditionFailed"
    with open_writer(bucket.uri + "x",
                     if_match=bucket.head("x")["ETag"]) as writer:
        writer.write(b"new")
    assert bucket.read("x") == b"new"


STATES = {
    "small": lambda: {"a": torch.arange(100), "b": "text"},
    "many": lambda: {f"layer.{i}": torch.full((300, 300), float(i))
                     for i in range(60)},
    "large": lambda: {"a": torch.rand(5 * MIB), "b": torch.rand(3 * MIB)},
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("zipped", [True, False])
def test_torch_saves_and_loads(place, checkpoint, state, zipped):
    saved = STATES[state]()
    with checkpoint.writer(place + "x.pt") as writer:
        torch.save(saved, writer, _use_new_zipfile_serialization=zipped)
    for loaded in (torch.load(checkpoint.reader(place + "x.pt")),
                   ckptfs.load(place + "x.pt")):
        assert loaded.keys() == saved.keys()
        for key, value in saved.items():
            assert (torch.equal(loaded[key], value)
                    if isinstance(value, torch.Tensor)
                    else loaded[key] == value)


@pytest.mark.parametrize(("state", "most"), [
    ("small", 1), ("many", 12), ("large", 12)])
def test_torch_load_makes_few_requests(bucket, checkpoint, requests, state,
                                       most):
    ckptfs.save(STATES[state](), bucket.uri + "x.pt")
    requests()
    torch.load(checkpoint.reader(bucket.uri + "x.pt"))
    log = requests()
    assert {op for op, _ in log} == {"GetObject"}
    assert len(log) <= most, log


def test_small_reads_in_order_make_few_requests(bucket, requests, s3server):
    content = _bytes(100 * MIB)
    bucket.write("x", content)
    requests()
    reader = open_reader(bucket.uri + "x")
    got = b"".join(iter(lambda: reader.read(200_000), b""))
    assert got == content
    reader.close()
    fetched = s3server.stats()["bytes_out"]
    assert len(requests()) < 30
    assert fetched < 102 * MIB


def test_reads_elsewhere_fetch_little(bucket, requests, s3server):
    bucket.write("x", bytes(200 * MIB))
    requests()
    reader = open_reader(bucket.uri + "x")
    for at in range(10, 190, 20):
        reader.seek(at * MIB)
        reader.read(1000)
    reader.close()
    assert s3server.stats()["bytes_out"] < 12 * MIB


def test_a_reader_holds_little_memory(bucket):
    bucket.write("x", bytes(300 * MIB))
    before = _new_peak_of_memory()
    reader = open_reader(bucket.uri + "x")
    while reader.read(MIB):
        pass
    assert _peak_of_memory() - before < 100 * MIB


def test_pickle_reads_from_it(place):
    value = {"a": list(range(100_000)), "b": b"x" * (3 * MIB)}
    with open_writer(place + "x") as writer:
        pickle.dump(value, writer)
    assert pickle.load(open_reader(place + "x")) == value


def test_threads_take_turns(place):
    content = _bytes(20 * MIB)
    _put(place, "x", content)
    reader = open_reader(place + "x")
    pieces = []

    def work():
        while piece := reader.read(123_457):
            pieces.append(piece)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(pieces) == sorted(
        content[at:at + 123_457] for at in range(0, len(content), 123_457))


def _use(reader, writer):
    for call in (lambda: reader.read(1), lambda: writer.write(b"b")):
        with pytest.raises(ckptfs.S3Exception, match="fork"):
            call()
    reader.close()
    writer.abort()
    del reader, writer
    gc.collect()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_cannot_use_them(bucket):
    bucket.write("x", _bytes(30 * MIB))
    reader = open_reader(bucket.uri + "x")
    reader.read(2 * MIB)
    writer = open_writer(bucket.uri + "y")
    writer.write(b"a" * (40 * MIB))
    child = multiprocessing.get_context("fork").Process(
        target=_use, args=(reader, writer))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert reader.read() == _bytes(30 * MIB)[2 * MIB:]
    writer.close()
    assert bucket.read("y") == b"a" * (40 * MIB)


@pytest.mark.parametrize("step", [3 * MIB, 60 * MIB])
def test_ctrl_c_ends_a_write_and_leaves_nothing(bucket, checkpoint, held,
                                                step):
    bucket.write("x", b"old")
    held.requests("UploadPart")
    held.press_ctrl_c()
    with pytest.raises(KeyboardInterrupt):
        with checkpoint.writer(bucket.uri + "x") as writer:
            memory = bytearray(step)
            while True:
                writer.write(memory)
    memory.clear()  # nobody holds the buffer
    assert bucket.uploads() == []
    assert bucket.read("x") == b"old"
    with pytest.raises(ckptfs.S3Exception, match="KeyboardInterrupt"):
        writer.close()


def test_ctrl_c_ends_a_close(bucket, held):
    writer = open_writer(bucket.uri + "x")
    writer.write(b"abc")
    held.requests("PutObject")
    held.press_ctrl_c()
    with pytest.raises(KeyboardInterrupt):
        writer.close()
    with pytest.raises(ckptfs.S3Exception, match="KeyboardInterrupt"):
        writer.close()
    assert bucket.keys() == []


@pytest.mark.parametrize("size", [1000, 30 * MIB])
def test_ctrl_c_ends_a_read(bucket, held, s3server, size):
    content = _bytes(40 * MIB)
    bucket.write("x", content)
    reader = open_reader(bucket.uri + "x")
    reader.seek(2 * MIB)
    held.requests("GetObject")
    held.press_ctrl_c()
    memory = bytearray(size)
    with pytest.raises(KeyboardInterrupt):
        reader.readinto(memory)
    memory.clear()  # nobody holds the buffer
    s3server.control("clear")
    assert reader.tell() == 2 * MIB
    assert reader.read() == content[2 * MIB:]


def test_a_call_inside_a_call_is_an_error(bucket, held, s3server):
    bucket.write("x", bytes(40 * MIB))
    reader = open_reader(bucket.uri + "x")
    seen = []

    def handler(number, frame):
        with pytest.raises(RuntimeError, match="reentrant"):
            reader.read(1)
        seen.append(number)
        s3server.control("clear")
    before = signal.signal(signal.SIGINT, handler)
    try:
        held.requests("GetObject")
        held.press_ctrl_c()
        assert len(reader.read()) == 40 * MIB
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [signal.SIGINT]


@pytest.mark.ckptfs_only
def test_paths_below_a_mount(mount, s3server, monkeypatch):
    for name, value in s3server.environment().items():
        monkeypatch.setenv(name, value)
    path = pathlib.Path(mount.path) / "x"
    content = _bytes(20 * MIB)
    with open_writer(path) as writer:
        writer.write(content)
    assert path.read_bytes() == content
    assert open_reader(path).read() == content
    assert mount.bucket.names() == ["x"]
    with pytest.raises(KeyError):
        with open_writer(path) as writer:
            writer.write(b"new")
            raise KeyError
    assert path.read_bytes() == content


def test_torch_load_tells_of_an_object_that_was_replaced(bucket, checkpoint):
    ckptfs.save(STATES["large"](), bucket.uri + "x.pt")
    reader = checkpoint.reader(bucket.uri + "x.pt")
    ckptfs.save(STATES["many"](), bucket.uri + "x.pt")
    with pytest.raises(ckptfs.S3Exception) as caught:
        torch.load(reader)
    assert caught.value.code == "Stale"


def test_a_buffer_with_gaps_is_refused_and_changes_nothing(place):
    numpy = pytest.importorskip("numpy")
    with open_writer(place + "x") as writer:
        with pytest.raises((ValueError, BufferError)):
            writer.write(numpy.arange(10)[::2])
        writer.write(b"ok")
    with open_reader(place + "x") as reader:
        assert reader.read() == b"ok"

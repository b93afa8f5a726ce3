"""ckptfs.dcp against torch.distributed.checkpoint, both ways, in one process."""
import io
import os
import pathlib
import pickle

import ckptfs
import pytest
import safetensors.torch
import torch
import torch.distributed.checkpoint as dcp
from ckptfs.dcp import (BinaryPrefixStrategy, DefaultPrefixStrategy,
                        HexPrefixStrategy, NumericPrefixStrategy,
                        RoundRobinPrefixStrategy, S3FileSystem,
                        S3PrefixStrategyBase, S3ReaderConstructor,
                        S3StorageReader, S3StorageWriter, dcp_to_torch_save,
                        torch_save_to_dcp)
from torch.distributed.checkpoint._extension import (ExtensionRegistry,
                                                     StreamTransformExtension)
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import (FileSystemReader,
                                                     FileSystemWriter,
                                                     SerializationFormat)
from torch.distributed.checkpoint.planner import LoadPlan, ReadItem

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning",
                                        "ignore::FutureWarning")


class Custom:
    def __init__(self, number):
        self.number = number

    def __eq__(self, other):
        return self.number == other.number


def _state(factor=1):
    base = torch.arange(1000.).reshape(10, 100) * factor
    return {
        "whole": base, "transposed": base.t(), "columns": base[:, 3:7],
        "row": base[2], "rows": base[4:6], "scalar": base.sum(),
        "expanded": base[0, 1:2].expand(5), "empty": base[:0],
        "parameter": torch.nn.Parameter(base[:2] + 1),
        "conjugate": torch.ones(3, dtype=torch.complex64).conj() * factor,
        **{str(dtype): torch.full((9,), factor).to(dtype) for dtype in (
            torch.bfloat16, torch.float8_e4m3fn, torch.uint16, torch.bool)},
        "nested": {"list": [1, {"t": base[:3].clone()}], "number": 5 * factor},
        "custom": Custom(7 * factor),
    }


def _targets(value=None):
    """What a state is loaded into: tensors that share no memory."""
    value = _state(0) if value is None else value
    if isinstance(value, dict):
        return {key: _targets(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_targets(inner) for inner in value]
    return value.clone() if isinstance(value, torch.Tensor) else value


def _bits(tensor):
    """Not every dtype can be compared."""
    return tensor.detach().resolve_conj().reshape(-1).clone().view(
        torch.uint8)


def _check(loaded, expected):
    assert loaded.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, dict):
            _check(loaded[name], value)
        elif isinstance(value, torch.Tensor):
            assert loaded[name].dtype == value.dtype, name
            assert torch.equal(_bits(loaded[name]), _bits(value)), name
        elif isinstance(value, list):
            assert len(loaded[name]) == len(value)
            _check(dict(enumerate(loaded[name])), dict(enumerate(value)))
        else:
            assert loaded[name] == value, name


def _save(path, state=None, **keywords):
    dcp.save(_state() if state is None else state, no_dist=True,
             storage_writer=S3StorageWriter(None, path, **keywords))


def _load(path, state=None, **keywords):
    state = _targets() if state is None else state
    dcp.load(state, no_dist=True,
             storage_reader=S3StorageReader(None, path, **keywords))
    return state


def _metadata(path):
    return S3StorageReader(None, path).read_metadata()


@pytest.mark.parametrize("keywords", [
    {}, {"thread_count": 3}, {"single_file_per_rank": False}])
def test_what_was_saved_is_loaded(place, keywords):
    _save(place + "ckpt", **keywords)
    _check(_load(place + "ckpt"), _state())


class Inverted(StreamTransformExtension):
    """Turns every bit over."""

    @staticmethod
    def registry_name():
        return "stream.inverted"

    @staticmethod
    def from_descriptor(version):
        return Inverted()

    def get_descriptor(self):
        return "stream.inverted/1"

    def transform_to(self, output):
        class Writer(io.RawIOBase):
            def writable(self):
                return True

            def write(self, data):
                content = bytes(data)
                output.write(bytes(255 - byte for byte in content))
                return len(content)

            def close(self):
                if not self.closed:
                    output.close()
                super().close()
        return Writer()

    def transform_from(self, content):
        return io.BytesIO(bytes(255 - byte for byte in content.read()))


@pytest.mark.parametrize("threads", [1, 2])
def test_extensions_go_through_torch_s_code(place, threads):
    _save(place + "ckpt", _extensions=[Inverted()], thread_count=threads)
    registry = ExtensionRegistry()
    registry.register(Inverted)
    _check(_load(place + "ckpt", _extension_registry=registry), _state())


def test_what_torch_s_threads_lose_is_an_error(bucket, s3server):
    s3server.control("fault?op=PutObject&action=fail&count=-1"
                     "&status=403&code=AccessDenied")
    try:
        with pytest.raises(CheckpointException):
            _save(bucket.uri + "x", _extensions=[Inverted()], thread_count=2)
    finally:
        s3server.control("clear")


def test_torch_reads_ours_and_we_read_torch_s(tmp_path):
    dcp.save(_state(), storage_writer=FileSystemWriter(tmp_path / "torch"),
             no_dist=True)
    _save(tmp_path / "ours")
    _check(_load(tmp_path / "torch"), _state())
    loaded = _targets()
    dcp.load(loaded, storage_reader=FileSystemReader(tmp_path / "ours"),
             no_dist=True)
    _check(loaded, _state())


def test_the_files_are_laid_out_as_torch_s(tmp_path):
    dcp.save(_state(), storage_writer=FileSystemWriter(tmp_path / "torch"),
             no_dist=True)
    _save(tmp_path / "ours")
    theirs, ours = (_metadata(tmp_path / who) for who in ("torch", "ours"))
    assert ours.state_dict_metadata == theirs.state_dict_metadata
    assert ours.storage_data.keys() == theirs.storage_data.keys()
    files = {who: (tmp_path / who / "__0_0.distcp").read_bytes()
             for who in ("torch", "ours")}
    for index, place in theirs.storage_data.items():
        assert vars(ours.storage_data[index]) == vars(place), index
        if index.offset is None:
            continue
        theirs_item, ours_item = (
            torch.load(io.BytesIO(
                content[place.offset:place.offset + place.length]))
            for content in (files["torch"], files["ours"]))
        assert ours_item.stride() == theirs_item.stride(), index
        assert (ours_item.untyped_storage().size()
                == theirs_item.untyped_storage().size()), index


def test_safetensors_are_written_as_torch_does(tmp_path):
    state = {"a": torch.ones(3), "b": torch.zeros(2, 2)}
    for writer in (FileSystemWriter, lambda p, **k: S3StorageWriter(path=p,
                                                                    **k)):
        folder = tmp_path / ("torch" if writer is FileSystemWriter else "ours")
        dcp.save(state, no_dist=True, storage_writer=writer(
            folder, serialization_format=SerializationFormat.SAFETENSORS))
    loaded = [safetensors.torch.load(
        (tmp_path / who / "__0_0.distcp").read_bytes())
        for who in ("torch", "ours")]
    assert loaded[0].keys() == loaded[1].keys() == state.keys()
    assert all(torch.equal(loaded[1][name], t) for name, t in state.items())


def test_parts_of_large_tensors_and_a_dtype_of_another_size(bucket):
    state = {"large": torch.arange(6 << 20), "small": torch.ones(2),
             "strided": torch.arange(4 << 20).reshape(2048, 2048).t()[::2]}
    _save(bucket.uri + "x", state,
          s3client_config=ckptfs.S3ClientConfig(part_size=5 << 20))
    loaded = _load(bucket.uri + "x", {
        "large": torch.zeros(6 << 20, dtype=torch.int64),
        "small": torch.zeros(2, dtype=torch.bfloat16),
        "strided": torch.zeros(2048, 1024, dtype=torch.int64).t()})
    for name, tensor in state.items():
        assert torch.equal(loaded[name], tensor.to(loaded[name].dtype)), name


def test_what_has_another_dtype_goes_through_bounded_memory(tmp_path,
                                                            monkeypatch):
    import ckptfs.dcp.reader as reader
    monkeypatch.setattr(reader, "_STAGED_BYTES", 1000)
    state = {"a": torch.randn(50, 30), "b": torch.randn(7), "s":
             torch.tensor(4.)}
    _save(tmp_path, state)
    loaded = _load(tmp_path, {name: torch.zeros_like(tensor).double()
                              for name, tensor in state.items()})
    for name, tensor in state.items():
        assert torch.equal(loaded[name], tensor.double())


def test_only_the_rows_that_are_wanted_are_fetched(bucket, s3server):
    _save(bucket.uri + "x", {"a": torch.arange(8 << 20).reshape(1024, -1)})
    reader = S3StorageReader(None, bucket.uri + "x")
    items, planner = _boxes(reader, [(3, 2), (900, 100)])
    before = s3server.stats()["bytes_out"]
    reader.read_data(LoadPlan(items), planner)
    # 102 rows of 64 KiB, of 64 MiB.
    assert s3server.stats()["bytes_out"] - before < 8 << 20
    planner.check()


class _Boxes:
    """A planner that wants rows of one tensor."""

    def __init__(self, whole, boxes):
        self.whole = whole
        self.boxes = boxes
        self.targets = {box: torch.zeros(box[1], whole.shape[1],
                                         dtype=whole.dtype) for box in boxes}
        self.committed = []

    def resolve_tensor(self, item):
        return self.targets[item.storage_offsets[0], item.lengths[0]]

    def commit_tensor(self, item, tensor):
        self.committed.append((item.storage_offsets[0], item.lengths[0]))

    def check(self):
        assert sorted(self.committed) == sorted(self.boxes)
        for (begin, count), target in self.targets.items():
            assert torch.equal(target, self.whole[begin:begin + count])


def _boxes(reader, boxes):
    metadata = reader.read_metadata()
    reader.set_up_storage_reader(metadata, True)
    [index] = metadata.storage_data
    planner = _Boxes(torch.arange(8 << 20).reshape(1024, -1), boxes)
    columns = planner.whole.shape[1]
    return [ReadItem(
        type=dcp.planner.LoadItemType.TENSOR, dest_index=index,
        dest_offsets=torch.Size([0, 0]), storage_index=index,
        storage_offsets=torch.Size([begin, 0]),
        lengths=torch.Size([count, columns]))
        for begin, count in boxes], planner


@pytest.mark.parametrize("constructor", [
    None, S3ReaderConstructor.dcp_optimized(),
    S3ReaderConstructor.sequential()])
def test_duplicate_and_overlapping_ranges_are_served(place, constructor):
    _save(place + "x", {"a": torch.arange(8 << 20).reshape(1024, -1)})
    reader = S3StorageReader(None, place + "x",
                             reader_constructor=constructor)
    boxes = [(5, 10), (8, 4), (5, 9), (0, 1024), (1000, 24)]
    items, planner = _boxes(reader, boxes)
    reader.read_data(LoadPlan(items), planner)
    planner.check()


@pytest.mark.parametrize("name", [
    "with space", "a#b", "what?", "100%", "50%25", "a+b", "größe-模型",
    "semi;colon&amp=1"])
def test_names_with_special_characters(place, name):
    _save(f"{place}{name}/step 1", {"a": torch.ones(3), "v": 5})
    loaded = _load(f"{place}{name}/step 1", {"a": torch.zeros(3), "v": 0})
    assert loaded["a"].sum() == 3 and loaded["v"] == 5


@pytest.mark.parametrize("strategy, prefix", [
    (None, "__0_"),
    (DefaultPrefixStrategy(), "__0_"),
    (BinaryPrefixStrategy(prefix_count=8), "0000000000/__0_"),
    (HexPrefixStrategy(epoch_num=3, min_prefix_length=2), "00/epoch_3/__0_"),
    (RoundRobinPrefixStrategy(["x/y", "z"], epoch_num=1), "x/y/epoch_1/__0_")])
def test_files_are_named_by_the_strategy(place, strategy, prefix):
    _save(place + "ckpt", {"a": torch.ones(3)}, prefix_strategy=strategy)
    [info] = _metadata(place + "ckpt").storage_data.values()
    assert info.relative_path == prefix + "0.distcp"
    assert ckptfs.exists(f"{place}ckpt/{info.relative_path}")
    assert _load(place + "ckpt", {"a": torch.zeros(3)})["a"].sum() == 3


def test_prefixes_by_rank():
    binary = BinaryPrefixStrategy(min_prefix_length=1, prefix_count=8)
    assert [binary(rank) for rank in (0, 1, 6, 9)] == [
        "000/__0_", "100/__1_", "011/__6_", "100/__9_"]
    assert HexPrefixStrategy(2, 3, 300)(299) == "b21/epoch_2/__299_"
    round_robin = RoundRobinPrefixStrategy(["a", "b"])
    assert [round_robin(rank) for rank in range(3)] == [
        "a/__0_", "b/__1_", "a/__2_"]
    assert isinstance(binary, NumericPrefixStrategy)
    assert isinstance(round_robin, S3PrefixStrategyBase)


class Unary(NumericPrefixStrategy):
    def _format_number(self, number, length):
        return "1" * number


@pytest.mark.parametrize("make", [
    lambda: Unary(1, prefix_count=2),
    lambda: BinaryPrefixStrategy(min_prefix_length=0),
    lambda: HexPrefixStrategy(prefix_count=0),
    lambda: HexPrefixStrategy(epoch_num="1"),
    lambda: RoundRobinPrefixStrategy([]),
    lambda: S3ReaderConstructor.dcp_optimized(-1),
    lambda: S3ReaderConstructor.range_based(-1)])
def test_values_out_of_range(make):
    with pytest.raises(ValueError):
        make()


def test_reader_constructors():
    kinds = [S3ReaderConstructor.get_reader_type_string(made) for made in (
        None, S3ReaderConstructor.default(), S3ReaderConstructor.sequential(),
        S3ReaderConstructor.range_based(0),
        S3ReaderConstructor.dcp_optimized(float("inf")))]
    assert kinds == ["sequential"] * 3 + ["range_based", "dcp_optimized"]


@pytest.mark.parametrize("kind", ["THREAD", "PROCESS"])
def test_async_save(place, kind, tmp_path):
    import torch.distributed as dist
    from torch.distributed.checkpoint.state_dict_saver import (
        AsyncCheckpointerType)
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/.store",
                            rank=0, world_size=1)
    try:
        state = _state()
        saving = dcp.async_save(
            state, storage_writer=S3StorageWriter(None, place + "x"),
            async_checkpointer_type=AsyncCheckpointerType[kind])
        state["whole"].zero_()
        saving.result()
        _check(_load(place + "x"), _state())
    finally:
        dist.destroy_process_group()


# [S-76]
def test_what_is_there_is_replaced_or_kept(place):
    _save(place + "x", {"a": torch.ones(3)})
    with pytest.raises(CheckpointException, match="already exists"):
        _save(place + "x", {"a": torch.zeros(3)}, overwrite=False)
    assert _load(place + "x", {"a": torch.zeros(3)})["a"].sum() == 3
    _save(place + "x", {"a": torch.full((3,), 2.)})
    assert _load(place + "x", {"a": torch.zeros(3)})["a"].sum() == 6
    names = ckptfs.list(place + "x")
    assert len(names) == 2 and ".metadata" in names


def test_one_that_appears_meanwhile_is_kept(bucket):
    class Late(S3StorageWriter):
        def write_data(self, plan, planner):
            _save(bucket.uri + "x", {"a": torch.ones(3)})
            return super().write_data(plan, planner)
    with pytest.raises(CheckpointException, match="overwrite=False"):
        dcp.save({"a": torch.zeros(3)}, no_dist=True,
                 storage_writer=Late(None, bucket.uri + "x", overwrite=False))
    assert ckptfs.exists(bucket.uri + "x/.metadata")


LARGE = {"a": torch.arange(12 << 20, dtype=torch.uint8),
         "b": torch.ones(12 << 20, dtype=torch.uint8)}
PARTS = ckptfs.S3ClientConfig(part_size=5 << 20)


# [S-76]
@pytest.mark.parametrize("threads", [1, 2])
def test_a_part_that_fails_leaves_the_older_checkpoint(bucket, s3server,
                                                       threads):
    _save(bucket.uri + "x", LARGE)
    before = ckptfs.list(bucket.uri + "x")
    s3server.control("fault?op=UploadPart&part=2&action=fail&count=-1"
                     "&status=403&code=AccessDenied")
    try:
        with pytest.raises(CheckpointException) as caught:
            _save(bucket.uri + "x", {n: t + 1 for n, t in LARGE.items()},
                  s3client_config=PARTS, thread_count=threads)
    finally:
        s3server.control("clear")
    assert isinstance(caught.value.failures[0][0], ckptfs.S3Exception)
    assert bucket.uploads() == []
    assert ckptfs.list(bucket.uri + "x") == before
    loaded = _load(bucket.uri + "x",
                   {n: torch.zeros_like(t) for n, t in LARGE.items()})
    assert all(torch.equal(loaded[n], t) for n, t in LARGE.items())


@pytest.mark.parametrize("path", ["s3:/bucket/x", pathlib.Path("s3://b/x"),
                                  pathlib.Path("s3:/b/x")])
def test_a_uri_without_its_slash(path):
    for make in (S3StorageReader, S3StorageWriter):
        with pytest.raises(ValueError, match="pathlib"):
            make(None, path)
    assert not S3FileSystem.validate_checkpoint_id(path)


def test_ids():
    for good in ("s3://b/x", "s3://b", "/plain/x", "x", pathlib.Path("/x"),
                 "file:///x"):
        assert S3StorageReader.validate_checkpoint_id(good), good
        assert S3StorageWriter.validate_checkpoint_id(good), good
    for bad in ("s3://", "s3:///x", "gs://b/x", "", 5, None):
        assert not S3FileSystem.validate_checkpoint_id(bad), bad


def test_an_id_of_the_call_counts(place):
    dcp.save({"a": torch.ones(3)}, checkpoint_id=place + "id", no_dist=True,
             storage_writer=S3StorageWriter())
    loaded = {"a": torch.zeros(3)}
    dcp.load(loaded, checkpoint_id=place + "id", no_dist=True,
             storage_reader=S3StorageReader())
    assert loaded["a"].sum() == 3
    with pytest.raises(CheckpointException, match="checkpoint_id"):
        dcp.save({}, storage_writer=S3StorageWriter(), no_dist=True)


def test_what_is_not_there_or_damaged(place):
    with pytest.raises(FileNotFoundError, match="nothing"):
        _metadata(place + "nothing")
    _save(place + "x", {"a": torch.ones(3)})
    path = place + "x/__0_0.distcp"
    with S3FileSystem().create_stream(path, "rb") as stream:
        content = stream.read()
    with S3FileSystem().create_stream(path, "wb") as stream:
        stream.write(content[:-500])
    with pytest.raises(CheckpointException) as caught:
        _load(place + "x", {"a": torch.zeros(3)})
    assert "__0_0.distcp" in str(caught.value.failures[0][0])
    ckptfs.remove(path)
    with pytest.raises(CheckpointException) as caught:
        _load(place + "x", {"a": torch.zeros(3)})
    assert isinstance(caught.value.failures[0][0], FileNotFoundError)


def test_metadata_that_name_other_files(tmp_path):
    _save(tmp_path / "x", {"a": torch.ones(3)})
    (tmp_path / "__0_0.distcp").write_bytes(
        (tmp_path / "x/__0_0.distcp").read_bytes())
    metadata = pickle.loads((tmp_path / "x/.metadata").read_bytes())
    [info] = metadata.storage_data.values()
    for name, offset in (("../__0_0.distcp", 0), ("__0_0.distcp", 1 << 63)):
        info.relative_path, info.offset = name, offset
        reader = S3StorageReader(None, tmp_path / "x")
        reader.set_up_storage_reader(metadata, True)
        with pytest.raises(ckptfs.S3Exception, match="outside") as caught:
            ckptfs._core.dcp_read(reader.fs.engine, reader.path, [],
                                  [(name, offset, 10)])
        assert caught.value.code == "InvalidArgument"


def test_arguments_of_other_types():
    with pytest.raises(TypeError, match="endpoint"):
        S3FileSystem("us-east-1", object())
    with pytest.raises(TypeError, match="S3ReaderConstructor"):
        S3StorageReader("us-east-1", "s3://b/x", None, object())
    with pytest.raises(TypeError):
        S3StorageWriter("us-east-1", 5)


def test_the_file_system(place):
    fs = S3FileSystem()
    folder = fs.init_path(place + "folder/")
    fs.mkdir(folder)
    path = fs.concat_path(folder, "a b")
    assert path == place + "folder/a b"
    with fs.create_stream(path, "wb") as stream:
        stream.write(b"content")
    with pytest.raises(ValueError, match="mode"), fs.create_stream(path, "ab"):
        pass
    with pytest.raises(KeyError), fs.create_stream(path, "wb") as stream:
        stream.write(b"given up")
        raise KeyError
    fs.rename(path, path + "2")
    assert not fs.exists(path) and fs.exists(path + "2")
    assert not fs.exists(place + "folder")
    with fs.create_stream(path + "2", "rb") as stream:
        assert stream.read() == b"content"
    assert fs.ls(folder) == [path + "2"]
    fs.rm_file(path + "2")
    fs.rm_file(path + "2")
    assert fs.ls(folder) == []
    again = pickle.loads(pickle.dumps(fs))
    assert not again.exists(path)


def test_errors_of_a_removal_are_raised(bucket, s3server):
    s3server.control("fault?op=DeleteObject&action=fail&count=-1"
                     "&status=403&code=AccessDenied")
    try:
        with pytest.raises(ckptfs.S3Exception):
            S3FileSystem().rm_file(bucket.uri + "x")
    finally:
        s3server.control("clear")


def test_torch_save_files_and_back(place):
    state = {"a": torch.randn(20, 30), "n": {"b": torch.ones(2), "v": 5}}
    ckptfs.save(state, place + "x.pt")
    torch_save_to_dcp(place + "x.pt", place + "ckpt")
    dcp_to_torch_save(place + "ckpt", place + "y.pt")
    _check(ckptfs.load(place + "y.pt"), state)


def test_a_tensor_that_is_more_than_its_bytes(tmp_path):
    quantized = torch.quantize_per_tensor(torch.ones(4), 0.5, 1, torch.qint8)
    _save(tmp_path, {"q": quantized})
    info = next(iter(_metadata(tmp_path).storage_data.values()))
    content = (tmp_path / info.relative_path).read_bytes()
    stored = torch.load(io.BytesIO(content[info.offset:][:info.length]),
                        weights_only=False)
    assert torch.equal(stored.dequantize(), torch.ones(4))


def test_what_keeps_a_tensor_from_being_copied_is_raised():
    from ckptfs.dcp.items import ItemsOfFile

    class Planner:
        def resolve_data(self, item):
            return torch.ones(4, 4)[:, 1:]
    item = dcp.planner.WriteItem(
        index=dcp.metadata.MetadataIndex("a"),
        type=dcp.planner.WriteItemType.TENSOR)
    of_file = ItemsOfFile([item], Planner())
    fill = of_file.items[0][5]
    with pytest.raises(TypeError):
        fill("no address")
    with pytest.raises(TypeError):
        of_file.raise_failure()


def test_the_older_data_files_of_others_stay(tmp_path):
    _save(tmp_path, {"a": torch.ones(3)})
    (tmp_path / "notes.txt").write_text("keep")
    _save(tmp_path, {"a": torch.ones(3)})
    assert "notes.txt" in os.listdir(tmp_path)

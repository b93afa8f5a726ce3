"""The plugin that saves in the background: order, bounds and errors."""
import gc
import os
import pickle
import subprocess
import sys
import threading

import ckptfs
import pytest
import torch
from ckptfs._background import Job
from ckptfs._copy_memory import CopyMemory
from ckptfs._saved_state import SavedState
from ckptfs.lightning import AsyncSaveError, S3AsyncLightningCheckpoint
from support.programs import wait_until

from .test_lightning import Data, Model, every_step, make_trainer

pytestmark = pytest.mark.filterwarnings("ignore::Warning")


@pytest.fixture
def plugin(bucket):
    made = S3AsyncLightningCheckpoint("us-east-1", max_pending=1)
    yield made
    made.teardown()


@pytest.fixture
def held(s3server):
    """Holds every PUT until release()."""
    class Held:
        def hold(self, operation="PutObject"):
            s3server.control(f"fault?op={operation}&action=hold&count=-1")

        def wait(self):
            s3server.control("wait-held?count=1&timeout_ms=10000", post=False)

        def release(self):
            s3server.control("clear")
            s3server.control("release")

    made = Held()
    yield made
    made.release()


def when_waiting(plugin, then):
    """Calls `then` when a thread waits for the plugin's work."""
    waiters = plugin._background()._changed._waiters

    def watch():
        wait_until(lambda: waiters, "somebody waits")
        then()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def refuse(s3server, operation="PutObject", count=1):
    s3server.control(f"fault?op={operation}&action=fail&status=403"
                     f"&code=AccessDenied&count={count}")


def test_a_save_returns_before_the_file_is_there(bucket, plugin, held):
    held.hold()
    plugin.save_checkpoint({"a": 1}, bucket.uri + "x.ckpt")
    held.wait()
    assert bucket.keys() == []
    held.release()
    plugin.teardown()
    assert ckptfs.load(bucket.uri + "x.ckpt") == {"a": 1}


def test_what_changes_after_a_save_does_not_show(bucket, plugin, held):
    tensor, values = torch.arange(5), [1]
    held.hold()
    plugin.save_checkpoint({"a": tensor, "view": tensor[1:3],
                            "values": values}, bucket.uri + "x.ckpt")
    tensor.zero_()
    values.append(2)
    held.release()
    loaded = plugin.load_checkpoint(bucket.uri + "x.ckpt")
    assert loaded["a"].tolist() == [0, 1, 2, 3, 4]
    assert loaded["values"] == [1]
    loaded["a"][1] = 9
    assert loaded["view"][0] == 9  # they share memory, as before


def test_the_file_is_that_of_a_save_at_once(bucket, plugin):
    state = {"a": torch.randn(50), "b": {"c": 1}}
    plugin.save_checkpoint(state, bucket.uri + "x.ckpt")
    plugin.teardown()
    content = bucket.read("x.ckpt")
    ckptfs.save(state, bucket.uri + "x.ckpt")
    assert content == bucket.read("x.ckpt")


def test_a_torch_that_writes_otherwise(bucket, plugin, monkeypatch):
    monkeypatch.delattr(torch.serialization, "_save")
    buffered = SavedState
    monkeypatch.setattr(torch, "save", lambda obj, file: pickle.dump(obj, file))
    buffered({"a": 1}, CopyMemory(1)).write(bucket.uri + "x", None, None, None)
    assert pickle.loads(bucket.read("x")) == {"a": 1}


# [S-75]
def test_saves_end_in_order(bucket):
    plugin = S3AsyncLightningCheckpoint(max_pending=3)
    for i in range(9):
        plugin.save_checkpoint({"i": i}, bucket.uri + "x.ckpt")
    plugin.teardown()
    assert ckptfs.load(bucket.uri + "x.ckpt") == {"i": 8}


def test_a_save_waits_for_room(bucket, plugin, held):
    held.hold()
    plugin.save_checkpoint({"i": 0}, bucket.uri + "0.ckpt")
    watch = when_waiting(plugin, held.release)
    plugin.save_checkpoint({"i": 1}, bucket.uri + "1.ckpt")
    watch.join()
    plugin.teardown()
    assert sorted(bucket.names()) == ["0.ckpt", "1.ckpt"]


# [S-75]
def test_an_error_is_raised_by_the_next_call_once(bucket, plugin, s3server):
    refuse(s3server)
    path = bucket.uri + "x.ckpt"
    plugin.save_checkpoint({"a": 1}, path)
    plugin._background().wait()
    with pytest.raises(AsyncSaveError) as caught:
        plugin.save_checkpoint({"a": 2}, bucket.uri + "y.ckpt")
    error = caught.value
    assert isinstance(error, ckptfs.S3Exception)
    assert path in str(error)
    assert (error.code, error.status, error.s3_code) == (
        "PermissionDenied", 403, "AccessDenied")
    assert isinstance(error.__cause__, PermissionError)
    assert [failed for failed, _ in error.failures] == [path]
    assert bucket.keys() == []
    plugin.save_checkpoint({"a": 3}, path)
    plugin.teardown()
    assert ckptfs.load(path) == {"a": 3}


@pytest.mark.parametrize("call", ["load_checkpoint", "remove_checkpoint"])
def test_an_error_is_raised_by_load_and_remove(bucket, plugin, s3server, call):
    ckptfs.save({"old": 1}, bucket.uri + "x.ckpt")
    refuse(s3server)
    plugin.save_checkpoint({"new": 1}, bucket.uri + "x.ckpt")
    plugin._background().wait()
    with pytest.raises(AsyncSaveError, match="x.ckpt"):
        getattr(plugin, call)(bucket.uri + "x.ckpt")
    assert plugin.load_checkpoint(bucket.uri + "x.ckpt") == {"old": 1}


def test_several_errors_are_all_told(bucket, s3server):
    plugin = S3AsyncLightningCheckpoint(max_pending=3)
    refuse(s3server, count=2)
    for name in ("0", "1", "2"):
        plugin.save_checkpoint({}, bucket.uri + name)
    with pytest.raises(AsyncSaveError) as caught:
        plugin.teardown()
    assert [path for path, _ in caught.value.failures] == [
        bucket.uri + "0", bucket.uri + "1"]
    assert bucket.names() == ["2"]
    plugin.teardown()


def test_an_unpicklable_state_is_an_error_at_once(bucket, plugin):
    for _ in range(3):  # it keeps no room
        with pytest.raises(Exception, match="pickle|local"):
            plugin.save_checkpoint({"f": lambda: 1}, bucket.uri + "x.ckpt")
    plugin.save_checkpoint({"a": 1}, bucket.uri + "x.ckpt")
    assert plugin.load_checkpoint(bucket.uri + "x.ckpt") == {"a": 1}


def test_a_load_waits_for_the_save_of_its_path(bucket, plugin, held):
    ckptfs.save({"old": 1}, bucket.uri + "x.ckpt")
    held.hold()
    plugin.save_checkpoint({"new": 1}, bucket.uri + "x.ckpt")
    watch = when_waiting(plugin, held.release)
    assert plugin.load_checkpoint(bucket.uri + "x.ckpt") == {"new": 1}
    watch.join()


def test_a_removal_waits_for_the_save_of_its_path(bucket, plugin, held):
    held.hold()
    plugin.save_checkpoint({"new": 1}, bucket.uri + "x.ckpt")
    watch = when_waiting(plugin, held.release)
    plugin.remove_checkpoint(bucket.uri + "x.ckpt")
    assert bucket.keys() == []
    watch.join()


def test_a_removal_comes_after_the_save_before_it(bucket, plugin, held):
    ckptfs.save({}, bucket.uri + "old.ckpt")
    held.hold()
    plugin.save_checkpoint({"new": 1}, bucket.uri + "new.ckpt")
    plugin.remove_checkpoint(bucket.uri + "old.ckpt")  # does not wait
    held.wait()
    assert bucket.names() == ["old.ckpt"]
    held.release()
    plugin.teardown()
    assert bucket.names() == ["new.ckpt"]


# [S-75]
def test_a_failed_save_keeps_what_was_to_go(bucket, plugin, s3server):
    ckptfs.save({"old": 1}, bucket.uri + "old.ckpt")
    refuse(s3server)
    plugin.save_checkpoint({"new": 1}, bucket.uri + "new.ckpt")
    # It joins the queue behind the save, whether that has failed yet or not.
    plugin._background().add(Job(bucket.uri + "old.ckpt", False, lambda: (
        ckptfs.remove(bucket.uri + "old.ckpt"))))
    with pytest.raises(AsyncSaveError) as caught:
        plugin.teardown()
    assert [path for path, _ in caught.value.failures] == [
        bucket.uri + "new.ckpt", bucket.uri + "old.ckpt"]
    assert bucket.names() == ["old.ckpt"]
    plugin.remove_checkpoint(bucket.uri + "old.ckpt")
    assert bucket.names() == []


@pytest.mark.parametrize("max_pending", [0, -1])
def test_bounds_of_max_pending(max_pending):
    with pytest.raises(ValueError, match="max_pending"):
        S3AsyncLightningCheckpoint(max_pending=max_pending)


def test_wrong_arguments_are_errors_at_once(plugin):
    with pytest.raises(TypeError, match="storage_options"):
        plugin.save_checkpoint({}, "s3://bucket/key", storage_options=1)
    for call in (lambda: plugin.save_checkpoint({}, "/tmp/x"),
                 lambda: plugin.load_checkpoint("/tmp/x"),
                 lambda: plugin.remove_checkpoint("/tmp/x")):
        with pytest.raises(ValueError):
            call()


def test_it_travels_to_other_processes(bucket, plugin):
    again = pickle.loads(pickle.dumps(plugin))
    assert type(again).__module__ == "ckptfs.lightning"
    again.save_checkpoint({"a": 1}, bucket.uri + "x.ckpt")
    again.teardown()
    assert bucket.names() == ["x.ckpt"]


def test_a_forked_child_begins_with_nothing(bucket, plugin, held):
    held.hold()
    plugin.save_checkpoint({"a": 1}, bucket.uri + "x.ckpt")
    held.wait()
    child = os.fork()
    if child == 0:
        plugin.teardown()  # would wait forever for the parent's save
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    held.release()


def test_under_a_trainer(bucket):
    plugin = S3AsyncLightningCheckpoint()
    callback = every_step(bucket.uri + "run", save_top_k=1, monitor="loss",
                          mode="max", filename="{step}")
    make_trainer(plugin, callbacks=[callback], steps=4).fit(Model(), Data())
    assert bucket.names() == ["run/step=4.ckpt"]
    again = Model()
    make_trainer(plugin, steps=5, enable_checkpointing=False).fit(
        again, Data(), ckpt_path=callback.best_model_path, weights_only=False)
    assert again.own == {"step": 4}


def test_a_trainer_ends_with_the_error(bucket, s3server):
    refuse(s3server, count=1)
    with pytest.raises(AsyncSaveError, match="run/"):
        make_trainer(S3AsyncLightningCheckpoint(),
                     callbacks=[every_step(bucket.uri + "run")],
                     steps=1).fit(Model(), Data())


PROGRAM = """
import sys
sys.path[:0] = {paths!r}
from ckptfs.lightning import S3AsyncLightningCheckpoint
import torch
plugin = S3AsyncLightningCheckpoint("us-east-1")
plugin.save_checkpoint({{"a": torch.ones(1 << 20)}}, sys.argv[1])
del plugin
"""


def _run(uri):
    program = PROGRAM.format(paths=[path for path in sys.path if path])
    return subprocess.run([sys.executable, "-c", program, uri],
                          capture_output=True, text=True, timeout=120)


def test_a_program_that_ends_finishes_its_saves(bucket):
    done = _run(bucket.uri + "x.ckpt")
    assert (done.returncode, done.stderr) == (0, "")
    assert ckptfs.load(bucket.uri + "x.ckpt")["a"].numel() == 1 << 20


# [S-75]
def test_a_program_that_ends_tells_what_failed(bucket, s3server):
    refuse(s3server)
    done = _run(bucket.uri + "x.ckpt")
    assert "x.ckpt" in done.stderr and "AccessDenied" in done.stderr


BIG = 1 << 18  # floats: 1 MiB


def _storages(*values):
    return [torch.full((BIG,), float(value)).untyped_storage()
            for value in values]


def test_copies_are_made_in_the_memory_of_older_ones():
    memory = CopyMemory(2)
    old = [memory.copy(storage) for storage in _storages(1, 2)]
    places = {storage.data_ptr() for storage in old}
    memory.give_back(old)
    sources = _storages(3, 4, 5)
    new = [memory.copy(storage) for storage in sources]
    assert {storage.data_ptr() for storage in new[:2]} == places
    assert new[2].data_ptr() not in places
    assert [bytes(storage) for storage in new] == [
        bytes(storage) for storage in sources]


def test_unused_memory_is_of_the_state_that_came_last():
    memory = CopyMemory(2)
    states = [_storages(i, i) for i in range(3)]
    for state in states:
        memory.give_back(state)
    assert [len(kept) for kept in memory._unused.values()] == [4]
    memory.give_back([torch.zeros(2 * BIG).untyped_storage(),
                      torch.zeros(1).untyped_storage()])
    assert {size: len(kept) for size, kept in memory._unused.items()} == {
        8 * BIG: 1}
    memory.clear()
    assert not memory._unused


def test_saves_that_share_their_memory_do_not_mix(bucket):
    plugin = S3AsyncLightningCheckpoint(max_pending=2)
    state = {name: torch.zeros(BIG) for name in "abc"}
    for i in range(6):
        for number, name in enumerate(state):
            state[name].fill_(10 * i + number)
        plugin.save_checkpoint(state, f"{bucket.uri}{i}.ckpt")
    background_copies = plugin._memory
    plugin.teardown()
    assert not background_copies._unused
    for i in range(6):
        loaded = ckptfs.load(f"{bucket.uri}{i}.ckpt")
        assert [tensor.unique().tolist() for tensor in loaded.values()] == [
            [10 * i], [10 * i + 1], [10 * i + 2]]


def test_the_copy_of_a_state_goes_with_its_save(bucket, plugin):
    plugin.save_checkpoint({"a": torch.ones(10)}, bucket.uri + "x.ckpt")
    plugin._background().wait()
    gc.collect()
    assert [thing for thing in gc.get_objects()
            if isinstance(thing, SavedState)] == []

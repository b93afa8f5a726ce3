"""Progress: functions that are called, and bars on terminals only."""
import builtins
import io
import sys

import ckptfs
import pytest
import torch

STATE = {str(i): torch.ones(2 << 20) for i in range(6)}


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def stderr(monkeypatch):
    def put(stream):
        monkeypatch.setattr(sys, "stderr", stream)
        return stream
    return put


def _load(path, **keywords):
    return ckptfs.load(path, **keywords)


def _load_into(path, **keywords):
    return ckptfs.load_into({key: torch.zeros_like(value)
                             for key, value in STATE.items()}, path, **keywords)


def test_a_function_is_told_until_all_is_done(place):
    for work in (lambda path, **k: ckptfs.save(STATE, path, **k), _load,
                 _load_into):
        told = []
        work(place + "x.pt", progress=lambda *both: told.append(both))
        done = [one for one, _ in told]
        assert done == sorted(done)
        assert len({total for _, total in told}) == 1
        assert told[-1][0] == told[-1][1] >= 48 << 20


def test_what_the_function_raises_ends_the_save(bucket, s3server):
    s3server.control("fault?op=UploadPart&action=hold&count=-1")

    class Enough(Exception):
        pass

    def refuse(done, total):
        raise Enough
    with pytest.raises(Enough):
        ckptfs.save(STATE, bucket.uri + "x.pt", progress=refuse)
    s3server.control("clear")
    assert bucket.keys() == [] and bucket.uploads() == []


@pytest.mark.parametrize("tqdm", [True, False])
@pytest.mark.parametrize("work", [_load, _load_into])
def test_a_bar_on_a_terminal(tmp_path, stderr, monkeypatch, tqdm, work):
    ckptfs.save(STATE, tmp_path / "x.pt")
    imported = builtins.__import__

    def without_tqdm(name, *arguments, **keywords):
        if name == "tqdm":
            raise ImportError
        return imported(name, *arguments, **keywords)
    if not tqdm:
        monkeypatch.setattr(builtins, "__import__", without_tqdm)
    terminal = stderr(Terminal())
    work(tmp_path / "x.pt", progress=True)
    assert "load" in terminal.getvalue() and "100" in terminal.getvalue()


@pytest.mark.parametrize("progress", [None, False])
def test_no_bar_for_what_is_small(tmp_path, stderr, progress):
    terminal = stderr(Terminal())
    ckptfs.save(STATE, tmp_path / "x.pt", progress=progress)
    ckptfs.load(tmp_path / "x.pt", progress=progress)
    assert terminal.getvalue() == ""


@pytest.mark.parametrize("progress", [None, True])
def test_no_bar_without_a_terminal(tmp_path, stderr, progress):
    for stream in (io.StringIO(), None):
        stderr(stream)
        ckptfs.save(STATE, tmp_path / "x.pt", progress=progress)
        assert stream is None or stream.getvalue() == ""


def test_large_and_long_ones_have_a_bar(stderr, monkeypatch):
    from ckptfs import progress

    for total, after in ((1 << 30, 0.0), (1000, 2.1)):
        terminal = stderr(Terminal())
        report = progress.Report(None, "save x")
        now = progress.time.monotonic() + after
        monkeypatch.setattr(progress.time, "monotonic", lambda now=now: now)
        report.hook(1, total)
        report.close()
        assert "save x" in terminal.getvalue()
        monkeypatch.undo()


def test_another_progress_is_a_type_error(tmp_path):
    with pytest.raises(TypeError, match="progress"):
        ckptfs.save(STATE, tmp_path / "x.pt", progress="yes")

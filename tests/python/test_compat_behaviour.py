"""ckptfs and s3torchconnector 1.5.0 do what the table of docs/migration.md says
of them, case by case."""
import contextlib
import re
import uuid

import pytest
import torch
from support.programs import ROOT

# The order is that of the page.
from . import compat_file_cases, compat_checkpoint_cases  # noqa: F401, I001
from .compat_cases import CASES, outcome
from .libraries import Ours, Theirs, environment_of

PAGE = ROOT / "docs/migration.md"
pytestmark = pytest.mark.filterwarnings("ignore::Warning")


def _rows():
    """Of the page's table: the case, both outcomes, the reason."""
    section = PAGE.read_text().split("## What behaves differently", 1)[1]
    rows = {}
    for line in section.split("\n## ", 1)[0].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| ") and len(cells) == 4:
            assert cells[0] not in rows
            rows[cells[0]] = cells[1:]
    rows.pop("case")
    return rows


def _plain(cell):
    """An exception's name is set as code in the page."""
    return cell[1:-1] if re.fullmatch(r"`\w+`", cell) else cell


class AnyClass:
    """Not one of those that weights_only lets pass."""


class Place:
    """What a case works on."""

    any_object = AnyClass()

    def __init__(self, server, monkeypatch, tmp_path):
        self._server = server
        self._bucket = server.prefix(f"compat-{uuid.uuid4().hex[:8]}/")
        self._patch = monkeypatch
        self.bucket = server.bucket
        self.uri = f"s3://{server.bucket}/{self._bucket.prefix}"
        self.read = self._bucket.read
        self.write = self._bucket.write
        self.exists = self._bucket.exists
        for name, value in environment_of(server).items():
            self.environment(name, value)
        plain = tmp_path / "plain.pt"
        self.plain_file = str(plain)
        torch.save({"a": torch.ones(3)}, plain)
        self.write("there.pt", plain.read_bytes())
        self.size = plain.stat().st_size
        plain.write_bytes(b"12345")

    def environment(self, name, value):
        self._patch.setenv(name, value)

    def names(self, prefix):
        return [name for name in self._bucket.names()
                if name.startswith(prefix)]

    @contextlib.contextmanager
    def denied(self, operation, key=""):
        self._server.control(
            f"fault?op={operation}&action=fail&count=-1&status=403"
            f"&code=AccessDenied&key={self._bucket.prefix}{key}")
        try:
            yield
        finally:
            self._server.control("clear")

    @contextlib.contextmanager
    def tensors_tagged(self, location):
        """What is saved meanwhile says that it comes from there."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.serialization, "location_tag",
                          lambda storage: location)
            yield


@pytest.fixture
def place(s3server, monkeypatch, tmp_path):
    return Place(s3server, monkeypatch, tmp_path)


def test_the_page_has_these_cases():
    assert list(_rows()) == list(CASES)


@pytest.mark.parametrize("words", CASES)
def test_case(words, place, s3server, monkeypatch, tmp_path):
    theirs, ours, reason = _rows()[words]
    assert outcome(CASES[words], Theirs(s3server.endpoint),
                   place) == _plain(theirs)
    fresh = Place(s3server, monkeypatch, tmp_path)
    assert outcome(CASES[words], Ours(s3server.endpoint),
                   fresh) == _plain(ours)
    # What differs has a reason, and what does not has none.
    assert bool(reason) == (theirs != ours)

"""Which files `make lint` looks at."""
import importlib.util
import json
import pathlib
import subprocess

import pytest

_TOOL = pathlib.Path(__file__).resolve().parents[2] / "tools/lint_changed.py"
_SPEC = importlib.util.spec_from_file_location("lint_changed", _TOOL)
lint_changed = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(lint_changed)


class Repository:
    """Of one file, old.cc."""

    def __init__(self, path):
        self.path = path
        self.git("init", "-q")
        self.commit("old.cc")

    def git(self, *arguments):
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c",
             "commit.gpgsign=false", *arguments],
            cwd=self.path, check=True, capture_output=True)

    def commit(self, *names):
        """With these new files."""
        for name in names:
            (self.path / name).write_text(name)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "more")

    def main_is_here(self):
        self.git("update-ref", "refs/remotes/origin/main", "HEAD")

    def changed(self):
        return lint_changed.changed(self.path)


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path)


def test_of_a_branch_what_it_changed(repository):
    repository.main_is_here()
    repository.commit("a b.cc", "a.h", "a.py", "gone.cc")
    (repository.path / "gone.cc").unlink()
    (repository.path / "new.cc").write_text("")
    assert repository.changed() == ["a b.cc", "a.h", "new.cc"]


def test_of_main_the_last_commit(repository):
    repository.commit("a.cc")
    repository.commit("b.cc")
    repository.main_is_here()
    assert repository.changed() == ["b.cc"]


def test_without_main_the_last_commits(repository):
    assert repository.changed() == ["old.cc"]
    for i in range(lint_changed.COMMITS_WITHOUT_MAIN):
        repository.commit(f"{i:02}.cc")
    names = [f"{i:02}.cc" for i in range(lint_changed.COMMITS_WITHOUT_MAIN)]
    assert repository.changed() == names
    repository.commit("next.cc")
    assert repository.changed() == [*names[1:], "next.cc"]


def test_a_header_brings_its_source(tmp_path):
    database = tmp_path / lint_changed.DATABASE
    database.parent.mkdir(parents=True)
    database.write_text(json.dumps(
        [{"file": f"{tmp_path}/src/{name}"} for name in ("a.cc", "b.cc")]))
    built = lint_changed.built_sources(tmp_path)
    assert lint_changed.sources_of(
        ["src/a.h", "src/a.cc", "src/alone.h", "tests/odd.cc"], built) == [
            "src/a.cc"]


def test_its_time_is_bounded(capsys):
    now = [0]

    def look(root, source):
        now[0] += 100
        return f"{source}: bad" if source == "b.cc" else ""
    assert not lint_changed.check_tidy(
        None, ["a.cc", "b.cc", "c.cc", "d.cc", "e.cc"], 1, look,
        lambda: now[0])
    assert capsys.readouterr().out == (
        "b.cc: bad\nlint: 240 s are over; 2 sources were not looked at\n")

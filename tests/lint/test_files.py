"""Size, names and first lines of source files."""
import re

import pytest

from source_tree import ROOT, code, files, text

FOLDERS = ("include", "src", "tests", "bench", "demo", "examples", "tools")
MAX_LINES = 600
# Names that say nothing about what a file is for.
CATCH_ALL = re.compile(r"(^|_)(util|utils|helper|helpers|misc|manager|common|"
                       r"stuff|tools?)$")


def test_files_are_short():
    long = {str(path): n for path in code(*FOLDERS)
            if (n := text(path).count("\n")) > MAX_LINES}
    assert not long


def test_no_catch_all_names():
    bad = [str(path) for path in code(*FOLDERS) if CATCH_ALL.search(path.stem)]
    assert not bad


def test_headers_say_what_they_are_for():
    """A comment first, then #pragma once."""
    bad = []
    for path in code("include", "src", "tests"):
        if path.suffix != ".h":
            continue
        body = text(path)
        if not body.startswith("//") or "#pragma once" not in body:
            bad.append(str(path))
    assert not bad


def test_python_and_shell_files_say_what_they_are_for():
    bad = []
    for path in code("tests", "bench", "demo", "examples", "tools"):
        body = text(path)
        if path.suffix == ".py" and body.strip():
            if not re.match(r'(#!.*\n)?("""|#)', body):
                bad.append(str(path))
        if path.suffix == ".sh" and not re.match(r"#!/bin/bash\n#", body):
            bad.append(str(path))
    assert not bad


def test_nothing_is_left_to_do():
    """Unfinished work is either done or stands under "Not served yet"."""
    mark = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX)\b")
    bad = [str(path) for path in code(*FOLDERS) if mark.search(text(path))]
    assert not bad


def test_sources_are_listed():
    """Every source file is named in the CMakeLists.txt of its folder or of the
    folder above: none is built, and none tested, by being forgotten."""
    forgotten = []
    for path in code("src", "tests", "bench"):
        if path.suffix != ".cc":
            continue
        for folder in path.parents:
            lists = ROOT / folder / "CMakeLists.txt"
            name = str(path.relative_to(folder))
            if lists.exists() and re.search(
                    rf"(^|[\s(/]){re.escape(name)}(?=[\s)])",
                    lists.read_text()):
                break
        else:
            forgotten.append(str(path))
    assert not forgotten


@pytest.mark.parametrize("document", [
    path for path in map(str, files("."))
    if path.endswith(".md")])
def test_links_of_documents(document):
    """Relative links lead to files."""
    base = (ROOT / document).parent
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text(document))
    broken = [target for target in targets
              if "://" not in target and not (base / target).exists()]
    assert not broken

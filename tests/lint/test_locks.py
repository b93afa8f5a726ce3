"""Locks: only those that clang's analysis knows, and each in docs/LOCKING.md."""
import re

import pytest

from source_tree import code, text

WRAPPER = "src/common/mutex.h"
PLAIN = re.compile(r"\bstd::(\w*mutex|condition_variable\w*|lock_guard|"
                   r"unique_lock|scoped_lock|shared_lock)\b"
                   r"|\bpthread_(mutex|rwlock|spinlock|cond)_")
MEMBER = re.compile(r"^( *)(?:mutable )?Mutex (\w+);", re.MULTILINE)
GUARDS = re.compile(r"CKPTFS_GUARDED_BY\((\w+)\)")
# A row of a table whose first cell is one name: | `Class::member` | ... |
ROW = re.compile(r"^\| `([\w:]+::(\w+))` \|", re.MULTILINE)
TYPE = re.compile(r"^( *)(?:class|struct) ([\w:]+)[^;()]*\{", re.MULTILINE)


def sources():
    return [path for path in code("src") if str(path) != WRAPPER]


def locks(body):
    """The locks that a file declares, as class and member. The class is the
    last before it that is indented less."""
    found = []
    for lock in MEMBER.finditer(body):
        owners = [match[2] for match in TYPE.finditer(body, 0, lock.start())
                  if len(match[1]) < len(lock[1])]
        found.append(f"{owners[-1].split('::')[-1]}::{lock[2]}")
    return found


def documented():
    """Likewise of the document: the last two parts of each name."""
    return ["::".join(match[1].split("::")[-2:])
            for match in ROW.finditer(text("docs/LOCKING.md"))]


def test_locks_are_those_of_the_analysis():
    plain = {str(path): match[0] for path in sources()
             if (match := PLAIN.search(text(path)))}
    assert not plain


def test_every_lock_guards_something_by_name():
    silent = [f"{path}: {lock}" for path in sources()
              for _, lock in MEMBER.findall(text(path))
              if lock not in GUARDS.findall(text(path))]
    assert not silent


def test_the_document_names_every_lock_and_no_other():
    """And that of the future, whose header is public: no Mutex."""
    declared = {lock for path in sources() for lock in locks(text(path))}
    assert declared | {"FutureState::mu_"} == set(documented())


@pytest.mark.parametrize("line, plain", [
    ("std::mutex mu_;", True),
    ("std::shared_mutex mu_;", True),
    ("std::condition_variable_any cv_;", True),
    ("const std::lock_guard lock(mu_);", True),
    ("std::call_once(once, [] {});", False),
    ("MutexLock lock(mu_);", False),
])
def test_the_lint_itself(line, plain):
    assert bool(PLAIN.search(line)) == plain


def test_the_lint_finds_the_class():
    body = ("class A final : public B {\n  struct Timer {\n    int due;\n  };\n"
            "  Mutex mu_;\n};\nstruct C::State {\n  mutable Mutex mu;\n};\n")
    assert locks(body) == ["A::mu_", "State::mu"]

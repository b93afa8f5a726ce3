"""Every rule of SEMANTICS.md is named by a test, and every id that a test or
the code names is a rule."""
import re

from source_tree import code, text

RULE = re.compile(r"\[(S-\d\d)\]")


def rules():
    return re.findall(r"^- \*\*\[(S-\d\d)\]\*\*", text("SEMANTICS.md"),
                      re.MULTILINE)


def mentions(*folders):
    """Id -> files that name it."""
    found = {}
    for path in code(*folders):
        if path.parts[:2] == ("tests", "lint"):
            continue
        for rule in RULE.findall(text(path)):
            found.setdefault(rule, set()).add(str(path))
    return found


def test_ids_are_unique_and_ascending():
    assert rules() == sorted(set(rules()))


def test_every_rule_has_a_test():
    missing = set(rules()) - set(mentions("tests"))
    assert not missing, f"no test names {sorted(missing)}"


def test_every_id_is_a_rule():
    named = mentions("tests", "src", "include", "bench", "examples")
    unknown = {rule: sorted(paths) for rule, paths in named.items()
               if rule not in rules()}
    assert not unknown


def test_documents_name_rules_that_exist():
    for document in ("README.md", "ARCHITECTURE.md", "docs/publish-states.md",
                     "SEMANTICS.md"):
        assert set(RULE.findall(text(document))) <= set(rules()), document

"""Public headers mark what the shared libraries show (ckptfs/export.h)."""
import re

import pytest

from source_tree import code, text

COMMENT = re.compile(r"//[^\n]*")
MACRO = re.compile(r"^#.*(?:\\\n.*)*", re.MULTILINE)
# What begins in the first column: declarations of the namespace.
CLASS = re.compile(r"^class (?!CKPTFS_EXPORT )[^;{]*\{", re.MULTILINE)
FUNCTION = re.compile(
    r"^(?!CKPTFS_EXPORT |inline |template |using |typedef |namespace |class |"
    r"struct |enum |extern |constexpr |static )[A-Za-z][^;{}=()]*\([^{}]*?\)"
    r"(?: const)?;", re.MULTILINE)
TEMPLATE = re.compile(r"^template <[^{;]*?>\s*(?:requires[^{;]*\s)?", re.MULTILINE)


def unmarked(body):
    """Classes and functions without CKPTFS_EXPORT, but templates, which the
    headers define."""
    body = MACRO.sub("", COMMENT.sub("", body))
    body = TEMPLATE.sub("template ", body).replace("{}", "0")
    return [found[0].split("\n")[0]
            for pattern in (CLASS, FUNCTION) for found in pattern.finditer(body)]


def test_what_is_public_is_exported():
    missing = {str(path): names for path in code("include")
               if (names := unmarked(text(path)))}
    assert not missing


@pytest.mark.parametrize("body, found", [
    ("class A {\n", 1), ("class CKPTFS_EXPORT A {\n", 0), ("class A;\n", 0),
    ("template <typename T>\nclass A {\n", 0),
    ("Result<int> Get(const std::string& a,\n             int b = {});\n", 1),
    ("Result<int> Get(int a);\n", 1),
    ("CKPTFS_EXPORT Result<int> Get(int a);\n", 0),
    ("inline int Get() { return Other(); }\n", 0),
    ("// Get(int a);\n", 0),
])
def test_the_lint_itself(body, found):
    assert len(unmarked(body)) == found

"""docs/python-api.md is what the docstrings say, and nothing lacks one."""
import importlib
import importlib.util
import inspect

import pytest
from support.programs import ROOT

_SPEC = importlib.util.spec_from_file_location(
    "make_api_docs", ROOT / "tools/make_api_docs.py")
make_api_docs = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(make_api_docs)


def test_the_page_is_up_to_date():
    assert make_api_docs.PAGE.read_text() == make_api_docs.page(), (
        "run tools/make_api_docs.py")


@pytest.mark.parametrize("name", make_api_docs.MODULES)
def test_public_names_have_docstrings(name):
    module = importlib.import_module(name)
    assert module.__doc__
    for public in make_api_docs.public_names(module):
        value = getattr(module, public)
        # Its own: that of a base says nothing about it.
        assert vars(value).get("__doc__") if inspect.isclass(
            value) else value.__doc__, public
        for member, inner in (vars(value).items()
                              if inspect.isclass(value) else ()):
            if not member.startswith("_") and inspect.isroutine(inner):
                assert inspect.getdoc(getattr(value, member)), (
                    f"{public}.{member}")

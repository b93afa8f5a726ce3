"""Writes docs/python-api.md from the docstrings of the package.

    PYTHONPATH=build/release/python build/venv/bin/python tools/make_api_docs.py

A test compares the page with what this makes (tests/python/test_api_docs.py).
"""
import importlib
import inspect
import pathlib
import types

PAGE = pathlib.Path(__file__).resolve().parent.parent / "docs/python-api.md"
MODULES = {
    "ckptfs": None,
    "ckptfs.lightning": None,
    "ckptfs.dcp": None,
    # Without __all__: what is not for fsspec alone.
    "ckptfs.fsspec": ["CkptFileSystem", "register_s3"],
}
WIDTH = 79
HEAD = """# Python API

Made by `tools/make_api_docs.py` from the docstrings; `help()` says the same.
[migration.md](migration.md) tells how to come from other libraries.
"""


def public_names(module):
    return sorted(MODULES[module.__name__] or module.__all__, key=str.lower)


def _default(value):
    if isinstance(value, types.ModuleType):
        return value.__name__
    return repr(value)


def _parameter(parameter):
    text = parameter.name
    if parameter.kind is parameter.VAR_POSITIONAL:
        text = f"*{text}"
    if parameter.kind is parameter.VAR_KEYWORD:
        text = f"**{text}"
    annotated = parameter.annotation is not parameter.empty
    if annotated:
        text += f": {_annotation(parameter.annotation)}"
    if parameter.default is not parameter.empty:
        text += f"{' = ' if annotated else '='}{_default(parameter.default)}"
    return text


def _annotation(annotation):
    return (annotation if isinstance(annotation, str)
            else inspect.formatannotation(annotation))


def signature(name, function):
    """As in the source, one parameter a line where it is long."""
    found = inspect.signature(function)
    words = []
    kinds = [parameter.kind for parameter in found.parameters.values()]
    for position, parameter in enumerate(found.parameters.values()):
        if parameter.name == "self" and position == 0:
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not any(
                kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
                for kind in kinds[:position]):
            words.append("*")
        words.append(_parameter(parameter))
        if parameter.kind is parameter.POSITIONAL_ONLY and (
                kinds[position + 1:position + 2]
                != [parameter.POSITIONAL_ONLY]):
            words.append("/")
    result = ("" if found.return_annotation in (found.empty, "None", None)
              else f" -> {_annotation(found.return_annotation)}")
    line = f"{name}({', '.join(words)}){result}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{name}(", *(f"    {word}," for word in words),
                      f"){result}"])


def _entry(level, title, heading, doc):
    text = f"{'#' * level} {title}\n"
    if heading:
        text += f"```python\n{heading}\n```\n"
    if doc:
        text += f"```text\n{doc}\n```\n"
    return text


def members(cls, public):
    """Methods and properties with a docstring, of the class or of bases of this
    package that are not in `public`, whose own entries have theirs: (name,
    member, docstring)."""
    found = {}
    for base in cls.__mro__:
        if not base.__module__.startswith("ckptfs") or (
                base is not cls and base in public):
            continue
        for name, member in vars(base).items():
            inner = (member.__func__ if isinstance(
                member, (classmethod, staticmethod)) else member)
            if (name.startswith("_") or name in found
                    or not isinstance(inner, (types.FunctionType, property))):
                continue
            if inner.__doc__:
                found[name] = (name, inner, inspect.cleandoc(inner.__doc__))
    return [found[name] for name in sorted(found)]


def _class(name, cls, public):
    if "__init__" in vars(cls) and not inspect.isabstract(cls):
        heading = signature(f"class {name}", cls.__init__)
    else:
        bases = ", ".join(base.__name__ for base in cls.__bases__
                          if base is not object)
        heading = f"class {name}({bases})" if bases else f"class {name}"
    text = _entry(3, name, heading, inspect.cleandoc(cls.__doc__))
    for member_name, member, doc in members(cls, public):
        title = f"{name}.{member_name}"
        shown = None if isinstance(member, property) else signature(
            member_name, member)
        text += "\n" + _entry(4, title, shown, doc)
    return text


def page():
    """The whole page as text."""
    modules = [importlib.import_module(name) for name in MODULES]
    public = {getattr(module, name) for module in modules
              for name in public_names(module)}
    text = HEAD
    described = set()
    for module in modules:
        module_name = module.__name__
        text += f"\n## {module_name}\n{inspect.cleandoc(module.__doc__)}\n"
        for name in public_names(module):
            value = getattr(module, name)
            text += "\n"
            if value in described:
                text += f"### {name}\nSee above.\n"
            elif inspect.isclass(value):
                text += _class(name, value, public)
            else:
                text += _entry(3, name, signature(name, value),
                               inspect.cleandoc(value.__doc__))
            described.add(value)
    return text


if __name__ == "__main__":
    PAGE.write_text(page())

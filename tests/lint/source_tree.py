"""The files of the repository, as the lints see them."""
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]

CODE_SUFFIXES = {".cc", ".h", ".py", ".sh"}


def files(*folders):
    """Files below `folders` that git knows or would take, as paths relative to
    the root. Without git (a source archive) everything outside build/."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z",
         *folders], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode == 0:
        names = [name for name in listing.stdout.split("\0") if name]
        return sorted(pathlib.Path(name) for name in names
                      if (ROOT / name).is_file())
    return sorted(path.relative_to(ROOT) for folder in folders
                  for path in (ROOT / folder).rglob("*")
                  if path.is_file() and "__pycache__" not in path.parts)


def code(*folders):
    """The same, source code only."""
    return [path for path in files(*folders) if path.suffix in CODE_SUFFIXES]


def text(path):
    return (ROOT / path).read_text(encoding="utf-8")

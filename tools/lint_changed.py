"""clang-format and clang-tidy on the C++ files that changed.

Changed is what differs from the merge base with origin/main; on main itself,
from the commit before; in a clone that has no origin/main, from 20 commits ago.
What is not committed yet counts. clang-tidy looks at sources and, where a header
changed, at the source of its name, with the commands of the release build, which
is configured for that and not built. `make test-all` looks at all files.

The exit status is 0 if nothing was found.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATABASE = pathlib.Path("build/release/compile_commands.json")
COMMITS_WITHOUT_MAIN = 20
# About 5 s of a core each.
MAX_SOURCES = 60
# On a slow machine: no other source is begun after this.
LIMIT_S = 240


def git(root, *arguments):
    """Its output, or None where it fails."""
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True,
                          text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def base_of(root):
    """The commit to compare with; None: there is none before this one."""
    head = git(root, "rev-parse", "HEAD")
    base = git(root, "merge-base", "HEAD", "origin/main")
    if base and base != head:
        return base
    if base:
        return git(root, "rev-parse", "-q", "--verify", "HEAD~1")
    # Fewer in a young repository or a shallow clone.
    known = git(root, "rev-list", "--first-parent",
                f"--max-count={COMMITS_WITHOUT_MAIN + 1}", "HEAD").split()
    return known[-1] if len(known) > 1 else None


def changed(root):
    """Names of the changed .cc and .h files that are there."""
    base = base_of(root)
    patterns = ["--", "*.cc", "*.h"]
    tracked = (git(root, "diff", "--name-only", "-z", base, *patterns) if base
               else git(root, "ls-files", "-z", *patterns))
    new = git(root, "ls-files", "-z", "--others", "--exclude-standard",
              *patterns)
    names = set(filter(None, f"{tracked}\0{new}".split("\0")))
    return sorted(name for name in names if (root / name).is_file())


def sources_of(names, built):
    """What clang-tidy is to look at of the changed files; `built`: what the
    build compiles."""
    wanted = {name.removesuffix(".h") + ".cc" if name.endswith(".h") else name
              for name in names}
    return sorted(wanted & built)


def built_sources(root):
    entries = json.loads((root / DATABASE).read_text())
    return {os.path.relpath(entry["file"], root) for entry in entries}


def configure(root, cmake):
    done = subprocess.run([cmake, "--preset", "release"], cwd=root,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)
    if done.returncode != 0:
        print(done.stdout)
        sys.exit("lint: the release build cannot be configured")


def check_format(root, names):
    """Whether all are as clang-format has them."""
    wrong = [name for name in names if subprocess.run(
        ["clang-format-19", "--dry-run", "-Werror", name], cwd=root,
        capture_output=True).returncode != 0]
    if wrong:
        print("wrong format; run: clang-format-19 -i", *wrong)
    return not wrong


def tidy(root, source):
    """What clang-tidy finds; empty: nothing."""
    # The build's warnings are g++'s: clang does not know them all.
    done = subprocess.run(
        ["clang-tidy-19", "--quiet", "-p", str(DATABASE.parent),
         "--extra-arg=-w", source], cwd=root, capture_output=True, text=True)
    if done.returncode == 0:
        return ""
    return done.stdout.strip() or done.stderr.strip() or f"{source}: died"


def check_tidy(root, sources, jobs, look=tidy, clock=time.monotonic):
    """Whether nothing was found. Says so where time did not suffice."""
    end = clock() + LIMIT_S
    clean = True
    left = 0
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for found in pool.map(
                lambda source: look(root, source) if clock() < end else None,
                sources):
            left += found is None
            if found:
                print(found, flush=True)
                clean = False
    if left:
        print(f"lint: {LIMIT_S} s are over; {left} sources were not looked at")
    return clean


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cmake", default="/usr/bin/cmake")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()

    if git(ROOT, "rev-parse", "HEAD") is None:
        print("lint: git knows no commits here, so nothing has changed")
        return 0
    names = changed(ROOT)
    if not names:
        print("lint: no C++ file changed")
        return 0
    configure(ROOT, arguments.cmake)
    sources = sources_of(names, built_sources(ROOT))
    looked_at = sources[:MAX_SOURCES]
    note = ("" if looked_at == sources else
            f" (of {len(sources)}: `make test-all` looks at the others)")
    print(f"lint: {len(names)} changed files, {len(looked_at)} sources for "
          f"clang-tidy{note}", flush=True)
    clean = check_format(ROOT, names)
    clean = check_tidy(ROOT, looked_at, arguments.jobs) and clean
    print("lint: nothing found" if clean else "lint: see above")
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Breaks the file system on purpose and expects the simulation to notice.

Each entry of mutants.json is one small change of the source. They are made one
at a time in a copy of the tree, where simulation_test alone is built and run.
A mutant that survives is a hole in the suite: the program says which and ends
with 1.

    run.py [--worlds N] [--only NAME ...] [--keep DIRECTORY] [--check]

--check only looks whether every change still fits the source.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
TREE = HERE.parents[2]


def read_mutants() -> list[dict]:
    return json.loads((HERE / "mutants.json").read_text())


def mutate(mutant: dict, tree: pathlib.Path) -> str:
    """The changed text of the mutant's file; each change must fit once."""
    text = (tree / mutant["file"]).read_text()
    for change in [mutant, *mutant.get("also", [])]:
        if text.count(change["old"]) != 1:
            raise ValueError(
                f"{mutant['name']}: fits {text.count(change['old'])} times in "
                f"{mutant['file']}: {change['old']!r}"
            )
        text = text.replace(change["old"], change["new"])
    return text


def copy_tree(to: pathlib.Path) -> None:
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=TREE, check=True, capture_output=True
    ).stdout.split(b"\0")
    for name in filter(None, names):
        source = TREE / os.fsdecode(name)
        if source.is_file():
            target = to / os.fsdecode(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def build(tree: pathlib.Path) -> subprocess.CompletedProcess:
    environment = dict(os.environ, CCACHE_NOHASHDIR="1", CCACHE_BASEDIR=str(tree))
    return subprocess.run(
        ["cmake", "--build", "build/release", "--target", "simulation_test"],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
    )


def survives(tree: pathlib.Path, worlds: int) -> bool:
    environment = dict(
        os.environ, CKPTFS_SIM_WORLDS=str(worlds), CKPTFS_SIM_FIRST="1"
    )
    environment.pop("CKPTFS_SIM_SEED", None)
    try:
        ran = subprocess.run(
            ["build/release/tests/simulation_test", "--gtest_fail_fast"],
            cwd=tree,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=600,
        )
    except subprocess.TimeoutExpired:
        return False
    return ran.returncode == 0


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--worlds", type=int, default=3000)
    arguments.add_argument("--only", nargs="*", default=[])
    arguments.add_argument("--keep", type=pathlib.Path)
    arguments.add_argument("--check", action="store_true")
    options = arguments.parse_args()
    mutants = [
        m for m in read_mutants() if not options.only or m["name"] in options.only
    ]
    for mutant in mutants:
        mutate(mutant, TREE)
    if options.check:
        return 0
    with tempfile.TemporaryDirectory(prefix="ckptfs-mutants-") as scratch:
        tree = options.keep or pathlib.Path(scratch)
        copy_tree(tree)
        subprocess.run(
            ["cmake", "--preset", "release", "-DCKPTFS_PYTHON=OFF"],
            cwd=tree,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        built = build(tree)
        if built.returncode != 0:
            sys.exit(built.stdout + built.stderr)
        if not survives(tree, options.worlds):
            sys.exit("the simulation fails on the source as it is")
        alive = []
        for mutant in mutants:
            path = tree / mutant["file"]
            before = path.read_text()
            path.write_text(mutate(mutant, tree))
            built = build(tree)
            if built.returncode != 0:
                verdict = "does not compile"
                print(built.stdout[-2000:], file=sys.stderr)
            else:
                verdict = "SURVIVES" if survives(tree, options.worlds) else "found"
            print(f"{mutant['name']}: {verdict}", flush=True)
            if verdict != "found":
                alive.append(mutant["name"])
            path.write_text(before)
    if alive:
        print("not found: " + ", ".join(alive))
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())

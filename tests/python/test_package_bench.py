"""The benchmark of the package runs to its end; what it measures is not judged
here."""
import json
import os
import subprocess
import sys

import pytest
from support.programs import BIN_DIR, ROOT

from .conftest import PACKAGE


def test_quick(tmp_path):
    if not (ROOT / "build/peers/s3fs").is_dir():
        pytest.skip("no s3fs in build/peers: tools/make_peers.sh installs it")
    done = subprocess.run(
        [sys.executable, ROOT / "bench/python/package_bench.py", "--quick",
         "--json", tmp_path / "rows.json"], check=False, timeout=300,
        capture_output=True, text=True,
        env={**os.environ, "CKPTFS_BIN_DIR": str(BIN_DIR),
             "CKPTFS_PYTHON_DIR": str(PACKAGE)})
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "rows.json").read_text())
    programs = {}
    for row in rows:
        programs.setdefault(row["row"], set()).add(row["program"])
    libraries = {"ckptfs", "ckptfs-stream", "ckptfs-lightning", "s3tc",
                 "s3tc-lightning", "s3fs", "boto3"}
    assert programs.pop("save") == programs.pop("load") == libraries
    assert {name: found == {"ckptfs", "s3tc"}
            for name, found in programs.items()} == dict.fromkeys(
                ("dcp save", "dcp load", "far small save", "far small load",
                 "stall"), True)

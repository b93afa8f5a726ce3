"""The ObjectStore suite (store_conformance, C++) on four servers that differ
in what they support: ours, Ceph radosgw, moto and rclone."""
import os
import re
import subprocess

import pytest

from support import programs
from support.ckptfs_mount import clean_environment

# The test programs lie beside the release build; another build directory keeps
# programs and tests side by side.
CANDIDATES = [programs.BIN_DIR.parent / "release/tests/store_conformance",
              programs.BIN_DIR.parent / "tests/store_conformance"]


@pytest.mark.parametrize("flavor", [
    "s3server", pytest.param("radosgw", marks=pytest.mark.radosgw), "moto",
    "rclone"])
def test_conformance(request, flavor):
    """Every case of the suite; what a server lacks is a trait in the suite and
    not silently skipped here. [S-01]"""
    program = next((path for path in CANDIDATES if path.exists()), None)
    assert program, f"store_conformance is not built: {CANDIDATES}"
    server = request.getfixturevalue(flavor)
    done = subprocess.run(
        [program, f"--gtest_filter=*{flavor}*", "--gtest_brief=1"],
        env={**clean_environment(server),
             "CKPTFS_TEST_ENDPOINT": server.endpoint,
             "CKPTFS_TEST_BUCKET": server.bucket,
             "CKPTFS_TEST_FLAVOR": flavor,
             # Its own report would overwrite the one of the ctest run.
             "GTEST_OUTPUT": ""},
        capture_output=True, text=True, errors="replace", timeout=600,
        stdin=subprocess.DEVNULL, cwd=os.path.dirname(program))
    failed = sorted(set(re.findall(r"FAILED  \] (\S+?),", done.stdout)))
    # Bodies in the messages are random bytes, kilobytes of them.
    told = "\n".join(line[:200] for line in done.stdout.splitlines())
    assert done.returncode == 0, (
        f"ended with {done.returncode}; failed: {failed}\n"
        f"{told[:6000]}{done.stderr[-2000:]}")
    assert "[  PASSED  ] 0 tests" not in done.stdout, done.stdout

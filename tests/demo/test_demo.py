"""The demo, as `make demo` runs it."""
import os
import subprocess
import sys

from support import programs


def test_demo():
    """Every check of the demo holds: a training killed in mid-upload leaves no
    torn checkpoint and resumes. [S-03] [S-05] [S-12]"""
    env = {name: value for name, value in os.environ.items()
           if name != "CKPTFS_DEMO_URI"}
    env["CKPTFS_BIN_DIR"] = str(programs.BIN_DIR)
    done = subprocess.run(
        [sys.executable, programs.ROOT / "demo/run.py"], env=env,
        capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "FAIL" not in done.stdout

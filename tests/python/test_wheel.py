"""`pip install .` in a fresh virtual environment."""
import os
import pathlib
import subprocess
import sys
import sysconfig

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_the_environment_of_the_build_has_the_package(tmp_path):
    environment = {name: value for name, value in os.environ.items()
                   if name != "PYTHONPATH"}
    done = subprocess.run(
        [ROOT / "build/venv/bin/python", "-c",
         "import ckptfs; print(ckptfs.__file__)"], cwd=tmp_path,
        env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{ROOT}/build/release/python/")


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_pip_install(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"],
                   check=True)
    # The wheel is built by this environment's tools, without the network.
    wheels = tmp_path / "wheels"
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps",
         "--no-index", "--no-build-isolation", "--wheel-dir", wheels, ROOT],
        # The cmake of the other builds: its compiler's command lines are
        # those that the compiler cache knows.
        check=True, env={**os.environ, "CMAKE_BUILD_PARALLEL_LEVEL": "2",
                         "CMAKE_EXECUTABLE": "/usr/bin/cmake",
                         "PATH": os.pathsep.join(
                             [sysconfig.get_path("scripts"),
                              os.environ["PATH"]])})
    wheel, = wheels.glob("ckptfs-*.whl")
    python = tmp_path / "venv/bin/python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-index",
                    wheel], check=True)
    # There is no torch: all but save and load works.
    program = ("import ckptfs, pathlib, sys\n"
               "assert ckptfs.exists(sys.argv[1])\n"
               "ckptfs.remove(sys.argv[1])\n"
               "here = pathlib.Path(ckptfs.__file__).parent\n"
               "assert (here / 'py.typed').exists()\n"
               "assert (here / '_core.pyi').exists()\n")
    (tmp_path / "file").write_bytes(b"x")
    subprocess.run([python, "-c", program, tmp_path / "file"], check=True,
                   cwd=tmp_path)
    assert not (tmp_path / "file").exists()

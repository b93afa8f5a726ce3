"""The programs in examples/python, and the blocks of the migration page, run."""
import io
import os
import pathlib
import re
import subprocess
import sys

import ckptfs
import pytest
import torch
from support.programs import ROOT

EXAMPLES = ROOT / "examples/python"
PAGE = (ROOT / "docs/migration.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.S)
NEW_IMPORTS = re.findall(r"\| `((?:from|import) ckptfs[^`]*)` \|$", PAGE, re.M)
OLD_IMPORTS = re.findall(r"^\| `(from s3torchconnector[^`]*)` \|", PAGE, re.M)


def _run(name, *arguments):
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120,
        env={**os.environ,
             "PYTHONPATH": str(pathlib.Path(ckptfs.__file__).parents[1])})
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_save_and_load(bucket):
    assert _run("save_and_load.py", bucket.uri + "x.pt") == (
        "loaded epoch 3, 19210 parameters")
    assert torch.load(io.BytesIO(bucket.read("x.pt")))["epoch"] == 3


def test_resume_in_place(bucket):
    for first in (0, 5):
        assert _run("resume_in_place.py", bucket.uri + "x.pt") == (
            f"trained from step {first} to {first + 5}")


def test_lightning_train(bucket):
    assert _run("lightning_train.py", bucket.uri + "run") == (
        "trained to epoch 2, step 16")
    assert _run("lightning_train.py", bucket.uri + "run", "--resume",
                "--epochs", "3", "--background") == (
        "trained to epoch 3, step 24")
    assert "run/last.ckpt" in bucket.names()


def test_dcp_reshard(bucket):
    assert _run("dcp_reshard.py", bucket.uri + "step1") == (
        "saved by 2 ranks, loaded by one")
    assert len(bucket.names()) == 3


def test_every_example_is_run():
    source = pathlib.Path(__file__).read_text()
    for path in EXAMPLES.glob("*.py"):
        assert f'"{path.name}"' in source


@pytest.mark.filterwarnings("ignore::Warning")
@pytest.mark.parametrize("block", BLOCKS, ids=[
    str(number) for number in range(len(BLOCKS))])
def test_block_of_the_migration_page(block, bucket):
    import lightning

    class Model(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(4, 1)

        def training_step(self, batch, _):
            return self.layer(batch).pow(2).mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    place = bucket.uri.removeprefix("s3://")
    assert "my-bucket/" in block
    exec(compile(block.replace("my-bucket/", place), "migration.md", "exec"),
         {"model": Model(),
          "data": torch.utils.data.DataLoader(torch.ones(4, 4))})


def test_new_imports_of_the_migration_page():
    assert len(NEW_IMPORTS) > 8
    for line in NEW_IMPORTS:
        exec(line, {})


def test_old_imports_of_the_migration_page():
    from .libraries import import_original
    import_original()
    assert len(OLD_IMPORTS) > 5
    for line in OLD_IMPORTS:
        exec(line, {})

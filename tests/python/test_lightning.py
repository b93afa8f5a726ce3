"""The plugins under Lightning's own Trainer."""
import os
import pathlib
import subprocess
import sys
import textwrap

import ckptfs
import ckptfs.lightning
import fsspec
import lightning.pytorch as pl
import pytest
import torch
from ckptfs.lightning import S3LightningCheckpoint
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO

pytestmark = pytest.mark.filterwarnings("ignore::Warning")


class Model(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.encoder = torch.nn.Linear(4, 3)
        self.head = torch.nn.Linear(3, 1)
        self.own = None

    def training_step(self, batch, index):
        loss = self.head(self.encoder(batch)).pow(2).mean()
        self.log("loss", float(index), on_step=True)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters())

    def on_save_checkpoint(self, checkpoint):
        checkpoint["of the module"] = {"step": self.global_step}

    def on_load_checkpoint(self, checkpoint):
        self.own = checkpoint["of the module"]


class Data(pl.LightningDataModule):
    def __init__(self):
        super().__init__()
        self.seen = 0

    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.ones(8, 4), batch_size=2)

    def state_dict(self):
        return {"seen": self.trainer.global_step}

    def load_state_dict(self, state):
        self.seen = state["seen"]


class Counter(Callback):
    def __init__(self):
        self.count = 0
        self.loaded = None

    def on_train_batch_end(self, *arguments):
        self.count += 1

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]

    def on_load_checkpoint(self, trainer, module, checkpoint):
        self.loaded = checkpoint["global_step"]


def make_trainer(plugin=None, callbacks=(), steps=2, **keywords):
    keywords = {"logger": False, **keywords}
    return pl.Trainer(
        plugins=[plugin or S3LightningCheckpoint("us-east-1")],
        callbacks=list(callbacks), accelerator="cpu", devices=1,
        max_steps=steps, enable_progress_bar=False,
        enable_model_summary=False, **keywords)


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(
        a.state_dict().values(), b.state_dict().values(), strict=True))


def every_step(uri, **keywords):
    return ModelCheckpoint(dirpath=uri, every_n_train_steps=1, **keywords)


def test_a_run_saves_and_another_resumes(bucket):
    model, counter = Model(), Counter()
    trainer = make_trainer(callbacks=[every_step(bucket.uri + "run"), counter])
    trainer.fit(model, Data())
    assert bucket.names() == ["run/epoch=0-step=2.ckpt"]
    path = bucket.uri + "run/epoch=0-step=2.ckpt"
    assert trainer.checkpoint_callback.best_model_path == path

    again, data, other = Model(), Data(), Counter()
    trainer = make_trainer(callbacks=[other], steps=3,
                           enable_checkpointing=False)
    trainer.fit(again, data, ckpt_path=path, weights_only=False)
    assert trainer.global_step == 3
    assert again.own == {"step": 2}
    assert data.seen == 2
    assert (other.loaded, other.count) == (2, 3)


def test_the_files_are_torch_s(bucket, tmp_path):
    model = Model()
    trainer = make_trainer(enable_checkpointing=False)
    trainer.fit(model, Data())
    trainer.save_checkpoint(bucket.uri + "x.ckpt")
    (tmp_path / "x.ckpt").write_bytes(bucket.read("x.ckpt"))
    theirs = TorchCheckpointIO().load_checkpoint(tmp_path / "x.ckpt")
    assert theirs["global_step"] == 2
    # Lightning's own loading, by fsspec and not by the plugin.
    loaded = Model.load_from_checkpoint(bucket.uri + "x.ckpt")
    assert equal(loaded, model)


def test_without_s3fs(bucket):
    with pytest.raises(ImportError):
        __import__("s3fs")
    assert isinstance(fsspec.filesystem("s3"),
                      ckptfs.lightning.CkptFileSystem)


def test_top_k_removes(bucket):
    callback = every_step(bucket.uri + "run", save_top_k=2, monitor="loss",
                          mode="max", filename="{step}")
    make_trainer(callbacks=[callback], steps=4).fit(Model(), Data())
    assert sorted(bucket.names()) == ["run/step=3.ckpt", "run/step=4.ckpt"]


def test_last(bucket):
    def callback():
        return every_step(bucket.uri + "run", save_last=True)

    trainer = make_trainer(callbacks=[callback()])
    trainer.fit(Model(), Data())
    assert "run/last.ckpt" in bucket.names()
    again = Model()
    trainer = make_trainer(callbacks=[callback()], steps=3)
    trainer.fit(again, Data(), ckpt_path="last", weights_only=False)
    assert again.own == {"step": 2}
    assert trainer.ckpt_path == bucket.uri + "run/last.ckpt"
    assert trainer.global_step == 3


def test_last_where_there_is_none_begins_anew(bucket):
    trainer = make_trainer(callbacks=[every_step(bucket.uri + "run",
                                                 save_last=True)])
    trainer.fit(Model(), Data(), ckpt_path="last")
    assert trainer.global_step == 2


def test_best(bucket):
    trainer = make_trainer(callbacks=[every_step(bucket.uri, monitor="loss",
                                                 mode="max")])
    trainer.fit(Model(), Data())
    again = Model()
    trainer.fit(again, Data(), ckpt_path="best", weights_only=False)
    assert again.own == {"step": 2}


def test_default_root_dir(bucket):
    trainer = make_trainer(default_root_dir=bucket.uri + "root")
    trainer.fit(Model(), Data())
    assert [name for name in bucket.names() if name.endswith(".ckpt")] == [
        "root/checkpoints/epoch=0-step=2.ckpt"]


def test_a_logger_of_lightning(bucket):
    logger = CSVLogger(bucket.uri + "logs", flush_logs_every_n_steps=1)
    trainer = make_trainer(logger=logger, log_every_n_steps=1, steps=4)
    trainer.fit(Model(), Data())
    lines = bucket.read("logs/lightning_logs/version_0/metrics.csv").decode()
    assert len(lines.splitlines()) == 5
    assert any(name.startswith("logs/lightning_logs/version_0/checkpoints/")
               for name in bucket.names())
    assert CSVLogger(bucket.uri + "logs").version == 1


def test_hyper_parameters_go_to_the_logger_of_a_root_dir(bucket):
    class WithHyperParameters(Model):
        def __init__(self, width=3):
            super().__init__()
            self.save_hyperparameters()

    trainer = make_trainer(default_root_dir=bucket.uri + "root", logger=True)
    trainer.fit(WithHyperParameters(), Data())
    hparams = bucket.read("root/lightning_logs/version_0/hparams.yaml")
    assert b"width: 3" in hparams


def test_a_partial_checkpoint(bucket):
    class HeadOnly(Model):
        def __init__(self):
            super().__init__()
            self.strict_loading = False

        def state_dict(self):
            return {name: value for name, value in super().state_dict().items()
                    if name.startswith("head.")}

    model = HeadOnly()
    trainer = make_trainer(enable_checkpointing=False)
    trainer.fit(model, Data())
    trainer.save_checkpoint(bucket.uri + "head.ckpt")
    again = HeadOnly()
    encoder = again.encoder.weight.detach().clone()
    make_trainer(enable_checkpointing=False).fit(
        again, Data(), ckpt_path=bucket.uri + "head.ckpt", weights_only=False)
    assert torch.equal(again.head.weight, model.head.weight)
    assert torch.equal(again.encoder.weight, encoder)
    strict = Model()
    with pytest.raises(RuntimeError, match="encoder.weight"):
        make_trainer(enable_checkpointing=False).fit(
            strict, Data(), ckpt_path=bucket.uri + "head.ckpt",
            weights_only=False)


def test_weights_only(bucket):
    plugin = S3LightningCheckpoint()
    trainer = make_trainer(plugin, enable_checkpointing=False)
    trainer.fit(Model(), Data())
    trainer.save_checkpoint(bucket.uri + "w.ckpt", weights_only=True)
    checkpoint = plugin.load_checkpoint(bucket.uri + "w.ckpt")
    assert "optimizer_states" not in checkpoint
    ckptfs.save({"path": pathlib.PurePosixPath("x")}, bucket.uri + "p.ckpt")
    for weights_only in (None, True):
        with pytest.raises(Exception, match="[Ww]eights"):
            plugin.load_checkpoint(bucket.uri + "p.ckpt",
                                   weights_only=weights_only)
    assert plugin.load_checkpoint(bucket.uri + "p.ckpt", None, False) == {
        "path": pathlib.PurePosixPath("x")}


def test_map_location(bucket):
    plugin = S3LightningCheckpoint()
    plugin.save_checkpoint({"a": torch.ones(2)}, bucket.uri + "x.ckpt")
    assert plugin.load_checkpoint(
        bucket.uri + "x.ckpt", map_location="meta")["a"].device.type == "meta"
    assert plugin.load_checkpoint(
        bucket.uri + "x.ckpt", "meta")["a"].device.type == "meta"


def test_a_tensor_of_a_device_comes_to_the_cpu(bucket, monkeypatch):
    seen = []
    monkeypatch.setattr(ckptfs, "load",
                        lambda path, where, **keywords: seen.append(where))
    S3LightningCheckpoint().load_checkpoint(bucket.uri + "x.ckpt")
    assert seen == ["cpu"]


def test_a_load_into_a_state(bucket):
    plugin, model, again = S3LightningCheckpoint(), Model(), Model()
    plugin.save_checkpoint({"state_dict": model.state_dict(), "epoch": 3},
                           bucket.uri + "x.ckpt")
    before = again.head.weight.data_ptr()
    assert plugin.load_checkpoint(bucket.uri + "x.ckpt",
                                  state={"state_dict": again}) == {"epoch": 3}
    assert equal(again, model)
    assert again.head.weight.data_ptr() == before
    assert plugin.load_checkpoint(bucket.uri + "x.ckpt", state={
        "state_dict": again, "epoch": 0}) == {"epoch": 3}
    plugin.save_checkpoint({"state_dict": model.state_dict()},
                           bucket.uri + "y.ckpt")
    assert plugin.load_checkpoint(bucket.uri + "y.ckpt",
                                  state={"state_dict": again}) is None
    with pytest.raises(ValueError, match="map_location"):
        plugin.load_checkpoint(bucket.uri + "x.ckpt", "meta", state={})
    assert plugin.requires_state_on_load is False


@pytest.mark.parametrize("path", [
    "/tmp/x.ckpt", "x.ckpt", "", "gs://bucket/key", "s3://bucket", "s3://",
    "s3://bucket/", "file:///tmp/x.ckpt", pathlib.Path("/nowhere/x.ckpt"),
    pathlib.Path("s3://bucket/key")])
def test_other_paths_are_value_errors(path):
    plugin = S3LightningCheckpoint()
    for call in (lambda: plugin.save_checkpoint({}, path),
                 lambda: plugin.load_checkpoint(path),
                 lambda: plugin.remove_checkpoint(path)):
        with pytest.raises(ValueError):
            call()


@pytest.mark.parametrize("path", [None, 1, b"s3://bucket/key"])
def test_other_types_are_type_errors(path):
    with pytest.raises(TypeError):
        S3LightningCheckpoint().load_checkpoint(path)


def test_storage_options_are_type_errors(bucket):
    with pytest.raises(TypeError, match="storage_options"):
        S3LightningCheckpoint().save_checkpoint({}, bucket.uri + "x.ckpt",
                                                storage_options={"a": 1})
    assert bucket.keys() == []


def test_what_is_not_there(bucket):
    plugin = S3LightningCheckpoint()
    with pytest.raises(FileNotFoundError) as caught:
        plugin.load_checkpoint(bucket.uri + "none.ckpt")
    assert isinstance(caught.value, ckptfs.S3Exception)
    plugin.remove_checkpoint(bucket.uri + "none.ckpt")


def test_an_unpicklable_state_leaves_the_old_file(bucket):
    plugin = S3LightningCheckpoint()
    plugin.save_checkpoint({"old": 1}, bucket.uri + "x.ckpt")
    with pytest.raises((AttributeError, TypeError, Exception),
                       match="pickle|local"):
        plugin.save_checkpoint({"new": lambda: 1}, bucket.uri + "x.ckpt")
    assert plugin.load_checkpoint(bucket.uri + "x.ckpt") == {"old": 1}


def test_remove(bucket):
    plugin = S3LightningCheckpoint()
    for name in ("a.ckpt", "a.ckpt2", "b.ckpt/x", "b.ckpt/y/z"):
        bucket.write(name, b"x")
    plugin.remove_checkpoint(bucket.uri + "a.ckpt")
    plugin.remove_checkpoint(bucket.uri + "b.ckpt")
    assert bucket.names() == ["a.ckpt2"]


def test_region_endpoint_and_config(s3server, monkeypatch):
    for name, value in s3server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    plugin = S3LightningCheckpoint(
        "us-east-1", ckptfs.S3ClientConfig(part_size=5 << 20),
        s3server.endpoint)
    bucket = s3server.prefix("plugin-options/")
    uri = f"s3://{s3server.bucket}/plugin-options/x.ckpt"
    plugin.save_checkpoint({"a": torch.zeros(2 << 20)}, uri)
    assert bucket.head("x.ckpt")["ETag"].strip('"').endswith("-2")
    assert plugin.load_checkpoint(uri)["a"].numel() == 2 << 20
    plugin.remove_checkpoint(uri)
    assert bucket.keys() == []


@pytest.mark.ckptfs_only
def test_below_a_mount(mount):
    folder = pathlib.Path(mount.path) / "run"
    trainer = make_trainer(callbacks=[every_step(folder)])
    trainer.fit(Model(), Data())
    path = folder / "epoch=0-step=2.ckpt"
    assert path.exists()
    plugin = S3LightningCheckpoint()
    assert plugin.load_checkpoint(path, weights_only=False)["global_step"] == 2
    plugin.save_checkpoint({"a": 1}, folder / "new/folder/x.ckpt")
    assert plugin.load_checkpoint(str(folder / "new/folder/x.ckpt")) == {
        "a": 1}
    plugin.remove_checkpoint(path)
    plugin.remove_checkpoint(folder / "new")
    assert os.listdir(folder) == []


DDP = """
    import os
    import sys
    import lightning.pytorch as pl
    from lightning.pytorch.callbacks import ModelCheckpoint
    from lightning.pytorch.strategies import DDPStrategy
    import ckptfs.lightning
    from test_lightning import Data, Model

    uri, plugin = sys.argv[1:]
    def trainer(steps):
        return pl.Trainer(
            plugins=[getattr(ckptfs.lightning, plugin)("us-east-1")],
            accelerator="cpu", devices=2,
            strategy=DDPStrategy(process_group_backend="gloo"),
            max_steps=steps, logger=False, enable_progress_bar=False,
            enable_model_summary=False, use_distributed_sampler=False,
            callbacks=[ModelCheckpoint(dirpath=uri + "run", save_last=True,
                                       every_n_train_steps=1)])
    if __name__ == "__main__":
        trainer(2).fit(Model(), Data())
        again = Model()
        second = trainer(3)
        second.fit(again, Data(), ckpt_path=uri + "run/last.ckpt",
                   weights_only=False)
        assert again.own == {"step": 2}, again.own
        assert second.global_step == 3
        # In one call: the other rank writes to the same pipe.
        os.write(1, f"rank {second.global_rank} done\\n".encode())
"""


@pytest.mark.parametrize("plugin", ["S3LightningCheckpoint",
                                    "S3AsyncLightningCheckpoint"])
def test_ddp_of_two_ranks(bucket, tmp_path, plugin):
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(DDP))
    # This folder first: another suite has a test_lightning, too.
    paths = [os.path.dirname(__file__), *(path for path in sys.path if path)]
    done = subprocess.run(
        [sys.executable, script, bucket.uri, plugin], capture_output=True,
        text=True, timeout=180, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)})
    assert done.returncode == 0, done.stderr[-4000:]
    assert "rank 0 done" in done.stdout + done.stderr
    assert "run/last.ckpt" in bucket.names()

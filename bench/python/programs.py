"""How each library saves and loads a state dict, as its users write it.

A program is made after the clock's memory mark and before its start: what it
imports counts as memory and not as time.
"""
import io
import os

import torch

REGION = "us-east-1"
PART_BYTES = 8 << 20


class Program:
    """`connections`: how many it may take; None: its default."""

    def __init__(self, connections):
        self.endpoint = os.environ["AWS_ENDPOINT_URL"]
        self.open(connections)

    @staticmethod
    def prepare():
        """Imports what is not the library's own: before the memory mark."""


class LightningProgram(Program):
    @staticmethod
    def prepare():
        import lightning.pytorch.plugins.io  # noqa: F401

    def save(self, state, uri):
        self.plugin.save_checkpoint(state, uri)

    def load(self, uri):
        return self.plugin.load_checkpoint(uri, weights_only=True)


def ckptfs_config(connections):
    import ckptfs
    if connections is None:
        return None
    # A part for each 2.5 Gbit/s; the memory limit makes it as many ranges.
    return ckptfs.S3ClientConfig(throughput_target_gbps=2.5 * connections,
                                 part_size=PART_BYTES,
                                 memory_limit=PART_BYTES * connections)


class Ckptfs(Program):
    def open(self, connections):
        import ckptfs
        self.package = ckptfs
        self.config = ckptfs_config(connections)

    def save(self, state, uri):
        self.package.save(state, uri, region=REGION, config=self.config)

    def load(self, uri):
        return self.package.load(uri, region=REGION, config=self.config)


class StreamProgram(Program):
    def save(self, state, uri):
        with self.checkpoint.writer(uri) as writer:
            torch.save(state, writer)

    def load(self, uri):
        with self.checkpoint.reader(uri) as reader:
            return torch.load(reader, weights_only=True)


class CkptfsStream(StreamProgram):
    def open(self, connections):
        import ckptfs
        self.checkpoint = ckptfs.S3Checkpoint(REGION, self.endpoint,
                                              ckptfs_config(connections))


class CkptfsLightning(LightningProgram):
    def open(self, connections):
        from ckptfs.lightning import S3LightningCheckpoint
        self.plugin = S3LightningCheckpoint(REGION, ckptfs_config(connections),
                                            self.endpoint)


def original_config():
    from s3torchconnector import S3ClientConfig
    return S3ClientConfig(force_path_style=True)


class OriginalStream(StreamProgram):
    # It takes no number of connections: ours follows what it was seen to take.
    def open(self, connections):
        from s3torchconnector import S3Checkpoint
        self.checkpoint = S3Checkpoint(REGION, self.endpoint,
                                       original_config())


class OriginalLightning(LightningProgram):
    def open(self, connections):
        from s3torchconnector.lightning import S3LightningCheckpoint
        self.plugin = S3LightningCheckpoint(REGION, original_config(),
                                            self.endpoint)


class S3fs(LightningProgram):
    """Lightning's own plugin, through fsspec."""

    def open(self, connections):
        import fsspec
        import s3fs
        from lightning.pytorch.plugins.io import TorchCheckpointIO
        settings = {"endpoint_url": self.endpoint}
        if connections is not None:
            settings["max_concurrency"] = connections
        fsspec.config.conf["s3"] = settings
        if fsspec.get_filesystem_class("s3") is not s3fs.S3FileSystem:
            raise RuntimeError("s3:// is not s3fs here")
        self.plugin = TorchCheckpointIO()


class Boto3(Program):
    def open(self, connections):
        import boto3
        from boto3.s3.transfer import TransferConfig
        self.client = boto3.client("s3", region_name=REGION)
        self.config = (TransferConfig() if connections is None
                       else TransferConfig(max_concurrency=connections))

    @staticmethod
    def _place(uri):
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return bucket, key

    def save(self, state, uri):
        buffer = io.BytesIO()
        torch.save(state, buffer)
        buffer.seek(0)
        self.client.upload_fileobj(buffer, *self._place(uri),
                                   Config=self.config)

    def load(self, uri):
        buffer = io.BytesIO()
        self.client.download_fileobj(*self._place(uri), buffer,
                                     Config=self.config)
        buffer.seek(0)
        return torch.load(buffer, weights_only=True)


PROGRAMS = {
    "ckptfs": Ckptfs,
    "ckptfs-stream": CkptfsStream,
    "ckptfs-lightning": CkptfsLightning,
    "s3tc": OriginalStream,
    "s3tc-lightning": OriginalLightning,
    "s3fs": S3fs,
    "boto3": Boto3,
}

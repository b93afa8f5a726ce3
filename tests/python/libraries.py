"""ckptfs and s3torchconnector 1.5.0 behind the same names, so that a test can
put one question to both."""
import importlib
import os
import sys

import pytest
from support.programs import ROOT

PEERS = ROOT / "build/peers"
REGION = "us-east-1"


def import_original():
    """s3torchconnector with its submodules. What build/peers holds besides
    lends nothing to other tests: it is in sys.path, last, for this import
    alone."""
    if not (PEERS / "s3torchconnector").is_dir():
        pytest.skip("no build/peers: tools/make_peers.sh makes it")
    sys.path.append(str(PEERS))
    try:
        for name in ("lightning", "dcp", "_s3client"):
            importlib.import_module(f"s3torchconnector.{name}")
        return sys.modules["s3torchconnector"]
    finally:
        sys.path.remove(str(PEERS))


class Ours:
    """ckptfs: the endpoint as an argument everywhere."""

    name = "ckptfs"

    def __init__(self, endpoint):
        import ckptfs.dcp
        import ckptfs.lightning
        self.module = ckptfs
        self.dcp = ckptfs.dcp
        self.endpoint = endpoint

    def config(self, **fields):
        return self.module.S3ClientConfig(**fields)

    def checkpoint(self, **fields):
        return self.module.S3Checkpoint(REGION, self.endpoint,
                                        self.config(**fields))

    def lightning(self):
        return self.module.lightning.S3LightningCheckpoint(
            REGION, endpoint=self.endpoint)

    def files(self, reader_constructor=None):
        return self.dcp.S3FileSystem(REGION, endpoint=self.endpoint,
                                     reader_constructor=reader_constructor)

    def dcp_writer(self, path, **keywords):
        return self.dcp.S3StorageWriter(REGION, path, endpoint=self.endpoint,
                                        **keywords)

    def dcp_reader(self, path, **keywords):
        return self.dcp.S3StorageReader(REGION, path, endpoint=self.endpoint,
                                        **keywords)


class Theirs:
    """s3torchconnector: its DCP classes have no endpoint, and are given another
    file system after they are made."""

    name = "s3torchconnector"

    def __init__(self, endpoint):
        self.module = import_original()
        self.dcp = self.module.dcp
        self.endpoint = endpoint

    def config(self, **fields):
        return self.module.S3ClientConfig(
            **{"force_path_style": True, **fields})

    def checkpoint(self, **fields):
        return self.module.S3Checkpoint(REGION, self.endpoint,
                                        self.config(**fields))

    def lightning(self):
        return self.module.lightning.S3LightningCheckpoint(
            REGION, self.config(), self.endpoint)

    def files(self, reader_constructor=None):
        return self.dcp.S3FileSystem(
            REGION, self.module._s3client.S3Client(
                REGION, endpoint=self.endpoint, s3client_config=self.config()),
            reader_constructor=reader_constructor)

    def dcp_writer(self, path, **keywords):
        writer = self.dcp.S3StorageWriter(REGION, path, **keywords)
        writer.fs = self.files()
        return writer

    def dcp_reader(self, path, **keywords):
        reader = self.dcp.S3StorageReader(REGION, path, **keywords)
        reader.fs = self.files(reader._reader_constructor)
        return reader


def environment_of(server):
    """What both read from the environment."""
    return {**server.environment(), "AWS_ENDPOINT_URL_S3": server.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull}

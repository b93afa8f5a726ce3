"""torch.distributed.checkpoint in S3, below mounts of ckptfs and in plain
folders: the classes of s3torchconnector.dcp over the engine."""
from ..reader_constructor import S3ReaderConstructor
from .file_system import S3FileSystem
from .format_utils import dcp_to_torch_save, torch_save_to_dcp
from .prefix_strategy import (BinaryPrefixStrategy, DefaultPrefixStrategy,
                              HexPrefixStrategy, NumericPrefixStrategy,
                              RoundRobinPrefixStrategy, S3PrefixStrategyBase)
from .reader import S3StorageReader
from .writer import S3StorageWriter

__all__ = [
    "BinaryPrefixStrategy", "DefaultPrefixStrategy", "HexPrefixStrategy",
    "NumericPrefixStrategy", "RoundRobinPrefixStrategy", "S3FileSystem",
    "S3PrefixStrategyBase", "S3ReaderConstructor", "S3StorageReader",
    "S3StorageWriter", "dcp_to_torch_save", "torch_save_to_dcp",
]

"""torch.distributed.checkpoint in S3, below mounts of ckptfs and in plain
folders: the classes of s3torchconnector.dcp over the engine."""
from ..reader_constructor import S3ReaderConstructor
from .file_system import S3FileSystem
from .prefix_strategy import (BinaryPrefixStrategy, DefaultPrefixStrategy,
                              HexPrefixStrategy, NumericPrefixStrategy,
                              RoundRobinPrefixStrategy, S3PrefixStrategyBase)
from .reader import S3StorageReader
from .writer import S3StorageWriter

__all__ = [
    "BinaryPrefixStrategy", "DefaultPrefixStrategy", "HexPrefixStrategy",
    "NumericPrefixStrategy", "RoundRobinPrefixStrategy", "S3FileSystem",
    "S3PrefixStrategyBase", "S3ReaderConstructor", "S3StorageReader",
    "S3StorageWriter",
]

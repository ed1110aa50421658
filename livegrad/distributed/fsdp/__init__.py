"""Modules sharded over processes: not there, but for the names (see `absent`)."""

from ..absent import absent_class, absent_function

__all__ = [
    "CPUOffload",
    "CPUOffloadPolicy",
    "FSDPModule",
    "FullyShardedDataParallel",
    "MixedPrecision",
    "MixedPrecisionPolicy",
    "ShardingStrategy",
    "fully_shard",
]

CPUOffload = absent_class("CPUOffload", __name__)
CPUOffloadPolicy = absent_class("CPUOffloadPolicy", __name__)
FSDPModule = absent_class("FSDPModule", __name__)
FullyShardedDataParallel = absent_class("FullyShardedDataParallel", __name__)
MixedPrecision = absent_class("MixedPrecision", __name__)
MixedPrecisionPolicy = absent_class("MixedPrecisionPolicy", __name__)
ShardingStrategy = absent_class("ShardingStrategy", __name__)
fully_shard = absent_function("fully_shard", __name__)

"""Modules sharded over processes: not there, but for the names (see `distributed.absent`)."""

from ..absent import absent_class
from . import CPUOffload, FullyShardedDataParallel, MixedPrecision, ShardingStrategy

__all__ = ["CPUOffload", "FullyShardedDataParallel", "MixedPrecision", "ShardingStrategy", "StateDictType"]

StateDictType = absent_class("StateDictType", __name__)

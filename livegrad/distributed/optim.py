"""Optimizers whose state is sharded over processes: not there, but for the names (see `absent`)."""

from .absent import absent_class

__all__ = ["DistributedOptimizer", "ZeroRedundancyOptimizer"]

DistributedOptimizer = absent_class("DistributedOptimizer", __name__)
ZeroRedundancyOptimizer = absent_class("ZeroRedundancyOptimizer", __name__)

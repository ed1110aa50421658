"""Layers sharded over processes: not there, but for the names (see `absent`)."""

from ..absent import absent_class, absent_function

__all__ = [
    "ColwiseParallel", "ParallelStyle", "PrepareModuleInput", "PrepareModuleOutput", "RowwiseParallel",
    "SequenceParallel", "loss_parallel", "parallelize_module",
]  # fmt: skip

ColwiseParallel = absent_class("ColwiseParallel", __name__)
ParallelStyle = absent_class("ParallelStyle", __name__)
PrepareModuleInput = absent_class("PrepareModuleInput", __name__)
PrepareModuleOutput = absent_class("PrepareModuleOutput", __name__)
RowwiseParallel = absent_class("RowwiseParallel", __name__)
SequenceParallel = absent_class("SequenceParallel", __name__)
loss_parallel = absent_function("loss_parallel", __name__)
parallelize_module = absent_function("parallelize_module", __name__)

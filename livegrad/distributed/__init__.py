"""Collective operations in a group of one process, so that programs written for several run as one.

What programs ask (`is_initialized`, `get_rank`, `get_world_size`) and call (`all_reduce`, `broadcast`, `barrier`, …) is
here, and gives what it gives in PyTorch where the world has one process. Several processes do not work together yet:
`init_process_group` with a larger world raises RuntimeError.

>>> import livegrad
>>> import livegrad.distributed as dist
>>> dist.init_process_group("gloo", rank=0, world_size=1)
>>> dist.get_rank(), dist.get_world_size()
(0, 1)
>>> x = livegrad.ones(2)
>>> dist.all_reduce(x)
>>> x
tensor([1., 1.])
>>> dist.destroy_process_group()
"""

from .collectives import (
    ReduceOp,
    Work,
    all_gather,
    all_gather_into_tensor,
    all_gather_object,
    all_reduce,
    all_to_all,
    barrier,
    broadcast,
    broadcast_object_list,
    gather,
    monitored_barrier,
    reduce,
    reduce_scatter,
    reduce_scatter_tensor,
    scatter,
)  # fmt: skip
from .group import (
    ProcessGroup,
    destroy_process_group,
    get_backend,
    get_process_group_ranks,
    get_rank,
    get_world_size,
    group,
    init_process_group,
    is_available,
    is_gloo_available,
    is_initialized,
    is_mpi_available,
    is_nccl_available,
    is_torchelastic_launched,
    new_group,
)  # fmt: skip

__all__ = [
    "ProcessGroup", "ReduceOp", "Work", "all_gather", "all_gather_into_tensor", "all_gather_object", "all_reduce",
    "all_to_all", "barrier", "broadcast", "broadcast_object_list", "destroy_process_group", "gather", "get_backend",
    "get_process_group_ranks", "get_rank", "get_world_size", "group", "init_process_group", "is_available",
    "is_gloo_available", "is_initialized", "is_mpi_available", "is_nccl_available", "is_torchelastic_launched",
    "monitored_barrier", "new_group", "reduce", "reduce_scatter", "reduce_scatter_tensor", "scatter",
]  # fmt: skip

"""Processes that work together, as `torch.distributed` has them: on one machine or several, over TCP.

Each process calls `init_process_group`; then collective operations (`all_reduce`, `broadcast`, …) work on the tensors
of all, `nn.parallel.DistributedDataParallel` averages gradients, and `livegrad run --nproc-per-node N program.py`
starts the processes of a program. It is pure Python, over sockets: one connection for each direction and group between
two processes. Connections stay within the machine, unless the address of the rendezvous (MASTER_ADDR) is one that other
machines reach; they begin with a secret that the processes share through the store, and are not encrypted, so a store
that others reach belongs into a network that is trusted. What processes send each other is never executed, but for the
pickles of the operations on objects (`all_gather_object`, …), as in PyTorch.

The backend is "gloo". "nccl" is accepted as a name for the same; tensors on GPUs go through the CPU's memory.

>>> import livegrad
>>> import livegrad.distributed as dist
>>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
>>> dist.get_rank(), dist.get_world_size()
(0, 1)
>>> x = livegrad.ones(2)
>>> dist.all_reduce(x)
>>> x
tensor([1., 1.])
>>> dist.destroy_process_group()
"""

import importlib
from typing import Any

from .collectives import (
    all_gather,
    all_gather_coalesced,
    all_gather_into_tensor,
    all_gather_single,
    all_reduce,
    all_reduce_coalesced,
    all_to_all,
    all_to_all_single,
    barrier,
    broadcast,
    gather,
    monitored_barrier,
    reduce,
    reduce_scatter,
    reduce_scatter_single,
    reduce_scatter_tensor,
    scatter,
)
from .errors import (
    DEFAULT_TIMEOUT as default_pg_timeout,
)
from .errors import (
    DistBackendError,
    DistError,
    DistNetworkError,
    DistStoreError,
    QueueEmptyError,
)
from .file_store import FileStore
from .group import (
    Backend,
    GroupMember,
    ProcessGroup,
    destroy_process_group,
    get_backend,
    get_global_rank,
    get_group_rank,
    get_node_local_rank,
    get_pg_count,
    get_process_group_ranks,
    get_rank,
    get_world_size,
    group,
    init_process_group,
    is_available,
    is_backend_available,
    is_gloo_available,
    is_initialized,
    is_mpi_available,
    is_nccl_available,
    is_ucc_available,
    is_xccl_available,
    new_group,
    new_subgroups,
    new_subgroups_by_enumeration,
)
from .messages import P2POp, batch_isend_irecv, irecv, isend, recv, send
from .objects import (
    all_gather_object,
    broadcast_object_list,
    gather_object,
    recv_object_list,
    scatter_object_list,
    send_object_list,
)
from .reduction import ReduceOp, reduce_op
from .rendezvous import is_torchelastic_launched, rendezvous
from .store import HashStore, PrefixStore, Store
from .tcp_store import TCPStore
from .work import Work

__all__ = [
    "Backend", "DistBackendError", "DistError", "DistNetworkError", "DistStoreError", "FileStore", "GroupMember",
    "HashStore", "P2POp", "PrefixStore", "ProcessGroup", "QueueEmptyError", "ReduceOp", "Store", "TCPStore", "Work",
    "all_gather", "all_gather_coalesced", "all_gather_into_tensor", "all_gather_object", "all_gather_single",
    "all_reduce", "all_reduce_coalesced", "all_to_all", "all_to_all_single", "barrier", "batch_isend_irecv",
    "broadcast", "broadcast_object_list", "default_pg_timeout", "destroy_process_group", "gather", "gather_object",
    "get_backend", "get_global_rank", "get_group_rank", "get_node_local_rank", "get_pg_count",
    "get_process_group_ranks", "get_rank", "get_world_size", "group", "init_process_group", "irecv", "is_available",
    "is_backend_available", "is_gloo_available", "is_initialized", "is_mpi_available", "is_nccl_available",
    "is_torchelastic_launched", "is_ucc_available", "is_xccl_available", "isend", "monitored_barrier", "new_group",
    "new_subgroups", "new_subgroups_by_enumeration", "recv", "recv_object_list", "reduce", "reduce_op",
    "reduce_scatter", "reduce_scatter_single", "reduce_scatter_tensor", "rendezvous", "scatter", "scatter_object_list",
    "send", "send_object_list",
]  # fmt: skip

_MODULES = frozenset(
    ("algorithms", "checkpoint", "device_mesh", "distributed_c10d", "fsdp", "nn", "optim", "rpc", "tensor")
)


def __getattr__(name: str) -> Any:
    """Parts that few programs use are imported when they are asked for."""
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in ("DeviceMesh", "init_device_mesh"):
        return getattr(importlib.import_module(f"{__name__}.device_mesh"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

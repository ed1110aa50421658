"""Collective operations of a group of one: what is reduced stays, what is gathered is one's own."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from ..autograd.mode import no_grad
from ..tensor import Tensor
from .group import ProcessGroup, checked


class ReduceOp(IntEnum):
    """How values of several processes become one."""

    SUM = 0
    AVG = 1
    PRODUCT = 2
    MIN = 3
    MAX = 4
    BAND = 5
    BOR = 6
    BXOR = 7


class Work:
    """What an operation with async_op=True returns. It has been done already."""

    def wait(self, timeout: Any = None) -> bool:
        return True

    def is_completed(self) -> bool:
        return True

    def is_success(self) -> bool:
        return True


def _done(async_op: bool) -> Work | None:
    return Work() if async_op else None


def _check(name: str, tensor: Any) -> None:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"Invalid function argument. Expected parameter `{name}` of type torch.Tensor\n"
                        f"             but got {type(tensor)} instead.")  # fmt: skip


def _member(name: str, rank: int) -> None:
    if rank != 0:
        raise ValueError(f"{name}={rank}: the group has one process, of rank 0")


def _one(name: str, tensors: Any) -> Any:
    """The only tensor of a list with one for each process."""
    if len(tensors) != 1:
        raise ValueError(f"{name} has {len(tensors)} tensors, but the group has 1 process")
    return tensors[0]


@no_grad()
def _put(target: Tensor, source: Tensor) -> None:
    if target.numel() != source.numel():
        raise ValueError(f"output of shape {list(target.shape)} for input of shape {list(source.shape)}")
    target.copy_(source.reshape(target.shape))


def all_reduce(
    tensor: Tensor, op: Any = ReduceOp.SUM, group: ProcessGroup | None = None, async_op: bool = False
) -> Work | None:
    """The sum over all processes, in place: the tensor as it is."""
    _check("tensor", tensor)
    checked(group)
    return _done(async_op)


def reduce(
    tensor: Tensor, dst: int = 0, op: Any = ReduceOp.SUM, group: ProcessGroup | None = None, async_op: bool = False
) -> Work | None:
    """The sum over all processes, in one process: the tensor as it is."""
    _check("tensor", tensor)
    checked(group)
    _member("dst", dst)
    return _done(async_op)


def broadcast(tensor: Tensor, src: int = 0, group: ProcessGroup | None = None, async_op: bool = False) -> Work | None:
    """One process's tensor in all: the tensor as it is."""
    _check("tensor", tensor)
    checked(group)
    _member("src", src)
    return _done(async_op)


def barrier(group: ProcessGroup | None = None, async_op: bool = False, device_ids: Any = None) -> Work | None:
    """Wait for all processes: for none."""
    checked(group)
    return _done(async_op)


def monitored_barrier(group: ProcessGroup | None = None, timeout: Any = None, wait_all_ranks: bool = False) -> None:
    """Wait for all processes: for none."""
    checked(group)


def all_gather(
    tensor_list: list, tensor: Tensor, group: ProcessGroup | None = None, async_op: bool = False
) -> Work | None:
    """The tensors of all processes, in a list of tensors."""
    _check("tensor", tensor)
    checked(group)
    _put(_one("tensor_list", tensor_list), tensor)
    return _done(async_op)


def all_gather_into_tensor(
    output_tensor: Tensor, input_tensor: Tensor, group: ProcessGroup | None = None, async_op: bool = False
) -> Work | None:
    """The tensors of all processes one after the other, in one tensor."""
    _check("output_tensor", output_tensor)
    checked(group)
    _put(output_tensor, input_tensor)
    return _done(async_op)


def reduce_scatter(
    output: Tensor, input_list: list, op: Any = ReduceOp.SUM, group: ProcessGroup | None = None, async_op: bool = False
) -> Work | None:
    """The sum over all processes of the tensor for this one."""
    _check("output", output)
    checked(group)
    _put(output, _one("input_list", input_list))
    return _done(async_op)


def reduce_scatter_tensor(
    output: Tensor, input: Tensor, op: Any = ReduceOp.SUM, group: ProcessGroup | None = None, async_op: bool = False
) -> Work | None:
    """The sum over all processes of this one's piece of a tensor."""
    _check("output", output)
    checked(group)
    _put(output, input)
    return _done(async_op)


def gather(
    tensor: Tensor, gather_list: list | None = None, dst: int = 0, group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:  # fmt: skip
    """The tensors of all processes, in a list of tensors of one process."""
    _check("tensor", tensor)
    checked(group)
    _member("dst", dst)
    if gather_list is None:
        raise ValueError("Argument ``gather_list`` must be specified on destination rank.")
    _put(_one("gather_list", gather_list), tensor)
    return _done(async_op)


def scatter(
    tensor: Tensor, scatter_list: list | None = None, src: int = 0, group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:  # fmt: skip
    """This process's tensor of a list of one process."""
    _check("tensor", tensor)
    checked(group)
    _member("src", src)
    if scatter_list is None:
        raise ValueError("Argument ``scatter_list`` must be specified on source rank.")
    _put(tensor, _one("scatter_list", scatter_list))
    return _done(async_op)


def all_to_all(
    output_tensor_list: list, input_tensor_list: list, group: ProcessGroup | None = None, async_op: bool = False
) -> Work | None:
    """Each process's tensor for each other one."""
    checked(group)
    _put(_one("output_tensor_list", output_tensor_list), _one("input_tensor_list", input_tensor_list))
    return _done(async_op)


def all_gather_object(object_list: list, obj: Any, group: ProcessGroup | None = None) -> None:
    """The objects of all processes, in a list."""
    checked(group)
    _one("object_list", object_list)
    object_list[0] = obj


def broadcast_object_list(
    object_list: list, src: int = 0, group: ProcessGroup | None = None, device: Any = None
) -> None:
    """One process's objects in all: the list as it is."""
    checked(group)
    _member("src", src)

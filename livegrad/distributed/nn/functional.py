"""Collective operations that gradients go through: each returns new tensors, and its backward pass is one of them too.

All processes of a group call the operation, and all of them the backward pass, in the same order.

>>> import livegrad
>>> import livegrad.distributed as dist
>>> from livegrad.distributed.nn import functional
>>> dist.init_process_group("gloo", rank=0, world_size=1)
>>> x = livegrad.tensor([1., 2.], requires_grad=True)
>>> functional.all_reduce(x * 2).sum().backward()
>>> x.grad
tensor([2., 2.])
>>> dist.destroy_process_group()
"""

from __future__ import annotations

from typing import Any

import livegrad

from ... import distributed as dist
from ...autograd import Function
from ...tensor import Tensor
from ..group import checked
from ..reduction import ReduceOp

__all__ = [
    "all_gather", "all_reduce", "all_to_all", "all_to_all_single", "broadcast", "gather", "reduce", "reduce_scatter",
    "scatter",
]  # fmt: skip


def _own(tensor: Any) -> Any:
    """A contiguous copy, to be written into."""
    return tensor.detach().contiguous().clone()


def _like(tensor: Any, count: int) -> list:
    return [livegrad.empty_like(tensor) for _ in range(count)]


class _AllReduce(Function):
    @staticmethod
    def forward(ctx: Any, op: Any, group: Any, tensor: Any) -> Any:
        ctx.op, ctx.group = op, group
        total = _own(tensor)
        dist.all_reduce(total, op, group)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return None, None, _AllReduce.apply(ctx.op, ctx.group, grad)


class _Broadcast(Function):
    @staticmethod
    def forward(ctx: Any, src: int, group: Any, tensor: Any) -> Any:
        ctx.src, ctx.group = src, group
        found = _own(tensor)
        dist.broadcast(found, src, group)
        return found

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        total = _Reduce.apply(ctx.src, ReduceOp.SUM, ctx.group, grad)
        return None, None, total if dist.get_rank() == ctx.src else total * 0


class _Reduce(Function):
    @staticmethod
    def forward(ctx: Any, dst: int, op: Any, group: Any, tensor: Any) -> Any:
        ctx.dst, ctx.group = dst, group
        total = _own(tensor)
        dist.reduce(total, dst, op, group)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return None, None, None, _Broadcast.apply(ctx.dst, ctx.group, grad)


class _AllGather(Function):
    @staticmethod
    def forward(ctx: Any, group: Any, tensor: Any) -> Any:
        ctx.group = group
        found = _like(tensor, dist.get_world_size(group))
        dist.all_gather(found, _own(tensor), group)
        return tuple(found)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return None, _ReduceScatter.apply(ReduceOp.SUM, ctx.group, *grads)


class _ReduceScatter(Function):
    @staticmethod
    def forward(ctx: Any, op: Any, group: Any, *tensors: Any) -> Any:
        ctx.group = group
        mine = livegrad.empty_like(tensors[dist.get_rank(group)])
        dist.reduce_scatter(mine, [_own(t) for t in tensors], op, group)
        return mine

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return (None, None, *_AllGather.apply(ctx.group, grad))


class _Gather(Function):
    @staticmethod
    def forward(ctx: Any, dst: int, group: Any, tensor: Any) -> Any:
        ctx.dst, ctx.group = dst, group
        found = [livegrad.zeros_like(tensor) for _ in range(dist.get_world_size(group))]
        dist.gather(_own(tensor), found if dist.get_rank() == dst else None, dst, group)
        return tuple(found)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return None, None, _Scatter.apply(ctx.dst, ctx.group, *grads)


class _Scatter(Function):
    @staticmethod
    def forward(ctx: Any, src: int, group: Any, *tensors: Any) -> Any:
        ctx.src, ctx.group = src, group
        mine = livegrad.zeros_like(tensors[0])
        dist.scatter(mine, [_own(t) for t in tensors] if dist.get_rank() == src else None, src, group)
        return mine

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return (None, None, *_Gather.apply(ctx.src, ctx.group, grad))


class _AllToAll(Function):
    @staticmethod
    def forward(ctx: Any, group: Any, shapes: Any, *tensors: Any) -> Any:
        ctx.group, ctx.shapes = group, [t.shape for t in tensors]
        found = [livegrad.empty(shape, dtype=tensors[0].dtype, device=tensors[0].device) for shape in shapes]
        dist.all_to_all(found, [_own(t) for t in tensors], group)
        return tuple(found)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return (None, None, *_AllToAll.apply(ctx.group, ctx.shapes, *grads))


class _AllToAllSingle(Function):
    @staticmethod
    def forward(ctx: Any, group: Any, shape: Any, output_sizes: Any, input_sizes: Any, tensor: Any) -> Any:
        ctx.group, ctx.shape, ctx.sizes = group, tensor.shape, (input_sizes, output_sizes)
        found = livegrad.empty(shape, dtype=tensor.dtype, device=tensor.device)
        dist.all_to_all_single(found, _own(tensor), output_sizes, input_sizes, group)
        return found

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return None, None, None, None, _AllToAllSingle.apply(ctx.group, ctx.shape, *ctx.sizes, grad)


def all_reduce(tensor: Tensor, op: Any = ReduceOp.SUM, group: Any = None) -> Tensor:
    """The sum, or what else ``op`` says, of the tensors of all processes. Gradients are combined in the same way."""
    return _AllReduce.apply(op, checked(group), tensor)


def broadcast(tensor: Tensor, src: int, group: Any = None) -> Tensor:
    """Process ``src``'s tensor in all. Gradients are summed there; those of the other processes' tensors are zeros."""
    return _Broadcast.apply(src, checked(group), tensor)


def reduce(tensor: Tensor, dst: int, op: Any = ReduceOp.SUM, group: Any = None) -> Tensor:
    """In process ``dst`` the sum of the tensors of all, whose gradients are that of the sum; in others one's own."""
    return _Reduce.apply(dst, op, checked(group), tensor)


def all_gather(tensor: Tensor, group: Any = None) -> tuple[Tensor, ...]:
    """The tensors of all processes. A tensor's gradient is the sum of what all processes have for it."""
    return _AllGather.apply(checked(group), tensor)


def gather(tensor: Tensor, dst: int = 0, group: Any = None) -> tuple[Tensor, ...]:
    """In process ``dst`` the tensors of all; zeros in the others."""
    return _Gather.apply(dst, checked(group), tensor)


def scatter(tensors: list[Tensor], src: int = 0, group: Any = None) -> Tensor:
    """This process's tensor of the list that process ``src`` has."""
    return _Scatter.apply(src, checked(group), *tensors)


def reduce_scatter(output: Tensor, input_list: list[Tensor], op: Any = ReduceOp.SUM, group: Any = None) -> Tensor:
    """The sum of the tensors that all processes have for this one, as a new tensor: ``output`` is not written."""
    return _ReduceScatter.apply(op, checked(group), *input_list)


def all_to_all(output_tensor_list: list[Tensor], input_tensor_list: list[Tensor], group: Any = None) -> tuple:
    """What each process has for this one, in the shapes of ``output_tensor_list``, which is not written."""
    return _AllToAll.apply(checked(group), [t.shape for t in output_tensor_list], *input_tensor_list)


def all_to_all_single(
    output: Tensor, input: Tensor, output_split_sizes: Any = None, input_split_sizes: Any = None, group: Any = None
) -> Tensor:
    """`all_to_all` of pieces of one tensor along its first dimension, in ``output``'s shape; it is not written."""
    return _AllToAllSingle.apply(checked(group), output.shape, output_split_sizes, input_split_sizes, input)

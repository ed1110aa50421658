"""Collective operations on tensors: all processes of a group call them, in the same order.

Tensors may be views; on a GPU they go through the CPU's memory. With ``async_op=True`` a `Work` is returned at once, to
be waited for; until then tensors that were given must not be changed. Without it, and in processes that are not in the
group, None is. Where ranks disagree on what they call, each of them raises DistBackendError, which says what they
called.
Ranks ``src`` and ``dst`` are the world's, ``group_src`` and ``group_dst`` the group's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensor import Tensor
from . import exchanges
from .checks import check_dtypes, check_given, check_parts, check_tensor, check_tensors
from .errors import DistBackendError, seconds
from .group import ProcessGroup, checked, outside, peer
from .host import described, flat, put, put_all, room, snapshot
from .reduction import ReduceOp, check, combiner, finish
from .work import Work

__all__ = [
    "all_gather", "all_gather_coalesced", "all_gather_into_tensor", "all_gather_single", "all_reduce",
    "all_reduce_coalesced", "all_to_all", "all_to_all_single", "barrier", "broadcast", "gather", "monitored_barrier",
    "reduce", "reduce_scatter", "reduce_scatter_single", "reduce_scatter_tensor", "scatter",
]  # fmt: skip


def all_reduce(
    tensor: Tensor, op: Any = ReduceOp.SUM, group: ProcessGroup | None = None, async_op: bool = False
) -> Work | None:
    """Replace the tensor by the sum, or what else ``op`` says, of those of all processes.

    All have the same bits then: a sum is made in one place, in an order that depends on nothing but its length and the
    number of processes.
    """
    check_tensor("tensor", tensor)
    op = check("all_reduce", op, tensor.dtype)
    if outside(group, "all_reduce"):
        return None
    g = checked(group)
    if g.size() == 1:
        return g.call("", lambda call: None, lambda: None, [tensor], async_op)
    x = snapshot(tensor)

    def act(call: Any) -> None:
        exchanges.all_reduce(call, x, combiner(op))
        finish(op, x, call.size)

    return g.call(described(f"all_reduce({op.name})", tensor), act, lambda: put(tensor, x), [tensor], async_op)


def all_reduce_coalesced(
    tensors: list[Tensor], op: Any = ReduceOp.SUM, group: ProcessGroup | None = None, async_op: bool = False
) -> Work | None:
    """`all_reduce` of several tensors of one dtype."""
    check_tensors("tensors", tensors)
    check_dtypes(*tensors)
    op = check("all_reduce", op, tensors[0].dtype)
    if outside(group, "all_reduce_coalesced"):
        return None
    g = checked(group)
    x = np.concatenate([flat(t) for t in tensors])

    def act(call: Any) -> None:
        exchanges.all_reduce(call, x, combiner(op))
        finish(op, x, call.size)

    def store() -> None:
        put_all(tensors, np.split(x, np.cumsum([t.numel() for t in tensors])[:-1]))

    text = f"all_reduce_coalesced({op.name})|{tensors[0].dtype}|{x.size}|{[list(t.shape) for t in tensors]}"
    return g.call(text, act, store, list(tensors), async_op)


def reduce(
    tensor: Tensor, dst: int | None = None, op: Any = ReduceOp.SUM, group: ProcessGroup | None = None,
    async_op: bool = False, group_dst: int | None = None,
) -> Work | None:  # fmt: skip
    """Replace process ``dst``'s tensor (0's unless given) by the sum of those of all, or what else ``op`` says.

    Those of the other processes stay as they are.
    """
    check_tensor("tensor", tensor)
    op = check("reduce", op, tensor.dtype)
    if outside(group, "reduce"):
        return None
    g, root = checked(group), peer(group, "dst", dst, group_dst, otherwise=0)
    x = snapshot(tensor)

    def act(call: Any) -> None:
        exchanges.reduce(call, x, root, combiner(op))
        if call.rank == root:
            finish(op, x, call.size)

    def store() -> None:
        if g.rank() == root and g.size() > 1:
            put(tensor, x)

    return g.call(described(f"reduce({op.name}, dst={g.ranks[root]})", tensor), act, store, [tensor], async_op)


def broadcast(
    tensor: Tensor, src: int | None = None, group: ProcessGroup | None = None, async_op: bool = False,
    group_src: int | None = None,
) -> Work | None:  # fmt: skip
    """Replace the tensors of all processes by process ``src``'s."""
    check_tensor("tensor", tensor)
    if outside(group, "broadcast"):
        return None
    g, root = checked(group), peer(group, "src", src, group_src, otherwise=0)
    mine = g.rank() == root
    x = (snapshot(tensor) if async_op else flat(tensor)) if mine else room(tensor)
    return g.call(
        described(f"broadcast(src={g.ranks[root]})", tensor), lambda call: exchanges.broadcast(call, x, root),
        lambda: None if mine else put(tensor, x), [tensor], async_op,
    )  # fmt: skip


def barrier(group: ProcessGroup | None = None, async_op: bool = False, device_ids: Any = None) -> Work | None:
    """Wait until all processes have come here."""
    if outside(group, "barrier"):
        return None
    x = np.zeros(1, np.uint8)
    return checked(group).call(
        "barrier()|", lambda call: exchanges.all_reduce(call, x, combiner(ReduceOp.MAX)), lambda: None, [], async_op
    )


def monitored_barrier(group: ProcessGroup | None = None, timeout: Any = None, wait_all_ranks: bool = False) -> None:
    """Wait until all processes have come here. Raises DistBackendError, which names a process that did not in time.

    With ``wait_all_ranks`` it names all of those.
    """
    if outside(group, "monitored_barrier"):
        return
    g = checked(group)
    limit = g.timeout if timeout is None else seconds(timeout)
    note = np.zeros(1, np.uint8)

    def act(call: Any) -> None:
        if call.rank:
            call.sent(0, call.send(0, note))
            call.limit += 5.0  # the first process says who is missing before this one gives up
            call.receive(0, note)
            return
        missing = call.channel.arrived(call, note, wait_all_ranks)
        if missing:
            what = f"Rank {missing[0]}" if len(missing) == 1 else f"Ranks {', '.join(map(str, missing))}"
            raise DistBackendError(call.channel.failed(f"{what} failed to pass monitoredBarrier in {limit:g} seconds"))
        for other in range(1, call.size):
            call.sent(other, call.send(other, note))

    g.call("monitored_barrier()|", act, lambda: None, [], False, limit)


def all_gather(
    tensor_list: list[Tensor], tensor: Tensor, group: ProcessGroup | None = None, async_op: bool = False
) -> Work | None:
    """Put the tensors of all processes, which are of one shape, into a list of tensors."""
    check_tensor("tensor", tensor)
    check_tensors("tensor_list", tensor_list)
    check_dtypes(tensor, *tensor_list)
    if outside(group, "all_gather"):
        return None
    g = checked(group)
    check_tensors("tensor_list", tensor_list, g.size())
    for i, t in enumerate(tensor_list):
        if t.numel() != tensor.numel():
            raise ValueError(
                f"all_gather: tensor_list[{i}] has shape {list(t.shape)}, for tensors of shape {list(tensor.shape)}"
            )
    parts = [room(tensor) for _ in range(g.size())]
    parts[g.rank()] = snapshot(tensor)
    return g.call(
        described("all_gather()", tensor), lambda call: exchanges.all_gather(call, parts),
        lambda: put_all(tensor_list, parts), [tensor_list], async_op,
    )  # fmt: skip


def all_gather_coalesced(
    output_tensor_lists: list[list[Tensor]], input_tensor_list: list[Tensor], group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:  # fmt: skip
    """`all_gather` of several tensors: ``output_tensor_lists[i][j]`` is process i's tensor j."""
    last = None
    for j, tensor in enumerate(input_tensor_list):
        last = all_gather([outputs[j] for outputs in output_tensor_lists], tensor, group, async_op)
    return last


def all_gather_into_tensor(
    output_tensor: Tensor, input_tensor: Tensor, group: ProcessGroup | None = None, async_op: bool = False
) -> Work | None:
    """Put the tensors of all processes into one: one after the other along the first dimension, or stacked."""
    check_tensor("output_tensor", output_tensor)
    check_tensor("input_tensor", input_tensor)
    check_dtypes(input_tensor, output_tensor)
    if outside(group, "all_gather_into_tensor"):
        return None
    g = checked(group)
    if output_tensor.numel() != input_tensor.numel() * g.size():
        raise ValueError(
            f"all_gather_into_tensor: output of shape {list(output_tensor.shape)} for {g.size()} inputs of shape "
            f"{list(input_tensor.shape)}"
        )
    whole = room(output_tensor)
    parts = [whole[i * input_tensor.numel() : (i + 1) * input_tensor.numel()] for i in range(g.size())]
    parts[g.rank()][...] = flat(input_tensor)
    return g.call(
        described("all_gather_into_tensor()", input_tensor), lambda call: exchanges.all_gather(call, parts),
        lambda: put(output_tensor, whole), [output_tensor], async_op,
    )  # fmt: skip


all_gather_single = all_gather_into_tensor


def gather(
    tensor: Tensor, gather_list: list[Tensor] | None = None, dst: int | None = None,
    group: ProcessGroup | None = None, async_op: bool = False, group_dst: int | None = None,
) -> Work | None:  # fmt: skip
    """Put the tensors of all processes, which are of one shape, into a list of process ``dst``'s."""
    check_tensor("tensor", tensor)
    if outside(group, "gather"):
        return None
    g, root = checked(group), peer(group, "dst", dst, group_dst, otherwise=0)
    mine = g.rank() == root
    check_given("gather_list", gather_list, mine, "destination")
    parts = None
    if mine:
        assert gather_list is not None
        check_parts("gather", "gather_list", gather_list, tensor, g.size())
        parts = [room(tensor) for _ in range(g.size())]
    x = snapshot(tensor)

    def store() -> None:
        if parts is not None and gather_list is not None:
            if g.size() == 1:
                parts[0] = x
            put_all(gather_list, parts)

    return g.call(
        described(f"gather(dst={g.ranks[root]})", tensor), lambda call: exchanges.gather(call, x, parts, root), store,
        [gather_list or []], async_op,
    )  # fmt: skip


def scatter(
    tensor: Tensor, scatter_list: list[Tensor] | None = None, src: int | None = None,
    group: ProcessGroup | None = None, async_op: bool = False, group_src: int | None = None,
) -> Work | None:  # fmt: skip
    """Put each tensor of a list of process ``src``'s, which are of one shape, into that of one process."""
    check_tensor("tensor", tensor)
    if outside(group, "scatter"):
        return None
    g, root = checked(group), peer(group, "src", src, group_src, otherwise=0)
    mine = g.rank() == root
    check_given("scatter_list", scatter_list, mine, "source")
    parts = None
    if mine:
        assert scatter_list is not None
        check_parts("scatter", "scatter_list", scatter_list, tensor, g.size())
        parts = [snapshot(t) for t in scatter_list]
    x = room(tensor) if parts is None or g.size() > 1 else parts[0]
    return g.call(
        described(f"scatter(src={g.ranks[root]})", tensor), lambda call: exchanges.scatter(call, x, parts, root),
        lambda: put(tensor, x), [tensor], async_op,
    )  # fmt: skip


def reduce_scatter(
    output: Tensor, input_list: list[Tensor], op: Any = ReduceOp.SUM, group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:  # fmt: skip
    """Put the sum, or what else ``op`` says, of the tensors that all processes have for this one into ``output``."""
    check_tensor("output", output)
    check_tensors("input_list", input_list)
    check_dtypes(output, *input_list)
    op = check("reduce_scatter", op, output.dtype)
    if outside(group, "reduce_scatter"):
        return None
    g = checked(group)
    check_tensors("input_list", input_list, g.size())
    if input_list[g.rank()].numel() != output.numel():
        raise ValueError(
            f"reduce_scatter: output of shape {list(output.shape)} for input_list[{g.rank()}] of shape "
            f"{list(input_list[g.rank()].shape)}"
        )
    sizes = [t.numel() for t in input_list]
    return _reduce_scatter("reduce_scatter", output, [snapshot(t) for t in input_list], sizes, op, g, async_op)


def reduce_scatter_tensor(
    output: Tensor, input: Tensor, op: Any = ReduceOp.SUM, group: ProcessGroup | None = None, async_op: bool = False
) -> Work | None:
    """Put this process's piece of the sum of all tensors, or of what else ``op`` says, into ``output``."""
    check_tensor("output", output)
    check_tensor("input", input)
    check_dtypes(output, input)
    op = check("reduce_scatter_tensor", op, output.dtype)
    if outside(group, "reduce_scatter_tensor"):
        return None
    g, n = checked(group), output.numel()
    if input.numel() != n * g.size():
        raise ValueError(
            f"reduce_scatter_tensor: output of shape {list(output.shape)} and {g.size()} processes for input of shape "
            f"{list(input.shape)}"
        )
    x = snapshot(input)
    parts = [x[i * n : (i + 1) * n] for i in range(g.size())]
    return _reduce_scatter("reduce_scatter_tensor", output, parts, [n], op, g, async_op)


reduce_scatter_single = reduce_scatter_tensor


def _reduce_scatter(
    name: str, output: Tensor, parts: list[np.ndarray], sizes: list[int], op: Any, g: ProcessGroup, async_op: bool
) -> Work | None:
    def act(call: Any) -> None:
        finish(op, exchanges.reduce_scatter(call, parts, combiner(op)), call.size)

    counts = ", ".join(map(str, sizes))
    text = f"{name}({op.name})|{output.dtype}|{counts}|{str(output.dtype).removeprefix('torch.')} of {counts} elements"
    return g.call(text, act, lambda: put(output, parts[g.rank()].copy()), [output], async_op)


def all_to_all(
    output_tensor_list: list[Tensor], input_tensor_list: list[Tensor], group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:  # fmt: skip
    """Put tensor i of process j's inputs into tensor j of process i's outputs."""
    check_tensors("output_tensor_list", output_tensor_list)
    check_tensors("input_tensor_list", input_tensor_list)
    check_dtypes(*output_tensor_list, *input_tensor_list)
    if outside(group, "all_to_all"):
        return None
    g = checked(group)
    check_tensors("output_tensor_list", output_tensor_list, g.size())
    check_tensors("input_tensor_list", input_tensor_list, g.size())
    if output_tensor_list[g.rank()].numel() != input_tensor_list[g.rank()].numel():
        raise ValueError(f"all_to_all: tensor {g.rank()} of outputs and inputs is of several sizes")
    parts = [snapshot(t) for t in input_tensor_list]
    into = [room(t) for t in output_tensor_list] if g.size() > 1 else parts
    return g.call(
        f"all_to_all()|{parts[0].dtype}|", lambda call: exchanges.all_to_all(call, into, parts),
        lambda: put_all(output_tensor_list, into), [output_tensor_list], async_op,
    )  # fmt: skip


def _pieces(x: np.ndarray, sizes: Any, name: str, shape: Any, count: int) -> list[np.ndarray]:
    """Pieces of a flat array along a tensor's first dimension."""
    length = shape[0] if len(shape) else 0
    if not sizes:
        if length % count:
            raise ValueError(
                f"all_to_all_single: {name} of shape {list(shape)} cannot be split into {count} equal parts"
            )
        sizes = [length // count] * count
    if len(sizes) != count or sum(sizes) != length:
        raise ValueError(
            f"all_to_all_single: split sizes {list(sizes)} of {name} for shape {list(shape)} and {count} processes"
        )
    row = x.size // length if length else 0
    ends = np.cumsum([0, *sizes]) * row
    return [x[a:b] for a, b in zip(ends, ends[1:])]


def all_to_all_single(
    output: Tensor, input: Tensor, output_split_sizes: list[int] | None = None,
    input_split_sizes: list[int] | None = None, group: ProcessGroup | None = None, async_op: bool = False,
) -> Work | None:  # fmt: skip
    """`all_to_all` of pieces of one tensor, along its first dimension: equal ones, or as long as the sizes say."""
    check_tensor("output", output)
    check_tensor("input", input)
    check_dtypes(output, input)
    if outside(group, "all_to_all_single"):
        return None
    g = checked(group)
    parts = _pieces(snapshot(input), input_split_sizes, "input", input.shape, g.size())
    whole = room(output)
    into = _pieces(whole, output_split_sizes, "output", output.shape, g.size())
    if into[g.rank()].size != parts[g.rank()].size:
        raise ValueError(
            f"all_to_all_single: this process's own piece has {parts[g.rank()].size} elements in the input, "
            f"{into[g.rank()].size} in the output"
        )
    if g.size() == 1:
        whole = parts[0]
    return g.call(
        f"all_to_all_single()|{output.dtype}|", lambda call: exchanges.all_to_all(call, into, parts),
        lambda: put(output, whole), [output], async_op,
    )  # fmt: skip

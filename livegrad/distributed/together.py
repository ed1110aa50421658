"""What models need of a group: many tensors sent in one message, and shapes compared."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from ..tensor import Tensor
from . import exchanges
from .channel import Call
from .group import ProcessGroup
from .host import flat, put
from .wire import as_raw

__all__ = ["broadcast_all", "same_shapes"]


def broadcast_all(group: ProcessGroup, tensors: Sequence[Tensor], root: int = 0) -> None:
    """Replace tensors of any dtypes by those of one of the group's processes, in one message."""
    if group.size() == 1 or not tensors:
        return
    sizes = [t.numel() * t.dtype.itemsize for t in tensors]
    ends = np.cumsum([0, *sizes])
    memory = np.empty(int(ends[-1]), np.uint8)
    mine = group.rank() == root
    if mine:
        for t, begin, end in zip(tensors, ends, ends[1:]):
            memory[begin:end] = np.frombuffer(as_raw(flat(t)), np.uint8)

    def store() -> None:
        if not mine:
            for t, begin, end in zip(tensors, ends, ends[1:]):
                put(t, memory[begin:end].copy().view(t.dtype.np))

    shapes = f"{len(tensors)} tensors of {memory.size} bytes"
    group.call(
        f"broadcast(src={group.ranks[root]})|{shapes}|{shapes}",
        lambda call: exchanges.broadcast(call, memory, root),
        store,
        [],
        False,
    )


def same_shapes(group: ProcessGroup, named: dict[str, Tensor]) -> None:
    """Raises RuntimeError where the processes of a group have models of several shapes, as all of them find out."""
    mine = np.frombuffer(json.dumps([[name, list(t.shape)] for name, t in named.items()]).encode(), np.uint8)
    found: list[np.ndarray] = [mine] * group.size()

    def act(call: Call) -> None:
        tickets = [(other, call.send(other, mine)) for other in range(call.size) if other != call.rank]
        for other, _ in tickets:
            found[other] = call.receive_any(other)
        for other, ticket in tickets:
            call.sent(other, ticket)

    group.call("shapes of parameters()|", act, lambda: None, [], False)
    models = [json.loads(data.tobytes()) for data in found]
    first = models[0]
    for rank, model in enumerate(models):
        if len(model) != len(first):
            raise RuntimeError(
                f"DDP expects same model across all ranks, but Rank {group.ranks[rank]} has {len(model)} params, while "
                f"rank {group.ranks[0]} has inconsistent {len(first)} params."
            )
        for (name, shape), (_, expected) in zip(model, first):
            if shape != expected:
                raise RuntimeError(
                    f"DDP expects same model across all ranks: parameter {name} has shape {shape} in rank "
                    f"{group.ranks[rank]}, but {expected} in rank {group.ranks[0]}."
                )

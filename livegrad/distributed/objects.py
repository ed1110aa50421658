"""Collective operations on Python objects, which travel as pickles.

Loading a pickle runs what it says: call these among processes that you trust only, as with PyTorch's. Nothing else that
processes send each other is executed.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np

from .channel import Call
from .checks import check_given
from .group import ProcessGroup, checked, outside, peer

__all__ = [
    "all_gather_object", "broadcast_object_list", "gather_object", "recv_object_list", "scatter_object_list",
    "send_object_list",
]  # fmt: skip


def _pickled(obj: Any) -> np.ndarray:
    buffer = io.BytesIO()
    pickle.Pickler(buffer, pickle.HIGHEST_PROTOCOL).dump(obj)
    return np.frombuffer(buffer.getvalue(), np.uint8)


def _object(data: np.ndarray) -> Any:
    return pickle.loads(data.tobytes())


def _from_root(call: Call, root: int, parts: list[np.ndarray]) -> np.ndarray:
    """What the root has for this process: it sends each of the others its part, whose length only the root knows."""
    if call.rank != root:
        return call.receive_any(root)
    tickets = [(other, call.send(other, parts[other])) for other in range(call.size) if other != root]
    for other, ticket in tickets:
        call.sent(other, ticket)
    return parts[root]


def all_gather_object(object_list: list, obj: Any, group: ProcessGroup | None = None) -> None:
    """Put the objects of all processes into a list, by pickles: among processes that are trusted only."""
    if outside(group, "all_gather_object"):
        return
    g = checked(group)
    if len(object_list) != g.size():
        raise ValueError(f"object_list has {len(object_list)} places, but the group has {g.size()} processes")
    mine = _pickled(obj)
    found: list[Any] = [None] * g.size()

    def act(call: Call) -> None:
        others = [(call.rank + step) % call.size for step in range(1, call.size)]
        tickets = [(other, call.send(other, mine)) for other in others]
        for other in reversed(others):
            found[other] = call.receive_any(other)
        for other, ticket in tickets:
            call.sent(other, ticket)

    def store() -> None:
        found[g.rank()] = mine
        object_list[:] = [_object(data) for data in found]

    g.call("all_gather_object()|", act, store, [], False)


def gather_object(
    obj: Any, object_gather_list: list | None = None, dst: int | None = None, group: ProcessGroup | None = None,
    group_dst: int | None = None,
) -> None:  # fmt: skip
    """Put the objects of all processes into a list of process ``dst``'s, by pickles: among trusted processes only."""
    if outside(group, "gather_object"):
        return
    g, root = checked(group), peer(group, "dst", dst, group_dst, otherwise=0)
    root_here = g.rank() == root
    check_given("object_gather_list", object_gather_list, root_here, "destination")
    if object_gather_list and len(object_gather_list) != g.size():
        raise ValueError(f"object_gather_list has {len(object_gather_list)} places for {g.size()} processes")
    mine = _pickled(obj)
    found: list[Any] = [mine] * g.size()

    def act(call: Call) -> None:
        if not root_here:
            call.sent(root, call.send(root, mine))
            return
        for other in range(call.size):
            if other != root:
                found[other] = call.receive_any(other)

    def store() -> None:
        if object_gather_list is not None and root_here:
            object_gather_list[:] = [_object(data) for data in found]

    g.call(f"gather_object(dst={g.ranks[root]})|", act, store, [], False)


def broadcast_object_list(
    object_list: list, src: int | None = None, group: ProcessGroup | None = None, device: Any = None,
    group_src: int | None = None,
) -> None:  # fmt: skip
    """Replace the objects in the lists of all processes by process ``src``'s, by pickles: among trusted ones only."""
    if outside(group, "broadcast_object_list"):
        return
    g, root = checked(group), peer(group, "src", src, group_src, otherwise=0)
    root_here = g.rank() == root
    data = _pickled(list(object_list)) if root_here else np.empty(0, np.uint8)
    found = [data]

    def act(call: Call) -> None:
        found[0] = _from_root(call, root, [data] * call.size)

    def store() -> None:
        if not root_here:
            come = _object(found[0])
            if len(come) != len(object_list):
                raise ValueError(f"rank {g.ranks[root]} sent {len(come)} objects for a list of {len(object_list)}")
            object_list[:] = come

    g.call(f"broadcast_object_list(src={g.ranks[root]})|", act, store, [], False)


def scatter_object_list(
    scatter_object_output_list: list, scatter_object_input_list: list | None = None, src: int | None = None,
    group: ProcessGroup | None = None, group_src: int | None = None,
) -> None:  # fmt: skip
    """Put each object of a list of process ``src``'s first into the list of one process, by pickles: among trusted
    processes only.
    """
    if outside(group, "scatter_object_list"):
        return
    g, root = checked(group), peer(group, "src", src, group_src, otherwise=0)
    if not isinstance(scatter_object_output_list, list) or len(scatter_object_output_list) < 1:
        raise ValueError("Expected argument scatter_object_output_list to be a list of size at least 1.")
    root_here = g.rank() == root
    datas: list[np.ndarray] = []
    if root_here:
        if scatter_object_input_list is None:
            raise ValueError("source rank must provide non-None scatter_object_input_list")
        if len(scatter_object_input_list) != g.size():
            raise ValueError(
                f"scatter_object_input_list has {len(scatter_object_input_list)} objects for {g.size()} ranks"
            )
        datas = [_pickled(obj) for obj in scatter_object_input_list]
    found = [datas[root] if root_here else np.empty(0, np.uint8)]

    def act(call: Call) -> None:
        found[0] = _from_root(call, root, datas)

    def store() -> None:
        scatter_object_output_list[0] = _object(found[0])

    g.call(f"scatter_object_list(src={g.ranks[root]})|", act, store, [], False)


def send_object_list(
    object_list: list, dst: int | None = None, group: ProcessGroup | None = None, device: Any = None,
    group_dst: int | None = None, use_batch: bool = False,
) -> None:  # fmt: skip
    """Send objects to process ``dst``, by pickles: to a process that is trusted only."""
    from .. import from_data
    from .messages import send

    data = _pickled(list(object_list))
    send(from_data.tensor([data.size]), dst, group, group_dst=group_dst)
    send(from_data.tensor(data), dst, group, group_dst=group_dst)


def recv_object_list(
    object_list: list, src: int | None = None, group: ProcessGroup | None = None, device: Any = None,
    group_src: int | None = None, use_batch: bool = False,
) -> int:  # fmt: skip
    """Receive the objects that process ``src``, or any, sends with `send_object_list`; its rank."""
    from .. import dtypes, from_data
    from .messages import recv

    size = from_data.tensor([0])
    source = recv(size, src, group, group_src=group_src)
    if source < 0:
        return source
    data = from_data.tensor(np.zeros(int(size.item()), np.uint8), dtype=dtypes.uint8)
    recv(data, source, group)
    come = _object(data._to_numpy())
    if len(come) != len(object_list):
        raise ValueError(f"rank {source} sent {len(come)} objects for a list of {len(object_list)}")
    object_list[:] = come
    return source

"""Tensors sent from one process to another: send and recv, isend and irecv, and several of them together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..tensor import Tensor
from .checks import check_tensor
from .group import GroupMember, ProcessGroup, checked, outside, peer
from .host import described, put, room, snapshot
from .work import Work

__all__ = ["P2POp", "batch_isend_irecv", "irecv", "isend", "recv", "send"]


class _Sending(Work):
    """A message on its way."""

    def __init__(self, wait: Callable[[], None], done: Callable[[], bool], tensor: Tensor):
        super().__init__(results=[tensor])
        self._wait, self._done = wait, done

    def wait(self, timeout: Any = None) -> bool:
        """Wait until the message has left; True."""
        if not self._ended.is_set():
            try:
                self._wait()
            except Exception as error:
                self._end(error)
            else:
                self._end()
        return super().wait(timeout)

    def is_completed(self) -> bool:
        """Whether the message has left."""
        return self._ended.is_set() or self._done()


def _other(group: Any, name: str, rank: int | None, group_rank: int | None, what: str) -> int:
    found = peer(group, name, rank, group_rank)
    if found == checked(group).rank():
        raise ValueError(f"Invalid {what} rank: {what} rank should not be the same as the rank of the current process.")
    return found


def isend(
    tensor: Tensor, dst: int | None = None, group: ProcessGroup | None = None, tag: int = 0,
    group_dst: int | None = None,
) -> Work | None:  # fmt: skip
    """Begin to send a tensor to process ``dst``; the `Work` is done when it has left. It must not change before."""
    check_tensor("tensor", tensor)
    if outside(group, "isend"):
        return None
    g, to = checked(group), _other(group, "dst", dst, group_dst, "destination")
    text = described("message", tensor).encode()
    ticket = g.mailbox.send(to, snapshot(tensor), tag, text)
    return _Sending(lambda: g.mailbox.wait_sent(to, ticket, text.rpartition(b"|")[2]), ticket.done, tensor)


def send(
    tensor: Tensor, dst: int | None = None, group: ProcessGroup | None = None, tag: int = 0,
    group_dst: int | None = None,
) -> None:  # fmt: skip
    """Send a tensor to process ``dst``, which receives it with `recv` or `irecv` with the same tag."""
    work = isend(tensor, dst, group, tag, group_dst)
    if work is not None:
        work.wait()


class _Receiving(Work):
    """A message that is waited for."""

    def __init__(self, receipt: Any, tensor: Tensor, ranks: list[int]):
        super().__init__(results=[tensor])
        self._receipt, self._ranks = receipt, ranks

    def wait(self, timeout: Any = None) -> bool:
        """Wait until the message is in the tensor; True."""
        return self._receipt.work.wait(timeout)

    def is_completed(self) -> bool:
        """Whether the message is in the tensor."""
        return self._receipt.work.is_completed()

    def is_success(self) -> bool:
        return self._receipt.work.is_success()

    def exception(self) -> BaseException | None:
        return self._receipt.work.exception()

    def source_rank(self) -> int:
        """Whose message it is."""
        self.wait()
        return self._ranks[self._receipt.source]

    _source_rank = source_rank


def irecv(
    tensor: Tensor, src: int | None = None, group: ProcessGroup | None = None, tag: int = 0,
    group_src: int | None = None,
) -> Work | None:  # fmt: skip
    """Begin to receive a tensor from process ``src``, or from any; once the `Work` is done, it is in ``tensor``."""
    check_tensor("tensor", tensor)
    if outside(group, "irecv"):
        return None
    g = checked(group)
    of = None if src is None and group_src is None else _other(group, "src", src, group_src, "source")
    into = room(tensor)
    text = described("message", tensor).encode()
    receipt = g.mailbox.receive(of, into, tag, text, lambda: put(tensor, into))
    g.open(receipt.work)
    return _Receiving(receipt, tensor, g.ranks)


def recv(
    tensor: Tensor, src: int | None = None, group: ProcessGroup | None = None, tag: int = 0,
    group_src: int | None = None,
) -> int:  # fmt: skip
    """Receive a tensor from process ``src``, or from any; the rank of who has sent it. -1 outside the group."""
    work = irecv(tensor, src, group, tag, group_src)
    if work is None:
        return -1
    work.wait()
    assert isinstance(work, _Receiving)
    return work.source_rank()


class P2POp:
    """One of several messages for `batch_isend_irecv`: `isend` or `irecv`, the tensor, and the other process."""

    def __init__(
        self, op: Callable, tensor: Tensor, peer: int | None = None, group: ProcessGroup | None = None, tag: int = 0,
        group_peer: int | None = None,
    ):  # fmt: skip
        if op not in (isend, irecv):
            raise ValueError(
                "Invalid ``op``. Expected ``op`` to be of type ``torch.distributed.isend`` or "
                "``torch.distributed.irecv``."
            )
        check_tensor("tensor", tensor)
        self.op, self.tensor, self.group, self.tag = op, tensor, group, tag
        if checked(group) == GroupMember.NON_GROUP_MEMBER:
            raise ValueError("a message needs a group that this process is in")
        self.group_peer = _other(group, "peer", peer, group_peer, "peer")
        self.peer = checked(group).ranks[self.group_peer]

    def __repr__(self) -> str:
        return f"P2POp({self.op.__name__}, peer={self.peer}, tag={self.tag}, shape={list(self.tensor.shape)})"


def batch_isend_irecv(p2p_op_list: list[P2POp]) -> list[Work]:
    """Begin all these messages; one `Work` for each."""
    if not p2p_op_list or not all(isinstance(p, P2POp) for p in p2p_op_list):
        raise ValueError("Invalid ``p2p_op_list``. Each op is expected to to be of type ``torch.distributed.P2POp``.")
    return [p.op(p.tensor, p.peer, p.group, p.tag) for p in p2p_op_list]

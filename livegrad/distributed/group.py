"""The groups that a program's processes form: the world, and parts of it."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from ..site import warn
from .channel import Call, Channel
from .errors import DEFAULT_TIMEOUT, DistBackendError, seconds
from .file_store import FileStore
from .mesh import Mesh
from .point_to_point import Mailbox
from .rendezvous import rendezvous
from .store import PrefixStore, Store
from .tcp_store import TCPStore
from .work import Lane, Work

__all__ = [
    "Backend", "GroupMember", "ProcessGroup", "destroy_process_group", "get_backend", "get_global_rank",
    "get_group_rank", "get_node_local_rank", "get_pg_count", "get_process_group_ranks", "get_rank", "get_world_size",
    "group", "init_process_group", "is_available", "is_backend_available", "is_gloo_available", "is_initialized",
    "is_mpi_available", "is_nccl_available", "is_ucc_available", "is_xccl_available", "new_group", "new_subgroups",
    "new_subgroups_by_enumeration",
]  # fmt: skip


class Backend(str):
    """A backend's name, in lower case: "gloo", or "nccl", which names the same connections here."""

    UNDEFINED, GLOO, NCCL, MPI, UCC, XCCL = "undefined", "gloo", "nccl", "mpi", "ucc", "xccl"

    def __new__(cls, name: str) -> Backend:
        if not isinstance(name, str):
            raise ValueError(f"Backend constructor parameter must be string-ish, not {name!r}")
        return super().__new__(cls, name.lower())


def _checked_backend(name: str | None) -> Backend:
    """The name of a backend that there is; of "cpu:gloo,cuda:nccl" the first. AssertionError for any other."""
    found = Backend(name or "gloo")
    first = found.split(",")[0].rpartition(":")[2]
    if first not in (Backend.GLOO, Backend.NCCL):
        raise AssertionError(f"Unknown backend type {first}: there are gloo and nccl, which are the same here")
    return Backend(first)


class ProcessGroup:
    """Processes that call collective operations together. ranks: the world's ranks of its processes, in their order."""

    def __init__(
        self, backend: str, ranks: list[int] | None = None, rank: int = 0, name: str = "0",
        timeout: float = DEFAULT_TIMEOUT.total_seconds(), mesh: Mesh | None = None, store: Store | None = None,
    ):  # fmt: skip
        self.backend = Backend(backend)
        self.ranks = [0] if ranks is None else ranks
        self.group_name = name
        self.group_desc = "default_pg" if name == "0" else "undefined"
        self.timeout = timeout
        self.store = store
        self._rank = self.ranks.index(rank)
        self._mesh = mesh
        self._channel = None if mesh is None or len(self.ranks) == 1 else Channel(mesh, name, self.ranks, timeout)
        self._lane = Lane(f"livegrad-group-{name}")
        self._mailbox: Mailbox | None = None
        self._forked = False
        self._open: list[Work] = []

    def rank(self) -> int:
        """This process's number in the group."""
        return self._rank

    def size(self) -> int:
        """How many processes it has."""
        return len(self.ranks)

    def name(self) -> str:
        """The backend's name."""
        return str(self.backend)

    def __repr__(self) -> str:
        return f"ProcessGroup(ranks={self.ranks}, rank={self._rank}, backend={str(self.backend)!r})"

    def call(
        self, text: str, action: Callable[[Call], None], finish: Callable[[], None], results: list, async_op: bool,
        timeout: float | None = None,
    ) -> Work | None:  # fmt: skip
        """Do a collective operation: ``action`` with the other processes, then ``finish`` in the caller's thread.

        Without other processes, ``finish`` is all there is to do.
        """
        channel = self._channel
        if self._forked:
            raise RuntimeError("collective operations are not for processes that were forked after init_process_group")
        if channel is None:
            finish()
            if not async_op:
                return None
            work = Work(results=results)
            work._end()
            return work
        call = channel.call(text, timeout)

        def act() -> None:
            channel.mesh.calls[self.group_name] = call.sequence
            try:
                action(call)
                del channel.mesh.calls[self.group_name]
            except DistBackendError:
                raise
            except BaseException as error:  # Ctrl-C, say: what was half sent cannot be taken back
                channel.mesh.tell_failure(
                    self.group_name, [r for r in self.ranks if r != channel.mesh.rank],
                    f"rank {channel.mesh.rank} was interrupted in {text.partition('|')[0]} by {type(error).__name__}",
                )  # fmt: skip
                raise

        if async_op:
            return self.open(self._lane.later(act, Work(finish, results)))
        self._lane.now(act)
        finish()
        self._settle()
        return None

    def open(self, work: Work) -> Work:
        """Remember work that somebody may not wait for: its results are in the tensors after a later operation."""
        self._settle()
        self._open.append(work)
        return work

    def _settle(self) -> None:
        still = [work for work in self._open if not work.is_completed()]
        self._open = still

    @property
    def mailbox(self) -> Mailbox:
        """What is sent from one process to another."""
        if self._mailbox is None:
            if self._mesh is None:
                raise ValueError("the group has one process: there is nobody to send to")
            self._mailbox = Mailbox(self._mesh, self.group_name, self.ranks, self.timeout)
        return self._mailbox

    def forget(self) -> None:
        """Be a group in name only, in a process that was forked."""
        self._mesh, self._channel, self._mailbox, self._forked = None, None, None, True

    def shutdown(self) -> None:
        """End its connections."""
        self._lane.close()
        if self._mesh is not None:
            self._mesh.leave(self.group_name)


class GroupMember:
    """``GroupMember.NON_GROUP_MEMBER`` is the group that `new_group` gives processes that are not in it."""

    NON_GROUP_MEMBER = -100


class _WorldMeta(type):
    @property
    def WORLD(cls) -> ProcessGroup | None:
        """The default group, or None before `init_process_group`."""
        return _STATE.world


class group(metaclass=_WorldMeta):  # noqa: N801  (PyTorch's name)
    """``group.WORLD`` is the default group."""


class _State:
    """What `init_process_group` makes. groups: all that this process is in. made: how many were asked for."""

    world: ProcessGroup | None = None
    mesh: Mesh | None = None
    store: Store | None = None
    own_store = False  # it was made by `init_process_group`, and is closed with the default group
    groups: dict[str, ProcessGroup] = {}
    made = 0


_STATE = _State()


def is_available() -> bool:
    """True: processes can work together."""
    return True


def is_gloo_available() -> bool:
    """True: connections over TCP are there, under this name."""
    return True


def is_nccl_available() -> bool:
    """False: NCCL is not there. A group can have its name all the same, and sends what is on GPUs through the CPU."""
    return False


def is_mpi_available() -> bool:
    """False."""
    return False


def is_ucc_available() -> bool:
    """False."""
    return False


def is_xccl_available() -> bool:
    """False."""
    return False


def is_backend_available(backend: str) -> bool:
    """Whether a backend of this name is there: "gloo" is."""
    return backend.lower() == Backend.GLOO


def is_initialized() -> bool:
    """Whether `init_process_group` has been called."""
    return _STATE.world is not None


def init_process_group(
    backend: str | None = None, init_method: str | None = None, timeout: Any = None, world_size: int = -1,
    rank: int = -1, store: Any = None, group_name: str = "", pg_options: Any = None, device_id: Any = None,
) -> None:  # fmt: skip
    """Form the default group of all processes. Each of them calls it, and it returns when all are connected.

    They find each other by ``init_method`` (see `rendezvous`; ``env://`` unless given), or through a ``store`` with
    ``rank`` and ``world_size``. timeout: how long one process waits for another, 30 minutes unless given.
    Connections are made within this machine only, unless the address of the rendezvous is one that others reach.

    Raises ValueError where something is missing or the group is there, DistNetworkError where a process does not come.
    """
    state = _STATE
    if state.world is not None:
        raise ValueError("trying to initialize the default process group twice!")
    name = _checked_backend(backend)
    limit, state.own_store = seconds(timeout), store is None
    if store is not None:
        if init_method is not None:
            raise AssertionError("Cannot specify both init_method and store.")
        if world_size <= 0:
            raise AssertionError("world_size must be positive if using store")
        if rank < 0:
            raise AssertionError("rank must be non-negative if using store")
    elif init_method is None and world_size == 1 and rank == 0:
        pass  # nobody to find
    else:
        store, rank, world_size = rendezvous(init_method or "env://", rank, world_size, timeout)
    if not 0 <= rank < world_size:
        raise ValueError(f"rank {rank} of a world of {world_size}: ranks are from 0 to {world_size - 1}")
    if store is not None:
        store.set_timeout(timedelta(seconds=limit))
    mesh = None
    if world_size > 1:
        mesh = Mesh(PrefixStore("default_pg", store), rank, world_size, limit)
    state.store, state.mesh, state.made = store, mesh, 0
    state.world = ProcessGroup(name, list(range(world_size)), rank, "0", limit, mesh, store)
    state.groups = {"0": state.world}


def destroy_process_group(group: ProcessGroup | None = None) -> None:
    """Dissolve a group; without one, the default group and all others."""
    known = checked(group)
    if known is None:
        return
    if known is not _STATE.world:
        known.shutdown()
        _STATE.groups.pop(known.group_name, None)
        return
    _end()


def _end() -> None:
    """Leave all groups, and close what belongs to them; also where a program ends without having said so."""
    state = _STATE
    for each in state.groups.values():
        each._lane.close()
    if state.mesh is not None:
        state.mesh.close()
    store, own = state.store, state.own_store
    state.world, state.mesh, state.store, state.groups = None, None, None, {}
    while isinstance(store, PrefixStore):
        store = store.underlying_store
    if own and isinstance(store, (FileStore, TCPStore)):
        store.close()


atexit.register(_end)


def _forked() -> None:
    """In a process that this one forked, such as a DataLoader's: the connections are the parent's, and are let go.

    Which rank it is can still be asked.
    """
    state = _STATE
    store = state.store
    while isinstance(store, PrefixStore):
        store = store.underlying_store
    if isinstance(store, (TCPStore, FileStore)):
        store.forget()
    if state.mesh is not None:
        state.mesh.forget()
    state.mesh, state.store = None, None
    for each in state.groups.values():
        each.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def checked(group: Any) -> Any:
    """The group, the default one if none is given. Raises ValueError before `init_process_group`."""
    if _STATE.world is None:
        raise ValueError("Default process group has not been initialized, please make sure to call init_process_group.")
    return _STATE.world if group is None else group


def outside(group: Any, name: str) -> bool:
    """Whether this process is not in the group, with a warning that a collective operation does nothing then."""
    if checked(group) != GroupMember.NON_GROUP_MEMBER:
        return False
    rank = -1 if _STATE.world is None else _STATE.world.rank()
    warn(f"Running {name} on global rank {rank} which does not belong to the given group.")
    return True


def new_group(
    ranks: Any = None, timeout: Any = None, backend: str | None = None, pg_options: Any = None,
    use_local_synchronization: bool = False, group_desc: str | None = None, device_id: Any = None,
    sort_ranks: bool = True,
) -> Any:  # fmt: skip
    """A group of some of the world's processes. All processes of the world call it, with the same ranks.

    Those that are not in it get ``GroupMember.NON_GROUP_MEMBER``. With ``use_local_synchronization`` only its own
    processes call it. Raises ValueError for ranks that are not there, or twice.
    """
    world = checked(None)
    ranks = list(world.ranks) if ranks is None else [int(r) for r in ranks]
    if len(ranks) > world.size():
        raise ValueError(
            "the new group's world size should be less or equal to the world size set by init_process_group"
        )
    if any(not 0 <= r < world.size() for r in ranks):
        raise ValueError("The new group's rank should be within the world_size set by init_process_group")
    if len(set(ranks)) != len(ranks):
        raise ValueError(f"new_group(ranks={ranks}): a rank is there twice")
    if sort_ranks:
        ranks.sort()
    state = _STATE
    if use_local_synchronization:
        if world.rank() not in ranks:
            return GroupMember.NON_GROUP_MEMBER
        same = sum(1 for g in state.groups.values() if g.group_name.startswith("local ") and g.ranks == ranks)
        name = f"local {'-'.join(map(str, ranks))} {same}"
    else:
        state.made += 1
        name = str(state.made)
    chosen = world.backend if backend is None else _checked_backend(backend)
    if world.rank() not in ranks:
        return GroupMember.NON_GROUP_MEMBER
    limit = world.timeout if timeout is None else seconds(timeout)
    made = ProcessGroup(chosen, ranks, world.rank(), name, limit, state.mesh, state.store)
    made.group_desc = group_desc or "undefined"
    state.groups[name] = made
    return made


def new_subgroups_by_enumeration(
    ranks_per_subgroup_list: list[list[int]], timeout: Any = None, backend: str | None = None, pg_options: Any = None,
    group_desc: str | None = None,
) -> tuple[Any, list[Any]]:  # fmt: skip
    """(the group of this process, all groups), one for each list of ranks. ValueError where a rank is in two."""
    if not ranks_per_subgroup_list:
        raise ValueError("The arg 'ranks_per_subgroup_list' cannot be empty")
    flat = [r for ranks in ranks_per_subgroup_list for r in ranks]
    if len(set(flat)) != len(flat):
        raise ValueError("Rank has appeared in two subgroups")
    groups = [new_group(ranks, timeout, backend, group_desc=group_desc) for ranks in ranks_per_subgroup_list]
    mine = [g for g in groups if g != GroupMember.NON_GROUP_MEMBER]
    return (mine[0] if mine else None), groups


def new_subgroups(
    group_size: int | None = None, group: Any = None, timeout: Any = None, backend: str | None = None,
    pg_options: Any = None, group_desc: str | None = None,
) -> tuple[Any, list[Any]]:  # fmt: skip
    """(the group of this process, all groups), of ``group_size`` neighbouring ranks each."""
    world = checked(group).size()
    if group_size is None:
        raise ValueError("Default group size only takes effect when CUDA is available. Give a group_size")
    if not 0 < group_size <= world:
        raise ValueError(f"The arg 'group_size' ({group_size}) must not exceed the world size ({world})")
    if world % group_size:
        raise ValueError(f"The world size ({world}) must be divisible by 'group_size={group_size}'")
    lists = [list(range(first, first + group_size)) for first in range(0, world, group_size)]
    return new_subgroups_by_enumeration(lists, timeout, backend, group_desc=group_desc)


def get_rank(group: Any = None) -> int:
    """This process's number in a group; -1 if it is not in it."""
    found = checked(group)
    return -1 if found == GroupMember.NON_GROUP_MEMBER else found.rank()


def get_world_size(group: Any = None) -> int:
    """How many processes a group has; -1 if this one is not in it."""
    found = checked(group)
    return -1 if found == GroupMember.NON_GROUP_MEMBER else found.size()


def get_backend(group: Any = None) -> Backend:
    """The name of the backend that the group was formed with. ValueError if this process is not in it."""
    found = checked(group)
    if found == GroupMember.NON_GROUP_MEMBER:
        raise ValueError("Invalid process group specified")
    return found.backend


def get_process_group_ranks(group: Any = None) -> list[int]:
    """The world's ranks of a group's processes."""
    return list(checked(group).ranks)


def get_global_rank(group: Any, group_rank: int) -> int:
    """The world's rank of a group's process. Raises ValueError where there is none."""
    ranks = checked(group).ranks
    if not 0 <= group_rank < len(ranks):
        raise ValueError(f"Group rank {group_rank} is not part of group {group}")
    return ranks[group_rank]


def get_group_rank(group: Any, global_rank: int) -> int:
    """A process's rank in a group. Raises ValueError where it is not in it."""
    ranks = checked(group).ranks
    if global_rank not in ranks:
        raise ValueError(f"Global rank {global_rank} is not part of group {group}")
    return ranks.index(global_rank)


def get_node_local_rank(fallback_rank: int | None = None) -> int:
    """This process's number on its machine, which the launcher has put into LOCAL_RANK."""
    text = os.environ.get("LOCAL_RANK")
    if text is not None:
        return int(text)
    if fallback_rank is not None:
        return int(fallback_rank)
    raise RuntimeError(
        "LOCAL_RANK is not in the environment. Consider passing fallback_rank to allow `get_node_local_rank` to work, "
        "assuming you are not running in a multi-device context and want the code to run locally instead."
    )


def get_pg_count() -> int:
    """How many groups this process is in."""
    return len(_STATE.groups)


def peer(group: Any, name: str, rank: int | None, group_rank: int | None = None, otherwise: int | None = None) -> int:
    """A process's rank in a group, from its rank in the world, or in the group. ValueError where it is not in it."""
    found = checked(group)
    if rank is not None and group_rank is not None:
        raise ValueError(f"Can't specify both group_{name} and {name}")
    if group_rank is None and rank is None:
        if otherwise is None:
            raise ValueError(f"Must specify {name} or group_{name}")
        rank = otherwise
    if group_rank is not None:
        if not 0 <= group_rank < found.size():
            raise ValueError(f"group_{name}={group_rank}: the group has {found.size()} processes")
        return group_rank
    if rank not in found.ranks:
        which = "" if found is _STATE.world else f" {found.ranks}"
        raise ValueError(f"{name}={rank} is no rank of the group{which}, which has {found.size()} processes")
    return found.ranks.index(rank)

"""The group that a program's processes form: of one, here."""

from __future__ import annotations

import os
from typing import Any


class ProcessGroup:
    """A group of one process."""

    def __init__(self, backend: str):
        self.backend = backend

    def rank(self) -> int:
        return 0

    def size(self) -> int:
        return 1


class _WorldMeta(type):
    @property
    def WORLD(cls) -> ProcessGroup | None:
        """The default group, or None before `init_process_group`."""
        return _STATE.world


class group(metaclass=_WorldMeta):  # noqa: N801  (PyTorch's name)
    """``group.WORLD`` is the default group."""


class _State:
    world: ProcessGroup | None = None


_STATE = _State()


def is_available() -> bool:
    """False: processes do not work together. A group of one can be formed all the same.

    It is what PyTorch says where it was built without them, so libraries leave out what shards tensors over processes.
    """
    return False


def is_gloo_available() -> bool:
    """True: its name is accepted."""
    return True


def is_nccl_available() -> bool:
    """False: there are no processes to talk to."""
    return False


def is_mpi_available() -> bool:
    """False: there are no processes to talk to."""
    return False


def is_torchelastic_launched() -> bool:
    """Whether PyTorch's launcher started this process."""
    return os.environ.get("TORCHELASTIC_RUN_ID") is not None


def is_initialized() -> bool:
    """Whether `init_process_group` has been called."""
    return _STATE.world is not None


def _from_environment(name: str) -> int:
    text = os.environ.get(name)
    if text is None:
        raise ValueError(
            f"Error initializing torch.distributed using env:// rendezvous: environment variable {name} expected, but "
            "not set"
        )
    return int(text)


def init_process_group(
    backend: str | None = None, init_method: str | None = None, timeout: Any = None, world_size: int = -1,
    rank: int = -1, store: Any = None, group_name: str = "", pg_options: Any = None, device_id: Any = None,
) -> None:  # fmt: skip
    """Form the default group. The size of the world and this process's rank are given, or RANK and WORLD_SIZE say them.

    Raises RuntimeError for a world of more than one process.
    """
    if _STATE.world is not None:
        raise ValueError("trying to initialize the default process group twice!")
    if rank == -1:
        rank = _from_environment("RANK")
    if world_size == -1:
        world_size = _from_environment("WORLD_SIZE")
    if world_size != 1 or rank != 0:
        raise RuntimeError(
            f"init_process_group: this is rank {rank} of a world of {world_size}, but several processes do not work "
            "together yet: run the program with world_size=1 and rank=0"
        )
    _STATE.world = ProcessGroup(str(backend or "gloo").lower())


def destroy_process_group(group: ProcessGroup | None = None) -> None:
    """Dissolve a group; without one, the default group."""
    known = checked(group)
    if known is _STATE.world:
        _STATE.world = None


def checked(group: ProcessGroup | None) -> ProcessGroup:
    """The group, the default one if none is given. Raises ValueError before `init_process_group`."""
    if _STATE.world is None:
        raise ValueError("Default process group has not been initialized, please make sure to call init_process_group.")
    return _STATE.world if group is None else group


def new_group(ranks: Any = None, timeout: Any = None, backend: str | None = None, **options: Any) -> ProcessGroup:
    """A group of some of the world's processes: of the one that there is."""
    world = checked(None)
    if ranks is not None and any(r != 0 for r in ranks):
        raise ValueError("the new group's rank should be within the world_size set by init_process_group")
    return ProcessGroup(backend or world.backend)


def get_rank(group: ProcessGroup | None = None) -> int:
    """This process's number in a group."""
    return checked(group).rank()


def get_world_size(group: ProcessGroup | None = None) -> int:
    """How many processes a group has."""
    return checked(group).size()


def get_backend(group: ProcessGroup | None = None) -> str:
    """The name that the group was formed with."""
    return checked(group).backend


def get_process_group_ranks(group: ProcessGroup | None = None) -> list[int]:
    """The ranks of a group's processes."""
    checked(group)
    return [0]

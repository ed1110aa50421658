"""How the processes of a program find each other: an address that all know leads to a store that all see."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from .errors import DEFAULT_TIMEOUT, seconds
from .file_store import FileStore
from .store import PrefixStore, Store
from .tcp_store import TCPStore

__all__ = ["is_torchelastic_launched", "rendezvous"]


def is_torchelastic_launched() -> bool:
    """Whether a launcher (`livegrad.distributed.run`, or torchrun) started this process."""
    return os.environ.get("TORCHELASTIC_RUN_ID") is not None


def _from_environment(name: str) -> str:
    text = os.environ.get(name)
    if text is None:
        raise ValueError(
            f"Error initializing torch.distributed using env:// rendezvous: environment variable {name} expected, but "
            "not set"
        )
    return text


def rendezvous(
    url: str, rank: int = -1, world_size: int = -1, timeout: Any = None
) -> tuple[Store, int, int]:  # fmt: skip
    """The store that an address leads to, this process's rank, and how many processes there are.

    ``env://``: RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT say it all. ``tcp://host:port``: rank 0 serves the store
    there. ``file:///path``: the store is that file. Rank and size can also be in the address
    (``tcp://host:port?rank=0&world_size=2``). Raises ValueError for what is missing.
    """
    parts = urlsplit(url)
    asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
    limit = timedelta(seconds=seconds(timeout, DEFAULT_TIMEOUT))
    if parts.scheme == "env":
        rank = int(asked.get("rank", rank))
        world_size = int(asked.get("world_size", world_size))
        if rank == -1:
            rank = int(_from_environment("RANK"))
        if world_size == -1:
            world_size = int(_from_environment("WORLD_SIZE"))
        return _tcp(_from_environment("MASTER_ADDR"), int(_from_environment("MASTER_PORT")), rank, world_size, limit)
    if parts.scheme not in ("tcp", "file"):
        raise RuntimeError(f"No rendezvous handler for {parts.scheme}://")
    rank, world_size = int(asked.get("rank", rank)), int(asked.get("world_size", world_size))
    for name, value in (("rank", rank), ("world size", world_size)):
        if value == -1:
            raise ValueError(
                f"Error initializing torch.distributed using {parts.scheme}:// rendezvous: {name} parameter missing"
            )
    if parts.scheme == "file":
        path = unquote(parts.netloc + parts.path)
        if not path:
            raise ValueError("Error initializing torch.distributed using file:// rendezvous: path missing")
        return FileStore(path, world_size), rank, world_size
    if parts.port is None or not parts.hostname:
        raise ValueError("Error initializing torch.distributed using tcp:// rendezvous: port number missing")
    return _tcp(parts.hostname, parts.port, rank, world_size, limit)


def _tcp(host: str, port: int, rank: int, world_size: int, limit: timedelta) -> tuple[Store, int, int]:
    if not 0 <= port < 2**16:
        raise ValueError(f"port must have value from 0 to 65535 but was {port}.")
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":  # the launcher serves the store
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        store = TCPStore(host, port, world_size, False, limit, wait_for_workers=False)
        return PrefixStore(f"/worker/attempt_{attempt}", store), rank, world_size
    return TCPStore(host, port, world_size, rank == 0, limit, wait_for_workers=False), rank, world_size

"""Starts the processes of a program on one machine, and ends all of them when one fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .elastic.multiprocessing.errors import recorded
from .tcp_store import Server

__all__ = ["Plan", "launch"]

_GRACE = 5.0  # seconds that a process has to end after it was asked to
_LOOK = 0.05  # seconds between two looks at them
PORT = 29500


@dataclass
class Plan:
    """How many processes on how many machines, and where they meet.

    The first machine (``node_rank`` 0) serves the store at ``address``; without a port, one machine chooses one.
    """

    here: int = 1
    nodes: int = 1
    node_rank: int = 0
    address: str = "127.0.0.1"
    port: int | None = None
    restarts: int = 0
    name: str = field(default_factory=lambda: uuid.uuid4().hex)

    def environment(self, local_rank: int, port: int, attempt: int, error_file: str) -> dict[str, str]:
        """What a process is told, under the names that torchrun uses."""
        rank, size = self.node_rank * self.here + local_rank, self.here * self.nodes
        told: dict[str, Any] = {
            "LOCAL_RANK": local_rank, "RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": self.here,
            "GROUP_RANK": self.node_rank, "GROUP_WORLD_SIZE": self.nodes, "ROLE_RANK": rank, "ROLE_WORLD_SIZE": size,
            "ROLE_NAME": "default", "MASTER_ADDR": self.address, "MASTER_PORT": port,
            "TORCHELASTIC_USE_AGENT_STORE": True, "TORCHELASTIC_RESTART_COUNT": attempt,
            "TORCHELASTIC_MAX_RESTARTS": self.restarts, "TORCHELASTIC_RUN_ID": self.name,
            "TORCHELASTIC_ERROR_FILE": error_file,
        }  # fmt: skip
        named = {**os.environ, **{name: str(value) for name, value in told.items()}}
        if self.here > 1:  # they share the cores
            share = max(1, _cores() // self.here)
            named.setdefault("LIVEGRAD_NUM_THREADS", str(share))
            named.setdefault("OMP_NUM_THREADS", str(share))
        return named


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class Failure:
    """A process that ended otherwise than with 0."""

    local_rank: int
    process: subprocess.Popen
    status: int
    traceback: str | None

    def exit_status(self) -> int:
        """What a shell would show: 128 and the signal's number for one that a signal ended."""
        return 128 - self.status if self.status < 0 else self.status

    def text(self, plan: Plan, what: str) -> str:
        how = f"exit status {self.status}"
        if self.status < 0:
            how = f"signal {signal.Signals(-self.status).name}"
        rank = plan.node_rank * plan.here + self.local_rank
        head = f"{what} failed: rank {rank} (local rank {self.local_rank}, process {self.process.pid}) ended with {how}"
        others = "" if plan.here == 1 else "; the others were stopped"
        return f"{head}{others}" + (f"\nTraceback of rank {rank}:\n{self.traceback.rstrip()}" if self.traceback else "")


def launch(plan: Plan, command: list[str], what: str, report: Callable[[str], None]) -> int:
    """Run a command in all processes of this machine; the exit status of the first that fails, or 0.

    Their output goes where this process's goes. When one fails the others are ended, and all are started again up to
    ``plan.restarts`` times. Raises DistNetworkError where the store's port is in use.
    """
    port = plan.port
    if port is None:
        port = 0 if plan.nodes == 1 else PORT
    server = Server(plan.address, port) if plan.node_rank == 0 else None
    port = server.port if server else port
    before = signal.signal(signal.SIGTERM, _interrupted)
    try:
        for attempt in range(plan.restarts + 1):
            failure = _run(plan, command, port, attempt)
            if failure is None:
                return 0
            report(failure.text(plan, what))
            if attempt < plan.restarts:
                report(f"starting again ({attempt + 1} of {plan.restarts})")
        assert failure is not None
        return failure.exit_status()
    finally:
        signal.signal(signal.SIGTERM, before)
        if server is not None:
            server.close()


def _interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


def _run(plan: Plan, command: list[str], port: int, attempt: int) -> Failure | None:
    with tempfile.TemporaryDirectory(prefix="livegrad-run-") as folder:
        files = [os.path.join(folder, f"error-{i}.json") for i in range(plan.here)]
        processes: list[subprocess.Popen] = []
        try:
            for i, file in enumerate(files):
                processes.append(subprocess.Popen(command, env=plan.environment(i, port, attempt, file)))
            while True:
                ended = [(i, p, p.poll()) for i, p in enumerate(processes)]
                failed = [(i, p, status) for i, p, status in ended if status]
                if failed:
                    i, process, status = _first(failed, files)
                    return Failure(i, process, status, recorded(files[i]))
                if all(status == 0 for _, _, status in ended):
                    return None
                time.sleep(_LOOK)
        finally:
            end_all(processes)


def _first(failed: list, files: list[str]) -> Any:
    """Which of several that were found to have failed at once failed first: who wrote its error first."""

    def when(one: tuple) -> float:
        try:
            return os.stat(files[one[0]]).st_mtime_ns
        except OSError:
            return float("inf")

    return min(failed, key=when)


def end_all(processes: list[subprocess.Popen]) -> None:
    """End those that still run: ask them to, and after some seconds do it."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
    end = time.monotonic() + _GRACE
    for process in processes:
        try:
            process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def to_stderr(text: str) -> None:
    """Report what happened to whoever started this."""
    sys.stdout.flush()
    print(text, file=sys.stderr, flush=True)

"""Launches put off until several can run as one."""

from __future__ import annotations

from ..codegen import batch
from ..native import hot
from ..observe import WATCH
from ..runtime import pool
from ..runtime.array import Array
from .plans import MapPlan
from .value import Value, settle, take_memory


class Batch:
    """What is put off. Results become ready when it has run."""

    def __init__(self) -> None:
        self.jobs: list[tuple[int, bytes, int]] = []
        self.grain = 0
        self.results: dict[Value, Array] = {}
        self.relabels: list[Value] = []
        self.keep: list = []

    def makes(self, nodes: list[Value]) -> bool:
        """Whether one of these values is among the results."""
        return not self.results.keys().isdisjoint(nodes)

    @hot
    def add(self, plan: MapPlan, args: bytes, leaves: list[Value], results: list[Value], made: list[Array]) -> None:
        self.jobs.append((plan.kernel.address, args, plan.total))
        self.grain = min(self.grain, plan.grain) if self.grain else plan.grain
        self.results.update(zip(results, made))
        self.keep.append(plan)  # or its kernel could go
        # An operand that is overwritten is emptied, but its memory must stay.
        self.keep.append([leaf.array for leaf in leaves])

    @hot
    def run(self) -> None:
        jobs, self.jobs = self.jobs, []
        grain, self.grain = self.grain, 0
        observer = WATCH.observer if jobs else None
        token = None if observer is None else observer.begin_batch()
        launch_jobs(jobs, grain)
        if observer is not None:
            observer.end(token, "")
        for v, a in self.results.items():
            settle(v, a)
        self.results.clear()
        for v in self.relabels:
            take_memory(v)
        self.relabels.clear()
        self.keep.clear()


BATCH = Batch()
BATCHES: list = [BATCH]  # of all kinds of devices


@hot
def launch_jobs(jobs: list, grain: int) -> None:
    together = batch.address() if len(jobs) > 1 else 0
    if together:
        args, total = batch.pack(jobs)
        pool.enqueue(together, args, total, grain)
    else:
        for kernel, args, total in jobs:
            pool.enqueue(kernel, args, total, grain)

"""What was measured: times of runs, what is said of them, and how many of their digits are to be believed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["Measurement", "select_unit"]

# Distances of the quartiles, as shares of the median, from which on they are mentioned.
_SOME, _MUCH = 0.1, 0.25


def select_unit(t: float) -> tuple[str, float]:
    """The unit in which a time in seconds is shown, and its length.

    >>> select_unit(0.002)
    ('ms', 0.001)
    """
    power = math.floor(math.log10(t) / 3) if t > 0 else 0
    return {-3: ("ns", 1e-9), -2: ("us", 1e-6), -1: ("ms", 1e-3)}.get(power, ("s", 1))


@dataclass(repr=False)
class Measurement:
    """What was measured. raw_times: seconds of each block of `number_per_run` runs; `times` are of one run each."""

    number_per_run: int
    raw_times: list[float]
    stmt: str = "stmt"
    setup: str = "pass"
    label: str | None = None
    sub_label: str | None = None
    description: str | None = None
    env: str | None = None
    num_threads: int = 1
    metadata: dict = field(default_factory=dict)

    @property
    def times(self) -> list[float]:
        return [t / self.number_per_run for t in self.raw_times]

    @property
    def median(self) -> float:
        return statistics.median(self.times)

    @property
    def mean(self) -> float:
        return statistics.fmean(self.times)

    def _quartiles(self) -> tuple[float, float]:
        if len(self.raw_times) < 2:
            return self.median, self.median
        low, _, high = statistics.quantiles(self.times, n=4, method="inclusive")
        return low, high

    @property
    def iqr(self) -> float:
        """Distance between the quartiles."""
        low, high = self._quartiles()
        return high - low

    @property
    def significant_figures(self) -> int:
        """About how many digits of the median can be told from chance: from 1 to 5."""
        ordered = sorted(self.times)
        inner = ordered[len(ordered) // 4 : math.ceil(3 * len(ordered) / 4)]
        interval = max(1.645 * statistics.pstdev(inner) / math.sqrt(len(inner)), 25e-9)
        return min(max(math.floor(math.log10(self.median / interval)), 1), 5)

    def meets_confidence(self, threshold: float = _SOME) -> bool:
        """Whether the distance of the quartiles is below a share of the median."""
        return self.iqr / self.median < threshold

    @property
    def has_warnings(self) -> bool:
        """Whether the text says that times differ much."""
        return not self.meets_confidence()

    @property
    def title(self) -> str:
        """What was measured, in a line."""
        if self.label is None:
            return self.stmt
        return f"{self.label}: {self.sub_label}" if self.sub_label else self.label

    @property
    def as_row_name(self) -> str:
        """How its row is called in a table."""
        return self.sub_label or self.stmt or "[Unknown]"

    def __repr__(self) -> str:
        unit, scale = select_unit(self.median)
        n = len(self.raw_times)
        lines = [f"<torch.utils.benchmark.utils.common.Measurement object at {id(self):#x}>", self.title]
        lines += [self.description] if self.description else []
        if self.setup not in ("", "pass"):
            several = "\n" in self.setup
            lines.append("setup:" + "".join(f"\n  {x}" for x in self.setup.splitlines()) + "\n" if several else
                         f"setup: {self.setup}")  # fmt: skip
        lines.append(f"  {'Median: ' if n > 1 else ''}{self.median / scale:.2f} {unit}")
        if n >= 4:
            low, high = (t / scale for t in self._quartiles())
            lines.append(f"  IQR:    {self.iqr / scale:.2f} {unit} ({low:.2f} to {high:.2f})")
        runs = f"runs per measurement, {self.num_threads}" if n > 1 else f"runs , {self.num_threads}"
        lines.append(
            f"  {n} measurement{'s' * (n > 1)}, {self.number_per_run} {runs} thread{'s' * (self.num_threads > 1)}"
        )
        if self.has_warnings:
            why = "could indicate system fluctuation." if self.meets_confidence(_MUCH) else (
                "suggests significant environmental influence.")  # fmt: skip
            share = 100 * self.iqr / self.median
            lines.append(
                f"  WARNING: Interquartile range is {share:.1f}% of the median measurement.\n           This {why}"
            )
        return "\n".join(lines)

    @staticmethod
    def merge(measurements: Iterable[Measurement]) -> list[Measurement]:
        """One measurement for all of the same task, of single runs."""
        groups: dict[tuple, list[Measurement]] = {}
        for m in measurements:
            task = (m.stmt, m.setup, m.label, m.sub_label, m.description, m.env, m.num_threads)
            groups.setdefault(task, []).append(m)
        return [Measurement(1, [t for m in group for t in m.times], *task) for task, group in groups.items()]

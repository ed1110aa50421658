"""Measurements side by side, as a table."""

from __future__ import annotations

import math
from collections.abc import Iterable

from .measurement import Measurement, select_unit

__all__ = ["Compare"]

_UNITS = {"ns": "nanoseconds", "us": "microseconds", "ms": "milliseconds", "s": "seconds"}
_GREEN, _BLUE, _RED, _PLAIN = "\033[92m\033[1m", "\033[34m\033[1m", "\033[31m\033[1m", "\033[0m\033[0m"


class Compare:
    """A table for each label: a row for each `sub_label`, a column for each `description`, by numbers of threads.

    >>> from livegrad.utils.benchmark import Compare, Measurement
    >>> runs = [Measurement(1, [k * 1e-3], label="sums", sub_label=f"{k}", description="here") for k in (1, 2)]
    >>> Compare(runs).print()
    [---- sums ----]
             |  here
    1 threads: -----
          1  |  1.0
          2  |  2.0
    <BLANKLINE>
    Times are in milliseconds (ms).
    <BLANKLINE>
    """

    def __init__(self, results: Iterable[Measurement]):
        self._results: list[Measurement] = []
        self.extend_results(results)
        self._trimmed = self._coloured = self._by_row = False

    def extend_results(self, results: Iterable[Measurement]) -> None:
        """Add measurements. Raises ValueError for what is none."""
        for r in results:
            if not isinstance(r, Measurement):
                raise ValueError(f"Expected an instance of `Measurement`, got {type(r)} instead.")
            self._results.append(r)

    def trim_significant_figures(self) -> None:
        """Show only digits that can be told from chance."""
        self._trimmed = True

    def colorize(self, rowwise: bool = False) -> None:
        """Colour the fastest times, and the slow ones: of columns, or of rows."""
        self._coloured, self._by_row = True, rowwise

    def highlight_warnings(self) -> None:
        """Without effect: tables say nothing of times that differ much."""

    def print(self) -> None:
        """Print the table."""
        print(self)

    def __str__(self) -> str:
        merged = Measurement.merge(self._results)
        labels = dict.fromkeys(m.label for m in merged)
        return "\n".join(self._table([m for m in merged if m.label == label]) for label in labels)

    def _table(self, group: list[Measurement]) -> str:
        unit, scale = select_unit(min(m.median for m in group))
        columns = list(dict.fromkeys(m.description or "" for m in group))
        rows = list(dict.fromkeys((m.num_threads, m.as_row_name, m.env) for m in group))
        rows.sort(key=lambda row: row[0])
        cells: dict[tuple, Measurement] = {}
        for m in group:
            cells[m.num_threads, m.as_row_name, m.env, m.description or ""] = m
        texts = [[self._number(cells.get((*row, c)), scale, [
            n for r in rows if (n := cells.get((*r, c))) is not None]) for c in columns] for row in rows]  # fmt: skip
        names = [f"      {'' if env is None else f'({env})  '}{name}" for _, name, env in rows]
        first = max(map(len, names))
        widths = [max(len(c), *(len(line[k]) for line in texts)) for k, c in enumerate(columns)]
        head = "  |  ".join([" " * first, *(c.center(w) for c, w in zip(columns, widths))])
        title = f" {group[0].label} " if group[0].label else ""
        lines = [f"[{title.center(len(head) - 2, '-')}]", head.rstrip()]
        threads = None
        for (own, *_), name, line, row in zip(rows, names, texts, rows):
            if own != threads:
                threads = own
                lines.append(f"{own} threads: ".ljust(len(head), "-"))
            shown = [self._colour(x.center(w), cells.get((*row, c)), self._peers(cells, rows, columns, row, c))
                     for x, w, c in zip(line, widths, columns)]  # fmt: skip
            lines.append("  |  ".join([name.ljust(first), *shown]).rstrip())
        return "\n".join([*lines, "", f"Times are in {_UNITS[unit]} ({unit}).", ""])

    def _number(self, m: Measurement | None, scale: float, column: list[Measurement]) -> str:
        """A time, with as many decimals as its column has."""
        if m is None:
            return ""
        value, digits = m.median / scale, min(n.significant_figures for n in column)
        if self._trimmed:
            step = 10.0 ** (math.ceil(math.log10(abs(value))) - m.significant_figures)
            value = round(value / step) * step
        smallest = min(n.median / scale for n in column)
        decimals = max(min(digits - math.ceil(math.log10(smallest)), 1), 0)
        return f"{value:.{decimals}f}"

    def _peers(self, cells: dict, rows: list, columns: list, row: tuple, column: str) -> list[float]:
        """What a time is compared with to colour it."""
        places = [(*row, c) for c in columns] if self._by_row else [(*r, column) for r in rows if r[0] == row[0]]
        return [cells[p].median for p in places if p in cells]

    def _colour(self, text: str, m: Measurement | None, peers: list[float]) -> str:
        if m is None or not self._coloured:
            return text
        best, median = min(peers), sorted(peers)[len(peers) // 2]
        if m.median <= best * 1.02:
            return f"{_GREEN}{text}{_PLAIN}"
        if m.median <= best * 1.1:
            return f"{_BLUE}{text}{_PLAIN}"
        return f"{_RED}{text}{_PLAIN}" if m.median > max(2 * best, median) else text

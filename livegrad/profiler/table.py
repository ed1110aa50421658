"""Profiles as tables of text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def duration(us: float) -> str:
    """A time, in the unit that suits it."""
    if us >= 1e6:
        return f"{us / 1e6:.3f}s"
    return f"{us / 1e3:.3f}ms" if us >= 1e3 else f"{us:.3f}us"


def amount(nbytes: int) -> str:
    """A number of bytes, in the unit that suits it."""
    for unit, size in (("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)):
        if abs(nbytes) >= size:
            return f"{nbytes / size:.2f} {unit}"
    return f"{nbytes} B"


def large(n: float) -> str:
    """A count of operations."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("K", 1e3)):
        if n >= size:
            return f"{n / size:.3f} {unit}"
    return f"{n:.0f}" if n else "--"


def cut(text: str, width: int | None) -> str:
    return text if width is None or len(text) <= width else text[: max(0, width - 3)] + "..."


# Fields that a table can be sorted by which have other names in PyTorch as well.
_ALIASES = {
    "cpu_time": "cpu_time",
    "cuda_time_total": "device_time_total",
    "self_cuda_time_total": "self_device_time_total",
}


def render(
    events: Sequence, heading: str, sort_by: str | None, row_limit: int, name_width: int | None,
    shape_width: int | None, source_width: int | None, header: str | None, memory: bool, flops: bool,
) -> str:  # fmt: skip
    """The table."""
    total = sum(e.self_cpu_time_total for e in events)
    if sort_by is not None:
        field = _ALIASES.get(sort_by, sort_by)
        try:
            events = sorted(events, key=lambda e: getattr(e, field), reverse=True)
        except AttributeError:
            raise AttributeError(f"events cannot be sorted by {sort_by!r}") from None
    if row_limit >= 0:
        events = events[:row_limit]

    def percent(x: float) -> str:
        return f"{100 * x / total:.2f}%" if total else "--"

    columns: list[tuple[str, Callable[[Any], str]]] = [
        (heading, lambda e: cut(e.key, name_width)),
        ("Kind", lambda e: e.kind if heading == "Name" else ""),
        ("Self CPU %", lambda e: percent(e.self_cpu_time_total)),
        ("Self CPU", lambda e: duration(e.self_cpu_time_total)),
        ("CPU total %", lambda e: percent(e.cpu_time_total)),
        ("CPU total", lambda e: duration(e.cpu_time_total)),
        ("CPU time avg", lambda e: duration(e.cpu_time)),
    ]
    if memory:
        columns.append(("CPU Mem", lambda e: amount(e.cpu_memory_usage)))
        columns.append(("Self CPU Mem", lambda e: amount(e.self_cpu_memory_usage)))
    columns.append(("# of Calls", lambda e: str(e.count)))
    if any(e.bytes for e in events):
        columns.append(("Kernel bytes", lambda e: amount(e.bytes) if e.bytes else "--"))
    if flops:
        columns.append(("Total FLOPs", lambda e: large(e.flops)))
    if any(e.input_shapes for e in events):
        columns.append(("Input Shapes", lambda e: cut(str(e.input_shapes), shape_width)))
    if any(e.stack for e in events):
        columns.append(("Source Location", lambda e: cut(e.stack[0] if e.stack else "", source_width)))
    if heading != "Name":
        del columns[1]
    rows = [[text(e) for _, text in columns] for e in events]
    widths = [max([len(title), *(len(row[i]) for row in rows)]) for i, (title, _) in enumerate(columns)]
    rule = "  ".join("-" * w for w in widths)
    titles = "  ".join(title.rjust(w) for (title, _), w in zip(columns, widths))
    lines = [rule, titles, rule, *("  ".join(c.rjust(w) for c, w in zip(row, widths)) for row in rows), rule]
    if header is not None:
        lines = ["=" * len(rule), header, *lines]
    lines.append(f"Self CPU time total: {duration(total)}")
    return "\n".join(lines) + "\n"

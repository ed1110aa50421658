"""Profiles as files: the trace event format, stacks for flame graphs, and memory over time."""

from __future__ import annotations

import gzip
import html
import json
import os
from collections.abc import Sequence
from typing import Any

from .record import Move, where
from .table import amount

_CATEGORIES = {"kernel": "kernel", "library": "library", "operator": "cpu_op", "backward": "cpu_op",
               "user": "user_annotation", "module": "python_function"}  # fmt: skip


def _write(path: str, text: str) -> None:
    if path.endswith(".gz"):
        with gzip.open(path, "wt", encoding="utf-8") as file:
            file.write(text)
    else:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)


def chrome_trace(
    path: Any, events: Sequence, levels: Sequence, moves: Sequence[Move] = (), extra: dict | None = None
) -> None:
    """Write events in the trace event format, which Perfetto and chrome://tracing open.

    levels: (microseconds, bytes) of memory in use. moves: of memory, at microseconds; they are marks named [memory], as
    PyTorch writes them, with the user's line. extra: entries of the file's outermost object.
    """
    pid = os.getpid()
    entries: list[dict] = [{"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": {"name": "livegrad"}}]
    threads = dict.fromkeys([*(e.thread for e in events), *(move.thread for move in moves)])
    numbers = {thread: i for i, thread in enumerate(threads)}
    for thread, i in numbers.items():
        name = {"ph": "M", "name": "thread_name", "pid": pid, "tid": i, "args": {"name": f"thread {thread}"}}
        entries.append(name)
    for e in events:
        entry = {
            "ph": "X", "cat": _CATEGORIES[e.kind], "name": e.name, "pid": pid, "tid": numbers[e.thread],
            "ts": round(e.time_range.start, 3), "dur": round(e.time_range.elapsed_us(), 3), "args": _details(e),
        }  # fmt: skip
        entries.append(entry)
    for us, nbytes in levels:
        entries.append({"ph": "C", "name": "memory in use", "pid": pid, "ts": round(us, 3), "args": {"bytes": nbytes}})
    for move in moves:
        args = {
            "Bytes": move.nbytes, "Total Allocated": move.level, "Total Reserved": move.reserved, "Addr": move.address,
            "Device Type": 0, "Device Id": -1, "recorded at": where(move.place), "module": move.place[2],
        }  # fmt: skip
        mark = {
            "ph": "i", "s": "t", "cat": "cpu_instant_event", "name": "[memory]", "pid": pid,
            "tid": numbers[move.thread], "ts": round(move.at, 3),
            "args": {name: value for name, value in args.items() if value not in ("", None)},
        }  # fmt: skip
        entries.append(mark)
    trace = {"schemaVersion": 1, "displayTimeUnit": "ms", **(extra or {}), "traceEvents": entries}
    _write(os.fspath(path), json.dumps(trace))


def _details(e: Any) -> dict:
    found = {
        "caused by": e.caused_by, "recorded at": e.recorded_at, "module": e.module, "reason": e.reason, "code": e.how,
        "shape": None if e.shape is None else list(e.shape), "Input Dims": e.input_shapes, "bytes": e.bytes,
        "flops": e.flops, "operators": e.ops if e.kind == "kernel" else [], "Call stack": e.stack,
    }  # fmt: skip
    return {name: value for name, value in found.items() if value not in (None, "", [], 0)}


def stacks(path: Any, events: Sequence, metric: str) -> None:
    """Write stacks, outermost frame first, with the sum of a metric over the events that have that stack."""
    allowed = ("self_cpu_time_total", "cpu_time_total", "self_cuda_time_total", "self_device_time_total")
    if metric not in allowed:
        raise ValueError(f"metric should be one of: {', '.join(allowed)}, not {metric!r}")
    sums: dict[str, float] = {}
    for e in events:
        frames = [frame.replace(" ", "_").replace(";", "_") for frame in e.stack[::-1]]
        if frames:
            key = ";".join([*frames, e.name.replace(" ", "_")])
            sums[key] = sums.get(key, 0.0) + getattr(e, metric)
    lines = [f"{key} {int(value)}" for key, value in sums.items() if int(value)]
    _write(os.fspath(path), "\n".join(lines) + ("\n" if lines else ""))


def memory_timeline(path: Any, levels: Sequence) -> None:
    """Write memory in use over time: `.json` or `.json.gz` as [[microseconds], [bytes]], `.html` as a picture."""
    path = os.fspath(path)
    if path.endswith((".json", ".json.gz")):
        _write(path, json.dumps([[round(us, 3) for us, _ in levels], [n for _, n in levels]]))
    elif path.endswith((".html", ".html.gz")):
        _write(path, _picture(levels))
    else:
        raise ValueError(f"a memory timeline is written as .json, .json.gz or .html, not as {path!r}")


def _picture(levels: Sequence) -> str:
    width, height = 1000, 300
    first = levels[0][0] if levels else 0.0
    length = max((us for us, _ in levels), default=1.0) - first or 1.0
    top = max((n for _, n in levels), default=1) or 1
    points, last = [f"0,{height}"], height
    for us, n in levels:
        x = round((us - first) / length * width, 2)
        points.append(f"{x},{last}")
        last = round(height - n / top * height, 2)
        points.append(f"{x},{last}")
    points.append(f"{width},{height}")
    title = html.escape(f"Memory in use: at most {amount(top)}, over {length / 1e3:.1f} ms")
    return (
        f'<!doctype html><meta charset="utf-8"><title>{title}</title><p style="font-family:sans-serif">{title}</p>'
        f'<svg viewBox="0 0 {width} {height}" style="width:100%;border:1px solid #999">'
        f'<polygon points="{" ".join(points)}" fill="#5b8def"/></svg>\n'
    )

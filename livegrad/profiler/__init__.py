"""Profiling: what ran, how long it took, and which lines of the program it belongs to. The names are PyTorch's.

>>> import livegrad
>>> from livegrad.profiler import profile, record_function
>>> model = livegrad.nn.Linear(8, 4)
>>> with profile(record_shapes=True) as prof:
...     with record_function("forward"):
...         loss = model(livegrad.ones(2, 8)).sum()
...     loss.backward()
>>> text = prof.key_averages().table(sort_by="self_cpu_time_total", row_limit=10)
>>> "forward" in text and "gemm" in text
True
"""

from .events import EventList, FunctionEvent, FunctionEventAvg
from .session import (
    ProfilerAction,
    ProfilerActivity,
    profile,
    record_function,
    schedule,
    supported_activities,
    tensorboard_trace_handler,
)

__all__ = [
    "EventList",
    "FunctionEvent",
    "FunctionEventAvg",
    "ProfilerAction",
    "ProfilerActivity",
    "kineto_available",
    "profile",
    "record_function",
    "schedule",
    "supported_activities",
    "tensorboard_trace_handler",
]


def kineto_available() -> bool:
    """Whether `profile` records what ran when, and exports it: it does, without PyTorch's library of this name."""
    return True

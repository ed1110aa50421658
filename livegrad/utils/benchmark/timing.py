"""Timing statements, with enough repetitions for what is measured."""

from __future__ import annotations

import enum
import textwrap
import timeit
from collections.abc import Callable
from typing import Any

import livegrad

from .measurement import Measurement

__all__ = ["Language", "Timer", "timer"]


class Language(enum.Enum):
    """What a statement is written in. Only those in Python can be timed."""

    PYTHON = 0
    CPP = 1


def timer() -> float:
    """The clock: seconds, after the work of a CUDA device is done."""
    if livegrad.cuda.is_available():
        livegrad.cuda.synchronize()
    return timeit.default_timer()


class Timer:
    """Times a statement, given as text, with names from `globals`; deferred work is done within the measured time.

    setup: run before. Both may be indented. label, sub_label, description, env: kept for showing. num_threads: how many
    threads the library uses meanwhile.

    >>> from livegrad.utils.benchmark import Timer
    >>> Timer("sum(range(100))").timeit(10).number_per_run
    10
    """

    def __init__(
        self, stmt: str = "pass", setup: str = "pass", global_setup: str = "", timer: Callable = timeit.default_timer,
        globals: dict | None = None, label: str | None = None, sub_label: str | None = None,  # noqa: A002
        description: str | None = None, env: str | None = None, num_threads: int = 1, language: Any = "python",
    ):  # fmt: skip
        if str(language).lower() not in ("python", "py", "language.python"):
            raise ValueError(f"only statements in Python can be timed, not in {language}")
        names = {"torch": livegrad, "livegrad": livegrad, **(globals or {})}
        exec(global_setup, names)  # noqa: S102  the program's own text
        stmt, setup = (textwrap.dedent(text).strip() for text in (stmt, setup))
        self._timer = timeit.Timer(stmt, setup, timer=self._clock(timer), globals=names)
        self._about: dict[str, Any] = {
            "stmt": stmt, "setup": setup, "label": label, "sub_label": sub_label, "description": description,
            "env": env, "num_threads": num_threads,
        }  # fmt: skip
        self._threads = num_threads

    @staticmethod
    def _clock(timer: Callable) -> Callable:
        def now() -> float:
            if livegrad.cuda.is_available():
                livegrad.cuda.synchronize()
            return timer()

        return now

    def _seconds(self, number: int) -> float:
        before = livegrad.get_num_threads()
        livegrad.set_num_threads(self._threads)
        try:
            return self._timer.timeit(number)
        finally:
            livegrad.set_num_threads(before)

    def timeit(self, number: int = 1_000_000) -> Measurement:
        """Run the statement this many times, as one measurement."""
        self._seconds(max(number // 100, 2))  # the first runs load and compile
        return Measurement(number, [self._seconds(number)], **self._about)

    def _block(self, min_run_time: float) -> int:
        """How many runs take long enough for the clock, and a hundredth of the time that is to be spent."""
        number = 1
        while self._seconds(number) < max(min_run_time / 100, 1e-4) and number < 1_000_000_000:
            number *= 10
        return number

    def blocked_autorange(self, callback: Any = None, min_run_time: float = 0.2) -> Measurement:
        """Measurements until they took `min_run_time` seconds together."""
        number, raw = self._block(min_run_time), list[float]()
        while sum(raw) < min_run_time:
            raw.append(self._seconds(number))
        return Measurement(number, raw, **self._about)

    def adaptive_autorange(
        self, threshold: float = 0.1, *, min_run_time: float = 0.01, max_run_time: float = 10.0, callback: Any = None
    ) -> Measurement:
        """Measurements until the distance of their quartiles is below `threshold` of the median, or time is up."""
        number, raw = self._block(min_run_time), list[float]()
        while sum(raw) < max_run_time:
            raw.append(self._seconds(number))
            made = Measurement(number, raw, **self._about)
            if len(raw) >= 4 and sum(raw) >= min_run_time and made.iqr < threshold * made.median:
                break
        return Measurement(number, raw, **self._about)

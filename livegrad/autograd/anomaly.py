"""Anomaly detection: an error at the first node of a backward pass that makes a NaN, naming the user's line.

Every gradient is evaluated as soon as it is made, so this is for debugging.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..lazy.value import Value
from ..site import warn


class Anomaly:
    """Whether to look for NaN, for all threads."""

    on = False
    check_nan = True


class set_detect_anomaly:
    """Look for NaN in backward passes: a function with lasting effect, or a context manager."""

    def __init__(self, mode: bool, check_nan: bool = True):
        self.before = Anomaly.on, Anomaly.check_nan
        Anomaly.on, Anomaly.check_nan = bool(mode), check_nan

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: Any) -> None:
        Anomaly.on, Anomaly.check_nan = self.before


class detect_anomaly:
    """Context manager: a backward pass inside it raises RuntimeError at the node that makes the first NaN.

    A warning names the line of the forward pass that recorded the node, and so does the error's note. Which step of the
    forward pass made a NaN is told by `livegrad.debug.find_nan`.

    >>> import livegrad, warnings
    >>> warnings.simplefilter("ignore")
    >>> x = livegrad.zeros(1, requires_grad=True)
    >>> with livegrad.autograd.detect_anomaly():
    ...     try:
    ...         (x.sqrt() * 0).sum().backward()
    ...     except RuntimeError as error:
    ...         print(error)
    Function 'SqrtBackward0' returned nan values in its 0th output.
    """

    def __init__(self, check_nan: bool = True):
        self.check_nan = check_nan
        warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should only be enabled for "
            "debugging."
        )

    def __enter__(self) -> None:
        self.before = Anomaly.on, Anomaly.check_nan
        Anomaly.on, Anomaly.check_nan = True, self.check_nan

    def __exit__(self, *exc: Any) -> None:
        Anomaly.on, Anomaly.check_nan = self.before


def is_anomaly_enabled() -> bool:
    """Whether backward passes look for NaN."""
    return Anomaly.on


def is_anomaly_check_nan_enabled() -> bool:
    """Whether they do so where anomaly detection is on."""
    return Anomaly.check_nan


def set_anomaly_enabled(mode: bool, check_nan: bool = True) -> None:
    """`set_detect_anomaly` by another name."""
    set_detect_anomaly(mode, check_nan)


def look(node: Any, grads: tuple) -> None:
    """Raise RuntimeError if one of the gradients that a node has made holds a NaN."""
    for i, g in enumerate(grads):
        if g is None:
            continue
        v = g if g.__class__ is Value else g._value()
        if v.dtype.category >= 2 and np.isnan(v.native()).any():
            raise RuntimeError(f"Function '{node.name()}' returned nan values in its {i}th output.")


def tell(node: Any) -> None:
    """Warn of an error in a node of a backward pass, with the line of the forward pass that recorded it."""
    site = node.site()
    made = (
        "No forward pass information available."
        if site is None
        else (f"Traceback of forward call that caused the error:\n  {site}")
    )
    inside = f"\n  in module {node.module_path}" if node.module_path else ""
    warn(f"Error detected in {node.name()}. {made}{inside}")


__all__ = [
    "detect_anomaly", "is_anomaly_check_nan_enabled", "is_anomaly_enabled", "set_anomaly_enabled", "set_detect_anomaly",
]  # fmt: skip

"""Collective operations as functions of compiled graphs: `wait_tensor`, as there is nothing to wait for here."""

from typing import Any

from .absent import absent_function

__all__ = ["all_to_all_single_autograd", "wait_tensor"]

all_to_all_single_autograd = absent_function("all_to_all_single_autograd", __name__)


def wait_tensor(tensor: Any) -> Any:
    """The tensor itself."""
    return tensor

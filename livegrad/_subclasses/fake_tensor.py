"""Questions after fake tensors. Programs are never traced, so no tensor is one."""

from typing import Any

from ..tensor import Tensor

__all__ = ["FakeTensor", "is_fake"]


class FakeTensor(Tensor):
    """A name to compare with. Raises TypeError where one is made: ``device("meta")`` has tensors without data."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        raise TypeError('there are no fake tensors: make a tensor on device("meta") for one without data')


def is_fake(x: object) -> bool:
    """False."""
    return isinstance(x, FakeTensor)

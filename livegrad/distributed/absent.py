"""Classes and functions that libraries import wherever processes can work together, and that are not there.

There are no instances, so a library that asks whether something is one goes the way for what is not sharded. Making
one, or calling the function, raises NotImplementedError.
"""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["absent_class", "absent_function"]


SHARDED = "tensors are not sharded over processes (DistributedDataParallel is)"
REMOTE = "there are no remote calls"


def _refuse(name: str, why: str) -> NoReturn:
    raise NotImplementedError(f"torch.distributed: {name} is not there: {why}")


def absent_class(name: str, module: str, why: str = SHARDED) -> Any:
    """A class without instances."""

    def new(cls: Any, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse(name, why)

    about = f"Not there: a name to compare with. Making a {name} raises NotImplementedError."
    return type(name, (), {"__new__": new, "__module__": module, "__doc__": about})


def absent_function(name: str, module: str, why: str = SHARDED) -> Any:
    """A function that cannot be called."""

    def function(*args: Any, **kwargs: Any) -> NoReturn:
        _refuse(name, why)

    function.__name__ = function.__qualname__ = name
    function.__module__, function.__doc__ = module, "Not there: calling it raises NotImplementedError."
    return function

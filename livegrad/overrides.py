"""What programs that override functions ask: `torch.overrides`.

A class overrides functions by a class method `__torch_function__(func, types, args, kwargs)`. Every public function and
every method of tensors hands calls with an argument of such a class to it; `handle_torch_function` does that for
functions of a program's own.

>>> import livegrad
>>> class Quantity:
...     def __init__(self, value, unit):
...         self.value, self.unit = livegrad.as_tensor(value), unit
...     @classmethod
...     def __torch_function__(cls, func, types, args=(), kwargs=None):
...         if func is not livegrad.mean:
...             return NotImplemented
...         return cls(func(args[0].value), args[0].unit)
>>> made = livegrad.mean(Quantity([1.0, 3.0], "m"))
>>> made.value, made.unit
(tensor(2.), 'm')
"""

from __future__ import annotations

import contextlib
import functools
import importlib
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any

from . import overriding
from .overridden_methods import Method, methods
from .overriding import ENABLED, OVERRIDES, THREAD, activate
from .site import warn
from .tensor import Tensor

__all__ = [
    "BaseTorchFunctionMode",
    "TorchFunctionMode",
    "enable_reentrant_dispatch",
    "get_default_nowrap_functions",
    "get_ignored_functions",
    "get_overridable_functions",
    "get_testing_overrides",
    "handle_torch_function",
    "has_torch_function",
    "has_torch_function_unary",
    "has_torch_function_variadic",
    "is_tensor_like",
    "is_tensor_method_or_property",
    "redispatch_function",
    "resolve_name",
    "wrap_torch_function",
]


def has_torch_function(relevant_args: Iterable) -> bool:
    """Whether one of some arguments overrides functions, or a mode does: then call `handle_torch_function`."""
    if THREAD.disabled == overriding.ALL_DISABLED:
        return False
    if THREAD.skipped is not None:  # by `redispatch_function`
        THREAD.skipped = None
        return False
    if THREAD.modes:
        return True
    return THREAD.disabled == ENABLED and any(map(overriding.overrides, relevant_args))


def has_torch_function_unary(tensor: Any) -> bool:
    """`has_torch_function` for one argument."""
    return has_torch_function((tensor,))


def has_torch_function_variadic(*args: Any) -> bool:
    """`has_torch_function` for arguments that stand side by side."""
    return has_torch_function(args)


def handle_torch_function(public_api: Callable, relevant_args: Iterable, *args: Any, **kwargs: Any) -> Any:
    """What the modes, or those of `relevant_args` that override functions, make of ``public_api(*args, **kwargs)``.

    Raises TypeError if all of them return NotImplemented.

    >>> import livegrad
    >>> def twice(x):
    ...     if has_torch_function_unary(x):
    ...         return handle_torch_function(twice, (x,), x)
    ...     return x + x
    >>> class Loud(livegrad.Tensor):
    ...     @classmethod
    ...     def __torch_function__(cls, func, types, args=(), kwargs=None):
    ...         print(func.__name__)
    ...         return super().__torch_function__(func, types, args, kwargs)
    >>> _ = twice(Loud([1.0]))
    twice
    """
    found = overriding.overloaded(tuple(relevant_args), {}) if THREAD.disabled == ENABLED else []
    return overriding.ask(public_api, found, args, kwargs, _refusal)


def _refusal(function: Any, found: list, modes: list) -> str:
    text = (
        f"no implementation found for '{overriding.full_name(function)}' on types that implement __torch_function__: "
    )
    return text + str([type(x) for x in found]) + (f" nor in mode {modes[-1]}" if modes else "")


def wrap_torch_function(dispatcher: Callable) -> Callable:
    """Decorator: a function that can be overridden by the arguments that `dispatcher(*args, **kwargs)` returns."""

    def decorate(function: Callable) -> Callable:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            relevant = dispatcher(*args, **kwargs)
            if has_torch_function(relevant):
                return handle_torch_function(wrapped, relevant, *args, **kwargs)
            return function(*args, **kwargs)

        return wrapped

    return decorate


def is_tensor_like(inp: Any) -> bool:
    """Whether an object is a tensor, or can stand for one because its class defines `__torch_function__`."""
    return type(inp) is Tensor or hasattr(inp, "__torch_function__")


_SPACES = ("", "functional", "nn.functional", "nn.init", "Tensor", "linalg", "fft", "special")


def _members(space: str) -> tuple[Any, dict[str, Any]]:
    """A module, or Tensor, and the functions in it that can be overridden, by name."""
    package = importlib.import_module(__name__.partition(".")[0])
    if space == "Tensor":
        return Tensor, methods()
    module = importlib.import_module(f"{package.__name__}.{space}") if space else package
    return module, {name: f for name, f in vars(module).items() if not name.startswith("_") and is_overridable(f)}


def is_overridable(f: Any) -> bool:
    """Whether a function hands calls with arguments that override it to them."""
    return callable(f) and f in overriding.ANNOUNCED


def get_overridable_functions() -> dict[Any, list[Callable]]:
    """The functions that can be overridden, by the modules and classes that they are in; see `resolve_name`."""
    found: dict[Any, list[Callable]] = {}
    for space in _SPACES:
        owner, members = _members(space)
        for f in members.values():
            if isinstance(f, property):
                found.setdefault(f, []).append(f.__get__)
            elif f not in found.setdefault(owner, []):
                found[owner].append(f)
    return {owner: functions for owner, functions in found.items() if functions}


def get_testing_overrides() -> dict[Callable, Callable]:
    """For each function that can be overridden one with the same parameters, which returns -1."""
    return {f: _dummy(f) for functions in get_overridable_functions().values() for f in functions}


def _dummy(f: Callable) -> Callable:
    def answer(*args: Any, **kwargs: Any) -> int:
        return -1

    with contextlib.suppress(AttributeError):
        answer.__wrapped__ = f  # type: ignore[attr-defined]
    return answer


def get_ignored_functions() -> set[Callable]:
    """Public functions that cannot be overridden: they take no tensors, or look at what their arguments are."""
    package = importlib.import_module(__name__.partition(".")[0])
    return {
        f for name, f in vars(package).items()
        if callable(f) and not name.startswith("_") and not isinstance(f, (type, ModuleType)) and not is_overridable(f)
    }  # fmt: skip


def get_default_nowrap_functions() -> set[Callable]:
    """Functions whose results keep their class: the gradient, and the tensor that a view is of."""
    return overriding._kept_plain()


@functools.cache
def _names() -> dict[Any, str]:
    """The names of functions, as far as they have been loaded."""
    found: dict[Any, str] = {}
    for space in _SPACES:
        for name, f in _members(space)[1].items():
            if not isinstance(f, property):
                found.setdefault(f, ".".join(filter(None, ("torch", space, name))))
    return found


def resolve_name(f: Any) -> str | None:
    """The name of a function that can be overridden, such as "torch.Tensor.add"; None for another function.

    >>> import livegrad
    >>> resolve_name(livegrad.nn.functional.relu), resolve_name(livegrad.Tensor.relu), resolve_name(len)
    ('torch.nn.functional.relu', 'torch.Tensor.relu', None)
    """
    owner = getattr(f, "__self__", None)
    if isinstance(owner, property):
        return overriding.full_name(f)
    if isinstance(f, Method):
        return f"torch.Tensor.{f.__name__}"
    name = _names().get(f)
    if name is None and callable(f):
        _names.cache_clear()  # modules hold some functions only since somebody asked for them
        name = _names().get(f)
    return name


def is_tensor_method_or_property(func: Any) -> bool:
    """Whether a function that was handed to `__torch_function__` is a method or an attribute of tensors."""
    return isinstance(func, Method) or getattr(func, "__name__", "") == "__get__" or func in methods().values()


# --- modes --------------------------------------------------------------------------------------------------------


class TorchFunctionMode:
    """Context manager that overrides all functions while it is entered, also those without tensors among their
    arguments: a subclass defines ``__torch_function__(self, func, types, args=(), kwargs=None)``.

    While that runs the mode itself is off, so it may call ``func(*args, **kwargs)``; modes around it stay on.

    >>> import livegrad
    >>> class Counts(TorchFunctionMode):
    ...     calls = 0
    ...     def __torch_function__(self, func, types, args=(), kwargs=None):
    ...         self.calls += 1
    ...         return func(*args, **(kwargs or {}))
    >>> with Counts() as counts:
    ...     y = livegrad.ones(2) + 1
    >>> counts.calls, y
    (2, tensor([2., 2.]))
    """

    def __init__(self) -> None:
        pass

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        raise NotImplementedError

    def __enter__(self) -> Any:
        _push_mode(self)
        return self

    def __exit__(self, *exc: Any) -> None:
        _pop_mode()

    @classmethod
    def push(cls, *args: Any, **kwargs: Any) -> Any:
        """A mode; `with Mode():` is all that is needed."""
        warn("`Mode.push()` is no longer necessary and can be replaced with just `with Mode()`")
        return cls(*args, **kwargs)


class BaseTorchFunctionMode(TorchFunctionMode):
    """A mode that leaves everything as it is."""

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return func(*args, **(kwargs or {}))


def _push_mode(mode: TorchFunctionMode) -> None:
    activate()
    THREAD.modes.append(mode)
    OVERRIDES.modes += 1


def _pop_mode() -> TorchFunctionMode:
    OVERRIDES.modes -= 1
    return THREAD.modes.pop()


def _get_current_function_mode() -> TorchFunctionMode | None:
    return THREAD.modes[-1] if THREAD.modes else None


def _get_current_function_mode_stack() -> list:
    return list(THREAD.modes)


@contextlib.contextmanager
def _pop_mode_temporarily() -> Iterator[TorchFunctionMode]:
    mode = _pop_mode()
    try:
        yield mode
    finally:
        _push_mode(mode)


@contextlib.contextmanager
def _enable_torch_function() -> Iterator[None]:
    before, THREAD.disabled = THREAD.disabled, ENABLED
    try:
        yield
    finally:
        THREAD.disabled = before


@contextlib.contextmanager
def enable_reentrant_dispatch() -> Iterator[None]:
    """Nothing is different in it: what overrides functions may call them again."""
    yield


def redispatch_function(func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
    """The function's own result, computed with all that overrides functions on, but for this one call of it.

    A function written with `handle_torch_function` shows in this way which functions it calls itself.
    """
    before, THREAD.skipped = THREAD.skipped, func
    try:
        return func(*args, **(kwargs or {}))
    finally:
        THREAD.skipped = before

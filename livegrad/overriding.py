"""`__torch_function__`: which arguments override a function, and asking them, and the modes, instead of computing.

Nothing of it is asked for while no program overrides anything: public functions look at one flag, `OVERRIDES.on`, and
methods of tensors at none. When the first tensor of a subclass is made or the first mode is entered, the flag is set,
and methods are exchanged for such that ask (see `overridden_methods`). Where a function or a method refuses an argument
that is no tensor and turns out to override it, that is done as well. (`fx` sets the flag alone, and so leaves methods
as they are.)
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable
from typing import Any

from .lazy.value import Unbatched
from .native import held, hot, slotted
from .tensor import Tensor

# How much is off in a thread: nothing, what arguments override, modes as well.
ENABLED, SUBCLASSES_DISABLED, ALL_DISABLED = range(3)
# What `overridden` returns where a function is to compute as usual.
COMPUTE = object()
# Classes of most arguments that are no tensors.
PLAIN = frozenset((Tensor, int, float, bool, str, type(None), complex, slice, type(...)))


@slotted
class Overrides:
    """on: whether public functions ask `overridden`; methods: whether methods do. modes: how many modes are entered, in
    all threads."""

    __slots__ = ("on", "methods", "modes")

    def __init__(self) -> None:
        self.on = False
        self.methods = False
        self.modes = 0


OVERRIDES = Overrides()


class Public:
    """A public function as it is handed to overrides: what its name leads to, also once that is machine code.

    spreads: whether arguments that override it are given its operands one by one, also where they came in one sequence.
    """

    __slots__ = ("function", "spreads")

    def __init__(self) -> None:
        self.function: Any = None
        self.spreads = False


# Public functions, and how they are told to what overrides them. Compiled ones equal their Python forms.
ANNOUNCED: dict[Any, Public] = {}


def announced(function: Any, entry: Public) -> Any:
    """The function, as what overrides of `entry` are told of."""
    entry.function = function
    ANNOUNCED[function] = entry
    held(entry, "function")
    return function


def _one_by_one(f: Callable, args: tuple, kwargs: dict) -> Any:
    """What reads the elements of batches, called for one example after the other."""
    from .ops.batch_loops import loop

    return loop(f, args, kwargs)


def asks(f: Callable, arguments: bool = True) -> Any:
    """A public function that modes may override, and its arguments, unless it makes tensors of anything."""
    entry = Public()

    @functools.wraps(f)
    @hot
    def function(*args: Any, **kwargs: Any) -> Any:
        if OVERRIDES.on and (arguments or OVERRIDES.modes):
            made = overridden(entry.function, args, kwargs, arguments)
            if made is not COMPUTE:
                return made
        try:
            return f(*args, **kwargs)
        except Exception as error:
            if isinstance(error, Unbatched):
                return _one_by_one(f, args, kwargs)
            raise

    return announced(function, entry)


class _Thread(threading.local):
    """disabled: see above. modes: those entered, the innermost last. skipped: the function not to ask about next."""

    def __init__(self) -> None:
        self.disabled = ENABLED
        self.modes: list = []
        self.skipped: Any = None


THREAD = _Thread()


class _Disabled:
    """Context manager: part of this is off."""

    level = ENABLED

    def __enter__(self) -> None:
        self._before = THREAD.disabled
        THREAD.disabled = max(self.level, self._before)

    def __exit__(self, *exc: Any) -> None:
        THREAD.disabled = self._before


class DisableTorchFunctionSubclass(_Disabled):
    """Context manager: functions see subclasses of Tensor as tensors. Modes stay on.

    >>> import livegrad
    >>> class Named(livegrad.Tensor):
    ...     pass
    >>> x = Named([1.0])
    >>> with DisableTorchFunctionSubclass():
    ...     y = x + 1
    >>> type(y).__name__, type(x + 1).__name__
    ('Tensor', 'Named')
    """

    level = SUBCLASSES_DISABLED


class DisableTorchFunction(_Disabled):
    """Context manager: functions see subclasses of Tensor as tensors, and modes are not asked either."""

    level = ALL_DISABLED


def disabled_torch_function_impl(func: Callable, types: Iterable, args: tuple = (), kwargs: dict | None = None) -> Any:
    """The `__torch_function__` of classes that override nothing: the function's own result."""
    with DisableTorchFunctionSubclass():
        return func(*args, **(kwargs or {}))


@hot
def overrides(x: Any) -> bool:
    """Whether an object is of a class that overrides functions."""
    c = x.__class__
    if c in PLAIN:
        return False
    method = getattr(c, "__torch_function__", None)
    return method is not None and method is not disabled_torch_function_impl and not _is_pytorchs(method)


def _is_pytorchs(method: Any) -> bool:
    """Whether it is what PyTorch's own tensors have: it would only call the function again."""
    return getattr(method, "__module__", None) == "torch._tensor"


@hot
def _collect(found: list, values: Any, depth: int) -> None:
    for x in values:
        c = x.__class__
        if c in PLAIN:
            continue
        if c is tuple or c is list:
            if depth:
                _collect(found, x, depth - 1)
        elif overrides(x):
            _insert(found, x)


def _insert(found: list, x: Any) -> None:
    """Add an argument of a class that is not there yet: before those whose classes it inherits from."""
    c = type(x)
    if any(type(other) is c for other in found):
        return
    place = next((i for i, other in enumerate(found) if issubclass(c, type(other))), len(found))
    found.insert(place, x)


@hot
def overloaded(args: tuple, kwargs: dict) -> list:
    """Arguments, or elements of sequences, that override functions: one of each class, subclasses first."""
    found: list = []
    _collect(found, args, 2)
    if kwargs:
        _collect(found, kwargs.values(), 2)
    return found


def overridden(function: Any, args: tuple, kwargs: dict, arguments: bool = True) -> Any:
    """What modes, and arguments, make of a call of a public function, or `COMPUTE`."""
    own = THREAD
    if own.skipped is not None and own.skipped == function:
        own.skipped = None
        return COMPUTE
    if own.disabled == ALL_DISABLED:
        return COMPUTE
    found = overloaded(args, kwargs) if arguments and own.disabled == ENABLED else []
    if not found and not own.modes:
        return COMPUTE
    if not own.modes and len(args) == 2 and isinstance(args[1], (list, tuple)):
        entry = ANNOUNCED.get(function)
        if entry is not None and entry.spreads:
            args = (args[0], *args[1])
    return ask(function, found, args, kwargs)


def foreign(entry: Public, args: tuple, kwargs: dict, method: str = "") -> Any:
    """What is made of a call with arguments that the function cannot take: `COMPUTE`, which raises, if none does."""
    if (OVERRIDES.methods if method else OVERRIDES.on) or not overloaded(args, kwargs):
        return COMPUTE
    meet()
    function = getattr(Tensor, method, None) if method else entry.function
    return COMPUTE if function is None else overridden(function, args, kwargs)


class Unanswered(TypeError):
    """All that override a function have returned NotImplemented."""


def ask(function: Any, found: list, args: tuple, kwargs: dict, refusal: Callable | None = None) -> Any:
    """Ask the innermost mode, then each argument. If all return NotImplemented: TypeError, with what `refusal` says."""
    types = tuple(map(type, found))
    modes = THREAD.modes
    if modes and THREAD.disabled != ALL_DISABLED:
        mode = modes.pop()
        try:
            made = mode.__torch_function__(function, types, args, kwargs)
        finally:
            modes.append(mode)
        if made is not NotImplemented:
            return made
    for x in found:
        method = x.__torch_function__
        if getattr(method, "__self__", None) is x:
            _warn_of_plain_method()
        made = method(function, types, args, kwargs)
        if made is not NotImplemented:
            return made
    raise Unanswered((refusal or _refusal)(function, found, modes))


def _refusal(function: Any, found: list, modes: list) -> str:
    asked = [f"mode object {mode!r}" for mode in modes[-1:]] + [f"tensor subclass {type(x)}" for x in found]
    text = f"Multiple dispatch failed for '{full_name(function)}'; all __torch_function__ handlers returned "
    return text + "NotImplemented:\n" + "".join(f"\n  - {one}" for one in asked)


def _warn_of_plain_method() -> None:
    from .site import warn

    warn(
        "Defining your `__torch_function__ as a plain method is deprecated and will be an error in future, please "
        "define it as a classmethod.",
        DeprecationWarning,
    )


def full_name(function: Any) -> str:
    """A function's dotted name below "torch", which is what programs compare it with."""
    owner, name = getattr(function, "__self__", None), getattr(function, "__name__", repr(function))
    if isinstance(owner, property):
        return f"torch.Tensor.{getattr(owner.fget, '__name__', '')}.{name}"
    module = getattr(function, "__module__", "") or ""
    package = __name__.partition(".")[0]
    if module == package or module.startswith(package + "."):
        module = "torch" + module[len(package) :]
    return f"{module}.{getattr(function, '__qualname__', name)}"


# --- what Tensor does by default ----------------------------------------------------------------------------------


def _kept_plain() -> set:
    """Functions whose results keep their class: they give out what a tensor holds."""
    return {vars(Tensor)[name].__get__ for name in ("grad", "_base")}


def by_default(cls: type, func: Callable, types: Iterable, args: tuple, kwargs: dict | None) -> Any:
    """`Tensor.__torch_function__`: the function's own result, whose tensors become tensors of the subclass."""
    if not all(issubclass(cls, t) for t in types):
        return NotImplemented
    if cls is Tensor and THREAD.disabled != ENABLED:
        return NotImplemented  # the library does not ask again: this is another's function, which did
    kwargs = kwargs or {}
    with DisableTorchFunctionSubclass():
        made = func(*args, **kwargs)
        if cls is Tensor or made is None or func in _kept_plain():
            return made
        fresh = _is_own(func)
        return _of_class(made, cls, _identities(args) | _identities(kwargs.values()) if fresh else None)


def _is_own(func: Any) -> bool:
    """Whether a function is the library's: then what it returns is new, or one of its arguments."""
    if isinstance(getattr(func, "__self__", None), property):
        return True
    return (getattr(func, "__module__", None) or "").partition(".")[0] == __name__.partition(".")[0]


def _identities(values: Iterable) -> set:
    """Which tensors there were before: they stay what they are."""
    there: set = set()
    for x in values:
        if isinstance(x, Tensor):
            there.add(id(x))
        elif isinstance(x, (tuple, list)):
            there |= _identities(x)
    return there


def _of_class(made: Any, cls: type, there: set | None) -> Any:
    """A result as one of the subclass. there: see `_identities`; None where others may hold the tensors in it."""
    if isinstance(made, Tensor):
        if isinstance(made, cls):
            return made
        if there is not None and type(made) is Tensor and id(made) not in there:
            return turn_into(made, cls)
        return made.as_subclass(cls)
    if isinstance(made, (tuple, list)) and any(isinstance(x, (Tensor, tuple, list)) for x in made):
        parts = [_of_class(x, cls, there) for x in made]
        return type(made)(*parts) if hasattr(made, "_fields") else type(made)(parts)
    return made


def turn_into(t: Tensor, cls: type) -> Any:
    """Make a tensor that nobody else holds one of a subclass, with its data and history."""
    prepare(cls)
    try:
        t.__class__ = cls  # type: ignore[assignment]
        return t
    except TypeError:  # the subclass has slots of its own
        made = Tensor._from(t, cls)
        made._edge, made._nr = t._edge, t._nr
        return made


def prepare(cls: type) -> None:
    """Called before there is a tensor of a subclass."""
    method = cls.__torch_function__  # type: ignore[attr-defined]
    if not OVERRIDES.methods and cls is not Tensor and method is not disabled_torch_function_impl:
        activate()


def meet() -> None:
    """Called when an argument that overrides functions is met for the first time: others will come."""
    if not OVERRIDES.on:
        activate()


def activate() -> None:
    """From now on functions and methods ask what overrides them."""
    if not OVERRIDES.methods:
        from . import overridden_methods

        overridden_methods.install()
        OVERRIDES.on = OVERRIDES.methods = True

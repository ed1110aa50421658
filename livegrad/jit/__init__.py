"""`jit`, for programs that mark what is to be compiled: everything runs as it is, and is fused and compiled anyway."""

from __future__ import annotations

import builtins
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Final

from ..nn.module import Module


class ScriptModule(Module):
    """A base class for modules, which PyTorch compiles. No other module is one: `script` and `trace` change nothing."""


class ScriptFunction:
    """A name to compare with: what PyTorch's `script` makes of functions. No function is one."""


class TracerWarning(Warning):
    """What PyTorch warns of where a trace would leave something out. Nothing is traced, so nothing is."""


class Error(RuntimeError):
    """What PyTorch raises where a compiled program fails. Programs are not compiled, and raise their own errors."""


def interface(obj: Any) -> Any:
    """The class itself."""
    return obj


def script(obj: Any, *args: Any, **options: Any) -> Any:
    """The function, class or module itself.

    >>> import livegrad
    >>> @livegrad.jit.script
    ... def double(x):
    ...     return x * 2
    >>> double(livegrad.tensor(2.0))
    tensor(4.)
    """
    return obj


def trace(func: Any = None, example_inputs: Any = None, *args: Any, **options: Any) -> Any:
    """The function or module itself, so what depends on numbers goes on to depend on them; as a decorator, too."""
    return (lambda f: f) if func is None else func


def trace_module(mod: Any, inputs: Any = None, *args: Any, **options: Any) -> Any:
    """The module itself."""
    return mod


def save(m: Any, f: Any, _extra_files: dict | None = None) -> None:
    """Write a whole module for `load`: a pickle, which finds the module's class by name where it is read.

    PyTorch's own `jit.load` cannot read it, for there is no compiled program in it. _extra_files: names and texts or
    bytes to be kept with it.
    """
    from ..serialization import save as save_object

    extra = {name: content.encode() if builtins.isinstance(content, str) else content
             for name, content in (_extra_files or {}).items()}  # fmt: skip
    save_object({_FORMAT: 1, "module": m, "extra": extra}, f)


def load(f: Any, map_location: Any = None, _extra_files: dict | None = None, _restore_shapes: bool = False) -> Any:
    """Read a module that `save` wrote. It runs what the file's pickle asks for: open files that you trust only.

    _extra_files: a dict whose keys are names given to `save`; their contents are put into it, as bytes.
    Raises RuntimeError for the compiled programs that PyTorch's `jit.save` writes, which livegrad cannot run: load the
    weights with `load_state_dict` into the module's class.

    >>> import io, livegrad
    >>> file = io.BytesIO()
    >>> livegrad.jit.save(livegrad.jit.script(livegrad.nn.Linear(2, 3)), file)
    >>> _ = file.seek(0)
    >>> livegrad.jit.load(file)
    Linear(in_features=2, out_features=3, bias=True)
    """
    from ..serialization import load as load_object

    if _is_program(f):
        raise RuntimeError(
            "this file has a program compiled by PyTorch's jit, which livegrad cannot run. Save the module's "
            "state_dict() with PyTorch, and load it into the module's class with load_state_dict()"
        )
    found = load_object(f, map_location, weights_only=False)
    if not builtins.isinstance(found, dict) or _FORMAT not in found:
        raise RuntimeError("this file was not written by jit.save: read it with livegrad.load")
    for name in _extra_files or ():
        _extra_files[name] = found["extra"].get(name, b"")  # type: ignore[index]
    return found["module"]


_FORMAT = "livegrad.jit"


def _is_program(f: Any) -> bool:
    """Whether a file is an archive of PyTorch's jit: it has the text of a program in it."""
    start = f.tell() if hasattr(f, "tell") else None
    try:
        if not zipfile.is_zipfile(f):
            return False
        with zipfile.ZipFile(f) as archive:
            return any("/code/" in name for name in archive.namelist())
    finally:
        if start is not None:
            f.seek(start)


def script_if_tracing(fn: Callable) -> Callable:
    """The function itself."""
    return fn


_script_if_tracing = script_if_tracing


def export(fn: Callable) -> Callable:
    """The method itself."""
    return fn


_overload = _overload_method = export


def unused(fn: Callable) -> Callable:
    """The method itself, which runs when it is called."""
    return fn


def ignore(drop: Any = False, **options: Any) -> Any:
    """The function itself; also as a decorator with arguments."""
    return drop if callable(drop) else lambda fn: fn


def freeze(mod: Any, *args: Any, **options: Any) -> Any:
    """The module itself."""
    return mod


def annotate(the_type: Any, the_value: Any) -> Any:
    """The value."""
    return the_value


def script_method(fn: Callable) -> Callable:
    """The method itself."""
    return fn


def isinstance(obj: Any, target_type: Any) -> bool:  # noqa: A001
    """Whether an object is of a type; of ``list[int]`` and its like, only the outer type is looked at."""
    types: tuple[Any, ...] = target_type if builtins.isinstance(target_type, tuple) else (target_type,)
    plain: Any = tuple(getattr(t, "__origin__", t) for t in types)
    return builtins.isinstance(obj, plain)


def Attribute(value: Any, type: Any) -> Any:  # noqa: A002, N802
    """The value."""
    return value


class Future:
    """The result of `fork`, which is there already."""

    def __init__(self, value: Any):
        self._value = value

    def wait(self) -> Any:
        """The result."""
        return self._value

    value = wait

    def done(self) -> bool:
        """True."""
        return True


def fork(func: Callable, *args: Any, **kwargs: Any) -> Future:
    """Call the function and keep its result for `wait`: nothing runs at the same time."""
    return Future(func(*args, **kwargs))


def wait(future: Future) -> Any:
    """The result of what was forked."""
    return future.wait()


def optimize_for_inference(mod: Any, *args: Any, **options: Any) -> Any:
    """The module itself."""
    return mod


def optimized_execution(should_optimize: bool) -> Any:
    """A context manager that changes nothing."""
    return nullcontext()


def is_scripting() -> bool:
    """False: Python runs."""
    return False


def is_tracing() -> bool:
    """False: Python runs."""
    return False


__all__ = [
    "Attribute", "Error", "Final", "Future", "ScriptFunction", "ScriptModule", "TracerWarning", "annotate", "export",
    "fork", "freeze", "ignore", "interface", "is_scripting", "is_tracing", "isinstance", "load",
    "optimize_for_inference", "optimized_execution", "save", "script", "script_if_tracing", "script_method", "trace",
    "trace_module", "unused", "wait",
]  # fmt: skip

"""What is said of arguments of a wrong type: TypeError with PyTorch's text, whatever came of them inside.

Nothing is checked while all goes well. Where a function raises, its arguments are compared with its annotations, and
with what parameters of its name always are; one that does not fit is the reason, and is named.
"""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Collection, Iterable
from typing import Any

import numpy as np

from .. import dtypes
from ..lazy.value import Unbatched
from ..native import hot
from ..overriding import COMPUTE, OVERRIDES, Public, announced, foreign, overridden
from ..runtime.refusal import OutOfMemoryError
from ..tensor import Tensor
from .batch_loops import loop
from .numpy_names import with_numpy_names

# What functions that make tensors take and have no use for: there is one layout, and memory is pinned by itself.
WITHOUT_USE = frozenset(("layout", "pin_memory", "memory_format", "names", "size", "dtype", "device", "requires_grad"))


@hot
def refuse_unknown(function: str, given: dict[str, Any], known: Collection[str] = WITHOUT_USE) -> None:
    """TypeError for a keyword argument that a function does not have."""
    for name in given:
        if name not in known:
            raise TypeError(f"{function}() received an unexpected keyword argument '{name}'")


@hot
def settled(x: Any) -> bool:
    """Whether an argument is a whole number, a tuple of them, a word, or None: what always means the same."""
    c = x.__class__
    if c is tuple:
        return all(n.__class__ is int for n in x)
    return c is int or c is str or x is None


# What parameters of these names are, where they have no annotation that says more.
TENSORS = frozenset(
    (
        "input", "input1", "input2", "target", "target1", "target2", "other", "weight", "bias", "query", "key", "value",
        "tensor", "mask", "attn_mask", "index", "indices", "mat", "mat1", "mat2", "vec", "vec1", "vec2", "x1", "x2",
        "anchor", "positive", "negative", "log_probs", "running_mean", "running_var", "grid", "theta", "tensor1",
        "tensor2", "batch1", "batch2", "source", "src", "offsets", "per_sample_weights", "bias_k", "bias_v",
        "key_padding_mask",
    )
)  # fmt: skip
# Those of them that may be None wherever they are.
OPTIONAL = frozenset(
    ("bias", "bias_k", "bias_v", "attn_mask", "mask", "key_padding_mask", "running_mean", "running_var")
)
# How NumPy begins to say that an array would have more bytes than can be counted.
NUMPYS_WORDS = ("Maximum allowed", "array is too big")
SEQUENCES = frozenset(("tensors", "matrices", "operands"))
SIZES = frozenset(
    (
        "dim", "dims", "size", "shape", "sizes", "kernel_size", "stride", "padding", "dilation", "output_size",
        "output_padding", "normalized_shape", "repeats", "split_sizes", "shifts",
    )
)  # fmt: skip


def checked(f: Callable, method: bool = False, prefix: str = "", public: bool = True) -> Callable:
    """The function, which raises TypeError where it raises anything because of an argument's type.

    method: it is called on its first argument, which is not counted in the text. prefix: of its name in the text.
    public: whether users call it as it is: then arguments may override it (see `overriding`).
    """
    asks = public and not method
    entry = Public()

    @functools.wraps(f)
    @hot
    def function(*args: Any, **kwargs: Any) -> Any:
        if asks and OVERRIDES.on:
            made = overridden(entry.function, args, kwargs)
            if made is not COMPUTE:
                return made
        try:
            return f(*args, **kwargs)
        except Exception as error:
            if isinstance(error, Unbatched):
                return loop(f, args, kwargs)
            if public:
                made = foreign(entry, args, kwargs, f.__name__ if method else "")
                if made is not COMPUTE:
                    return made
            explain(error, f, args, kwargs, method, prefix)
            raise

    return announced(function, entry) if asks else function


def check_public(module: dict[str, Any], prefix: str) -> None:
    """Wrap a module's own public functions with `checked`, and let them take NumPy's names of parameters.

    Their own names get a prefix in the text of errors.
    """
    for name in module["__all__"]:
        if module[name].__module__ == module["__name__"]:
            module[name] = checked(with_numpy_names(module[name]), prefix=prefix)


def explain(error: Exception, f: Callable, args: tuple, kwargs: dict, method: bool = False, prefix: str = "") -> None:
    """Raise what is to be said instead of `error`, which `f` has raised; nothing where that is clear enough."""
    refuse_types(f, args, kwargs, method, prefix)
    too_large = isinstance(error, ValueError) and str(error).startswith(NUMPYS_WORDS)
    if too_large or (isinstance(error, MemoryError) and not isinstance(error, OutOfMemoryError)):
        raise OutOfMemoryError(f"out of memory in {f.__name__}(): {error or 'more than there can be'}") from None


def refuse_types(f: Callable, args: tuple, kwargs: dict, method: bool = False, prefix: str = "") -> None:
    """Raise TypeError for the first argument that `f` cannot take because of its type, if there is one."""
    signature = inspect.signature(f)
    try:
        given = signature.bind(*args, **kwargs).arguments
    except TypeError:
        return  # which Python has said already
    for place, (name, parameter) in enumerate(signature.parameters.items(), 1 - method):
        if name not in given or parameter.kind is parameter.VAR_KEYWORD:
            continue
        wrong = _wrong(name, parameter, given[name])
        if wrong:
            if place == 1 - method and name in ("x", "t", "a", "self"):
                name = "input"  # as PyTorch calls it
            raise TypeError(f"{prefix}{f.__name__}(): argument '{name}' (position {place}) must be {wrong}") from None


def _wrong(name: str, parameter: inspect.Parameter, value: Any) -> str:
    """What an argument must be instead, and what it is; empty where it may be what it is."""
    default = parameter.default
    if value is default:
        return ""
    wanted = _annotation(parameter)
    if value is None and ("None" in wanted or not wanted and (default is not parameter.empty or name in OPTIONAL)):
        return ""
    if name == "padding" and isinstance(value, str):  # "same" and "valid", or another word that is refused inside
        return ""
    wanted = wanted.removesuffix("| None").strip()
    if parameter.kind is parameter.VAR_POSITIONAL:
        value = _only(value)
        wanted = "Sequence[Tensor]" if wanted == "Tensor" else wanted
    if wanted in ("", "Any"):
        if name == "dtype":
            wanted = "dtypes.dtype"
        elif name in SEQUENCES:
            wanted = "Sequence[Tensor]"
        elif name in SIZES:
            wanted = "Sequence[int]"
        elif name in TENSORS and not wanted and not (name == "value" and default is None):
            wanted = "Tensor"
        elif default.__class__ in (int, float) and not isinstance(value, complex):  # which the operator refuses itself
            wanted = default.__class__.__name__ if not wanted else "Number"
    if wanted in ("Sequence[Tensor]", "Sequence[int]"):
        return _wrong_elements(value, wanted == "Sequence[int]")
    fits = FITS.get(wanted)
    if wanted == "int" and isinstance(value, int) and not _is_int(value):
        return f"an int of 64 bits, not {value}"
    return "" if fits is None or fits(value) else f"{wanted.rpartition('.')[2]}, not {type_name(value)}"


def _annotation(parameter: inspect.Parameter) -> str:
    a = parameter.annotation
    if a is parameter.empty:
        return ""
    return a if isinstance(a, str) else getattr(a, "__name__", str(a))


def _only(values: tuple) -> Any:
    """What was given for `*names`: one sequence, or several values."""
    return values[0] if len(values) == 1 and not isinstance(values[0], (int, Tensor)) else values


def _wrong_elements(values: Any, ints: bool) -> str:
    what, fits = ("ints", _is_int) if ints else ("Tensors", _is_tensor)
    if ints and isinstance(values, int):
        values = (values,)
    if ints and (_is_int(values) or isinstance(values, str) and values in ("same", "valid")):
        return ""  # (these two are kinds of padding)
    if not isinstance(values, (list, tuple)) and (
        isinstance(values, (str, bytes, Tensor, np.ndarray)) or not isinstance(values, Iterable)
    ):
        return f"tuple of {what}, not {type_name(values)}"
    if not isinstance(values, Collection):
        return ""  # an iterator is gone
    for place, value in enumerate(values):
        if ints and isinstance(value, int) and not _is_int(value):
            return f"tuple of ints of 64 bits, but found {value} at pos {place}"
        if not fits(value):
            return f"tuple of {what}, but found element of type {type_name(value)} at pos {place}"
    return ""


def _is_tensor(x: Any) -> bool:
    return isinstance(x, Tensor)


def _is_int(x: Any) -> bool:
    if isinstance(x, Tensor):
        return not x.dtype.is_floating_point and x.numel() == 1
    if isinstance(x, np.ndarray):
        return False
    try:
        return -(1 << 63) <= operator.index(x) < 1 << 63
    except TypeError:
        return False


def _is_number(x: Any) -> bool:
    if isinstance(x, Tensor):
        return x.numel() == 1
    return hasattr(type(x), "__float__") and not isinstance(x, np.ndarray)


# What an argument is, by its annotation.
FITS = {
    "Tensor": _is_tensor,
    "int": _is_int,
    "float": _is_number,
    "bool": _is_number,
    "Number": lambda x: isinstance(x, Tensor) or _is_number(x),
    "str": lambda x: isinstance(x, str),
    "dtypes.dtype": lambda x: isinstance(x, dtypes.dtype),
}


def type_name(x: Any) -> str:
    """The name of an object's type, as PyTorch writes it."""
    kind = type(x)
    if kind.__module__ == "numpy" or kind.__name__ == "Tensor":  # which may be another library's
        return f"{kind.__module__.partition('.')[0]}.{kind.__name__}"
    return kind.__name__

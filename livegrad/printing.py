"""Text for tensors: what ``repr(tensor)`` and ``print(tensor)`` show.

The layout is PyTorch's, to the character: column alignment, when numbers turn to scientific notation, what is
left out of large tensors, where lines wrap and where the ``dtype=``, ``device=``, ``grad_fn=`` notes go.  This module
knows nothing about the tensor class; it works on NumPy arrays (or anything with ``shape``, ``dtype`` and slicing whose
slices NumPy can read), and of a large array it reads only the corners that are shown.

>>> import numpy as np
>>> print(tensor_repr(np.array([1.5, float("nan"), -2.0], dtype=np.float32), dtype="float32"))
tensor([ 1.5000,     nan, -2.0000])
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

__all__ = [
    "get_printoptions",
    "parameter_repr",
    "printoptions",
    "set_printoptions",
    "size_repr",
    "tensor_repr",
]


# --------------------------------------------------------------------------------------------------------------------
# Options
# --------------------------------------------------------------------------------------------------------------------


@dataclass
class _Options:
    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_options = _Options()

_PROFILES: dict[str, dict[str, Any]] = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": math.inf, "edgeitems": 3, "linewidth": 80},
}


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors are printed from now on.

    Args:
        precision: digits after the decimal point (4).
        threshold: tensors with more elements than this are abbreviated (1000).
        edgeitems: how many entries are shown at each end of an abbreviated dimension (3).
        linewidth: characters a line may hold (80).
        profile: ``"default"``, ``"short"`` or ``"full"``: a set of values for the four above; each of them that is
            also given wins over the profile.
        sci_mode: ``True`` for scientific notation, ``False`` for none, ``None`` to decide from the values.  As in
            PyTorch every call sets this one, so a call that leaves it out goes back to deciding from the values.

    >>> import numpy as np
    >>> set_printoptions(precision=2)
    >>> tensor_repr(np.array([0.12345], dtype=np.float32), dtype="float32")
    'tensor([0.12])'
    >>> set_printoptions(profile="default")
    """
    settings = dict(_PROFILES.get(profile, {})) if profile is not None else {}
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    settings.update({name: value for name, value in given.items() if value is not None})
    for name, value in settings.items():
        setattr(_options, name, value)
    _options.sci_mode = sci_mode


def get_printoptions() -> dict[str, Any]:
    """The current printing options, as keyword arguments for :func:`set_printoptions`.

    >>> get_printoptions()["edgeitems"]
    3
    """
    return asdict(_options)


@contextmanager
def printoptions(**kwargs: Any) -> Iterator[None]:
    """Use other printing options inside a ``with`` block.

    >>> import numpy as np
    >>> with printoptions(precision=1):
    ...     tensor_repr(np.array([0.25, 0.5], dtype=np.float32), dtype="float32")
    'tensor([0.2, 0.5])'
    """
    before = get_printoptions()
    # As in PyTorch, the block starts from the options in force, not from the default ones.
    set_printoptions(**kwargs)
    try:
        yield
    finally:
        set_printoptions(**before)


# --------------------------------------------------------------------------------------------------------------------
# Numbers to text
# --------------------------------------------------------------------------------------------------------------------


@dataclass
class _Column:
    """How the elements of one tensor are written: a function for one element, and the width of a cell.

    Complex elements are not ``padded`` as a whole: only their real parts line up.
    """

    text: Callable[[Any], str]
    width: int
    padded: bool = True

    def cell(self, value: Any) -> str:
        return self.text(value).rjust(self.width) if self.padded else self.text(value)


def _real_column(values: np.ndarray, sci_mode: bool | None, precision: int) -> _Column:
    """Choose the notation for real floating-point numbers (float64 here) from the ones that will be shown.

    Only finite non-zero numbers count.  All whole: ``1.``; otherwise ``1.5000``; and scientific notation when they
    are too big, too small or too far apart to read in one column.
    """
    counted = values[np.isfinite(values) & (values != 0)]
    if counted.size == 0:
        return _Column(_whole_text, 1)
    magnitudes = np.abs(counted)
    whole = bool(np.all(magnitudes == np.floor(magnitudes)))
    if sci_mode is None:
        small, large = float(magnitudes.min()), float(magnitudes.max())
        scientific = large / small > 1000.0 or large > 1.0e8 or (not whole and small < 1.0e-4)
    else:
        scientific = sci_mode
    if scientific:
        text: Callable[[float], str] = f"{{:.{precision}e}}".format
    elif whole:
        text = _whole_text
    else:
        text = f"{{:.{precision}f}}".format
    return _Column(text, max(len(text(value)) for value in counted.tolist()))


def _whole_text(value: float) -> str:
    return f"{value:.0f}." if math.isfinite(value) else f"{value:.0f}"


def _complex_column(values: np.ndarray, sci_mode: bool | None, precision: int) -> _Column:
    """Real and imaginary parts each choose their own notation; the real parts are aligned."""
    real = _real_column(np.ascontiguousarray(values.real), sci_mode, precision)
    imag = _real_column(np.ascontiguousarray(values.imag), sci_mode, precision)

    def text(value: complex) -> str:
        tail = imag.text(value.imag)
        return real.cell(value.real) + (tail if tail[0] in "+-" else "+" + tail) + "j"

    return _Column(text, real.width + imag.width + 1, padded=False)


def _column(shown: np.ndarray, options: _Options) -> tuple[_Column, np.ndarray]:
    """The column for the shown values, and the values in a form whose ``tolist()`` gives Python numbers."""
    kind = shown.dtype.kind
    if kind == "c":
        wide = shown.astype(np.complex128)
        return _complex_column(wide.ravel(), options.sci_mode, options.precision), wide
    if kind in "biu":
        longest = max((len(str(value)) for value in shown.ravel().tolist()), default=1)
        return _Column(str, longest), shown
    # float16/32/64 are kind "f"; ml_dtypes' bfloat16 and float8 are of other kinds.
    wide = shown.astype(np.float64)
    return _real_column(wide.ravel(), options.sci_mode, options.precision), wide


# --------------------------------------------------------------------------------------------------------------------
# Arrays to text
# --------------------------------------------------------------------------------------------------------------------


def _host(piece: Any) -> np.ndarray:
    """A NumPy array for a piece of the tensor; ``get()`` is how device arrays such as CuPy's come to the host."""
    if isinstance(piece, np.ndarray):
        return piece
    get = getattr(piece, "get", None)
    return np.asarray(get() if callable(get) else piece)


def _corners(array: Any, edge: int) -> np.ndarray:
    """The entries an abbreviated print shows: the first and last ``edge`` of every dimension that is cut."""
    shape = tuple(array.shape)
    cuts = [
        [(slice(0, edge), slice(0, edge)), (slice(size - edge, size), slice(edge, 2 * edge))]
        if size > 2 * edge
        else [(slice(0, size), slice(0, size))]
        for size in shape
    ]
    out: np.ndarray | None = None
    for combination in itertools.product(*cuts):
        piece = _host(array[tuple(source for source, _ in combination)])
        if out is None:
            out = np.empty([min(size, 2 * edge) for size in shape], dtype=piece.dtype)
        out[tuple(target for _, target in combination)] = piece
    assert out is not None
    return out


def _nested(cells: list, cut: Sequence[bool], column: _Column, options: _Options, indent: int) -> str:
    """Nested lists of shown values as bracketed text; ``cut`` says which dimensions have an ellipsis in the middle."""
    edge = options.edgeitems
    if len(cut) == 1:
        words = [column.cell(value) for value in cells]
        if cut[0]:
            words.insert(edge, " ...")
        per_line = max(1, int((options.linewidth - indent) // (column.width + 2)))
        lines = [", ".join(words[start : start + per_line]) for start in range(0, len(words), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
    rows = [_nested(row, cut[1:], column, options, indent + 1) for row in cells]
    if cut[0]:
        rows.insert(edge, "...")
    return "[" + ("," + "\n" * (len(cut) - 1) + " " * (indent + 1)).join(rows) + "]"


def _contents(array: Any, options: _Options, indent: int) -> str:
    """The values, without ``tensor(`` and the notes that follow."""
    shape = tuple(array.shape)
    count = math.prod(shape)
    if count == 0:
        return "[]"
    abbreviated = count > options.threshold
    edge = options.edgeitems
    if abbreviated and edge <= 0 and shape:
        return "[...]"
    cut = [abbreviated and size > 2 * edge for size in shape]
    shown = _corners(array, edge) if any(cut) else _host(array)
    column, values = _column(shown, options)
    if not shape:
        return column.text(values.tolist())
    return _nested(values.tolist(), cut, column, options, indent)


_COMPLEX_OF = {"float16": "complex32", "bfloat16": "complex64", "float32": "complex64", "float64": "complex128"}


def unsaid(dtype: str, default_dtype: str) -> bool:
    """Whether a dtype goes without saying: it is what a Python list of such values would become."""
    return dtype in (default_dtype, _COMPLEX_OF.get(default_dtype), "int64", "bool")


def tensor_repr(
    array: Any,
    *,
    dtype: str,
    default_dtype: str = "float32",
    device: str = "cpu",
    requires_grad: bool = False,
    grad_fn: str | None = None,
    indent: int = 0,
    prefix: str = "tensor(",
    tensor_contents: str | None = None,
) -> str:
    """The text PyTorch would print for a tensor with these values and properties.

    Args:
        array: the values, a NumPy array.  Of a large one only the corners that are shown are read.
        dtype: name of the tensor's dtype, such as ``"float32"``; shown unless it goes without saying.
        default_dtype: name of the default floating-point dtype.
        device: shown unless it is ``"cpu"``.
        requires_grad: adds ``requires_grad=True`` (when there is no ``grad_fn``).
        grad_fn: name of the node that made the tensor, such as ``"MeanBackward0"``.
        indent: how many columns the text will be moved to the right by its surroundings.
        prefix: what comes before the values, up to and including the parenthesis.
        tensor_contents: shown in place of the values.

    >>> import numpy as np
    >>> print(tensor_repr(np.arange(3), dtype="int64"))
    tensor([0, 1, 2])
    >>> print(tensor_repr(np.float32([[1, 2.5]]), dtype="float32", grad_fn="MulBackward0"))
    tensor([[1.0000, 2.5000]], grad_fn=<MulBackward0>)
    >>> print(tensor_repr(np.zeros((0, 3)), dtype="float64", device="cuda:0"))
    tensor([], device='cuda:0', size=(0, 3), dtype=torch.float64)
    """
    options = _options
    indent += len(prefix)
    shape = tuple(int(size) for size in array.shape)
    empty = 0 in shape

    notes = []
    if device != "cpu":
        notes.append(f"device='{device}'")
    if (empty and len(shape) != 1) or options.edgeitems == 0:
        notes.append(f"size={shape!s}")
    # Nothing can be seen of the values of an empty tensor, so there only the default dtype goes without saying.
    if dtype != default_dtype and (empty or not unsaid(dtype, default_dtype)):
        notes.append(f"dtype=torch.{dtype}")
    if grad_fn is not None:
        notes.append(f"grad_fn=<{grad_fn}>")
    elif requires_grad:
        notes.append("requires_grad=True")

    text = prefix + (_contents(array, options, indent) if tensor_contents is None else tensor_contents)
    return with_notes(text, notes, indent)


def contents(array: Any, indent: int = 0) -> str:
    """The values as text, without what `tensor_repr` writes before and after them.

    >>> import numpy as np
    >>> contents(np.arange(3))
    '[0, 1, 2]'
    """
    return _contents(array, _options, indent)


def with_notes(text: str, notes: Sequence[str], indent: int, force_newline: bool = False) -> str:
    """A beginning of a tensor's text, notes after it on as few lines as they need, and the closing parenthesis."""
    used = len(text) - text.rfind("\n") + 1  # the width of the last line, and the comma and space before the next note
    for note in notes:
        if force_newline or used + len(note) + 2 > _options.linewidth:
            text += ",\n" + " " * indent + note
            used, force_newline = indent + len(note), False
        else:
            text += ", " + note
            used += len(note) + 2
    return text + ")"


def parameter_repr(text: str) -> str:
    """The text of a ``Parameter`` from the text of its tensor.

    >>> print(parameter_repr("tensor([1.], requires_grad=True)"))
    Parameter containing:
    tensor([1.], requires_grad=True)
    """
    return "Parameter containing:\n" + text


def size_repr(shape: Sequence[int]) -> str:
    """The text of a shape.

    >>> size_repr((2, 3))
    'torch.Size([2, 3])'
    """
    return "torch.Size([" + ", ".join(str(int(size)) for size in shape) + "])"

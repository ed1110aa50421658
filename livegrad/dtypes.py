"""Data types of tensor elements, and PyTorch's rules for combining them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .llvm import service
from .native import hot, slotted

BOOL, INTEGRAL, FLOATING, COMPLEX = range(4)


@slotted
class dtype:
    """The type of a tensor's elements, such as ``livegrad.float32``.

    Attributes: ``name``, ``itemsize`` (bytes), ``is_floating_point``, ``is_signed``, ``is_complex``.

    >>> import livegrad
    >>> livegrad.float64.itemsize
    8
    """

    __slots__ = ("name", "np", "itemsize", "category", "kind", "is_signed", "index", "compute_kind")

    @hot
    def __init__(self, name: str, np_dtype: Any, category: int, kind: str, signed: bool, index: int, itemsize: int = 0):
        self.name = name
        if np_dtype is not None:
            self.np = np.dtype(np_dtype)
        self.itemsize = itemsize or self.np.itemsize
        self.category = category
        self.kind = kind  # the register kind of the code generator
        self.compute_kind = "f32" if kind in ("f16", "bf16") else kind
        self.is_signed = signed
        self.index = index

    def __getattr__(self, name: str) -> Any:
        if name != "np":
            raise AttributeError(f"'dtype' object has no attribute '{name}'")
        service.load("ml_dtypes")  # most programs never need it
        import ml_dtypes

        self.np = np.dtype(getattr(ml_dtypes, self.name, self.name))
        return self.np

    @property
    @hot
    def is_floating_point(self) -> bool:
        return self.category == FLOATING

    @property
    @hot
    def is_complex(self) -> bool:
        return self.category == COMPLEX

    @hot
    def to_real(self) -> dtype:
        """The dtype of the parts of a complex dtype's numbers; a real dtype itself.

        >>> complex64.to_real()
        torch.float32
        """
        return REAL_OF.get(self, self)

    @hot
    def to_complex(self) -> dtype:
        """The complex dtype whose parts have this dtype; a complex dtype itself. Half types give complex64.

        >>> float64.to_complex()
        torch.complex128
        """
        return self if self.category == COMPLEX else complex128 if self is float64 else complex64

    def __repr__(self) -> str:
        # Printed output is PyTorch's to the character, the module's name included.
        return "torch." + self.name

    def __reduce__(self) -> tuple:
        return _by_name, (self.name,)

    def __copy__(self) -> dtype:
        return self

    def __deepcopy__(self, memo: dict) -> dtype:
        return self


def _by_name(name: str) -> dtype:
    return BY_NAME.get(name) or ONLY_NAMES[name]


ALL: list[dtype] = []


def _define(name: str, np_dtype: Any, category: int, kind: str, signed: bool = True, itemsize: int = 0) -> dtype:
    made = dtype(name, np_dtype, category, kind, signed, len(ALL), itemsize)
    ALL.append(made)
    return made


bool_ = _define("bool", np.bool_, BOOL, "i1", False)
uint8 = _define("uint8", np.uint8, INTEGRAL, "i8", False)
int8 = _define("int8", np.int8, INTEGRAL, "i8")
int16 = _define("int16", np.int16, INTEGRAL, "i16")
int32 = _define("int32", np.int32, INTEGRAL, "i32")
int64 = _define("int64", np.int64, INTEGRAL, "i64")
float16 = _define("float16", np.float16, FLOATING, "f16")
bfloat16 = _define("bfloat16", None, FLOATING, "bf16", itemsize=2)
float32 = _define("float32", np.float32, FLOATING, "f32")
float64 = _define("float64", np.float64, FLOATING, "f64")
complex64 = _define("complex64", np.complex64, COMPLEX, "c64")
complex128 = _define("complex128", np.complex128, COMPLEX, "c128")


class OnlyName(dtype):
    """A dtype of PyTorch that no tensor here has: programs name it to say what they do with others, and compare."""


ONLY_NAMES = {
    name: OnlyName(name, None, category, "", signed, -1, itemsize)
    for name, category, signed, itemsize in (
        ("uint16", INTEGRAL, False, 2), ("uint32", INTEGRAL, False, 4), ("uint64", INTEGRAL, False, 8),
        ("float8_e4m3fn", FLOATING, True, 1), ("float8_e4m3fnuz", FLOATING, True, 1),
        ("float8_e5m2", FLOATING, True, 1), ("float8_e5m2fnuz", FLOATING, True, 1),
        ("float8_e8m0fnu", FLOATING, False, 1), ("complex32", COMPLEX, True, 4),
        ("qint8", INTEGRAL, True, 1), ("quint8", INTEGRAL, False, 1), ("qint32", INTEGRAL, True, 4),
        ("quint4x2", INTEGRAL, False, 1), ("quint2x4", INTEGRAL, False, 1),
        *((f"{kind}{bits}", INTEGRAL, kind == "int", 1) for kind in ("int", "uint") for bits in range(1, 8)),
    )
}  # fmt: skip

# Those of them that have no limits of their own: whole numbers of fewer than eight bits, and what is quantised has
# the limits of what it is made of.
_WITHOUT_LIMITS = frozenset(f"{kind}{bits}" for kind in ("int", "uint") for bits in range(1, 8))
_MADE_OF = {"qint8": int8, "quint8": uint8, "qint32": int32, "quint4x2": uint8, "quint2x4": uint8}

REAL_OF = {complex64: float32, complex128: float64, ONLY_NAMES["complex32"]: float16}
BY_NAME = {d.name: d for d in ALL}
ALIASES = {"half": float16, "float": float32, "double": float64, "short": int16, "int": int32, "long": int64,
           "cfloat": complex64, "cdouble": complex128}  # fmt: skip
_BY_NUMPY = {d.np: d for d in ALL if d is not bfloat16}

_default = float32


# What Python's types of numbers mean where a dtype is asked for.
_OF_TYPES = {bool: bool_, int: int64, float: float64, complex: complex128}


@hot
def given(d: Any, function: str) -> dtype:
    """The dtype that an argument `dtype=` of a function means: itself, or that of one of Python's types of numbers.

    >>> given(int, "zeros")
    torch.int64

    Raises TypeError for anything else, and for a dtype that is only a name here.
    """
    if d.__class__ is dtype:
        return d
    if isinstance(d, OnlyName):
        raise TypeError(f"{function}(): there are no tensors of dtype {d} in livegrad")
    found = _OF_TYPES.get(d) if isinstance(d, type) else None
    if found is None:
        raise TypeError(f"{function}(): argument 'dtype' must be torch.dtype, not {type(d).__name__}")
    return found


@hot
def get_default_dtype() -> dtype:
    """The floating-point dtype that Python floats become (float32 unless changed)."""
    return _default


def set_default_dtype(d: dtype) -> None:
    """Set the floating-point dtype that Python floats become.

    Raises TypeError for a dtype that is not floating point.
    """
    global _default
    if not isinstance(d, dtype) or not d.is_floating_point:
        raise TypeError(f"only floating-point types are supported as the default type, got {d}")
    _default = d
    for table in _DEFAULT_DEPENDENT:
        table.clear()


# Tables memoised by others that depend on the default dtype; cleared when it changes.
_DEFAULT_DEPENDENT: list[dict] = []


@hot
def known_numpy_dtype(np_dtype: np.dtype) -> dtype | None:
    """The livegrad dtype of a NumPy dtype, if there is one."""
    found = _BY_NUMPY.get(np_dtype)
    if found is None and np_dtype.name == "bfloat16":
        _BY_NUMPY[bfloat16.np] = bfloat16
        found = _BY_NUMPY.get(np_dtype)
    return found


@hot
def from_numpy_dtype(np_dtype: Any) -> dtype:
    """The livegrad dtype of a NumPy dtype. Raises TypeError where there is none."""
    found = known_numpy_dtype(np.dtype(np_dtype))
    if found is None:
        names = ", ".join(d.name for d in ALL)
        raise TypeError(
            f"can't convert np.ndarray of type numpy.{np.dtype(np_dtype)}. The only supported types are: {names}."
        )
    return found


def _promote(a: dtype, b: dtype) -> dtype:
    if a is b:
        return a
    if a.category == COMPLEX or b.category == COMPLEX:
        return complex128 if {a, b} & {float64, complex128} else complex64
    if a.category != b.category:
        return a if a.category > b.category else b
    if a.category == FLOATING:
        if {a, b} == {float16, bfloat16}:
            return float32
        return a if a.index > b.index else b
    return _BY_NUMPY[np.promote_types(a.np, b.np)]


_PROMOTED = [[_promote(a, b) for b in ALL] for a in ALL]


def promote_types(type1: dtype, type2: dtype) -> dtype:
    """The smallest dtype that holds both, as PyTorch promotes.

    >>> promote_types(int64, float16)
    torch.float16
    """
    try:
        return _PROMOTED[type1.index][type2.index]
    except AttributeError:
        place, wrong = (2, type2) if isinstance(type1, dtype) else (1, type1)
        raise TypeError(
            f"promote_types(): argument 'type{place}' (position {place}) must be torch.dtype, "
            f"not {type(wrong).__name__}"
        ) from None


@hot
def of_scalar(x: Any) -> dtype:
    """The dtype that a Python number has when nothing else decides."""
    c = x.__class__
    if c is bool:
        return bool_
    if c is int:
        return int64
    if c is float:
        return _default
    if isinstance(x, (bool, np.bool_)):
        return bool_
    if isinstance(x, (int, np.integer)):
        return int64
    if isinstance(x, (float, np.floating)):
        return _default
    if isinstance(x, (complex, np.complexfloating)):
        return _default.to_complex()
    raise TypeError(f"expected a Python number, got {type(x).__name__}")


def promote_operands(ranked: list[tuple[dtype, int]]) -> dtype:
    """The common dtype of operands given as (dtype, priority) pairs.

    Priority 2: tensors with dimensions, 1: zero-dimensional tensors, 0: Python numbers. A lower
    priority decides only when its category (bool < integer < float < complex) is higher; complex ones leave
    the width of a floating-point dtype as it is.
    """
    best: list[dtype | None] = [None, None, None]
    for d, priority in ranked:
        current = best[priority]
        best[priority] = d if current is None else promote_types(current, d)
    scalar, zero_dim, dims = best
    result = dims
    for lower in (zero_dim, scalar):
        if lower is None:
            continue
        if result is None:
            result = lower
        elif lower.category == COMPLEX and result.category >= FLOATING:
            result = result.to_complex()
        elif lower.category > result.category:
            result = lower
            if lower is scalar and lower.category >= FLOATING:  # Python's numbers count as the default dtype
                result = _default.to_complex() if lower.category == COMPLEX else _default
    assert result is not None
    return result


class _Limits:
    """What `finfo` and `iinfo` share: two of the same dtype are equal."""

    dtype: str
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> Any:
        return self.dtype == other.dtype if type(other) is type(self) else NotImplemented


class finfo(_Limits):
    """Limits of a floating-point dtype: ``eps``, ``max``, ``min``, ``tiny``, ``bits``."""

    def __init__(self, d: dtype | None = None):
        d = (d or _default).to_real()
        if not d.is_floating_point:
            raise TypeError(f"finfo() needs a floating-point or complex dtype, got {d}")
        if d is bfloat16 or isinstance(d, OnlyName):
            service.load("ml_dtypes")
            import ml_dtypes

            info: Any = ml_dtypes.finfo(d.np)
        else:
            info = np.finfo(d.np)
        self.dtype = d.name
        self.bits = d.itemsize * 8
        self.eps, self.max, self.min = float(info.eps), float(info.max), float(info.min)
        self.tiny = self.smallest_normal = float(info.smallest_normal)
        self.resolution = 10.0**-info.precision

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, eps={self.eps:g}, "
            f"smallest_normal={self.tiny:g}, tiny={self.tiny:g}, dtype={self.dtype})"
        )


class iinfo(_Limits):
    """Limits of an integer dtype: ``max``, ``min``, ``bits``."""

    @hot
    def __init__(self, d: dtype):
        if d.category != INTEGRAL or d.name in _WITHOUT_LIMITS:
            raise TypeError(f"iinfo() needs an integer dtype, got {d}")
        info = np.iinfo(_MADE_OF.get(d.name, d).np)
        self.dtype, self.bits, self.max, self.min = d.name, info.bits, int(info.max), int(info.min)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"


class Size(tuple):
    """A tensor's shape: a tuple of ints that prints as PyTorch's ``torch.Size([2, 3])``."""

    __slots__ = ()

    def numel(self) -> int:
        n = 1
        for s in self:
            n *= s
        return n

    def __repr__(self) -> str:
        return f"torch.Size([{', '.join(map(str, self))}])"

    __str__ = __repr__

    @hot
    def __getitem__(self, i: Any) -> Any:
        got = tuple.__getitem__(self, i)
        return Size(got) if isinstance(i, slice) else got

    def __add__(self, other: Any) -> Size:
        return Size(tuple.__add__(self, tuple(other)))

    def __mul__(self, times: Any) -> Size:
        return Size(tuple.__mul__(self, times))

    __rmul__ = __mul__

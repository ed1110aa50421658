"""What parameters and samples of a distribution have to satisfy."""

from __future__ import annotations

from typing import Any

import livegrad

__all__ = [
    "Constraint", "boolean", "cat", "corr_cholesky", "dependent", "dependent_property", "greater_than",
    "greater_than_eq", "half_open_interval", "independent", "integer_interval", "interval", "is_dependent",
    "less_than", "lower_cholesky", "lower_triangular", "multinomial", "nonnegative", "nonnegative_integer", "one_hot",
    "positive", "positive_definite", "positive_integer", "positive_semidefinite", "real", "real_vector", "simplex",
    "square", "stack", "symmetric", "unit_interval",
]  # fmt: skip


class Constraint:
    """A condition: `check` gives a tensor of truth values, one for each event; an event has `event_dim` dimensions."""

    is_discrete = False
    event_dim = 0

    def check(self, value: Any) -> Any:
        raise NotImplementedError

    def __repr__(self) -> str:
        return type(self).__name__.lstrip("_") + "()"


class _Dependent(Constraint):
    """Depends on the distribution; such a support is a property."""

    def check(self, value: Any) -> Any:
        raise ValueError("Cannot determine validity of dependent constraint")


class dependent_property(property, _Dependent):  # noqa: N801
    """A property that gives a constraint; asked of the class it is one itself, of which only the kind is known."""

    def __init__(self, fn: Any = None, *, is_discrete: bool | None = None, event_dim: int | None = None):
        super().__init__(fn)
        self.is_discrete, self.event_dim = bool(is_discrete), event_dim or 0

    def __call__(self, fn: Any) -> Any:
        return dependent_property(fn, is_discrete=self.is_discrete, event_dim=self.event_dim)


def is_dependent(constraint: Any) -> bool:
    """Whether a constraint depends on the distribution."""
    return isinstance(constraint, _Dependent)


class _Real(Constraint):
    def check(self, value: Any) -> Any:
        return value == value


class _Boolean(Constraint):
    is_discrete = True

    def check(self, value: Any) -> Any:
        return (value == 0) | (value == 1)


class _Simplex(Constraint):
    event_dim = 1

    def check(self, value: Any) -> Any:
        return (value >= 0).all(-1) & ((value.sum(-1) - 1).abs() < 1e-6)


class _OneHot(Constraint):
    is_discrete = True
    event_dim = 1

    def check(self, value: Any) -> Any:
        return ((value == 0) | (value == 1)).all(-1) & (value.sum(-1) == 1)


class _Square(Constraint):
    event_dim = 2

    def check(self, value: Any) -> Any:
        return livegrad.full(value.shape[:-2], value.shape[-1] == value.shape[-2], dtype=livegrad.bool)


class _Symmetric(_Square):
    def check(self, value: Any) -> Any:
        square = super().check(value)
        return square if not bool(square.all()) else livegrad.isclose(value, value.mT, atol=1e-6).all(-2).all(-1)


class _PositiveSemidefinite(_Symmetric):
    def _fine(self, smallest: Any) -> Any:
        return smallest >= 0

    def check(self, value: Any) -> Any:
        symmetric = super().check(value)
        if not bool(symmetric.all()):
            return symmetric
        return self._fine(livegrad.linalg.eigvalsh(value.detach()).amin(-1))


class _PositiveDefinite(_PositiveSemidefinite):
    def _fine(self, smallest: Any) -> Any:
        return smallest > 0


class _LowerTriangular(Constraint):
    event_dim = 2

    def check(self, value: Any) -> Any:
        return (value.tril() == value).all(-2).all(-1)


class _CorrCholesky(Constraint):
    event_dim = 2

    def check(self, value: Any) -> Any:
        tolerance = livegrad.finfo(value.dtype).eps * value.size(-1) * 10
        length = value.detach().pow(2).sum(-1)  # of each row, which is to be 1
        return _LowerCholesky().check(value) & ((length - 1).abs() <= tolerance).all(-1)


class _LowerCholesky(Constraint):
    event_dim = 2

    def check(self, value: Any) -> Any:
        return (value.tril() == value).all(-2).all(-1) & (value.diagonal(0, -2, -1) > 0).all(-1)


class _Bounds(Constraint):
    """Between two bounds, either of which may be missing. Subclasses say which of them do not count."""

    lower_bound: Any = None
    upper_bound: Any = None
    _open = ""

    def check(self, value: Any) -> Any:
        if self.is_discrete:
            whole = not (value.is_floating_point() or value.is_complex())
            fine = None if whole and self.lower_bound is not None else value % 1 == 0
        else:
            fine = value == value
        if self.lower_bound is not None:
            above = value > self.lower_bound if "l" in self._open else value >= self.lower_bound
            fine = above if fine is None else fine & above
        if self.upper_bound is not None:
            fine = fine & (value < self.upper_bound if "u" in self._open else value <= self.upper_bound)
        return fine

    def __repr__(self) -> str:
        bounds = (("lower_bound", self.lower_bound), ("upper_bound", self.upper_bound))
        name = type(self).__name__.lstrip("_")
        return f"{name}({', '.join(f'{n}={b}' for n, b in bounds if b is not None)})"


class _Above(_Bounds):
    def __init__(self, lower_bound: Any):
        self.lower_bound = lower_bound


class _Between(_Bounds):
    def __init__(self, lower_bound: Any, upper_bound: Any):
        self.lower_bound, self.upper_bound = lower_bound, upper_bound


class _Interval(_Between):
    """Between two bounds, which count."""


class _HalfOpenInterval(_Between):
    """From the lower bound, which counts, to the upper one, which does not."""

    _open = "u"


class _IntegerInterval(_Between):
    """Whole numbers between two bounds, which count."""

    is_discrete = True


class _IntegerGreaterThan(_Above):
    """Whole numbers: a bound, which counts, and above."""

    is_discrete = True


class _GreaterThan(_Above):
    """Above a bound."""

    _open = "l"


class _GreaterThanEq(_Above):
    """A bound, which counts, and above."""


class _LessThan(_Bounds):
    """Below a bound."""

    _open = "u"

    def __init__(self, upper_bound: Any):
        self.upper_bound = upper_bound


class _IndependentConstraint(Constraint):
    """A constraint whose last dimensions are one event."""

    def __init__(self, base_constraint: Constraint, reinterpreted_batch_ndims: int):
        self.base_constraint = base_constraint
        self.reinterpreted_batch_ndims = reinterpreted_batch_ndims
        self.event_dim = base_constraint.event_dim + reinterpreted_batch_ndims
        self.is_discrete = base_constraint.is_discrete

    def check(self, value: Any) -> Any:
        found = self.base_constraint.check(value)
        for _ in range(self.reinterpreted_batch_ndims):
            found = found.all(-1)
        return found

    def __repr__(self) -> str:
        return f"IndependentConstraint({self.base_constraint!r}, {self.reinterpreted_batch_ndims})"


independent = _IndependentConstraint


class multinomial(Constraint):  # noqa: N801
    """Counts: not negative, adding up to at most a number."""

    is_discrete = True
    event_dim = 1

    def __init__(self, upper_bound: Any):
        self.upper_bound = upper_bound

    def check(self, value: Any) -> Any:
        return (value >= 0).all(-1) & (value.sum(-1) <= self.upper_bound)


class _Parts(Constraint):
    """A constraint for each part of a tensor along a dimension."""

    def __init__(self, cseq: Any, dim: int = 0):
        self.cseq, self.dim = list(cseq), dim
        self.is_discrete = any(c.is_discrete for c in self.cseq)
        self.event_dim = max(c.event_dim for c in self.cseq)


class cat(_Parts):  # noqa: N801
    """A constraint for each stretch along a dimension; their lengths are 1 unless given."""

    def __init__(self, cseq: Any, dim: int = 0, lengths: Any = None):
        super().__init__(cseq, dim)
        self.lengths = [1] * len(self.cseq) if lengths is None else list(lengths)

    def check(self, value: Any) -> Any:
        parts = value.split(self.lengths, self.dim)
        return livegrad.cat([c.check(part) for c, part in zip(self.cseq, parts)], self.dim)


class stack(_Parts):  # noqa: N801
    """A constraint for each index along a dimension."""

    def __init__(self, cseq: Any, dim: int = 0):
        super().__init__(cseq, dim)
        self.event_dim += 1 if dim + self.event_dim < 0 else 0

    def check(self, value: Any) -> Any:
        parts = [value.select(self.dim, i) for i in range(value.size(self.dim))]
        return livegrad.stack([c.check(part) for c, part in zip(self.cseq, parts)], self.dim)


# Classes, of which programs ask whether a constraint is one.
interval, half_open_interval, integer_interval = _Interval, _HalfOpenInterval, _IntegerInterval
greater_than, greater_than_eq, less_than = _GreaterThan, _GreaterThanEq, _LessThan

dependent = _Dependent()
real = _Real()
real_vector = independent(real, 1)
boolean = _Boolean()
simplex = _Simplex()
one_hot = _OneHot()
positive_definite = _PositiveDefinite()
lower_cholesky = _LowerCholesky()
lower_triangular = _LowerTriangular()
corr_cholesky = _CorrCholesky()
square = _Square()
symmetric = _Symmetric()
positive_semidefinite = _PositiveSemidefinite()
positive = greater_than(0.0)
nonnegative = greater_than_eq(0.0)
nonnegative_integer = _IntegerGreaterThan(0)
positive_integer = _IntegerGreaterThan(1)
unit_interval = interval(0.0, 1.0)

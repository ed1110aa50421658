"""What parameters and samples of a distribution have to satisfy."""

from __future__ import annotations

from typing import Any

import livegrad

__all__ = [
    "Constraint", "boolean", "dependent", "greater_than", "half_open_interval", "independent", "integer_interval",
    "interval", "less_than", "nonnegative", "nonnegative_integer", "one_hot", "positive", "positive_definite",
    "real", "real_vector", "simplex", "unit_interval", "lower_cholesky",
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


class _PositiveDefinite(Constraint):
    event_dim = 2

    def check(self, value: Any) -> Any:
        symmetric = livegrad.isclose(value, value.mT, atol=1e-6).all(-2).all(-1)
        if not bool(symmetric.all()):
            return symmetric
        return livegrad.linalg.eigvalsh(value.detach()).amin(-1) > 0


class _LowerCholesky(Constraint):
    event_dim = 2

    def check(self, value: Any) -> Any:
        return (value.tril() == value).all(-2).all(-1) & (value.diagonal(0, -2, -1) > 0).all(-1)


class _Bounds(Constraint):
    """Between two bounds, either of which may be missing."""

    def __init__(self, lower: Any = None, upper: Any = None, open_at: str = "", name: str = "", discrete: bool = False):
        self.lower_bound, self.upper_bound, self._open, self._name = lower, upper, open_at, name
        self.is_discrete = discrete

    def check(self, value: Any) -> Any:
        fine = value % 1 == 0 if self.is_discrete else value == value
        if self.lower_bound is not None:
            fine = fine & (value > self.lower_bound if "l" in self._open else value >= self.lower_bound)
        if self.upper_bound is not None:
            fine = fine & (value < self.upper_bound if "u" in self._open else value <= self.upper_bound)
        return fine

    def __repr__(self) -> str:
        bounds = (("lower_bound", self.lower_bound), ("upper_bound", self.upper_bound))
        return f"{self._name}({', '.join(f'{n}={b}' for n, b in bounds if b is not None)})"


class independent(Constraint):  # noqa: N801
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


def interval(lower_bound: Any, upper_bound: Any) -> Constraint:
    """Between two bounds, which count."""
    return _Bounds(lower_bound, upper_bound, "", "Interval")


def half_open_interval(lower_bound: Any, upper_bound: Any) -> Constraint:
    """From the lower bound, which counts, to the upper one, which does not."""
    return _Bounds(lower_bound, upper_bound, "u", "HalfOpenInterval")


def integer_interval(lower_bound: Any, upper_bound: Any) -> Constraint:
    """Whole numbers between two bounds, which count."""
    return _Bounds(lower_bound, upper_bound, "", "IntegerInterval", True)


def greater_than(lower_bound: Any) -> Constraint:
    """Above a bound."""
    return _Bounds(lower_bound, None, "l", "GreaterThan")


def less_than(upper_bound: Any) -> Constraint:
    """Below a bound."""
    return _Bounds(None, upper_bound, "u", "LessThan")


dependent = _Dependent()
real = _Real()
real_vector = independent(real, 1)
boolean = _Boolean()
simplex = _Simplex()
one_hot = _OneHot()
positive_definite = _PositiveDefinite()
lower_cholesky = _LowerCholesky()
positive = greater_than(0.0)
nonnegative = _Bounds(0.0, None, "", "GreaterThanEq")
nonnegative_integer = _Bounds(0, None, "", "IntegerGreaterThan", True)
unit_interval = interval(0.0, 1.0)

"""From a constraint to a transform of real numbers into it: `biject_to` one that can be undone, `transform_to` any."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import constraints, transforms

__all__ = ["ConstraintRegistry", "biject_to", "transform_to"]


class ConstraintRegistry:
    """Calling it with a constraint gives a transform. `register` adds a kind of constraint."""

    def __init__(self) -> None:
        self._made: dict[Any, Callable] = {}

    def register(self, constraint: Any, factory: Callable | None = None) -> Any:
        """Make transforms for a kind of constraint (a class, or an object of it) by a function of the constraint.

        Raises TypeError for something else. A decorator, unless the function is given.
        """
        if factory is None:
            return lambda f: self.register(constraint, f)
        if not isinstance(constraint, constraints.Constraint) and not (
            isinstance(constraint, type) and issubclass(constraint, constraints.Constraint)
        ):
            raise TypeError(f"Expected constraint to be either a Constraint subclass or instance, but got {constraint}")
        self._made[constraint if isinstance(constraint, type) else type(constraint)] = factory
        return factory

    def __call__(self, constraint: Any) -> Any:
        factory = self._made.get(type(constraint))
        if factory is None:
            raise NotImplementedError(
                f"Cannot transform {type(constraint).__name__} constraints: register a transform for them"
            )
        return factory(constraint)


biject_to, transform_to = ConstraintRegistry(), ConstraintRegistry()


def _within(bounds: Any) -> Any:
    """Into the interval between two bounds, or from one on."""
    low, high = bounds.lower_bound, bounds.upper_bound
    if low is None:
        return transforms.ComposeTransform([transforms.ExpTransform(), transforms.AffineTransform(high, -1)])
    if high is None:
        grow = transforms.ExpTransform()
        if isinstance(low, (int, float)) and low == 0:
            return grow
        return transforms.ComposeTransform([grow, transforms.AffineTransform(low, 1)])
    if isinstance(low, (int, float)) and isinstance(high, (int, float)) and (low, high) == (0, 1):
        return transforms.SigmoidTransform()
    return transforms.ComposeTransform([transforms.SigmoidTransform(), transforms.AffineTransform(low, high - low)])


for _registry in (biject_to, transform_to):
    _registry.register(constraints.real, lambda _: transforms.identity_transform)
    for _kind in (
        constraints.greater_than, constraints.greater_than_eq, constraints.less_than, constraints.interval,
        constraints.half_open_interval,
    ):  # fmt: skip
        _registry.register(_kind, _within)
    _registry.register(constraints.corr_cholesky, lambda _: transforms.CorrCholeskyTransform())
    _registry.register(
        constraints.independent,
        lambda c, inner=_registry: transforms.IndependentTransform(inner(c.base_constraint),
                                                                   c.reinterpreted_batch_ndims),
    )  # fmt: skip
    _registry.register(
        constraints.cat,
        lambda c, inner=_registry: transforms.CatTransform([inner(part) for part in c.cseq], c.dim, c.lengths),
    )
    _registry.register(
        constraints.stack, lambda c, inner=_registry: transforms.StackTransform([inner(part) for part in c.cseq], c.dim)
    )
biject_to.register(constraints.simplex, lambda _: transforms.StickBreakingTransform())
transform_to.register(constraints.simplex, lambda _: transforms.SoftmaxTransform())
for _registry in (biject_to, transform_to):
    _registry.register(constraints.lower_cholesky, lambda _: transforms.LowerCholeskyTransform())
    _registry.register(constraints.positive_definite, lambda _: transforms.PositiveDefiniteTransform())

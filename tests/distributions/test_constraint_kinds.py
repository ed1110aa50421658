"""Kinds of constraints, of which programs ask whether a constraint is one, and of which they derive their own."""

import pytest

import livegrad

torch = pytest.importorskip("torch")
BOTH = (livegrad, torch)
KINDS = {
    "interval": (0.0, 2.0), "half_open_interval": (0.0, 2.0), "integer_interval": (0, 2), "greater_than": (1.0,),
    "greater_than_eq": (1.0,), "less_than": (1.0,),
}  # fmt: skip
NAMED = ["positive", "nonnegative", "unit_interval", "nonnegative_integer", "positive_integer"]


@pytest.mark.parametrize("name", KINDS)
def test_kinds_are_classes(name):
    found = []
    for m in BOTH:
        kinds = m.distributions.constraints
        made = getattr(kinds, name)(*KINDS[name])
        values = m.tensor([-1.0, 0.0, 0.5, 1.0, 2.0, 3.0])
        found.append(
            (
                type(made).__name__, vars(made), made.is_discrete, made.check(values).tolist(),
                [k for k in KINDS if isinstance(made, getattr(kinds, k))],
            )
        )  # fmt: skip
    assert found[0] == found[1]


@pytest.mark.parametrize("name", NAMED)
def test_named_ones_have_the_kinds_of_pytorch(name):
    ours, theirs = (getattr(m.distributions.constraints, name) for m in BOTH)
    assert type(ours).__name__ == type(theirs).__name__ and vars(ours) == vars(theirs)
    for registry in ("biject_to", "transform_to"):
        results = []
        for m in BOTH:
            try:
                results.append(
                    getattr(m.distributions, registry)(getattr(m.distributions.constraints, name))(m.ones(2))
                )
            except NotImplementedError:
                results.append(None)
        assert (results[0] is None) == (results[1] is None)
        if results[0] is not None:
            assert results[0].tolist() == pytest.approx(results[1].tolist())


def test_own_kinds():
    for m in BOTH:

        class Soft(type(m.distributions.constraints.positive)):
            def __init__(self):
                super().__init__(lower_bound=0.0)

        assert Soft().check(m.tensor([-1.0, 1.0])).tolist() == [False, True]
        registry = m.distributions.constraint_registry.ConstraintRegistry()
        registry.register(Soft, lambda _: m.distributions.transforms.SoftplusTransform())
        assert registry(Soft())(m.zeros(1)).item() == pytest.approx(0.6931472)

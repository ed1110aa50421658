"""Transforms against PyTorch: values, inverses, determinants, shapes, caches; constraints; the registries."""

import numpy as np
import pytest

import livegrad

torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")

VECTOR = [0.3, -1.2, 0.5]
MATRIX = [[0.3, -1.2], [0.5, 0.7]]
CASES = {
    "AbsTransform()": VECTOR,
    "AffineTransform(1.0, -2.0)": VECTOR,
    "AffineTransform(1.0, -2.0, event_dim=1)": VECTOR,
    "AffineTransform(m.tensor([1.0, 2.0, 3.0]), m.tensor([0.5, -1.0, 2.0]), 1)": VECTOR,
    "ExpTransform()": VECTOR,
    "PowerTransform(2.0)": [0.3, 1.2, 0.5],
    "SigmoidTransform()": VECTOR,
    "SoftplusTransform()": VECTOR,
    "TanhTransform()": VECTOR,
    "SoftmaxTransform()": VECTOR,
    "StickBreakingTransform()": VECTOR,
    "LowerCholeskyTransform()": MATRIX,
    "PositiveDefiniteTransform()": MATRIX,
    "CorrCholeskyTransform()": VECTOR,
    "ReshapeTransform((3,), (3, 1))": VECTOR,
    "IndependentTransform(ExpTransform(), 1)": VECTOR,
    "CumulativeDistributionTransform(Normal(0.0, 1.0))": VECTOR,
    "StackTransform([ExpTransform(), TanhTransform(), SigmoidTransform()], 0)": VECTOR,
    "CatTransform([ExpTransform(), TanhTransform()], 0, [1, 2])": VECTOR,
    "ComposeTransform([AffineTransform(1.0, 2.0), SigmoidTransform()])": VECTOR,
    "ComposeTransform([ExpTransform(), AffineTransform(0.5, 2.0, 1), StickBreakingTransform()])": VECTOR,
    "ComposeTransform([])": VECTOR,
}


def build(m, text):
    return eval(text, {**vars(m.distributions), "m": m})


def same(mine, theirs):
    assert tuple(mine.shape) == tuple(theirs.shape)
    np.testing.assert_allclose(mine.detach().numpy(), theirs.detach().numpy(), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("text", CASES)
def test_values_inverses_and_determinants(text):
    made = []
    for m in (livegrad, torch):
        t = build(m, text)
        x = m.tensor(CASES[text], requires_grad=True)
        y = t(x)
        found = {"y": y}
        for name, compute in (
            ("inverse", lambda t=t, y=y: t.inv(y)),
            ("determinant", lambda t=t, x=x, y=y: t.log_abs_det_jacobian(x, y)),
            ("backwards", lambda t=t, x=x, y=y: t.inv.log_abs_det_jacobian(y, x)),
        ):
            try:
                found[name] = compute()
            except (NotImplementedError, RuntimeError) as error:
                found[name] = type(error)
        y.sum().backward()
        found["gradient"] = x.grad
        shapes = [tuple(t.forward_shape(x.shape)), tuple(t.inverse_shape(y.shape))]
        try:
            sign = float(m.as_tensor(t.sign).sum())
        except NotImplementedError:
            sign = None
        about = [t.bijective, t.domain.event_dim, t.codomain.event_dim, bool(t.codomain.check(y).all()), sign]
        made.append((found, [*shapes, *about]))
    (mine, mine_about), (theirs, theirs_about) = made
    assert mine_about == theirs_about
    for name, value in theirs.items():
        if isinstance(value, torch.Tensor):
            same(mine[name], value)
        else:
            assert mine[name] is value


def test_a_cache_gives_back_what_came_in():
    for m in (livegrad, torch):
        d = m.distributions
        t = d.ComposeTransform([d.TanhTransform(), d.AffineTransform(0.0, 1.0)], cache_size=1)
        x = m.tensor([20.0])
        assert t.inv(t(x)).tolist() == [20.0]
        assert d.TanhTransform().inv(d.TanhTransform()(x)).tolist() == [float("inf")]
        with pytest.raises(ValueError, match="cache_size"):
            d.ExpTransform(cache_size=2)


def test_equality():
    for m in (livegrad, torch):
        d = m.distributions
        assert d.ExpTransform() == d.ExpTransform() and d.ExpTransform() != d.TanhTransform()
        assert d.ExpTransform().inv == d.ExpTransform().inv and d.ExpTransform().inv.inv == d.ExpTransform()
        assert d.AffineTransform(1.0, 2.0) == d.AffineTransform(m.tensor(1.0), 2.0)
        assert d.AffineTransform(1.0, 2.0) != d.AffineTransform(1.0, 3.0)
        assert d.PowerTransform(2.0) != d.PowerTransform(3.0)


CONSTRAINTS = {
    "c.real": VECTOR,
    "c.positive": VECTOR,
    "c.nonnegative": VECTOR,
    "c.greater_than(2.0)": VECTOR,
    "c.greater_than_eq(2.0)": VECTOR,
    "c.less_than(-1.0)": VECTOR,
    "c.interval(-2.0, 5.0)": VECTOR,
    "c.half_open_interval(-2.0, 5.0)": VECTOR,
    "c.unit_interval": VECTOR,
    "c.simplex": VECTOR,
    "c.real_vector": VECTOR,
    "c.corr_cholesky": VECTOR,
    "c.lower_cholesky": MATRIX,
    "c.positive_definite": MATRIX,
    "c.independent(c.positive, 1)": VECTOR,
    "c.cat([c.positive, c.unit_interval], 0, [1, 2])": VECTOR,
    "c.stack([c.positive, c.unit_interval, c.real], 0)": VECTOR,
}


@pytest.mark.parametrize("text", CONSTRAINTS)
@pytest.mark.parametrize("registry", ["biject_to", "transform_to"])
def test_registries_lead_into_the_constraint(text, registry):
    made = []
    for m in (livegrad, torch):
        constraint = eval(text, {"c": m.distributions.constraints})
        try:
            y = getattr(m.distributions, registry)(constraint)(m.tensor(CONSTRAINTS[text]))
        except NotImplementedError:
            made.append(None)
            continue
        assert bool(constraint.check(y).all())
        made.append(y)
    if made[1] is not None:
        same(*made)


CHECKS = {
    "c.square": [MATRIX],
    "c.symmetric": [MATRIX, [[1.0, 0.5], [0.5, 2.0]]],
    "c.positive_semidefinite": [[[1.0, 0.0], [0.0, 0.0]], [[1.0, 2.0], [2.0, 1.0]], MATRIX],
    "c.positive_definite": [[[1.0, 0.0], [0.0, 0.0]], [[2.0, 1.0], [1.0, 2.0]]],
    "c.lower_triangular": [MATRIX, [[1.0, 0.0], [0.5, -2.0]]],
    "c.corr_cholesky": [[[1.0, 0.0], [0.6, 0.8]], [[1.0, 0.0], [0.6, 0.9]]],
    "c.positive_integer": [[0.0, 1.0, 2.0, 1.5]],
    "c.multinomial(3)": [[1.0, 2.0, 0.0], [1.5, 0.5, 0.0], [-1.0, 2.0, 0.0]],
}


@pytest.mark.parametrize("text", CHECKS)
def test_constraints(text):
    for value in CHECKS[text]:
        found = [
            eval(text, {"c": m.distributions.constraints}).check(m.tensor(value)).tolist() for m in (livegrad, torch)
        ]
        assert found[0] == found[1]


def test_dependent_properties_are_dependent():
    constraints = livegrad.distributions.constraints

    class Ranged(livegrad.distributions.Distribution):
        @constraints.dependent_property(is_discrete=False, event_dim=0)
        def support(self):
            return constraints.interval(0.0, 2.0)

    assert constraints.is_dependent(Ranged.support) and not constraints.is_dependent(constraints.real)
    assert Ranged().support.upper_bound == 2.0


def test_a_distribution_that_is_expanded():
    for m in (livegrad, torch):
        d = m.distributions
        wide = d.TransformedDistribution(d.Normal(m.zeros(2), 1.0), [d.ExpTransform()]).expand((3, 2))
        assert tuple(wide.batch_shape) == (3, 2) and tuple(wide.sample((4,)).shape) == (4, 3, 2)
        assert tuple(d.Gumbel(m.zeros(2), 1.0).expand((3, 2)).log_prob(m.tensor(0.5)).shape) == (3, 2)


def test_binomial_of_tensors():
    for m in (livegrad, torch):
        m.manual_seed(3)
        drawn = m.binomial(m.tensor([0.0, 10.0, 100.0]).expand(20, 3), m.full((20, 3), 0.3))
        if m is livegrad:
            mine = drawn
    assert mine.tolist() == drawn.tolist()
    with livegrad.random.portable():
        livegrad.manual_seed(3)
        counts = livegrad.binomial(livegrad.full((400,), 20.0), livegrad.full((400,), 0.3))
    assert abs(float(counts.mean()) - 6) < 0.5

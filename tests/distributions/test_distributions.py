"""Distributions against PyTorch: draws after a seed, densities, entropies, divergences, gradients, errors."""

import numpy as np
import pytest

import livegrad
from livegrad import distributions as ours

torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")

NUMBERS = [0.3, 1.2, 2.5]
CASES = {
    "Normal(t([0.5, -1.0, 2.0]), t([0.3, 1.2, 2.5]))": NUMBERS,
    "Normal(0.0, 1.0)": NUMBERS,
    "LogNormal(t([0.5, -1.0, 2.0]), t([0.3, 1.2, 2.5]))": NUMBERS,
    "Laplace(t([0.5, -1.0, 2.0]), t([0.3, 1.2, 2.5]))": NUMBERS,
    "Exponential(t([0.3, 1.2, 2.5]))": NUMBERS,
    "Uniform(t([-1.0, 0.0, 1.0]), t([0.5, 2.0, 3.0]))": NUMBERS,
    "Gamma(t([0.5, 1.0, 4.0]), t([0.3, 1.2, 2.5]))": NUMBERS,
    "Chi2(t([0.5, 1.0, 4.0]))": NUMBERS,
    "Beta(t([0.5, 1.0, 4.0]), t([0.3, 1.2, 2.5]))": [0.3, 0.2, 0.9],
    "Dirichlet(t([[0.5, 1.0, 4.0], [2.0, 2.0, 3.0]]))": [[0.3, 0.2, 0.5], [0.1, 0.2, 0.7]],
    "Bernoulli(t([0.3, 0.9, 0.5]))": [0.0, 1.0, 1.0],
    "Bernoulli(logits=t([0.3, 0.9, -0.5]))": [0.0, 1.0, 1.0],
    "Geometric(t([0.3, 0.9, 0.5]))": [0.0, 2.0, 1.0],
    "Geometric(logits=t([0.3, 0.9, -0.5]))": [0.0, 2.0, 1.0],
    "Poisson(t([0.3, 4.0, 20.0]))": [0.0, 2.0, 11.0],
    "Categorical(t([[0.3, 0.9, 0.5], [1.0, 0.0, 2.0]]))": [0.0, 2.0],
    "Categorical(logits=t([[0.3, 0.9, 0.5], [1.0, 0.0, 2.0]]))": [0.0, 2.0],
    "OneHotCategorical(t([[0.3, 0.9, 0.5], [1.0, 0.5, 2.0]]))": [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]],
    "Independent(Normal(t([[0.5, -1.0, 2.0], [0.0, 0.0, 0.0]]), t([0.3, 1.2, 2.5])), 1)": NUMBERS,
    "MultivariateNormal(t([0.5, -1.0]), t([[2.0, 0.5], [0.5, 1.0]]))": [0.3, 1.2],
    "MultivariateNormal(t([0.5, -1.0]), scale_tril=t([[2.0, 0.0], [0.5, 1.0]]))": [0.3, 1.2],
    "MultivariateNormal(t([0.5, -1.0]), precision_matrix=t([[2.0, 0.5], [0.5, 1.0]]))": [0.3, 1.2],
    "MultivariateNormal(t([[0.5, -1.0], [0.0, 0.0]]), t([[2.0, 0.5], [0.5, 1.0]]))": [0.3, 1.2],
    "Cauchy(t([0.5, -1.0, 2.0]), t([0.3, 1.2, 2.5]))": NUMBERS,
    "StudentT(t([0.5, 1.5, 4.0]), t([0.3, 1.2, 2.5]), t([0.5, 1.0, 2.0]))": NUMBERS,
    "FisherSnedecor(t([0.5, 5.0, 4.0]), t([0.3, 3.0, 8.0]))": NUMBERS,
    "HalfNormal(t([0.3, 1.2, 2.5]))": NUMBERS,
    "HalfCauchy(t([0.3, 1.2, 2.5]))": NUMBERS,
    "Gumbel(t([0.5, -1.0, 2.0]), t([0.3, 1.2, 2.5]))": NUMBERS,
    "Pareto(t([0.1, 0.5, 1.0]), t([0.3, 1.2, 2.5]))": NUMBERS,
    "Weibull(t([0.5, 1.0, 2.0]), t([0.3, 1.2, 2.5]))": NUMBERS,
    "Kumaraswamy(t([0.5, 1.0, 2.0]), t([0.3, 1.2, 2.5]))": [0.3, 0.2, 0.9],
    "InverseGamma(t([0.5, 1.0, 4.0]), t([0.3, 1.2, 2.5]))": NUMBERS,
    "LogisticNormal(t([0.5, -1.0, 2.0]), t([0.3, 1.2, 2.5]))": [0.3, 0.2, 0.4, 0.1],
    "RelaxedBernoulli(t(0.7), t([0.3, 0.9, 0.5]))": [0.3, 0.2, 0.9],
    "RelaxedBernoulli(t(0.7), logits=t([0.3, 0.9, -0.5]))": [0.3, 0.2, 0.9],
    "RelaxedOneHotCategorical(t(0.7), t([0.3, 0.9, 0.5]))": [0.3, 0.2, 0.5],
    "OneHotCategoricalStraightThrough(t([[0.3, 0.9, 0.5], [1.0, 0.5, 2.0]]))": [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]],
    "Binomial(10, t([0.3, 0.9, 0.5]))": [3.0, 9.0, 0.0],
    "Binomial(60, t([0.3, 0.9, 0.5]))": [3.0, 59.0, 30.0],
    "Binomial(10, logits=t([0.3, 0.9, -0.5]))": [3.0, 9.0, 0.0],
    "Multinomial(10, t([[0.3, 0.9, 0.5], [1.0, 0.5, 2.0]]))": [[3.0, 5.0, 2.0], [0.0, 0.0, 10.0]],
    "NegativeBinomial(t([3.0, 4.0, 5.0]), t([0.3, 0.9, 0.5]))": [3.0, 9.0, 0.0],
    "NegativeBinomial(t([3.0, 4.0, 5.0]), logits=t([0.3, 0.9, -0.5]))": [3.0, 9.0, 0.0],
    "VonMises(t([0.5, -1.0, 2.0]), t([0.3, 1.2, 2.5]))": NUMBERS,
    "ContinuousBernoulli(t([0.3, 0.9, 0.5]))": [0.3, 0.2, 0.9],
    "ContinuousBernoulli(logits=t([0.3, 0.9, -0.5]))": [0.3, 0.2, 0.9],
    "GeneralizedPareto(t([0.1, 0.5, 1.0]), t([0.3, 1.2, 2.5]), t([0.2, 0.1, 0.3]))": [0.3, 1.2, 2.5],
    "LowRankMultivariateNormal(t([0.5, -1.0, 0.0]), t([[2.0], [0.5], [0.3]]), t([0.5, 1.0, 0.3]))": [0.3, 1.2, 0.1],
    "LKJCholesky(3, t([0.5, 2.0]))": [[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [0.0, 0.6, 0.8]],
    "MixtureSameFamily(Categorical(t([0.3, 0.9, 0.5])), Normal(t([0.5, -1.0, 2.0]), t([0.3, 1.2, 2.5])))": [0.3, 1.2],
    "MixtureSameFamily(Categorical(t([0.3, 0.9])), Independent(Normal(t([[0.5, -1.0], [2.0, 0.0]]), 1.0), 1))": [
        0.3,
        1.2,
    ],
    "TransformedDistribution(Normal(t([0.5, -1.0, 0.0]), 1.2), [TanhTransform()])": [0.3, -0.9, 0.5],
    "TransformedDistribution(Normal(t([0.5, -1.0, 0.0]), 1.2), [AffineTransform(1.0, 2.0), ExpTransform()])": NUMBERS,
    "TransformedDistribution(Independent(Normal(t([0.5, -1.0]), 1.0), 1), AffineTransform(1.5, t([2.0, 0.3]), 1))": [
        0.3,
        1.9,
    ],
}


def build(m, text, leaves=None):
    """A distribution of one library, its tensors leaves that require gradients."""

    def t(data):
        made = m.tensor(data).requires_grad_()
        if leaves is not None:
            leaves.append(made)
        return made

    return eval(text, {**vars(m.distributions), "t": t})


def same(mine, theirs, rtol=2e-5):
    assert tuple(mine.shape) == tuple(theirs.shape)
    assert str(mine.dtype) == str(theirs.dtype)
    np.testing.assert_allclose(mine.detach().numpy(), theirs.detach().numpy(), rtol=rtol, atol=1e-6)


@pytest.mark.parametrize("text", CASES)
def test_values(text):
    found = []
    for m in (livegrad, torch):
        leaves = []
        d = build(m, text, leaves)
        log_prob = d.log_prob(m.tensor(CASES[text]))
        if leaves:
            log_prob.sum().backward()
        found.append((d, log_prob, [t.grad for t in leaves]))
    (mine, a, gs), (theirs, b, hs) = found
    same(a, b)
    for g, h in zip(gs, hs, strict=True):
        same(g, h)
    assert repr(mine) == repr(theirs)
    assert (mine.batch_shape, mine.event_shape) == (tuple(theirs.batch_shape), tuple(theirs.event_shape))
    assert mine.has_rsample == theirs.has_rsample
    for name in ("mean", "variance", "stddev", "mode", "entropy"):
        if text.startswith("Poisson") and name == "entropy":
            continue
        try:
            want = getattr(theirs, name)
            want = want() if callable(want) else want
        except NotImplementedError:
            continue
        made = getattr(mine, name)
        same(made() if callable(made) else made, want)
    for name, at in (("cdf", CASES[text]), ("icdf", [0.2, 0.5, 0.9])):
        try:
            want = getattr(theirs, name)(torch.tensor(at))
        except NotImplementedError:
            continue
        except RuntimeError:  # numbers that do not fit its shape
            continue
        same(getattr(mine, name)(livegrad.tensor(at)), want)


@pytest.mark.parametrize("text", CASES)
def test_draws(text):
    found = []
    for m in (livegrad, torch):
        d = build(m, text)
        m.manual_seed(5)
        drawn = [d.sample(), d.sample((4,)), d.sample((2, 3))]
        if d.has_rsample:
            drawn.append(d.rsample((3,)))
        found.append([*drawn, m.rand(2)])
    for a, b in zip(*found, strict=True):
        same(a, b)


@pytest.mark.parametrize("text", [t for t in CASES if "Log" not in t])
def test_divergence(text):
    found = []
    for m in (livegrad, torch):
        leaves = []
        p, q = build(m, text, leaves), build(m, text.replace("0.3", "0.4").replace("0.5", "0.6"), leaves)
        try:
            made = m.distributions.kl_divergence(p, q)
        except NotImplementedError:
            found.append(None)
            continue
        if leaves:
            made.sum().backward()
        found.append((made, [t.grad for t in leaves]))
    if None in found:
        assert found[1] is None
        return
    same(found[0][0], found[1][0])
    for g, h in zip(found[0][1], found[1][1], strict=True):
        assert (g is None) == (h is None)
        if g is not None:
            same(g, h, 1e-4)


def test_the_gradient_of_a_gamma_draw():
    found = []
    for m in (livegrad, torch):
        m.manual_seed(4)
        a = m.tensor([0.3, 1.0, 2.5, 7.0, 30.0], dtype=m.float64).expand(20, 5).clone().requires_grad_()
        m.distributions.Gamma(a, 2.0).rsample().sum().backward()
        found.append(a.grad)
    same(*found, rtol=2e-3)  # PyTorch's is an approximation to a thousandth


def test_expand_and_enumerate():
    for m in (livegrad, torch):
        d = m.distributions.Normal(m.zeros(3), m.ones(3)).expand((2, 3))
        assert tuple(d.batch_shape) == (2, 3)
        assert tuple(d.sample((4,)).shape) == (4, 2, 3)
        values = m.distributions.Categorical(m.ones(2, 3)).enumerate_support()
        assert values.tolist() == [[0, 0], [1, 1], [2, 2]]


ERRORS = [
    "d.Normal(0.0, -1.0)", "d.Normal(0.0, 1.0).log_prob(m.tensor(float('nan')))", "d.Normal('a', 1.0)",
    "d.Bernoulli(0.3).log_prob(m.tensor(0.5))", "d.Bernoulli()", "d.Bernoulli(0.3, 0.2)", "d.Uniform(1.0, 1.0)",
    "d.Categorical(m.tensor(1.0))", "d.Normal(m.zeros(3), 1.0).log_prob(m.zeros(2))",
    "d.Normal(0.0, 1.0).log_prob(1.0)", "d.Independent(d.Normal(0.0, 1.0), 1)",
    "d.MultivariateNormal(m.zeros(2))", "d.kl_divergence(d.Independent(d.Normal(m.zeros(1), 1.0), 1), d.Bernoulli(0.3))",
    "d.Categorical(m.ones(3)).log_prob(m.tensor(3))",
]  # fmt: skip


@pytest.mark.parametrize("text", ERRORS)
def test_errors(text):
    found = []
    for m in (livegrad, torch):
        with pytest.raises((ValueError, NotImplementedError)) as error:
            eval(text, {"d": m.distributions, "m": m})
        found.append((type(error.value), str(error.value)))
    assert found[0] == found[1]


def test_unchecked_when_told():
    assert bool(ours.Normal(0.0, -1.0, validate_args=False).log_prob(livegrad.tensor(0.0)).isnan())


def test_a_divergence_of_ones_own():
    class Mine(ours.Normal):
        pass

    @ours.register_kl(Mine, Mine)
    def divergence(p, q):
        return livegrad.tensor(7.0)

    assert ours.kl_divergence(Mine(0.0, 1.0), Mine(0.0, 1.0)).item() == 7.0
    assert ours.kl_divergence(ours.Normal(0.0, 1.0), Mine(0.0, 1.0)).item() == 0.0


@pytest.mark.parametrize("kind", ["Bernoulli", "Geometric", "Categorical", "OneHotCategorical"])
@pytest.mark.parametrize("given", ["probs", "logits"])
def test_a_draw_takes_no_gradient_away(kind, given):
    """The other parameter is kept when first computed, which sample() may do."""
    found = []
    for m in (livegrad, torch):
        parameter = m.tensor([0.2, 0.3, 0.5], requires_grad=True)
        d = getattr(m.distributions, kind)(**{given: parameter})
        with m.no_grad():
            d.sample(), d.probs, d.logits
        d.entropy().sum().backward()
        found.append(parameter.grad.tolist())
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-6)

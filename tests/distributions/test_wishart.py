"""Wishart, exponential families, and divergences between different kinds, against PyTorch's."""

import numpy as np
import pytest

import livegrad
import livegrad.distributions

torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")

pytestmark = pytest.mark.filterwarnings("ignore")
BOTH = (livegrad, torch)
MATRIX = np.array([[2.0, 0.3, 0.1], [0.3, 1.0, -0.2], [0.1, -0.2, 0.7]])


def close(a, b, rtol=1e-6):
    a, b = (x.detach().numpy() for x in (a, b))
    assert a.shape == b.shape
    np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-9)


def wisharts(name, df, batch=()):
    for m in BOTH:
        matrix = m.from_numpy(np.broadcast_to(MATRIX, (*batch, 3, 3)).copy())
        if name == "scale_tril":
            matrix = m.linalg.cholesky(matrix)
        degrees = m.tensor(df, dtype=m.float64) if isinstance(df, list) else df
        yield m, m.distributions.Wishart(degrees, **{name: matrix})


@pytest.mark.parametrize("name", ["covariance_matrix", "precision_matrix", "scale_tril"])
@pytest.mark.parametrize(("df", "batch"), [(5.0, ()), ([3.5, 9.0], (2,)), ([4.0, 7.0], ())])
def test_wishart(name, df, batch):
    results = []
    for m, d in wisharts(name, df, batch):
        m.manual_seed(3)
        drawn = [d.sample(), d.sample((4,)), d.rsample((2, 3))]
        values = drawn[1]
        natural = d._natural_params
        results.append([*drawn, d.mean, d.variance, d.mode, d.entropy(), d.log_prob(values), d.covariance_matrix,
                        d.precision_matrix, d.scale_tril, d._log_normalizer(*natural), *natural,
                        d.expand((5, *d.batch_shape)).log_prob(values[0]), m.rand(2)])  # fmt: skip
    for a, b in zip(*results, strict=True):
        close(a, b)


def test_gradients_reach_the_parameters():
    results = []
    for m in BOTH:
        matrix = m.from_numpy(MATRIX.copy()).requires_grad_()
        df = m.tensor(6.0, dtype=m.float64, requires_grad=True)
        m.manual_seed(1)
        d = m.distributions.Wishart(df, covariance_matrix=matrix)
        (d.rsample((3,), max_try_correction=0).sum() + d.entropy()).backward()
        results.append((matrix.grad, df.grad))
    for a, b in zip(*results, strict=True):
        close(a, b, 1e-4)


def test_what_is_refused():
    for m in BOTH:
        W, one = m.distributions.Wishart, m.eye(3)
        with pytest.raises(AssertionError, match="Exactly one of"):
            W(5.0, one, one)
        with pytest.raises(ValueError, match="expected to be greater than ndim - 1 = 2"):
            W(2.0, one)
        with pytest.raises(ValueError, match="at least two-dimensional"):
            W(2.0, m.ones(3))
        with pytest.warns(UserWarning, match="Low df values detected"):
            W(2.5, one)


def test_exponential_families():
    results = []
    for m in BOTH:

        class Poissonian(m.distributions.ExponentialFamily):
            _mean_carrier_measure = 0

            def __init__(self, rate):
                self.rate = rate
                super().__init__(rate.shape, validate_args=False)

            @property
            def _natural_params(self):
                return (self.rate.log(),)

            def _log_normalizer(self, x):
                return x.exp()

        p, q = Poissonian(m.tensor([1.0, 2.0])), Poissonian(m.tensor([3.0, 1.5]))
        results.append((p.entropy(), m.distributions.kl_divergence(p, q)))
        w = m.distributions.Wishart(5.0, covariance_matrix=m.from_numpy(MATRIX))
        v = m.distributions.Wishart(6.0, covariance_matrix=m.eye(3, dtype=m.float64))
        results[-1] += (m.distributions.kl_divergence(w, v),)
    for a, b in zip(*results, strict=True):
        close(a, b)


MAKERS = {
    "Bernoulli": lambda m, d: d.Bernoulli(t(m, 0.3, 0.9)), "Beta": lambda m, d: d.Beta(t(m, 0.7, 2.0), t(m, 1.5, 3.0)),
    "Binomial": lambda m, d: d.Binomial(5, t(m, 0.2, 0.6)),
    "ContinuousBernoulli": lambda m, d: d.ContinuousBernoulli(t(m, 0.2, 0.8)),
    "Exponential": lambda m, d: d.Exponential(t(m, 0.5, 2.0)), "Gamma": lambda m, d: d.Gamma(t(m, 0.8, 3.0), t(m, 1.0, 2.5)),
    "Gumbel": lambda m, d: d.Gumbel(t(m, 0.5, -1.0), t(m, 1.5, 0.7)), "Laplace": lambda m, d: d.Laplace(t(m, 0.5, -1.0), t(m, 1.5, 0.7)),
    "Normal": lambda m, d: d.Normal(t(m, 0.2, -0.5), t(m, 1.2, 0.6)), "Pareto": lambda m, d: d.Pareto(t(m, 1.0, 0.4), t(m, 1.5, 2.5)),
    "Poisson": lambda m, d: d.Poisson(t(m, 0.7, 4.0)), "Uniform": lambda m, d: d.Uniform(t(m, 0.1, -1.0), t(m, 0.9, 2.0)),
    "Uniform, within": lambda m, d: d.Uniform(t(m, 0.4, 0.5), t(m, 0.9, 0.95)),
    "Uniform, wide": lambda m, d: d.Uniform(t(m, -1.0, 0.0), t(m, 1.5, 0.5)),
}  # fmt: skip


def t(m, *numbers):
    return m.tensor(numbers, dtype=m.float64)


def test_divergences_of_different_kinds():
    compared = 0
    for of in MAKERS:
        for other in MAKERS:
            try:
                expected = torch.distributions.kl_divergence(
                    MAKERS[of](torch, torch.distributions), MAKERS[other](torch, torch.distributions)
                )
            except NotImplementedError:
                continue
            d = livegrad.distributions
            found = d.kl_divergence(MAKERS[of](livegrad, d), MAKERS[other](livegrad, d))
            np.testing.assert_allclose(
                found.numpy(), expected.numpy(), rtol=1e-6, atol=1e-9, err_msg=f"{of} from {other}"
            )
            compared += 1
    assert compared > 80

"""`axis` and `keepdims`, NumPy's names, are taken wherever `dim` and `keepdim` are."""

import numpy as np
import pytest

import livegrad

torch = pytest.importorskip("torch", reason="PyTorch, to compare with, is not installed")

X = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)


@pytest.mark.parametrize("name", ["sum", "mean", "std", "amax", "argmax", "max", "median", "logsumexp"])
def test_reductions(name):
    for module_or_tensor in ("function", "method"):
        results = []
        for module in (livegrad, torch):
            x = module.tensor(X)
            call = (lambda **k: getattr(x, name)(**k)) if module_or_tensor == "method" else None
            found = (call or (lambda **k: getattr(module, name)(x, **k)))(axis=1, keepdims=True)
            results.append((found[0] if isinstance(found, tuple) else found).numpy())
        np.testing.assert_allclose(*results, rtol=1e-6)


@pytest.mark.parametrize("name", ["softmax", "unsqueeze", "cumsum", "unbind", "sort"])
def test_other_operators(name):
    ours, theirs = (getattr(module.tensor(X), name)(axis=1) for module in (livegrad, torch))
    ours, theirs = (found if isinstance(found, tuple) else (found,) for found in (ours, theirs))
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6)


@pytest.mark.parametrize("name", ["cat", "stack"])
def test_joining(name):
    ours, theirs = (getattr(module, name)([module.tensor(X)] * 2, axis=1) for module in (livegrad, torch))
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_both_names_at_once_are_an_error():
    with pytest.raises(TypeError):
        livegrad.tensor(X).sum(dim=0, axis=0)


@pytest.mark.parametrize("name", ["norm", "vector_norm", "matrix_norm"])
def test_norms(name):
    axis = (0, 1) if name == "matrix_norm" else 1
    ours, theirs = (
        getattr(module.linalg, name)(module.tensor(X), axis=axis, keepdims=True) for module in (livegrad, torch)
    )
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6)


@pytest.mark.parametrize("name", ["fft.rfft", "fft.fft", "fft.fftshift", "mode", "trapezoid"])
def test_functions_of_an_axis(name):
    def found(module):
        function = module
        for part in name.split("."):
            function = getattr(function, part)
        made = function(module.tensor(X), axis=0)
        return (made[0] if isinstance(made, tuple) else made).numpy()

    np.testing.assert_allclose(found(livegrad), found(torch), rtol=1e-6, atol=1e-6)


def test_distances():
    ours, theirs = (
        (
            module.nn.functional.cosine_similarity(module.tensor(X), 2 * module.tensor(X) - 1, axis=1),
            module.nn.functional.pairwise_distance(module.tensor(X), 2 * module.tensor(X) - 1, keepdims=True),
        )
        for module in (livegrad, torch)
    )
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5)

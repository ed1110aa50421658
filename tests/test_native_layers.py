"""Names of PyTorch's own operators behind layers, and rarer methods of tensors: results are PyTorch's."""

import numpy as np
import pytest

import livegrad

torch = pytest.importorskip("torch")

A = np.random.default_rng(0).standard_normal((2, 6, 4)).astype(np.float32)


def seeded(m, f):
    m.manual_seed(3)
    return f()


CASES = {
    "layer norm": lambda m, x: m.native_layer_norm(x, (6, 4), None, None, 1e-5),
    "layer norm with weights": lambda m, x: m.native_layer_norm(x, (4,), x[0, 0], x[0, 1], 1e-5),
    "group norm": lambda m, x: m.native_group_norm(x, None, None, 2, 6, 4, 3, 1e-5),
    "batch norm": lambda m, x: m.native_batch_norm(x, None, None, None, None, True, 0.1, 1e-5),
    "batch norm in inference": lambda m, x: m.native_batch_norm(x, None, None, m.zeros(6), m.ones(6), False, 0.1, 1e-5),
    "dropout": lambda m, x: seeded(m, lambda: m.native_dropout(x, 0.5, True)),
    "no dropout": lambda m, x: m.native_dropout(x, 0.5, False),
    "dropout in place": lambda m, x: (seeded(m, lambda: m.dropout_(x, 0.5, True)), x),
    "dropout of channels in place": lambda m, x: (seeded(m, lambda: m.feature_dropout_(x, 0.5, True)), x),
    "alpha dropout in place": lambda m, x: (seeded(m, lambda: m.alpha_dropout_(x, 0.5, True)), x),
    "no dropout in place": lambda m, x: (m.feature_alpha_dropout_(x, 0.5, False), x),
    "channel shuffle": lambda m, x: m.native_channel_shuffle(x, 2),
    "convolution": lambda m, x: m.convolution(x, m.ones(3, 6, 2), None, [1], [1], [1], False, [0], 1),
    "convolution in groups": lambda m, x: m.convolution(x, m.ones(4, 3, 2), m.ones(4), [2], [1], [2], False, [0], 2),
    "transposed convolution": lambda m, x: m.convolution(x, m.ones(6, 3, 2), None, [2], [0], [1], True, [1], 1),
    "conv_tbc": lambda m, x: m.conv_tbc(x, m.ones(2, 4, 3), m.ones(3), 1),
    "grid sampler": lambda m, x: m.grid_sampler(x[None], x[None, :, :, :2].tanh(), 0, 1, False),
    "nearest grid sampler": lambda m, x: m.grid_sampler_2d(x[None], x[None, :, :, :2], 1, 2, True),
    "affine grid": lambda m, x: m.affine_grid_generator(x[:, :2, :3], [2, 1, 3, 3], False),
    "max pool": lambda m, x: m.max_pool1d_with_indices(x, 2),
    "norms but of one": lambda m, x: (m.norm_except_dim(x, 2, 1), m.norm_except_dim(x, 2, -1)),
    "renormalised embedding": lambda m, x: (m.embedding_renorm_(x[0], m.tensor([0, 2, 2]), 1.0, 2.0), x),
    "methods": lambda m, x: (x.histc(5, -1, 1), x.hardshrink(0.3), x.prelu(m.ones(6) * 0.1), x.prelu(m.ones(1))),
    "set to a window of a storage": lambda m, x: m.ones(2).set_(x.untyped_storage(), 1, (2, 2), (3, 1)),
    "set to a tensor": lambda m, x: m.ones(2).set_(x[:, 1]),
    "set to nothing": lambda m, x: m.ones(2).set_(),
    "map": lambda m, x: (x.clone().map_(x, lambda p, q: p + 2 * q), x.map2_(x, x, lambda p, q, r: p * q - r)),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_results_are_pytorchs(case):
    found = []
    for m in (livegrad, torch):
        made = CASES[case](m, m.tensor(A.tolist()))
        found.append([t.numpy() for t in (made if isinstance(made, (tuple, list)) else (made,))])
    assert len(found[0]) == len(found[1])
    for ours, theirs in zip(*found):
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_deprecated_norms():
    x, y = livegrad.tensor(A.tolist()), torch.tensor(A)
    np.testing.assert_allclose(livegrad.frobenius_norm(x, (0, 1)), torch.frobenius_norm(y, (0, 1)), rtol=1e-6)
    np.testing.assert_allclose(livegrad.nuclear_norm(x[0]), torch.nuclear_norm(y[0]), rtol=1e-5)


def test_gradients_go_through_the_layers_result():
    found = []
    for m in (livegrad, torch):
        x = m.tensor(A.tolist(), requires_grad=True)
        total = m.native_layer_norm(x, (4,), None, None, 1e-5)[0].pow(3).sum()
        total = total + m.conv_tbc(x, m.ones(2, 4, 3), m.ones(3), 1).square().sum()
        (total + m.native_batch_norm(x, None, None, None, None, True, 0.1, 1e-5)[0].pow(3).sum()).backward()
        found.append(x.grad.numpy())
    np.testing.assert_allclose(*found, rtol=2e-4, atol=2e-4)


def test_set_shares_memory():
    x = livegrad.zeros(4)
    y = livegrad.ones(1).set_(x)
    y[2] = 5
    assert x.tolist() == [0, 0, 5, 0]
    with pytest.raises(RuntimeError, match="Could not set tensor of type"):
        livegrad.ones(2, dtype=livegrad.int32).set_(x)


def test_what_cannot_be():
    x = livegrad.zeros(1, 1, 2, 2)
    with pytest.raises(ValueError, match="modes from 0 to 2"):
        livegrad.grid_sampler(x, x.reshape(1, 1, 2, 2), 7, 0, False)
    with pytest.raises(RuntimeError, match="3 to 5 dimensions"):
        livegrad.convolution(x, livegrad.ones(2, 2), None, [1], [0], [1], False, [0], 1)
    with pytest.raises(RuntimeError, match="expected an input of"):
        livegrad.native_group_norm(x, None, None, 1, 1, 5, 1, 1e-5)


def test_small_questions():
    x = livegrad.zeros(2)
    assert not x.is_distributed()
    assert x.record_stream(None) is None
    assert livegrad.tensor(2).is_nonzero()
    assert x.new_empty_strided((2, 3), (1, 2)).stride() == (1, 2)
    assert livegrad.GradScaler is livegrad.amp.GradScaler

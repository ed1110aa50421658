"""Functions that ``torch`` has directly, against PyTorch's; flags of tensors; layers that learn their size."""

import numpy as np
import pytest

import livegrad

torch = pytest.importorskip("torch")

X = np.random.default_rng(0).normal(size=(4, 6, 5)).astype(np.float32)
Y = np.abs(np.random.default_rng(1).normal(size=(4, 6, 5))).astype(np.float32)

CALLS = {
    "batch_norm": lambda m, x, y: m.batch_norm(x, m.ones(6), m.zeros(6), m.zeros(6), m.ones(6), True, 0.1, 1e-5, False),
    "instance_norm": lambda m, x, y: m.instance_norm(x, m.ones(6), m.zeros(6), None, None, True, 0.1, 1e-5, False),
    "layer_norm": lambda m, x, y: m.layer_norm(x, (5,), m.ones(5) * 2, m.ones(5)),
    "group_norm": lambda m, x, y: m.group_norm(x, 3, m.ones(6), m.zeros(6)),
    "embedding": lambda m, x, y: m.embedding(x[0], m.tensor([0, 2, 2])),
    "constant_pad_nd": lambda m, x, y: m.constant_pad_nd(x, (1, 2), 0.5),
    "dropout": lambda m, x, y: m.dropout(x, 0.5, True),
    "feature_dropout": lambda m, x, y: m.feature_dropout(x[:, :, None], 0.5, True),
    "alpha_dropout": lambda m, x, y: m.alpha_dropout(x, 0.5, False),
    "bce": lambda m, x, y: m.binary_cross_entropy_with_logits(x, y.clamp(max=1), None, None, 2),
    "cosine": lambda m, x, y: m.cosine_embedding_loss(x[0], y[0], m.ones(6), 0.1, 0),
    "hinge": lambda m, x, y: m.hinge_embedding_loss(x, x.sign(), 0.7, 1),
    "kl_div": lambda m, x, y: m.kl_div(x.log_softmax(-1), y, 2),
    "kl_div log": lambda m, x, y: m.kl_div(x.log_softmax(-1), y.log_softmax(-1), log_target=True),
    "ranking": lambda m, x, y: m.margin_ranking_loss(x, y, x.sign(), 0.3),
    "poisson": lambda m, x, y: m.poisson_nll_loss(x, y, True, False, 1e-8, 1),
    "triplet": lambda m, x, y: m.triplet_margin_loss(x[0], y[0], x[1], 1.0, 2.0, 1e-6, False, 2),
}


@pytest.mark.parametrize("name", CALLS)
def test_calls(name):
    made = []
    for m in (livegrad, torch):
        m.manual_seed(3)
        made.append(CALLS[name](m, m.tensor(X), m.tensor(Y)))
    assert tuple(made[0].shape) == tuple(made[1].shape)
    np.testing.assert_allclose(made[0].numpy(), made[1].numpy(), rtol=2e-5, atol=2e-6)


def test_ctc_loss():
    made = []
    for m in (livegrad, torch):
        log_probs = m.tensor(X).transpose(0, 1).log_softmax(-1)
        lengths = m.tensor([6, 6, 6, 6]), m.tensor([2, 1, 2, 2])
        made.append(float(m.ctc_loss(log_probs, m.tensor([[1, 2], [3, 1], [4, 4], [2, 3]]), *lengths, 0, 2, False)))
    assert made[0] == pytest.approx(made[1], rel=1e-5)


def test_unknown_reductions_are_refused():
    with pytest.raises(ValueError, match="3 is not a valid value for reduction"):
        livegrad.kl_div(livegrad.zeros(2), livegrad.ones(2), 3)


def test_flags_of_devices_that_are_not_there():
    mine, theirs = livegrad.ones(1), torch.ones(1)
    for name in ("is_xpu", "is_xla", "is_ipu", "is_mtia", "is_maia", "is_vulkan", "is_mkldnn", "is_sparse_csr"):
        assert getattr(mine, name) is getattr(theirs, name) is False
    assert str(livegrad.get_default_device()) == "cpu"


LAYERS = {
    "LazyConvTranspose1d(3, 2)": (2, 4, 5),
    "LazyConvTranspose2d(3, 2, bias=False)": (2, 4, 5, 5),
    "LazyConvTranspose3d(3, 2)": (1, 4, 3, 3, 3),
    "LazyInstanceNorm1d(affine=True)": (2, 4, 5),
    "LazyInstanceNorm2d()": (2, 4, 5, 5),
    "LazyInstanceNorm3d(affine=True)": (2, 4, 3, 3, 3),
}


@pytest.mark.parametrize("text", LAYERS)
@pytest.mark.filterwarnings("ignore")
def test_lazy_layers(text):
    made = []
    for m in (livegrad, torch):
        m.manual_seed(0)
        layer = eval(text, vars(m.nn).copy())
        y = layer(m.randn(LAYERS[text]))
        made.append((repr(layer), y.detach().numpy()))
    assert made[0][0] == made[1][0]
    np.testing.assert_allclose(made[0][1], made[1][1], rtol=1e-4, atol=1e-5)

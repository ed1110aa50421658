"""Losses: values and gradients equal PyTorch's, for every reduction."""

import numpy as np
import pytest
from against_torch import check, pair, same, torch

import livegrad
from livegrad import nn

F, TF = nn.functional, torch.nn.functional
rng = np.random.default_rng(1)


def floats(*shape, scale=1.0):
    return (rng.standard_normal(shape) * scale).astype(np.float32)


def uniform(*shape, low=0.0, high=1.0):
    return rng.uniform(low, high, shape).astype(np.float32)


def signs(*shape):
    return rng.choice([-1.0, 1.0], shape).astype(np.float32)


def log_probabilities(*shape):
    x = rng.standard_normal(shape)
    return (x - np.log(np.exp(x).sum(-1, keepdims=True))).astype(np.float32)


X, Y = floats(4, 5, scale=2.0), floats(4, 5)
Y[0] = X[0]  # differences of exactly zero
CASES = [
    ("l1_loss", [X, Y], {}),
    ("mse_loss", [X, Y], {}),
    ("mse_loss", [X, Y], {"weight": uniform(4, 5)}),
    ("smooth_l1_loss", [X, Y], {}),
    ("smooth_l1_loss", [X, Y], {"beta": 0.3}),
    ("smooth_l1_loss", [X, Y], {"beta": 0.0}),
    ("huber_loss", [X, Y], {}),
    ("huber_loss", [X, Y], {"delta": 0.3}),
    ("binary_cross_entropy", [uniform(4, 5), uniform(4, 5)], {}),
    ("binary_cross_entropy", [uniform(4, 5), uniform(4, 5)], {"weight": uniform(5)}),
    ("binary_cross_entropy", [np.float32([0, 0, 1, 1, 0.5]), np.float32([0, 1, 0, 1, 0.5])], {}),
    ("binary_cross_entropy_with_logits", [floats(4, 5, scale=9.0), uniform(4, 5)], {}),
    ("binary_cross_entropy_with_logits", [np.float32([0, 200, -200]), np.float32([1, 1, 1])], {}),
    ("binary_cross_entropy_with_logits", [X, uniform(4, 5)], {"pos_weight": uniform(5, low=0.5, high=3.0)}),
    ("binary_cross_entropy_with_logits", [X, uniform(4, 5)], {"weight": uniform(4, 5)}),
    ("kl_div", [log_probabilities(4, 5), uniform(4, 5)], {}),
    ("kl_div", [log_probabilities(4, 5)], {"target": np.float32([[0, 0, 1, 0, 0]] * 4)}),
    ("kl_div", [log_probabilities(4, 5), log_probabilities(4, 5)], {"log_target": True}),
    ("poisson_nll_loss", [floats(4, 5), uniform(4, 5, high=5.0)], {}),
    ("poisson_nll_loss", [uniform(4, 5, low=0.1), uniform(4, 5, high=5.0)], {"log_input": False}),
    ("gaussian_nll_loss", [X, Y, uniform(4, 5)], {}),
    ("gaussian_nll_loss", [X, Y, uniform(4)], {"full": True, "eps": 0.5}),
    ("gaussian_nll_loss", [X, Y, uniform(4, 1)], {}),
    ("hinge_embedding_loss", [X, signs(4, 5)], {"margin": 0.7}),
    ("margin_ranking_loss", [floats(6), floats(6), signs(6)], {"margin": 0.3}),
    ("cosine_embedding_loss", [X, Y, signs(4)], {"margin": 0.1}),
    ("cosine_embedding_loss", [X[1], Y[1], np.float32(-1).reshape(())], {}),
    ("triplet_margin_loss", [X, Y, floats(4, 5)], {}),
    ("triplet_margin_loss", [X, Y, floats(4, 5)], {"margin": 0.4, "p": 1.0, "swap": True}),
    ("triplet_margin_with_distance_loss", [X, Y, floats(4, 5)], {"margin": 0.4, "swap": True}),
    ("soft_margin_loss", [X], {"target": signs(4, 5)}),
    ("multilabel_soft_margin_loss", [X, uniform(4, 5).round()], {}),
    ("multilabel_soft_margin_loss", [X, uniform(4, 5).round()], {"weight": uniform(5)}),
]


@pytest.mark.filterwarnings("ignore:reduction. 'mean'")
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name, arrays, options", CASES)
def test_losses(name, arrays, options, reduction):
    options = {**options, "reduction": reduction}
    plain = {k: v for k, v in options.items() if not isinstance(v, np.ndarray)}
    tensors = {k: pair(v) for k, v in options.items() if isinstance(v, np.ndarray)}
    check(
        lambda *x: getattr(F, name)(*x, **plain, **{k: v[0] for k, v in tensors.items()}),
        lambda *x: getattr(TF, name)(*x, **plain, **{k: v[1] for k, v in tensors.items()}),
        arrays,
    )


def test_poisson_with_stirlings_term():
    # The gradient by the target is left out: PyTorch's is NaN where log(0) is masked away.
    a, b = pair(floats(4, 5))
    t, u = pair(uniform(4, 5, high=5.0))
    same(F.poisson_nll_loss(a, t, full=True), TF.poisson_nll_loss(b, u, full=True))


def test_kl_div_batchmean():
    arrays = [log_probabilities(4, 5), uniform(4, 5)]
    check(F.kl_div, TF.kl_div, arrays, kwargs={"reduction": "batchmean"})


SHAPES = [(4, 5), (5,), (4, 5, 3), (2, 5, 3, 2)]


def class_targets(shape):
    target_shape = () if len(shape) == 1 else (shape[0], *shape[2:])
    return rng.integers(0, 5, target_shape)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignore", [-100, 2])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_of_classes(shape, reduction, weighted, ignore, smoothing):
    target, reference_target = pair(np.asarray(class_targets(shape)))
    weight, reference_weight = pair(uniform(5, low=0.5, high=2.0)) if weighted else (None, None)
    if ignore == 2 and len(shape) == 1:
        pytest.skip("a mean of nothing")
    options = {"ignore_index": ignore, "reduction": reduction}
    check(
        lambda x: F.cross_entropy(x, target, weight, label_smoothing=smoothing, **options),
        lambda x: TF.cross_entropy(x, reference_target, reference_weight, label_smoothing=smoothing, **options),
        [floats(*shape, scale=3.0)],
    )
    check(
        lambda x: F.nll_loss(x, target, weight, **options),
        lambda x: TF.nll_loss(x, reference_target, reference_weight, **options),
        [floats(*shape)],
    )


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_of_probabilities(shape, reduction, weighted, smoothing):
    weight, reference_weight = pair(uniform(5, low=0.5, high=2.0)) if weighted else (None, None)
    check(
        lambda x, t: F.cross_entropy(x, t, weight, reduction=reduction, label_smoothing=smoothing),
        lambda x, t: TF.cross_entropy(x, t, reference_weight, reduction=reduction, label_smoothing=smoothing),
        [floats(*shape), uniform(*shape)],
    )


def test_an_ignored_target_may_have_an_infinite_log_probability():
    x = np.float32([[0, -np.inf], [-1, -0.5]])
    (a, b), (t, u) = pair(x), pair(np.array([-100, 1]))
    same(F.nll_loss(a, t), TF.nll_loss(b, u))


@pytest.mark.parametrize(
    "code, shapes",
    [
        ("L1Loss()", 2), ("MSELoss(reduction='sum')", 2), ("SmoothL1Loss(beta=0.5)", 2), ("HuberLoss(delta=0.5)", 2),
        ("BCEWithLogitsLoss()", 2), ("PoissonNLLLoss()", 2), ("HingeEmbeddingLoss()", 2),
        ("MultiLabelSoftMarginLoss()", 2), ("KLDivLoss(reduction='batchmean', log_target=True)", 2),
        ("MarginRankingLoss(0.5)", 3), ("TripletMarginLoss(0.5, p=1.0)", 3), ("TripletMarginWithDistanceLoss()", 3),
    ],
)  # fmt: skip
def test_loss_modules(code, shapes):
    mine, theirs = eval("nn." + code, {"nn": nn}), eval("nn." + code, {"nn": torch.nn})
    assert repr(mine) == repr(theirs)
    check(mine, theirs, [floats(4, 5) for _ in range(shapes)])


def test_loss_modules_with_special_arguments():
    x, (t, u) = floats(4, 5), pair(rng.integers(0, 5, 4))
    weight = uniform(5)
    mine = nn.CrossEntropyLoss(livegrad.from_numpy(weight), ignore_index=1, label_smoothing=0.1)
    theirs = torch.nn.CrossEntropyLoss(torch.from_numpy(weight), ignore_index=1, label_smoothing=0.1)
    assert list(mine.state_dict()) == list(theirs.state_dict()) == ["weight"]
    check(lambda a: mine(a, t), lambda b: theirs(b, u), [x])
    mine, theirs = nn.NLLLoss(reduction="sum"), torch.nn.NLLLoss(reduction="sum")
    check(lambda a: mine(a, t), lambda b: theirs(b, u), [x])
    mine, theirs = nn.BCELoss(), torch.nn.BCELoss()
    check(mine, theirs, [uniform(4, 5), uniform(4, 5)])
    (t, u), mine, theirs = pair(signs(4, 5)), nn.SoftMarginLoss(), torch.nn.SoftMarginLoss()
    check(lambda a: mine(a, t), lambda b: theirs(b, u), [x])
    mine, theirs = nn.GaussianNLLLoss(full=True), torch.nn.GaussianNLLLoss(full=True)
    check(mine, theirs, [x, floats(4, 5), uniform(4, 5)])
    mine, theirs = nn.CosineEmbeddingLoss(0.2), torch.nn.CosineEmbeddingLoss(0.2)
    check(mine, theirs, [x, floats(4, 5), signs(4)])


@pytest.mark.parametrize("flow", ["contiguous", "expanded", "transposed", "window"])
@pytest.mark.parametrize("classes", [1, 7, 300])
@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_few_and_many_classes_with_gradients_of_any_layout(name, classes, flow):
    rng = np.random.default_rng(classes)
    logits = rng.standard_normal((4, classes, 3)).astype(np.float32)
    target = rng.integers(0, classes, (4, 3))
    target[1, 2] = -100
    weight = rng.random(classes).astype(np.float32) + 0.5
    grads = []
    for m in (torch, livegrad):
        g = m.arange(12.0).reshape(4, 3)
        g = {
            "contiguous": lambda g: g,
            "expanded": lambda g: g[:1, 1:2].expand(4, 3),
            "transposed": lambda g: g.reshape(3, 4).t(),
            "window": lambda g: g.repeat(1, 2)[:, 1:4],
        }[flow](g)
        x = m.tensor(logits.tolist(), requires_grad=True)
        loss = getattr(m.nn.functional, name)(x, m.tensor(target.tolist()), m.tensor(weight.tolist()), reduction="none")
        loss.backward(g)
        grads.append((loss.detach().numpy(), x.grad.numpy()))
    np.testing.assert_allclose(grads[1][0], grads[0][0], rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose(grads[1][1], grads[0][1], rtol=2e-5, atol=2e-6)

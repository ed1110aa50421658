"""Functional forms: values and gradients equal PyTorch's."""

import numpy as np
import pytest
from against_torch import check, drawn_by_both, outcome, pair, same, torch

import livegrad
import livegrad.nn.functional as F

TF = torch.nn.functional
rng = np.random.default_rng(0)


def floats(*shape, scale=1.0, shift=0.0):
    return (rng.standard_normal(shape) * scale + shift).astype(np.float32)


def uniform(*shape, low=0.0, high=1.0):
    return rng.uniform(low, high, shape).astype(np.float32)


KINKS = np.array([0.0, -0.0, 3, -3, 6, -6, 0.5, -0.5, 1, -1, 20, 21, -21, 100, -100], dtype=np.float32)

ACTIVATIONS = [
    ("relu", {}), ("relu6", {}), ("elu", {}), ("elu", {"alpha": 2.0}), ("celu", {"alpha": 2.0}), ("selu", {}),
    ("gelu", {}), ("gelu", {"approximate": "tanh"}), ("silu", {}), ("mish", {}), ("softplus", {}),
    ("softplus", {"beta": 2.0, "threshold": 5.0}), ("leaky_relu", {}), ("leaky_relu", {"negative_slope": 0.3}),
    ("hardtanh", {}), ("hardtanh", {"min_val": -0.5, "max_val": 2.0}), ("hardsigmoid", {}), ("hardswish", {}),
    ("hardshrink", {}), ("hardshrink", {"lambd": 1.5}), ("softshrink", {}), ("softshrink", {"lambd": 1.5}),
    ("logsigmoid", {}), ("tanhshrink", {}), ("softsign", {}), ("sigmoid", {}), ("tanh", {}), ("rrelu", {}),
]  # fmt: skip


@pytest.mark.parametrize("name, options", ACTIVATIONS)
def test_activations(name, options):
    x = np.concatenate([floats(60, scale=3.0), KINKS])
    check(getattr(F, name), getattr(TF, name), [x], kwargs=options, atol=2e-6)


@pytest.mark.parametrize("name, options", ACTIVATIONS)
def test_activations_of_zero_dimensions_and_of_float64(name, options):
    check(getattr(F, name), getattr(TF, name), [np.float32(-0.7).reshape(())], kwargs=options)
    check(getattr(F, name), getattr(TF, name), [floats(5, 3).astype(np.float64)], kwargs=options, rtol=1e-12)


def test_threshold():
    check(F.threshold, TF.threshold, [np.concatenate([floats(60), KINKS])], (0.5, 3.0))


@pytest.mark.parametrize(
    "name, args",
    [
        ("relu", ()), ("relu6", ()), ("elu", ()), ("celu", ()), ("selu", ()), ("silu", ()), ("mish", ()),
        ("leaky_relu", (0.2,)), ("hardtanh", (-1.0, 0.5)), ("hardsigmoid", ()), ("hardswish", ()),
        ("threshold", (0.1, 2.0)),
    ],
)  # fmt: skip
def test_activations_in_place(name, args):
    """Written into the input, and the gradient is that of the input before."""

    def run(functional, x):
        y = x * 2
        z = getattr(functional, name)(y, *args, inplace=True)
        assert z is y
        (z * z).sum().backward()
        return z, x.grad

    a, b = pair(floats(20), requires_grad=True)
    same(run(F, a), run(TF, b))


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmin"])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_softmax(name, dim):
    check(getattr(F, name), getattr(TF, name), [floats(4, 7, scale=5.0)], (dim,))


def test_softmax_in_another_dtype():
    a, b = pair(floats(3, 4).astype(np.float16))
    same(F.softmax(a, 1, dtype=livegrad.float32), TF.softmax(b, 1, dtype=torch.float32))


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmin"])
def test_implicit_dimension_warns(name):
    for shape in [(3,), (2, 3), (2, 3, 4)]:
        a, b = pair(floats(*shape))
        mine, _, warned = outcome(lambda: getattr(F, name)(a))  # noqa: B023
        reference, _, expected = outcome(lambda: getattr(TF, name)(b))  # noqa: B023
        same(mine, reference)
        assert warned == expected


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_glu(dim):
    check(F.glu, TF.glu, [floats(4, 6)], (dim,))


@pytest.mark.parametrize("shape, slopes", [((5,), 1), ((2, 3), 3), ((2, 3, 4), 3), ((2, 3, 4), 1), ((), 1)])
def test_prelu(shape, slopes):
    check(F.prelu, TF.prelu, [np.asarray(floats(*shape)), uniform(slopes)])


def test_rrelu_in_training_draws_as_pytorch_does():
    a, b = pair(floats(50))
    same(*drawn_by_both(lambda: F.rrelu(a, 0.1, 0.4, True), lambda: TF.rrelu(b, 0.1, 0.4, True)))


@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 5, 3)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear(shape, bias):
    check(F.linear, TF.linear, [floats(*shape), floats(4, 3), *([floats(4)] if bias else [])])


@pytest.mark.parametrize("lead", [(5,), (2, 5)])
def test_bilinear(lead):
    check(F.bilinear, TF.bilinear, [floats(*lead, 3), floats(*lead, 2), floats(4, 3, 2), floats(4)])


@pytest.mark.parametrize("options", [{}, {"padding_idx": 2}, {"padding_idx": -1}, {"scale_grad_by_freq": True}])
def test_embedding(options):
    indices = np.array([[1, 2, 2], [4, 0, 2]])

    def turned(function):
        return lambda weight, **kwargs: function(lookup[function], weight, **kwargs)

    lookup = dict(zip((F.embedding, TF.embedding), pair(indices)))
    check(turned(F.embedding), turned(TF.embedding), [floats(5, 3)], kwargs=options)


def test_embedding_shortens_long_rows_in_place():
    (i, j), (a, b) = pair(np.array([1, 2, 2])), pair(floats(5, 3, scale=3.0))
    same(F.embedding(i, a, max_norm=1.0), TF.embedding(j, b, max_norm=1.0))
    same(a, b)


def test_one_hot():
    for array, classes in [(np.array([0, 2, 1]), -1), (np.array([[0], [3]]), 5), (np.array(2), -1)]:
        a, b = pair(array)
        same(F.one_hot(a, classes), TF.one_hot(b, classes))


PADS = [
    ((3, 4), (1, 2), "constant", 1.5), ((3, 4), (1, 2, 0, 3), "constant", None),
    ((3, 4), (-1, 2, -1, -1), "constant", 2.0),
    ((2, 3, 4), (0, 0, 1, 1), "constant", 0), ((2, 4), (2, 3), "reflect", None), ((2, 3, 4), (3, 1), "reflect", None),
    ((2, 3, 4, 5), (1, 2, 3, 0), "reflect", None), ((2, 4), (5, 3), "replicate", None),
    ((1, 2, 3, 4, 5), (1, 2, 3, 0, 1, 1), "replicate", None), ((2, 3, 4), (3, 4), "circular", None),
    ((2, 3, 4, 5), (1, 2, 3, 0), "circular", None),
]  # fmt: skip


@pytest.mark.parametrize("shape, pad, mode, value", PADS)
def test_pad(shape, pad, mode, value):
    check(F.pad, TF.pad, [floats(*shape)], (pad, mode, value))


@pytest.mark.parametrize("p, dim", [(2.0, 1), (1.0, 0), (3.0, -1), (float("inf"), 1)])
def test_normalize(p, dim):
    check(F.normalize, TF.normalize, [floats(4, 5)], (p, dim))


def test_distances():
    check(F.cosine_similarity, TF.cosine_similarity, [floats(4, 5), floats(4, 5)])
    check(F.cosine_similarity, TF.cosine_similarity, [floats(4, 5), floats(1, 5)], (-1, 1e-4))
    check(F.pairwise_distance, TF.pairwise_distance, [floats(4, 5), floats(4, 5)])
    check(F.pairwise_distance, TF.pairwise_distance, [floats(4, 5), floats(5)], (1.0, 1e-3, True))


# --- normalisation ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape, normalized", [((4, 6), (6,)), ((2, 3, 4), (3, 4)), ((6,), (6,))])
def test_layer_norm(shape, normalized, affine):
    parameters = [floats(*normalized), floats(*normalized)] if affine else []
    check(
        lambda x, *p: F.layer_norm(x, normalized, *p), lambda x, *p: TF.layer_norm(x, normalized, *p),
        [floats(*shape), *parameters], rtol=1e-4, atol=1e-5,
    )  # fmt: skip


@pytest.mark.parametrize("eps", [None, 1e-3])
def test_rms_norm(eps):
    check(
        lambda x, w: F.rms_norm(x, (6,), w, eps), lambda x, w: TF.rms_norm(x, (6,), w, eps),
        [floats(2, 4, 6), floats(6)], rtol=1e-4, atol=1e-5,
    )  # fmt: skip


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("shape", [(3, 6), (3, 6, 5), (2, 6, 3, 4)])
def test_group_norm(groups, shape):
    if shape == (3, 6) and groups == 6:
        pytest.skip("one value in a group")
    check(
        lambda x, w, b: F.group_norm(x, groups, w, b), lambda x, w, b: TF.group_norm(x, groups, w, b),
        [floats(*shape), floats(6), floats(6)], rtol=1e-4, atol=1e-5,
    )  # fmt: skip


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(5, 3), (5, 3, 4), (2, 3, 4, 5)])
def test_batch_norm(shape, training):
    mean, variance = floats(3), uniform(3, low=0.5, high=2.0)
    statistics = {F: (livegrad.from_numpy(mean.copy()), livegrad.from_numpy(variance.copy())),
                  TF: (torch.from_numpy(mean.copy()), torch.from_numpy(variance.copy()))}  # fmt: skip

    def run(functional):
        return lambda x, w, b: functional.batch_norm(x, *statistics[functional], w, b, training, 0.3, 1e-3)

    check(run(F), run(TF), [floats(*shape), floats(3), floats(3)], rtol=1e-4, atol=1e-5)
    same(statistics[F], statistics[TF])


def test_batch_norm_without_statistics_or_weights():
    def run(functional):
        return lambda x: functional.batch_norm(x, None, None, training=True)

    check(run(F), run(TF), [floats(5, 3)], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(5, 3, 4), (2, 3, 4, 5)])
def test_instance_norm(shape):
    mean, variance = floats(3), uniform(3, low=0.5, high=2.0)
    statistics = {F: (livegrad.from_numpy(mean.copy()), livegrad.from_numpy(variance.copy())),
                  TF: (torch.from_numpy(mean.copy()), torch.from_numpy(variance.copy()))}  # fmt: skip

    def run(functional, use):
        return lambda x, w, b: functional.instance_norm(x, *statistics[functional], w, b, use, 0.3)

    for use in (True, False):
        check(run(F, use), run(TF, use), [floats(*shape), floats(3), floats(3)], rtol=1e-4, atol=1e-5)
    same(statistics[F], statistics[TF])


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_local_response_norm(size):
    check(F.local_response_norm, TF.local_response_norm, [floats(2, 6, 4)], (size, 0.1))


# --- dropout ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, shape",
    [
        ("dropout", (40,)), ("dropout", (5, 8)), ("dropout1d", (4, 5, 3)), ("dropout1d", (5, 3)),
        ("dropout2d", (4, 5, 3, 2)), ("dropout3d", (2, 5, 3, 2, 2)), ("dropout3d", (5, 3, 2, 2)),
        ("alpha_dropout", (40,)), ("feature_alpha_dropout", (4, 5, 3)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_dropout_draws_as_pytorch_does(name, shape, p):
    check(getattr(F, name), getattr(TF, name), [floats(*shape)], (p, True))


def test_dropout_in_place_and_in_evaluation():
    a, b = pair(floats(30))
    assert F.dropout(a, 0.5, training=False) is a
    result, _ = drawn_by_both(lambda: F.dropout(a, 0.5, inplace=True), lambda: TF.dropout(b, 0.5, inplace=True))
    assert result is a
    same(a, b)


def test_gumbel_softmax():
    for hard in (False, True):
        check(F.gumbel_softmax, TF.gumbel_softmax, [floats(4, 5)], kwargs={"tau": 0.7, "hard": hard})


# --- errors -----------------------------------------------------------------------------------------------------

WRONG = [
    "F.softmax(o(3, 3), 1) + F.glu(o(3))", "F.gelu(o(3), approximate='x')", "F.prelu(o(2, 3), o(2))",
    "F.prelu(o(2, 3), o(3, 1))", "F.hardtanh(o(2), 2, 1)", "F.celu(o(2), 0)", "F.softshrink(o(2), -1)",
    "F.dropout(o(3), 2)", "F.dropout1d(o(3))", "F.dropout1d(o(3, 3, 3, 3))", "F.alpha_dropout(o(3), -1)",
    "F.dropout2d(o(3, 2, 2, 2), -1)", "F.embedding(i(1), o(3, 2), padding_idx=5)", "F.one_hot(i(3), 2)",
    "F.one_hot(o(1), 2)", "F.one_hot(i(-1))", "F.one_hot(i())", "F.pad(o(3), (1,))", "F.pad(o(3), (1, 2, 3, 4))",
    "F.pad(o(3), (1, 2), mode='reflect')", "F.pad(o(1, 3), (3, 2), mode='reflect')", "F.pad(o(1, 3), (1, 2), mode='x')",
    "F.pad(o(1, 3), (1, 2), mode='reflect', value=3)", "F.pad(o(1, 3, 2), (1, 3), mode='circular')",
    "F.pad(o(3, 3), (-2, -2))", "F.batch_norm(o(1, 3), None, None, training=True)",
    "F.batch_norm(o(2, 3), None, None, training=False)", "F.instance_norm(o(1, 3, 1))", "F.layer_norm(o(2, 3), (4,))",
    "F.layer_norm(o(2, 3), (4, 5))", "F.layer_norm(o(2, 3), [])", "F.layer_norm(o(2, 3), (3,), weight=o(4))",
    "F.group_norm(o(2, 3), 2)", "F.group_norm(o(1, 2, 1), 2)", "F.group_norm(o(3), 1)", "F.rms_norm(o(2, 3), (4,))",
    "F.rms_norm(o(2, 3), (3,), weight=o(4))", "F.bilinear(o(5, 2), o(5, 2), o(4, 2, 3))",
    "F.dropout2d(o(3))",
    "F.mse_loss(o(3, 1), o(3))", "F.l1_loss(o(3, 1), o(3))", "F.smooth_l1_loss(o(3, 1), o(3))",
    "F.huber_loss(o(3, 1), o(3))", "F.mse_loss(o(3), o(3), reduction='x')", "F.binary_cross_entropy(o(3, 1), o(3))",
    "F.binary_cross_entropy(o(3) * 2, o(3))", "F.binary_cross_entropy_with_logits(o(3, 1), o(3))",
    "F.cross_entropy(o(3, 2), i(0, 0, 0, 0))", "F.cross_entropy(o(3, 2), o(3))", "F.cross_entropy(o(3, 2), o(3, 4))",
    "F.cross_entropy(o(3, 2), o(3, 2).long())", "F.cross_entropy(o(3, 2, 5), o(3, 4).long())",
    "F.cross_entropy(o(2), i(1, 1, 1))", "F.cross_entropy(o(3, 2), i(1, 1, 1), weight=o(3))",
    "F.cross_entropy(o(3, 2), i(1, 1, 1), label_smoothing=2.0)", "F.cross_entropy(o(3, 2), i(1, 1, 1), reduction='x')",
    "F.nll_loss(o(3, 2), i(0, 0, 0, 0))", "F.nll_loss(o(3, 2), o(3))", "F.nll_loss(o(3, 2), o(3, 2).long())",
    "F.nll_loss(o(3, 2, 4, 4), o(3, 4, 5).long())", "F.nll_loss(o(3, 2), i(1, 1, 1), weight=o(3))",
    "F.nll_loss(o(3, 2), i(1, 1, 1), reduction='x')", "F.kl_div(o(3), o(3))",
    "F.margin_ranking_loss(o(3, 1), o(3), o(3))", "F.cosine_embedding_loss(o(3, 1), o(3, 1), o(3, 1))",
    "F.triplet_margin_loss(o(3, 1), o(3), o(3))", "F.poisson_nll_loss(o(3), o(3), reduction='x')",
    "F.gaussian_nll_loss(o(3, 2), o(3, 2), o(3, 3))", "F.gaussian_nll_loss(o(3, 1), o(3, 1), -1 * o(3))",
    "F.gaussian_nll_loss(o(3, 2), o(3, 2), 1.0, reduction='x')", "F.smooth_l1_loss(o(3), o(3), beta=-1)",
    "F.huber_loss(o(3), o(3), delta=-1)", "F.l1_loss(o(3), o(3), size_average=False)",
    "F.l1_loss(o(3), o(3), reduce=False)", "F.nll_loss(o(3, 2), i(0, 0, 0), size_average=True)",
]  # fmt: skip


@pytest.mark.parametrize("code", WRONG)
def test_errors_and_warnings_read_as_pytorchs(code):
    mine = outcome(lambda: eval(code, {"F": F, "o": livegrad.ones, "i": lambda *n: livegrad.tensor(n).long()}))
    theirs = outcome(lambda: eval(code, {"F": TF, "o": torch.ones, "i": lambda *n: torch.tensor(n).long()}))
    assert mine[1:] == theirs[1:]


def test_a_target_out_of_range_is_an_index_error():
    with pytest.raises(IndexError):
        F.cross_entropy(livegrad.ones(3, 2), livegrad.tensor([0, 1, 2])).item()
    with pytest.raises(IndexError):
        F.embedding(livegrad.tensor([3]), livegrad.ones(3, 2)).sum().item()


def test_integers_stay_integers():
    x = np.arange(-3, 4)
    for inplace in (False, True):
        a, b = pair(x)
        same(F.hardtanh(a, -1.0, 2.0, inplace), TF.hardtanh(b, -1.0, 2.0, inplace))
        a, b = pair(x)
        same(F.threshold(a, 1, 9, inplace), TF.threshold(b, 1, 9, inplace))
    a, b = pair(x)
    same(F.relu(a), TF.relu(b))
    a, b = pair(floats(5))
    same(F.threshold_(a, 0.1, 9.0), TF.threshold_(b, 0.1, 9.0))


def test_cosine_similarity_of_two_dtypes():
    x, y = floats(4, 5), np.arange(20).reshape(4, 5)
    for make in (np.float16, np.float64):
        a, b = pair(x.astype(make))
        c, d = pair(y)
        same(F.cosine_similarity(a, c), TF.cosine_similarity(b, d), 1e-2 if make is np.float16 else 1e-5)
    for m, f in ((livegrad, F), (torch, TF)):
        with pytest.raises(RuntimeError, match="expected common dtype to be floating point, yet common dtype is Long"):
            f.cosine_similarity(m.ones(2, 2, dtype=m.int64), m.ones(2, 2, dtype=m.int32))

"""Convolution layers and functions: initial values, results, gradients, graph and errors equal PyTorch's."""

import numpy as np
import pytest
from against_torch import check, drawn_by_both, identical, outcome, pair, same, torch
from hypothesis import given, settings
from hypothesis import strategies as st

import livegrad
from livegrad import nn
from livegrad.autograd.gradcheck import gradcheck, gradgradcheck

rng = np.random.default_rng(5)

LAYERS = [
    ("Conv1d(3, 4, 3)", (2, 3, 9)),
    ("Conv1d(4, 6, 2, stride=2, padding=1, groups=2, bias=False)", (2, 4, 9)),
    ("Conv1d(3, 4, 4, padding='same', dilation=3)", (3, 20)),
    ("Conv1d(3, 3, 3, padding=2, padding_mode='circular', groups=3)", (2, 3, 9)),
    ("Conv2d(3, 4, 3)", (2, 3, 9, 8)),
    ("Conv2d(3, 6, (3, 2), stride=2, padding=(1, 0), dilation=(2, 1), groups=3)", (2, 3, 9, 8)),
    ("Conv2d(3, 4, 3, padding=1, padding_mode='reflect')", (2, 3, 9, 8)),
    ("Conv2d(3, 4, (2, 3), padding='same', padding_mode='replicate')", (3, 9, 8)),
    ("Conv2d(3, 4, 1, padding='valid', dtype=DTYPE.float64)", None),
    ("Conv3d(2, 3, 2)", (2, 2, 4, 5, 4)),
    ("Conv3d(2, 4, (1, 2, 3), padding='same', groups=2, padding_mode='circular')", (2, 2, 4, 5, 4)),
    ("ConvTranspose1d(3, 4, 3, stride=2, output_padding=1)", (2, 3, 9)),
    ("ConvTranspose2d(4, 6, 3, stride=(2, 1), padding=1, groups=2)", (2, 4, 5, 4)),
    ("ConvTranspose2d(3, 4, 2, dilation=2, bias=False)", (3, 5, 4)),
    ("ConvTranspose3d(2, 3, 2, stride=2)", (2, 2, 3, 2, 3)),
]


def both(code):
    return drawn_by_both(
        lambda: eval("nn." + code, {"nn": nn, "DTYPE": livegrad}),
        lambda: eval("nn." + code, {"nn": torch.nn, "DTYPE": torch}),
    )


@pytest.mark.parametrize("mode", ["always", "never"])
@pytest.mark.parametrize("code, shape", LAYERS)
def test_layers_are_pytorchs(code, shape, mode):
    mine, theirs = both(code)
    assert repr(mine) == repr(theirs)
    a, b = mine.state_dict(), theirs.state_dict()
    assert list(a) == list(b)
    for name in b:
        identical(a[name], b[name])
    assert mine.__constants__ == theirs.__constants__
    if shape is None:
        return
    with livegrad.compiling(mode):
        check(mine, theirs, [rng.standard_normal(shape).astype(np.float32)], rtol=1e-4, atol=1e-5)
        for p, q in zip(mine.parameters(), theirs.parameters()):
            same(p.grad, q.grad, rtol=1e-4, atol=1e-4)


@st.composite
def convolutions(draw):
    """(transposed, shape of the input, of the weight, bias or not, options) of a random convolution."""
    n = draw(st.integers(1, 3))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    channels = groups * draw(st.integers(1, 4))
    outputs = groups * draw(st.sampled_from([1, 2, 3, 5, 8, 9, 15, 17, 30, 40]))
    transposed = draw(st.booleans())

    def each(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(n))

    window, stride, dilation, padding = each(1, 3), each(1, 3), each(1, 2), each(0, 3)
    if transposed:
        extra = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation))
        size = tuple(
            draw(st.integers(lowest, lowest + (20 if n < 3 else 4)))
            for lowest in (
                max(1, 1 + -(-(2 * p - d * (k - 1) - e) // s))
                for p, d, k, s, e in zip(padding, dilation, window, stride, extra)
            )
        )
        options = {"output_padding": extra}
        weight = (channels, outputs // groups, *window)
    else:
        size = tuple(
            draw(st.integers(lowest, lowest + (40 if n < 3 else 6)))
            for lowest in (max(1, d * (k - 1) + 1 - 2 * p) for d, k, p in zip(dilation, window, padding))
        )
        options = {}
        weight = (outputs, channels // groups, *window)
    options |= {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return transposed, (draw(st.integers(1, 4)), channels, *size), weight, draw(st.booleans()), options


@pytest.mark.parametrize("mode", ["always", "never"])
@settings(max_examples=120, deadline=None)
@given(case=convolutions(), dtype=st.sampled_from([np.float64, np.float32]), seed=st.integers(0, 99))
def test_random_convolutions(mode, case, dtype, seed):
    transposed, shape, weight, biased, options = case
    numbers = np.random.default_rng(seed)
    arrays = [numbers.standard_normal(s).astype(dtype) for s in (shape, weight)]
    outputs = weight[1] * options["groups"] if transposed else weight[0]
    if biased:
        arrays.append(numbers.standard_normal(outputs).astype(dtype))
    name = f"conv_transpose{len(shape) - 2}d" if transposed else f"conv{len(shape) - 2}d"
    exact = dtype is np.float64
    with livegrad.compiling(mode):
        check(
            getattr(nn.functional, name), getattr(torch.nn.functional, name), arrays, kwargs=options,
            rtol=1e-9 if exact else 2e-4, atol=1e-9 if exact else 2e-4,
        )  # fmt: skip


def test_first_and_second_derivatives():
    def numbers(*shape):
        return livegrad.randn(*shape, dtype=livegrad.float64, requires_grad=True)

    F = nn.functional
    x = numbers(2, 2, 4, 3)
    cases = [
        (lambda x, w, b: F.conv2d(x, w, b, stride=(2, 1), padding=1, groups=2), (numbers(4, 1, 2, 2), numbers(4))),
        (lambda x, w: F.conv2d(x, w, padding="same", dilation=(1, 2)), (numbers(2, 2, 2, 3),)),
        (
            lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2, padding=1, output_padding=1),
            (numbers(2, 2, 2, 3), numbers(2)),
        ),
    ]
    for f, parameters in cases:
        assert gradcheck(f, (x, *parameters))
        assert gradgradcheck(f, (x, *parameters))


# Input, weight and options: layouts and direct reads, cut into boxes along each of the dimensions, with rests everywhere.
PIECES = [
    ((9, 5, 20, 21), (11, 5, 3, 3), {"padding": 1}),
    ((1, 40, 70, 61), (33, 40, 3, 3), {"padding": 2, "dilation": 2}),
    ((1, 3, 90, 75), (35, 3, 5, 4), {"stride": (2, 3), "padding": (2, 1)}),
    ((2, 150, 40, 41), (130, 150, 1, 1), {}),
    ((2, 6, 37, 33), (34, 6, 4, 3), {}),
    ((7, 20, 7, 9), (70, 20, 3, 3), {"padding": 1}),
    ((3, 33, 14, 14), (67, 33, 3, 3), {"padding": 1, "stride": 2}),
    ((2, 4, 6, 5, 7), (64, 4, 2, 3, 3), {"padding": 1}),
    ((2, 4, 2500), (6, 2, 9), {"padding": 4, "groups": 2}),
    ((1, 3, 2503), (5, 3, 1), {}),
    ((1, 5, 16, 15, 17), (17, 5, 2, 3, 3), {"padding": 1}),
    ((1, 2, 2, 70, 50), (3, 2, 2, 1, 1), {"padding": (1, 0, 0)}),
]


@pytest.mark.parametrize("shape, weight, options", PIECES)
def test_pieces_and_thread_counts_give_the_same_bits(shape, weight, options):
    numbers = np.random.default_rng(3)
    x, w = (numbers.standard_normal(s).astype(np.float32) for s in (shape, weight))
    name = f"conv{len(shape) - 2}d"
    exact = [torch.from_numpy(t).double().requires_grad_() for t in (x, w)]
    y = getattr(torch, name)(*exact, **options)
    (y * y).sum().backward()
    exact = [t.detach().numpy() for t in (y, exact[0].grad, exact[1].grad)]
    before = livegrad.get_num_threads()
    found = []
    try:
        with livegrad.compiling("always"):
            for threads in (1, 2, 5, 16):
                livegrad.set_num_threads(threads)
                a, b = (livegrad.from_numpy(v).requires_grad_() for v in (x, w))
                y = getattr(livegrad, name)(a, b, **options)
                (y * y).sum().backward()
                found.append([t.detach().numpy().copy() for t in (y, a.grad, b.grad)])
    finally:
        livegrad.set_num_threads(before)
    for one, right in zip(found[0], exact):
        assert np.abs(one - right).max() <= 1e-5 * np.abs(right).max()
    for other in found[1:]:
        for a, b in zip(found[0], other):
            np.testing.assert_array_equal(a, b)


def test_float32_is_as_exact_as_pytorchs():
    x, w = rng.standard_normal((4, 128, 14, 14)), rng.standard_normal((32, 128, 3, 3))
    x, w = pair(x.astype(np.float32)), pair(w.astype(np.float32))
    exact = torch.conv2d(x[1].double(), w[1].double(), padding=1).numpy()
    mine = np.abs(livegrad.conv2d(x[0], w[0], padding=1).numpy() - exact).mean()
    theirs = np.abs(torch.conv2d(x[1], w[1], padding=1).numpy() - exact).mean()
    assert mine <= 1.1 * theirs


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_half_types_are_computed_in_float32(name):
    a, b = rng.standard_normal((2, 3, 8, 8)), rng.standard_normal((4, 3, 3, 3))
    x, w = (livegrad.from_numpy(v).to(getattr(livegrad, name)).requires_grad_() for v in (a, b))
    y = livegrad.conv2d(x, w)
    assert str(y.dtype) == f"torch.{name}"
    wide = livegrad.conv2d(x.detach().float(), w.detach().float()).to(y.dtype)
    np.testing.assert_array_equal(y.detach().float().numpy(), wide.float().numpy())
    y.sum().backward()
    assert x.grad.dtype is x.dtype and w.grad.dtype is w.dtype


def test_infinities_stay_where_they_belong():
    """Places between the rows of a layout are no part of the result, whatever is next to them."""
    x = rng.standard_normal((2, 2, 6, 40))
    x[0, 0, :, -1] = np.inf
    for padding in (0, 1):
        check(
            nn.functional.conv2d, torch.nn.functional.conv2d,
            [x.astype(np.float32), rng.standard_normal((3, 2, 3, 3)).astype(np.float32)],
            kwargs={"padding": padding}, rtol=1e-4, atol=1e-4,
        )  # fmt: skip


def test_names_in_the_graph():
    x = livegrad.ones(1, 2, 5, 5, requires_grad=True)
    w = livegrad.ones(3, 2, 3, 3, requires_grad=True)
    y = livegrad.conv2d(x, w, livegrad.ones(3))
    assert y.grad_fn.name() == "ConvolutionBackward0"
    assert livegrad.conv_transpose2d(y, w).grad_fn.name() == "ConvolutionBackward0"
    assert livegrad.conv2d(x[0], w).grad_fn.name() == "SqueezeBackward1"
    (g,) = livegrad.autograd.grad(y.sum(), x, create_graph=True)
    assert g.grad_fn.name() == "ConvolutionBackwardBackward0"
    node = next(n for n in livegrad.graph(y) if n.op == "conv2d")
    assert node.flops == 2 * (3 * 3 * 3) * (2 * 3 * 3) + 3 * 3 * 3


def test_output_size_of_a_transposed_convolution():
    mine, theirs = both("ConvTranspose2d(2, 3, 3, stride=3, padding=1)")
    x, y = pair(rng.standard_normal((1, 2, 4, 5)).astype(np.float32))
    for size in ((11, 14), (1, 3, 10, 13)):
        same(mine(x, output_size=size), theirs(y, output_size=size))


WRONG = [
    "F.conv2d(o(2, 3, 5, 5), o(4, 2, 3, 3))", "F.conv2d(o(2, 3, 5, 5), o(4, 3, 6, 6))",
    "F.conv2d(o(2, 3, 5), o(4, 3, 3, 3))", "F.conv2d(o(3, 5), o(4, 3, 3, 3))", "F.conv1d(o(2, 2, 3, 5), o(4, 3, 3))",
    "F.conv2d(o(2, 3, 5, 5), o(4, 3, 3))", "F.conv2d(o(2, 3, 5, 5), o(4, 3, 3, 3), o(3))",
    "F.conv2d(o(2, 3, 5, 5), o(4, 3, 3, 3), stride=0)", "F.conv2d(o(2, 3, 5, 5), o(4, 3, 3, 3), dilation=0)",
    "F.conv2d(o(2, 3, 5, 5), o(4, 3, 3, 3), padding=-1)", "F.conv2d(o(2, 3, 5, 5), o(4, 3, 3, 3), groups=0)",
    "F.conv2d(o(2, 4, 5, 5), o(3, 2, 3, 3), groups=2)", "F.conv2d(o(2, 3, 5, 5), o(4, 3, 3, 3), stride=(1, 2, 3))",
    "F.conv2d(o(2, 3, 5, 5), o(4, 3, 3, 3), padding=(1, 2, 3))",
    "F.conv2d(o(2, 3, 5, 5), o(4, 3, 3, 3), padding='same', stride=2)",
    "F.conv2d(o(2, 3, 5, 5), o(4, 3, 3, 3), padding='sam')", "F.conv2d(o(2, 3, 5, 5), o(4, 3, 3, 3).double())",
    "F.conv2d(o(2, 3, 5, 5), o(4, 3, 3, 3), o(4).double())", "F.conv2d(o(2, 3, 0, 5), o(4, 3, 3, 3), padding=1)",
    "F.conv_transpose2d(o(2, 3, 5, 5), o(4, 2, 3, 3))",
    "F.conv_transpose2d(o(2, 3, 5, 5), o(3, 2, 3, 3), output_padding=1)",
    "F.conv_transpose2d(o(2, 3, 5, 5), o(3, 2, 3, 3), output_padding=-1)",
    "F.conv_transpose2d(o(2, 3, 5, 5), o(3, 2, 3, 3), o(3))",
    "F.conv_transpose2d(o(2, 4, 5, 5), o(4, 2, 3, 3), groups=3)", "F.conv_transpose2d(o(5, 5), o(3, 2, 3, 3))",
    "nn.Conv2d(3, 4, 3, groups=2)", "nn.Conv2d(4, 3, 3, groups=2)", "nn.Conv2d(3, 4, 3, groups=0)",
    "nn.Conv2d(3, 4, 3, padding='same', stride=2)",
    "nn.ConvTranspose2d(3, 4, 3, padding_mode='reflect')",
    "nn.ConvTranspose2d(3, 4, 3)(o(1, 3, 4, 4), output_size=(9, 9))",
    "nn.ConvTranspose2d(3, 4, 3)(o(1, 3, 4, 4), output_size=(9, 9, 9))",
]  # fmt: skip


@pytest.mark.parametrize("code", WRONG)
def test_errors_read_as_pytorchs(code):
    mine = outcome(lambda: eval(code, {"nn": nn, "F": nn.functional, "o": livegrad.ones}))
    theirs = outcome(lambda: eval(code, {"nn": torch.nn, "F": torch.nn.functional, "o": torch.ones}))
    assert theirs[1] is not None
    assert mine[1] == (theirs[1][0], theirs[1][1].split("\nException raised")[0])


def test_names_of_paddings_are_checked():
    with pytest.raises(ValueError, match="Invalid padding string 'foo', should be one of {'same', 'valid'}"):
        nn.Conv2d(3, 4, 3, padding="foo")
    with pytest.raises(ValueError, match="padding_mode must be one of .*, but got padding_mode='foo'"):
        nn.Conv2d(3, 4, 3, padding_mode="foo")


@pytest.mark.parametrize(
    "channels, size, kernel, stride", [(256, 4, 2, 2), (96, 6, 3, 3), (130, 4, 4, 4), (70, 8, 2, 2)]
)
def test_patches_side_by_side_of_many_channels(channels, size, kernel, stride):
    """The weight is read where it is, some channels with all their taps at a time."""
    made = []
    for library in (livegrad, torch):
        library.manual_seed(0)
        x, w = (
            library.randn(1, channels, size, size, dtype=library.float64),
            library.randn(32, channels, kernel, kernel, dtype=library.float64),
        )
        y = library.nn.functional.conv2d(x, w, stride=stride).requires_grad_()
        back = library.nn.functional.conv_transpose2d(y, w, stride=stride)
        made.append([y.detach().numpy(), library.autograd.grad((back * x).sum(), y)[0].numpy()])
    for a, b in zip(*made, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_transposed_convolutions_may_leave_nothing():
    made = []
    for library in (livegrad, torch):
        x, w, b = (library.ones(*s, requires_grad=True) for s in ((2, 4, 4, 9), (4, 5, 3, 3), (5,)))
        y = library.nn.functional.conv_transpose2d(x, w, b, padding=3)
        y.sum().backward()
        made.append((tuple(y.shape), *(float(t.grad.abs().sum()) for t in (x, w, b))))
        with pytest.raises(RuntimeError):
            library.nn.functional.conv_transpose2d(x, w, b, padding=4)
    assert made[0] == made[1] == ((2, 5, 0, 5), 0, 0, 0)

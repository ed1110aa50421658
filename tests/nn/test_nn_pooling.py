"""Pooling, folding and interpolation: results, gradients, layers, graph and errors equal PyTorch's."""

import itertools

import numpy as np
import pytest
from against_torch import check, outcome, pair, same, torch
from hypothesis import given, settings
from hypothesis import strategies as st

import livegrad
from livegrad import nn
from livegrad.autograd.gradcheck import gradcheck, gradgradcheck

rng = np.random.default_rng(6)
F, T = nn.functional, torch.nn.functional


def numbers(*shape):
    return rng.standard_normal(shape).astype(np.float32)


LAYERS = [
    ("MaxPool1d(2, return_indices=True)", (2, 3, 9)),
    ("MaxPool1d(3, 2, 1)", (3, 9)),
    ("MaxPool2d(2)", (2, 3, 9, 8)),
    ("MaxPool2d((3, 2), stride=2, padding=1, dilation=2, ceil_mode=True)", (3, 9, 8)),
    ("MaxPool3d(2, 1)", (2, 2, 4, 5, 4)),
    ("AvgPool1d(2)", (2, 3, 9)),
    ("AvgPool1d(3, 2, 1, True, False)", (3, 9)),
    ("AvgPool2d(3, 2, 1)", (2, 3, 9, 8)),
    ("AvgPool2d((2, 3), ceil_mode=True, divisor_override=5)", (3, 9, 8)),
    ("AvgPool3d(2, padding=1, count_include_pad=False)", (2, 2, 4, 5, 4)),
    ("LPPool1d(2, 3, 2, True)", (2, 3, 9)),
    ("LPPool2d(2, 2)", (2, 3, 9, 8)),
    ("LPPool3d(2, 2)", (2, 2, 4, 5, 4)),
    ("AdaptiveAvgPool1d(4)", (2, 3, 9)),
    ("AdaptiveAvgPool2d((4, None))", (2, 3, 9, 8)),
    ("AdaptiveAvgPool2d(1)", (2, 3, 9, 8)),
    ("AdaptiveAvgPool3d(2)", (2, 2, 4, 5, 4)),
    ("AdaptiveMaxPool1d(3)", (2, 3, 9)),
    ("AdaptiveMaxPool2d((2, 5), return_indices=True)", (3, 9, 8)),
    ("AdaptiveMaxPool3d(2)", (2, 2, 4, 5, 4)),
    ("MaxUnpool2d(2)", None),
    ("MaxUnpool1d((3,), 2, 1)", None),
    ("Unfold(2, dilation=2, padding=1, stride=2)", (2, 3, 9, 8)),
    ("Fold((5, 4), (2, 3), padding=1)", (2, 12, 24)),
    ("Fold((5, 4), 2)", (12, 12)),
    ("PixelShuffle(2)", (2, 8, 3, 2)),
    ("PixelUnshuffle(3)", (2, 6, 9)),
    ("ChannelShuffle(3)", (2, 6, 4)),
    ("Upsample(4)", (2, 3, 5)),
    ("Upsample(scale_factor=(2, 1.5), mode='bilinear')", (2, 3, 5, 4)),
    ("Upsample(scale_factor=0.7, mode='bicubic', recompute_scale_factor=True)", (2, 3, 8, 9)),
    ("UpsamplingNearest2d(scale_factor=2)", (2, 3, 5, 4)),
    ("UpsamplingBilinear2d(7)", (2, 3, 5, 4)),
]


@pytest.mark.parametrize("mode", ["always", "never"])
@pytest.mark.parametrize("code, shape", LAYERS)
def test_layers_are_pytorchs(code, shape, mode):
    mine, theirs = eval("nn." + code), eval("torch.nn." + code)
    assert repr(mine) == repr(theirs)
    assert getattr(mine, "__constants__", None) == getattr(theirs, "__constants__", None)
    if shape is None:
        return
    x = numbers(*shape)
    if code.startswith("LP"):
        x = np.abs(x) + 0.1
    with livegrad.compiling(mode):
        if "return_indices=True" in code:
            a, b = pair(x)
            same(mine(a), theirs(b))
        else:
            check(mine, theirs, [x], rtol=1e-4, atol=1e-5)


@st.composite
def windows(draw):
    """(dimensions, size, window, stride, padding, dilation, ceil_mode)"""
    n = draw(st.integers(1, 3))

    def each(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(n))

    window = each(1, 4)
    padding = tuple(draw(st.integers(0, k // 2)) for k in window)
    return n, each(8, 40 if n < 3 else 11), window, each(1, 4), padding, each(1, 2), draw(st.booleans())


KINDS = st.sampled_from([np.float32, np.float64])


@pytest.mark.parametrize("mode", ["always", "never"])
@settings(max_examples=80, deadline=None)
@given(case=windows(), dtype=KINDS, special=st.booleans(), seed=st.integers(0, 99))
def test_random_max_pooling(mode, case, dtype, special, seed):
    n, size, window, stride, padding, dilation, ceil_mode = case
    x = np.random.default_rng(seed).standard_normal((2, 2, *size)).astype(dtype)
    if special:
        x = np.round(x)
        x[..., 3] = np.nan
        x[..., :2] = -np.inf
    options = (window, stride, padding, dilation, ceil_mode)
    mine, theirs = getattr(F, f"max_pool{n}d"), getattr(T, f"max_pool{n}d")
    with livegrad.compiling(mode):
        a, b = pair(x)
        same(mine(a, *options, return_indices=True), theirs(b, *options, return_indices=True), 0, 0)
        check(mine, theirs, [x], options)


@pytest.mark.parametrize("mode", ["always", "never"])
@settings(max_examples=80, deadline=None)
@given(case=windows(), dtype=KINDS, include=st.booleans(), divisor=st.sampled_from([None, 3]))
def test_random_average_pooling(mode, case, dtype, include, divisor):
    n, size, window, stride, padding, _, ceil_mode = case
    options = (window, stride, padding, ceil_mode, include) + ((divisor,) if n > 1 else ())
    x = rng.standard_normal((2, 2, *size)).astype(dtype)
    with livegrad.compiling(mode):
        check(getattr(F, f"avg_pool{n}d"), getattr(T, f"avg_pool{n}d"), [x], options, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mode", ["always", "never"])
@settings(max_examples=60, deadline=None)
@given(case=windows(), dtype=KINDS, out=st.lists(st.integers(1, 9), min_size=3, max_size=3))
def test_random_adaptive_pooling(mode, case, dtype, out):
    n, size = case[:2]
    x = rng.standard_normal((2, 2, *size)).astype(dtype)
    with livegrad.compiling(mode):
        for name in (f"adaptive_avg_pool{n}d", f"adaptive_max_pool{n}d"):
            check(getattr(F, name), getattr(T, name), [x], (out[:n],), rtol=1e-5, atol=1e-5)


MODES = {"nearest": (1, 2, 3), "nearest-exact": (1, 2, 3), "area": (1, 2, 3), "linear": (1,), "bilinear": (2,),
         "bicubic": (2,), "trilinear": (3,)}  # fmt: skip


@pytest.mark.parametrize("compiled", ["always", "never"])
@pytest.mark.parametrize("mode", MODES)
def test_interpolation(mode, compiled):
    corners = (None,) if mode in ("nearest", "nearest-exact", "area") else (False, True)
    sizes = [{"size": 7}, {"size": 1}, {"scale_factor": 2.3}, {"scale_factor": 0.6},
             {"scale_factor": 1.7, "recompute_scale_factor": True}]  # fmt: skip
    with livegrad.compiling(compiled):
        for n, align, size in itertools.product(MODES[mode], corners, sizes):
            options = {"mode": mode, "align_corners": align, **size}
            x = rng.standard_normal((2, 3, *(6, 9, 5)[:n]))
            check(F.interpolate, T.interpolate, [x], kwargs=options, rtol=1e-6, atol=1e-6)
            check(F.interpolate, T.interpolate, [x.astype(np.float32)], kwargs=options, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_interpolation_without_aliasing(mode):
    for size in (3, 4, 20):
        for align in (False, True):
            options = {"size": size, "mode": mode, "align_corners": align, "antialias": True}
            check(F.interpolate, T.interpolate, [numbers(2, 3, 11, 9)], kwargs=options, rtol=1e-4, atol=1e-5)


def test_unpooling_undoes_pooling():
    x = numbers(2, 3, 9, 8)
    for size in (None, (9, 8), (2, 3, 9, 8)):

        def through(pool, unpool):
            def function(x):
                made, index = pool(x, 2, return_indices=True)
                return unpool(made, index, 2, output_size=size)

            return function

        check(through(F.max_pool2d, F.max_unpool2d), through(T.max_pool2d, T.max_unpool2d), [x])


def test_first_and_second_derivatives():
    x = livegrad.randn(1, 2, 5, 4, dtype=livegrad.float64, requires_grad=True)
    for f in (
        lambda x: F.max_pool2d(x, 2, 1),
        lambda x: F.avg_pool2d(x, 3, 2, 1),
        lambda x: F.adaptive_avg_pool2d(x, (3, 2)),
        lambda x: F.adaptive_max_pool2d(x, (3, 3)),
        lambda x: F.lp_pool2d(x.exp(), 3, 2),
        lambda x: F.unfold(x, 2),
        lambda x: F.fold(F.unfold(x, 2), (5, 4), 2),
        lambda x: F.pixel_shuffle(x.reshape(1, 8, 5, 1), 2),
        lambda x: F.interpolate(x, scale_factor=1.5, mode="bicubic"),
    ):
        assert gradcheck(f, x)
        assert gradgradcheck(lambda x, f=f: f(x) ** 2, x)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_half_types(name):
    x = numbers(2, 3, 8, 8)
    a = livegrad.from_numpy(x).to(getattr(livegrad, name))
    b = torch.from_numpy(x).to(getattr(torch, name))
    for f, g in ((F.max_pool2d, T.max_pool2d), (F.avg_pool2d, T.avg_pool2d)):
        assert str(f(a, 2).dtype) == f"torch.{name}"
        same(f(a, 2).float(), g(b, 2).float(), 1e-2, 1e-2)


NAMES = [
    ("F.max_pool2d(x, 2)", "MaxPool2DWithIndices"), ("F.max_pool3d(x, 2)", "MaxPool3DWithIndices"),
    ("F.avg_pool2d(x, 2)", "AvgPool2D"), ("F.adaptive_avg_pool2d(x, 2)", "AdaptiveAvgPool2D"),
    ("F.adaptive_avg_pool2d(x, 3)", "AdaptiveAvgPool2D"), ("F.adaptive_max_pool2d(x, 3)", "AdaptiveMaxPool2D"),
    ("F.unfold(x, 2)", "Im2Col"), ("F.pixel_unshuffle(x, 2)", "PixelUnshuffle"),
    ("F.interpolate(x, scale_factor=2)", "UpsampleNearest2D"),
    ("F.interpolate(x, scale_factor=2, mode='bilinear')", "UpsampleBilinear2D"),
    ("F.interpolate(x, scale_factor=2, mode='nearest-exact')", "UpsampleNearestExact2D"),
    ("F.interpolate(x, scale_factor=.5, mode='area')", "AdaptiveAvgPool2D"),
]  # fmt: skip


@pytest.mark.parametrize("code, name", NAMES)
def test_names_in_the_graph(code, name):
    for functions, library in ((F, livegrad), (T, torch)):
        x = library.ones(1, 2, 8, 8, requires_grad=True)
        assert eval(code, {"F": functions, "x": x}).grad_fn.name() == name + "Backward0"


WRONG = [
    "F.max_pool2d(o(2, 3, 5, 5), 3, padding=2)", "F.max_pool2d(o(2, 3, 5, 5), 6)", "F.max_pool2d(o(5, 5), 2)",
    "F.max_pool2d(o(2, 3, 5, 5), 2, stride=0)", "F.max_pool2d(o(2, 0, 5, 5), 2)", "F.max_pool1d(o(5), 2)",
    "F.max_pool3d(o(5, 5), 2)", "F.max_pool2d(o(2, 3, 5, 5), (2, 2, 2))", "F.avg_pool2d(o(2, 3, 5, 5), 3, padding=2)",
    "F.avg_pool2d(o(2, 3, 5, 5), 2, divisor_override=0)", "F.avg_pool2d(o(2, 3, 5, 5), 7)",
    "F.avg_pool1d(o(2, 3, 5), 7)", "F.avg_pool1d(o(5), 7)", "F.adaptive_avg_pool2d(o(5, 5), 2)",
    "F.adaptive_avg_pool2d(o(2, 3, 5, 5), (2, 2, 2))", "F.adaptive_max_pool2d(o(5, 5), 2)",
    "F.adaptive_avg_pool1d(o(5), 2)", "F.adaptive_avg_pool2d(o(2, 3, 5, 5), -1)",
    "F.max_unpool2d(o(2, 3, 2, 2), o(2, 3, 2, 2), 2)", "F.max_unpool2d(o(2, 3, 2, 2), o(2, 3, 2, 3).long(), 2)",
    "F.max_unpool2d(o(2, 3, 2, 2), 100 * o(2, 3, 2, 2).long(), 2)",
    "F.max_unpool2d(o(2, 3, 2, 2), o(2, 3, 2, 2).long(), 2, output_size=(9, 9))", "F.unfold(o(2, 3, 5, 5), 7)",
    "F.fold(o(2, 13, 16), (5, 5), 2)", "F.fold(o(2, 12, 15), (5, 5), 2)", "F.pixel_shuffle(o(2, 3, 5, 5), 2)",
    "F.pixel_unshuffle(o(2, 3, 5, 5), 2)", "F.pixel_shuffle(o(5, 5), 2)", "F.channel_shuffle(o(2, 3, 5, 5), 2)",
    "F.interpolate(o(2, 3, 5, 5))", "F.interpolate(o(2, 3, 5, 5), size=3, scale_factor=2)",
    "F.interpolate(o(2, 3, 5, 5), size=3, mode='linear')", "F.interpolate(o(2, 3, 5, 5), size=3, mode='foo')",
    "F.interpolate(o(2, 3, 5, 5), size=3, align_corners=True)", "F.interpolate(o(2, 3, 5, 5), size=(3, 3, 3))",
    "F.interpolate(o(2, 3, 5, 5), scale_factor=(3, 3, 3))", "F.interpolate(o(2, 3, 5, 5), size=0)",
    "F.interpolate(o(3, 5), size=3)", "F.interpolate(o(2, 3, 5), size=3, mode='linear', antialias=True)",
]  # fmt: skip


@pytest.mark.parametrize("code", WRONG)
def test_errors_read_as_pytorchs(code):
    mine = outcome(lambda: eval(code, {"F": F, "o": livegrad.ones}))
    theirs = outcome(lambda: eval(code, {"F": T, "o": torch.ones}))
    assert theirs[1] is not None
    assert mine[1] == (theirs[1][0], theirs[1][1].split("\nException raised")[0])

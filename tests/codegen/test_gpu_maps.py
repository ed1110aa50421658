"""Elementwise programs as PTX: which kernel a launch takes, and what is in its text."""

import inspect
import re

import pytest

import livegrad
from livegrad.codegen import math
from livegrad.codegen.gpu import maps, plan, target
from livegrad.lazy import evaluate
from livegrad.lazy.program import broadcast_strides, linearize, merged_dims
from livegrad.llvm import machine


def planned(tensor, alignment=16):
    """The launch for what is pending in a tensor, and its PTX for an H100."""
    value = tensor._s.value if tensor._v is None else tensor._v
    piece = linearize(value, evaluate.evaluate)
    strides = [broadcast_strides(leaf.array, value.shape) for leaf in piece.leaves]
    sizes, merged, _ = merged_dims(value.shape, strides)
    launch = plan.plan_map(piece.code, piece.outputs, sizes, merged, alignment, 132)
    return launch, machine.compile_ptx(launch.kernel.source(), "sm_90")


def test_architectures():
    found = [target.architecture(c) for c in ((7, 0), (7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0))]
    assert found == [None, "sm_75", "sm_80", "sm_80", "sm_80", "sm_90", "sm_100", "sm_100"]


def test_vectors_of_sixteen_bytes():
    x = livegrad.randn(8, 64)
    halves = x.half()
    livegrad.eval(halves)
    for made, read, written in (
        (x * 2.0, "ld.global.v4.b32", "st.global.v4.b32"), (x.double() * 2.0, "ld.global.v2.b32", "st.global.v2.b64"),
        (halves * 2, "ld.global.v4.b32", "st.global.v4.b32"), (halves == 0, "ld.global.v4.b32", "st.global.v2.b32"),
    ):  # fmt: skip
        _, text = planned(made)
        assert read in text and written in text
    assert ".v4" not in planned(x + 1, alignment=4)[1]
    assert ".v4" not in planned(x.t() + 1)[1]
    assert ".v4" in planned(x + x[0])[1]
    assert ".v4" not in planned(x[:, :63] + 1)[1]  # rows of an odd length are not aligned


def test_numbers_and_sizes_are_not_in_the_kernel():
    x, y = livegrad.randn(16, 4), livegrad.randn(32, 8)
    assert planned(x * 2.0)[0].kernel is planned(y * 3.0)[0].kernel
    assert planned(x + x[0])[0].kernel is planned(y + y[1])[0].kernel
    assert planned(x * 2.0)[0].kernel is not planned(x.double() * 2.0)[0].kernel


def test_rounding_is_that_of_the_formula():
    """Nothing is fused, flushed or approximated that the formula does not ask for."""
    x = livegrad.rand(64)
    _, text = planned((x * x + x) / (x + 1).sqrt())
    assert "mul.rn.f32" in text and "add.rn.f32" in text and "div.rn.f32" in text and "sqrt.rn.f32" in text
    assert not re.search(r"\.ftz|\.approx|div\.full|fma", text)


@pytest.mark.parametrize("kind", ("f32", "f64"))
def test_functions_need_no_library(kind):
    """Every function of `codegen.math` at once, for vectors."""
    module, b, args = target.entry(3)
    out, x, y = args.pointer(), args.pointer(), args.pointer()
    with b.at_width(4 if kind == "f32" else 2):
        first, second = b.load(x, kind), b.load(y, kind)
        for k, name in enumerate(math.__all__):
            function = getattr(math, name)
            count = len([p for p in inspect.signature(function).parameters if p != "b"])
            b.store(function(b, *(first, second)[:count]), b.gep(out, kind, 8 * k))
    text = machine.compile_ptx(args.finish(module), "sm_80")
    assert ".extern" not in text and text.count("st.global") >= len(math.__all__)


def test_division_by_multiplication():
    sizes = [*range(1, 70), 1000, 1 << 16, (1 << 16) + 1, (1 << 30) - 1, 1 << 30, (1 << 31) - 1]
    for n in sizes:
        size, factor, shift = maps.divider_words(n, False)
        assert size == n and factor < 1 << 32 and shift < 32
        for i in (0, 1, n - 1, n, 2 * n - 1, 2 * n, 12345678, (1 << 31) - 2, (1 << 31) - 1):
            if i < 1 << 31:
                assert (((i * factor) >> 32) + i) >> shift == i // n


def test_large_index_spaces_take_wide_indices():
    x = livegrad.randn(4, 4).t() + 1
    piece = linearize(x._s.value if x._v is None else x._v, evaluate.evaluate)
    small, large = (
        plan.plan_map(piece.code, piece.outputs, [n, n], [[1, n]] * len(piece.leaves), 16, 132) for n in (1000, 50000)
    )
    assert small.kernel is not large.kernel
    assert "div.u64" in machine.compile_ptx(large.kernel.source(), "sm_80").replace("div.s64", "div.u64")
    assert "div." not in machine.compile_ptx(small.kernel.source(), "sm_80")

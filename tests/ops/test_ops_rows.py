"""Row programs over random axes and layouts: kernels against NumPy in float64, and what a program has to be."""

from __future__ import annotations

import contextlib
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ops_support import arranged, mode, to_livegrad, to_numpy

import livegrad
from livegrad import dtypes
from livegrad.autograd import gradcheck, gradgradcheck
from livegrad.codegen import rowshape as rows
from livegrad.llvm import machine
from livegrad.observe import WATCH, Observer
from livegrad.ops import rows as applied
from livegrad.ops.rowprogram import RowProgram, largest, position, smallest, total
from livegrad.ops.scalar import exp, square, where
from livegrad.tensor import wrap

SETTINGS = {"deadline": None, "derandomize": True,
            "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}  # fmt: skip


@st.composite
def layouts(draw):
    """A shape, a permutation, a step along the last dimension, a dimension to broadcast, the dimensions of a row."""
    n = draw(st.integers(1, 4))
    limit = {1: 3000, 2: 150, 3: 24, 4: 9}[n]
    shape = [draw(st.integers(1, limit)) for _ in range(n)]
    order = draw(st.permutations(range(n)))
    step = draw(st.sampled_from([1, 1, 2, 3]))
    spread = draw(st.sampled_from([None, None, *range(n)]))
    dims = draw(st.sets(st.integers(0, n - 1), min_size=1))
    return shape, order, step, spread, tuple(sorted(dims)), draw(st.integers(0, 1000))


def _standard(x, w, shift):
    """Every kind of thing at once: two reductions in a row, results of both kinds, a number, a shared exponential."""
    e = exp((x - largest(x)) * w)
    mean = total(e) / total(w)
    return (e - mean) * shift, mean, total(square(e - mean)), smallest(where(x < mean, position, 1e9))


def _softmax(x):
    e = exp(x - largest(x))
    return e * (1.0 / total(e))


_SOFTMAX = RowProgram("softmax", _softmax)
_SOFTMAX_GRADIENT = RowProgram("softmax_gradient", lambda g, result: result * (g - total(g * result)), tensors=2)
PROGRAM = RowProgram("standard", _standard, tensors=2)


def _by_numpy(x, w, shift, dims):
    sizes = [n if d in dims else 1 for d, n in enumerate(x.shape)]
    place = np.arange(np.prod(sizes)).reshape(sizes)
    e = np.exp((x - x.max(dims, keepdims=True)) * w)
    mean = e.sum(dims, keepdims=True) / np.broadcast_to(w, x.shape).sum(dims, keepdims=True)
    apart = ((e - mean) ** 2).sum(dims, keepdims=True)
    return (e - mean) * shift, mean, apart, np.where(x < mean, place, 1e9).min(dims, keepdims=True)


@settings(max_examples=80, **SETTINGS)
@given(layouts(), st.sampled_from([dtypes.float32, dtypes.float64, dtypes.float16]))
def test_axes_and_layouts(layout, d):
    shape, order, step, spread, dims, seed = layout
    rng = np.random.default_rng(seed)
    a = rng.uniform(-3, 3, shape).astype(d.np)
    weights = rng.uniform(0.5, 1, a.transpose(order)[..., ::step].shape[-1]).astype(d.np)
    for how in ("deferred", "deferred reference"):
        with mode(how):
            x, b = arranged(a, order, step, spread)
            w = to_livegrad(weights)
            wide = b.astype(np.float64), weights.astype(np.float64)
            results = (d, dtypes.float64, dtypes.float32, dtypes.int64)
            for pending in (False, True):
                given_x = x * 0.5 + 0.25 if pending else x
                if pending:
                    wide = to_numpy(given_x).astype(np.float64), wide[1]  # as it was rounded
                    given_x = x * 0.5 + 0.25
                expected = _by_numpy(*wide, 3.0, dims)
                got = applied.apply(PROGRAM, (given_x._value(), w._value()), dims, (3.0,), results)
                rtol = {"float32": 1e-4, "float64": 1e-10, "float16": 4e-3}[d.name]
                for made, exact, dtype in zip(got[:3], expected[:3], results):
                    assert made.dtype is dtype
                    bound = max(rtol, 1e-6 if dtype is dtypes.float32 else 0)
                    np.testing.assert_allclose(to_numpy(wrap(made)).astype(np.float64), exact, bound, bound * 3)
                # Which element lies below the mean first may turn on a rounding.
                same = to_numpy(wrap(got[3])) == expected[3]
                assert d is not dtypes.float64 or same.all()


@pytest.mark.parametrize("shape, dims", [((40, 1000), (1,)), ((1000, 70), (0,)), ((6, 50, 20), (0, 2))])
def test_same_bits_with_any_number_of_threads(shape, dims):
    x = livegrad.randn(*shape)._value()
    before = livegrad.get_num_threads()
    made = []
    try:
        with livegrad.compiling("always"):
            for threads in (1, 2, 3):
                livegrad.set_num_threads(threads)
                made.append(applied.apply(_SOFTMAX, (x,), dims).native().tobytes())
    finally:
        livegrad.set_num_threads(before)
    assert made[0] == made[1] == made[2]


def test_few_long_rows_take_the_other_way():
    x = livegrad.randn(2, 300_000, dtype=livegrad.float64)
    e = np.exp(x.numpy() - x.numpy().max(1, keepdims=True))
    np.testing.assert_allclose(x.softmax(1).numpy(), e / e.sum(1, keepdims=True), 1e-12)
    np.testing.assert_allclose(x.var(1).numpy(), x.numpy().var(1, ddof=1), 1e-12)


def test_long_rows_add_up_precisely():
    x = livegrad.full((16, 200_001), 0.1)
    np.testing.assert_allclose(x.var(1, correction=0).numpy(), 0, atol=1e-12)
    np.testing.assert_allclose(x.logsumexp(1).numpy(), np.log(200_001) + np.float32(0.1), 3e-7)


@settings(max_examples=30, **SETTINGS)
@given(
    st.floats(-1e6, 1e6, allow_subnormal=False),
    st.sampled_from([(3,), (7, 2), (2, 7), (1000,), (5, 65), (70_001,), (2, 90_000), (1 << 17,), (512, 65)]),
    st.sampled_from([dtypes.float32, dtypes.float64, dtypes.float16, dtypes.bfloat16]),
    st.sampled_from([None, 0, -1]),
    st.sampled_from(["deferred", "deferred reference", "eager"]),
    st.booleans(),
)
def test_equal_elements_have_no_variance(value, shape, d, dim, how, transposed):
    """A mean that is rounded would leave some, and the gradient of the deviation would divide one rest by another."""
    value = value % 1000 if d is dtypes.float16 else value
    with mode(how):
        x = livegrad.full(shape, value, dtype=d)
        x = (x.t().contiguous().t() if transposed and x.dim() == 2 else x).requires_grad_()
        made = [x.std(dim), x.var(dim), (x * 1).std(dim, correction=0)]
        assert not any(t.any().item() for t in made)
        livegrad.cat([made[0].reshape(-1), made[2].reshape(-1)]).sum().backward()
        assert not x.grad.any().item()


@pytest.mark.parametrize("n", [70_001, 65_536, 100_000, 3 * 50_021])
def test_the_variance_of_many_elements_is_that_of_their_segments_joined(n):
    a = np.random.default_rng(n).normal(1000, 1, n)
    for how in ("deferred", "deferred reference", "eager"):
        with mode(how):
            x = livegrad.tensor(a)
            np.testing.assert_allclose(x.var().item(), a.var(ddof=1), 1e-11)
            np.testing.assert_allclose((x * 2).std(keepdim=True).item(), 2 * a.std(ddof=1), 1e-11)
            np.testing.assert_allclose(livegrad.tensor(a.astype(np.float32)).var(correction=5).item(),
                                       a.astype(np.float32).astype(float).var(ddof=5), 2e-6)  # fmt: skip


@pytest.mark.parametrize("shape", [(512, 65), (4, 256, 3, 40), (514, 64), (521, 70)])
def test_the_variance_of_long_columns_is_that_of_their_segments_joined(shape):
    a = np.random.default_rng(5).normal(1000, 1, shape)
    dims = tuple(range(len(shape) // 2))
    for how in ("deferred", "deferred reference", "eager"):
        with mode(how):
            x = livegrad.tensor(a)
            np.testing.assert_allclose(x.var(dims).numpy(), a.var(dims, ddof=1), 1e-10)
            made = (x * 2).std(dims, correction=0, keepdim=True).numpy()
            np.testing.assert_allclose(made, 2 * a.std(dims, keepdims=True), 1e-10)
            narrow = a.astype(np.float32)
            made = livegrad.tensor(narrow).var(dims).numpy()
            np.testing.assert_allclose(made, narrow.astype(float).var(dims, ddof=1), 2e-6)


@pytest.mark.parametrize("place", [0, 3, 17, 999])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dim", [0, 1])
def test_what_is_no_number_makes_a_row_what_it_makes_it_in_numpy(place, value, dim):
    """Whatever passes over NaN on the way to these results, NaN gets there on another."""
    a = np.random.default_rng(1).normal(size=(3, 1000)).astype(np.float32)
    a[1, place] = value
    with np.errstate(all="ignore"):
        e = np.exp(a - a.max(1, keepdims=True))
        expected = {
            "softmax": e / e.sum(1, keepdims=True),
            "log_softmax": a - a.max(1, keepdims=True) - np.log(e.sum(1, keepdims=True)),
            "logsumexp": np.logaddexp.reduce(a.astype(float), axis=1),
            "var": a.var(1, ddof=1),
        }
    for how in ("deferred", "deferred reference", "eager"):
        with mode(how):
            x = livegrad.tensor(a if dim else a.T.copy())
            for name, wanted in expected.items():
                made = getattr(x, name)(dim).numpy()
                wanted = wanted.T if dim == 0 and wanted.ndim == 2 else wanted
                np.testing.assert_allclose(made, wanted, 2e-5, 2e-6, err_msg=name)


def test_row_and_element_results_of_nothing():
    empty = livegrad.zeros(3, 0)
    assert empty.softmax(1).shape == (3, 0)
    assert empty.logsumexp(1).tolist() == [-np.inf] * 3
    assert livegrad.zeros(0, 3).softmax(1).shape == (0, 3)


def test_equal_formulas_are_one_program():
    one = RowProgram("one", lambda x: exp(x) / total(exp(x)))
    two = RowProgram("two", lambda y: exp(y) / total(exp(y)))
    other = RowProgram("other", lambda x: exp(x) / largest(exp(x)))
    assert one.canonical() == two.canonical() != other.canonical()
    assert one.canonical().count("exp") == 1  # found to be shared


def test_reducing_what_a_row_has_is_refused():
    with pytest.raises(ValueError, match="one value a row already"):
        RowProgram("twice", lambda x: total(total(x))).canonical()


@pytest.mark.parametrize(
    "shape, dims", [((4, 37), (1,)), ((3, 5, 129), (1, 2)), ((3, 5, 129), (2,)), ((2, 1000), (1,))]
)
def test_what_is_the_same_all_along_a_row_belongs_to_the_row(shape, dims):
    """Operands with one value a row, made by pending work or not, in formulas and alone, along several dimensions."""

    def formula(x, scale, shift, eps):
        unit = 1.0 / (scale * scale + eps)
        y = x * unit + shift
        return y - total(y * unit), unit, total(unit), total(shift) * y

    program = RowProgram("test of what is the same", formula, tensors=3)
    rng = np.random.default_rng(3)
    one_a_row = [1 if d in dims else n for d, n in enumerate(shape)]
    x, scale, shift = rng.normal(size=shape), rng.normal(size=one_a_row), rng.normal(size=one_a_row)
    unit = np.broadcast_to(1 / (scale * scale * 4 + 0.5), shape)
    y = x * unit + shift
    wide = np.broadcast_to(shift, shape)
    expected = (
        y - (y * unit).sum(dims, keepdims=True), unit, unit.sum(dims, keepdims=True),
        wide.sum(dims, keepdims=True) * y,
    )  # fmt: skip
    for how in ("deferred", "deferred reference", "eager"):
        with mode(how):
            given = livegrad.tensor(x)._value(), (livegrad.tensor(scale) * 2)._value(), livegrad.tensor(shift)._value()
            made = applied.apply(program, given, dims, (0.5,))
            for v, wanted in zip(made, expected):
                np.testing.assert_allclose(wrap(v).numpy(), wanted, 1e-10, 1e-12)


@pytest.mark.parametrize("how", ["deferred", "deferred reference", "eager"])
def test_rows_that_are_one_number(how):
    """Nothing is left to do for an element but to write it."""
    with mode(how):
        x = livegrad.tensor([[1.0], [-2.0], [0.5]], requires_grad=True)
        y = (x * 1.0).expand(3, 4).softmax(1)
        assert y.tolist() == [[0.25] * 4] * 3
        y.sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), np.zeros((3, 1)), atol=1e-6)
        np.testing.assert_allclose(livegrad.tensor(2.0).expand(3, 5).logsumexp(1).numpy(), 2 + np.log(5), 1e-6)


def test_an_expensive_value_is_kept_between_sweeps():
    f32 = dtypes.float32
    shape = rows.Shape(_SOFTMAX, f32, (rows.Input((), f32, 1),), (f32,), (0,), 1, 0, False)
    kept = [None if node is None else node.primitive.name for node in rows.keep(shape)]
    assert kept[1] == "exp"
    half = rows.Shape(_SOFTMAX, f32, (rows.Input((), f32, 1),), (dtypes.float16,), (0,), 1, 0, False)
    assert rows.keep(half) == [None, None, None]  # its row cannot hold float32
    cheap = rows.Shape(_SOFTMAX_GRADIENT, f32, (rows.Input((), f32, 1),) * 2, (f32,), (0, 0), 1, 0, False)
    assert rows.keep(cheap) == [None, None]


@pytest.mark.skipif(not machine.compiler_available(), reason="llvmlite is not installed")
def test_pending_work_runs_in_the_rows_kernel():
    class Launches(Observer):
        def begin(self, name, nodes, leaves, outputs, shape, reason):
            launched.append((name, [v.instr.op.name for v in nodes]))

    launched = []
    x = livegrad.randn(8, 300)
    before, WATCH.observer = WATCH.observer, Launches()
    try:
        made = (x * 2 + 1).softmax(1)
    finally:
        WATCH.observer = before
    assert launched == [("softmax", ["mul", "add"])]
    e = np.exp(x.numpy() * 2)
    np.testing.assert_allclose(made.numpy(), e / e.sum(1, keepdims=True), 1e-5)


@pytest.mark.parametrize("name", ["argmax", "argmin"])
@settings(max_examples=40, **SETTINGS)
@given(layouts(), st.sampled_from([dtypes.float32, dtypes.float64, dtypes.int64, dtypes.uint8, dtypes.bfloat16]))
def test_place_of_the_extreme(name, layout, d):
    shape, order, step, spread, dims, seed = layout
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 12, shape).astype(d.np)
    if d.is_floating_point and seed % 3 == 0:
        a[rng.uniform(size=shape) < 0.1] = np.nan
    for how in ("deferred", "deferred reference"):
        with mode(how):
            x, b = arranged(a, order, step, spread)
            for dim in (None, dims[0]):
                expected = getattr(np, name)(b.astype(np.float64), axis=dim)
                np.testing.assert_array_equal(to_numpy(getattr(x, name)(dim)), expected)


def test_place_of_the_extreme_among_many():
    x = np.random.default_rng(0).normal(size=100_003).astype(np.float32)
    for place in (0, 4095, 4096, 99_999, 100_002):
        y = x.copy()
        y[place] = 99
        y[-1] = max(y[-1], 99 if place == 100_002 else y[-1])
        assert to_livegrad(y).argmax().item() == place
    x[[70_000, 8_000]] = np.nan
    assert to_livegrad(x).argmax().item() == to_livegrad(x).argmin().item() == 8_000


def test_a_new_row_operator():
    x = livegrad.rand(3, 4, dtype=livegrad.float64) + 1
    shares = applied.row_operator(
        "shares", lambda x: x / total(x), lambda g, x, result: (g - total(g * result)) / total(x)
    )
    x.requires_grad_()
    y = shares.apply((x,), dim=1)
    np.testing.assert_allclose(y.detach().numpy(), x.detach().numpy() / x.detach().numpy().sum(1, keepdims=True))
    assert y.grad_fn.name() == "SharesBackward0"
    for dim in (0, 1, (0, 1)):
        assert gradcheck(lambda x, d=dim: shares.apply((x,), dim=d), (x,))
        assert gradgradcheck(lambda x, d=dim: shares.apply((x,), dim=d), (x,))


def test_a_program_that_several_threads_meet_first_is_traced_once():
    """Every thread finds the nodes of one trace: they are known by their ids."""
    both = threading.Barrier(2)

    def formula(x):
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(5)  # both threads are in the middle of a trace
        return exp(x) / total(exp(x))

    program = RowProgram("met_by_two", formula)
    found = []
    threads = [threading.Thread(target=lambda: found.append((program.results, program.levels))) for _ in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(found) == 2 and found[0][0] is found[1][0]
    assert all(id(r) in levels for results, levels in found for r in results)


def test_a_trace_that_is_interrupted_begins_again():
    calls = []

    def formula(x):
        calls.append(x)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return x - largest(x)

    program = RowProgram("interrupted", formula)
    with pytest.raises(KeyboardInterrupt):
        _ = program.results
    assert program.stages == 2 and program.full == (True,)

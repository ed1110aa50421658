"""Row programs with results that are added up over all rows, and the normalisations' gradients that are such."""

import numpy as np
import pytest

import livegrad
from livegrad import dtypes
from livegrad.lazy import rows
from livegrad.nn import functional as F
from livegrad.ops.rowprogram import RowProgram, total

PROGRAM = RowProgram("shares", lambda x, y: (x / total(x), total(y), x * y / total(x), y), tensors=2, added=2)
SHAPES = [((1, 5), 1), ((3, 2), 1), ((7, 33), 1), ((300, 17), 1), ((5, 6, 7), 1), ((5, 6, 7), 2), ((1500, 70), 1)]


def results(x, y, dims):
    given = [livegrad.tensor(x)._value(), livegrad.tensor(y)._value()]
    compute = given[0].dtype
    made = rows.run(PROGRAM, given, (), dims, x.shape, compute, (compute,) * 4)
    return [v.native().copy() for v in made]


@pytest.mark.parametrize("mode", ["always", "never"])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("shape", "length"), SHAPES)
def test_sums_over_rows(shape, length, turned, mode):
    rng = np.random.default_rng(0)
    x, y = rng.uniform(1, 2, shape), rng.normal(size=shape)
    if turned:  # rows that do not lie one after the other
        x = np.ascontiguousarray(x.swapaxes(0, 1)).swapaxes(0, 1)
    dims = tuple(range(len(shape) - length, len(shape)))
    others = tuple(range(len(shape) - length))
    assert rows.adds_up(shape, dims, 8)
    with livegrad.compiling(mode):
        found = results(x, y, dims)
    share = x / x.sum(dims, keepdims=True)
    sums = [(share * y).sum(others, keepdims=True), y.sum(others, keepdims=True)]
    for a, b in zip(found, (share, y.sum(dims, keepdims=True), *sums)):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_they_do_not_depend_on_threads():
    rng = np.random.default_rng(1)
    x, y = (rng.uniform(1, 2, (3001, 40)).astype(np.float32) for _ in range(2))
    before, found = livegrad.get_num_threads(), []
    with livegrad.compiling("always"):
        try:
            for threads in (1, 2, 3):
                livegrad.set_num_threads(threads)
                found.append(results(x, y, (1,)))
        finally:
            livegrad.set_num_threads(before)
    for other in found[1:]:
        for a, b in zip(found[0], other):
            np.testing.assert_array_equal(a, b)


def test_where_programs_have_them():
    assert not rows.adds_up((4, 5), (0,), 4)  # rows lie across
    assert not rows.adds_up((4, 5), (0, 1), 4)  # one row
    assert not rows.adds_up((4, 1), (1,), 4)
    assert not rows.adds_up((0, 5), (1,), 4)
    assert not rows.adds_up((2, 1 << 20), (1,), 4)  # a row is for several threads
    assert PROGRAM.canonical().endswith("+2")


@pytest.mark.parametrize("mode", ["always", "never"])
@pytest.mark.parametrize("shape", [(4, 6, 9), (2, 700, 12), (3, 1), (1, 8)])
@pytest.mark.parametrize("biased", [True, False])
def test_gradients_of_layer_norm(shape, biased, mode):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    arrays = [rng.normal(size=s) for s in (shape, shape[-1:], shape[-1:], shape)]

    def gradients(library):
        x, weight, bias, g = (library.tensor(a) for a in arrays)
        given = [t.requires_grad_() for t in ((x, weight, bias) if biased else (x, weight))]
        layer_norm = F.layer_norm if library is livegrad else library.nn.functional.layer_norm
        (layer_norm(x, shape[-1:], *given[1:]) * g).sum().backward()
        return [t.grad.numpy() for t in given]

    with livegrad.compiling(mode):
        for ours, theirs in zip(gradients(livegrad), gradients(torch)):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-10)


def test_gradients_of_layer_norm_are_one_launch(launches):
    x = livegrad.linspace(-1, 1, 600).reshape(30, 20).requires_grad_()
    norm = livegrad.nn.LayerNorm(20)
    g = livegrad.linspace(0, 1, 600).reshape(30, 20)
    with livegrad.compiling("always"):
        y = norm(x)
        launches.clear()
        livegrad.autograd.grad(y, (x, norm.weight, norm.bias), g)
    assert [what for what, *_ in launches] == ["normalise_gradient"]


def test_shapes_of_results():
    assert PROGRAM.full == (True, False, True, True)
    made = rows.run(
        PROGRAM,
        [livegrad.ones(3, 4)._value() for _ in range(2)],
        (),
        (1,),
        (3, 4),
        dtypes.float32,
        (dtypes.float32,) * 4,
    )
    assert [v.shape for v in made] == [(3, 4), (3, 1), (1, 4), (1, 4)]

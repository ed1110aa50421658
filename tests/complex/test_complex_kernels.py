"""Complex numbers in kernels: tier 0 is an error here, and results are PyTorch's, infinities and NaN included."""

import functools
import warnings

import numpy as np
import pytest

import livegrad
from livegrad.codegen import kernels
from livegrad.codegen.parts import has_parts
from livegrad.observe import WATCH, Observer
from livegrad.ops import scalar
from livegrad.ops.registry import ELEMENTWISE, REGISTRY
from livegrad.runtime import interpreter

torch = pytest.importorskip("torch")

DTYPES = {"complex64": 1e-5, "complex128": 1e-13}
# Those that are rare, or hard to compute well of parts alone; NumPy computes them.
WITHOUT_KERNEL = {"acos", "acosh", "asin", "asinh", "atan", "atanh", "expm1", "log1p", "logaddexp"}


def _names():
    """Elementwise operators of one or two operands that take complex ones, by their names in PyTorch."""
    for entry in REGISTRY.values():
        if entry.kind == "elementwise" and entry.reference and entry.name in ELEMENTWISE:
            op = ELEMENTWISE[entry.name]
            taken = scalar.over_complex(op.expr) and op.rule not in ("bits", "integer") and not op.not_complex
            if taken and len(op.names) <= 2 and hasattr(torch, entry.reference):
                yield entry.reference, op


OPERATORS = dict(_names())


@pytest.fixture
def kernels_only(monkeypatch):
    def refuse(nodes):
        raise AssertionError(f"tier 0 computes {nodes}")

    monkeypatch.setenv("LIVEGRAD_STRICT", "1")
    monkeypatch.setattr(interpreter, "run_piece", refuse)
    with livegrad.compiling("always"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def drawn(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.uniform(-2, 2, shape) + 1j * rng.uniform(-2, 2, shape)).astype(dtype)


def near(made, expected, tolerance):
    a, b = made.numpy(), expected.detach().resolve_conj().numpy()
    assert a.dtype == b.dtype and a.shape == b.shape
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def both(program, *arrays, tolerance):
    near(program(livegrad, *map(livegrad.tensor, arrays)), program(torch, *map(torch.tensor, arrays)), tolerance)


def test_which_operators_have_no_kernel():
    assert {name for name, op in OPERATORS.items() if not has_parts(op.expr)} == WITHOUT_KERNEL


@pytest.mark.usefixtures("kernels_only")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(OPERATORS.keys() - WITHOUT_KERNEL))
def test_every_operator_in_every_layout(name, dtype):
    operands = len(OPERATORS[name].names)

    def program(m, x, y):
        function = getattr(m, name)
        parts = []
        for a, b in ((x, y), (x.mT, y.mT), (x[:, ::2], y[:, :1]), (x[2, 3], y), (x.reshape(-1)[1:], y[0, 0])):
            parts.append((function(a) if operands == 1 else function(a, b)).reshape(-1))
        return m.cat(parts)

    both(program, drawn((21, 5), dtype), drawn((21, 5), dtype, 1), tolerance=100 * DTYPES[dtype])


VALUES = [0.0, -0.0, 1.0, -2.5, np.inf, -np.inf, np.nan, 1e30, 1e-30, 100.0, -100.0]
# Of huge or infinite operands PyTorch has more cases than parts have formulas for, and sgn gives NaN for infinities or
# not, as it computes a vector or what is left behind the last one.
ORDINARY_ONLY = {"sin", "cos", "tan", "sinh", "cosh", "tanh", "pow", "sinc", "sgn"}
# PyTorch multiplies by alpha, 1 + 0i, which makes NaN of infinities.
ADDITIONS = {"add", "sub", "rsub"}


def _same_special(a, b, size, tolerance):
    """Where two parts of numbers of a size are the same; a part may be the small difference of large numbers."""
    with np.errstate(all="ignore"):
        near = np.abs(a - b) <= tolerance * (np.where(np.isfinite(size), size, np.abs(b)) + 1e-3)
    return np.where(np.isfinite(a) & np.isfinite(b), near, (np.isnan(a) & np.isnan(b)) | (a == b))


@pytest.mark.usefixtures("kernels_only")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(OPERATORS.keys() - WITHOUT_KERNEL - ORDINARY_ONLY))
def test_infinities_and_nan(name, dtype):
    grid = np.array([complex(a, b) for a in VALUES for b in VALUES], dtype)
    x = grid[:, None] if len(OPERATORS[name].names) == 2 else grid
    arrays = [np.broadcast_to(a, (121, 121)).copy() for a in (x, grid)] if x.ndim == 2 else [x]
    made = getattr(livegrad, name)(*map(livegrad.tensor, arrays)).numpy()
    if name in ADDITIONS:
        parts = [torch.view_as_real(torch.tensor(a)) for a in arrays]
        expected = torch.view_as_complex(getattr(torch, name)(*parts)).numpy()
    else:
        expected = getattr(torch, name)(*map(torch.tensor, arrays)).numpy()
    if made.dtype == bool:
        np.testing.assert_array_equal(made, expected)
        return
    with np.errstate(all="ignore"):
        size = np.abs(expected)
    for part in (np.real, np.imag) if made.dtype.kind == "c" else (np.asarray,):
        bad = ~_same_special(part(made), part(expected), size, DTYPES[dtype])
        at = [([a.ravel()[k] for a in arrays], made.ravel()[k], expected.ravel()[k]) for k in np.flatnonzero(bad)]
        assert not bad.any(), at[:5]


@pytest.mark.usefixtures("kernels_only")
@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_choices_and_conversions(dtype):
    x, y = drawn((9, 7), dtype), drawn((7,), dtype, 1)
    r = x.real.copy()
    wide = "complex128" if dtype == "complex64" else "complex64"
    for program in (
        lambda m, x, y, r: (2 - 1j) * x + y / 3 - 1j,
        lambda m, x, y, r: m.add(x, y, alpha=0.5 - 2j),
        lambda m, x, y, r: m.addcmul(x, x, y, value=2j),
        lambda m, x, y, r: m.where(r > 0, x, y),
        lambda m, x, y, r: m.where(r > 0, x, 2j),
        lambda m, x, y, r: r * x + y * r,
        lambda m, x, y, r: m.polar(r.abs(), r * 2) * x.conj(),
        lambda m, x, y, r: m.complex(r, r.exp()) / (y + 3),
        lambda m, x, y, r: x.to(getattr(m, wide)) * 2,
        lambda m, x, y, r: (x * y).to(m.float32),
        lambda m, x, y, r: x.to(m.bool) & (y == y),
        lambda m, x, y, r: m.arange(7) * x + m.tensor(True),
        lambda m, x, y, r: (x**2 + x**3 + x**-1 + x**0.5).abs() ** 2,
        lambda m, x, y, r: x.real * x.imag + (x * y).real,
    ):
        both(program, x, y, r, tolerance=100 * DTYPES[dtype])


@pytest.mark.usefixtures("kernels_only")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (1,), (33,), (6, 50), (50, 6), (3, 40, 5), (70000,), (2, 0)], ids=str)
def test_reductions(shape, dtype):
    x, y = drawn(shape, dtype), drawn(shape[-1:], dtype, 1)
    dims = [None, *range(len(shape))] + ([(0, 2)] if len(shape) == 3 else [])
    for dim in dims:
        options = {} if dim is None else {"dim": dim}
        if shape != (70000,) and not isinstance(dim, tuple):
            both(lambda m, x, y: (x / 2).prod(**options), x, y, tolerance=200 * DTYPES[dtype])
        for program in (
            lambda m, x, y: x.sum(**options),
            lambda m, x, y: (x * y.conj()).mean(**options, keepdim=True) if options else (x * y.conj()).mean(),
            lambda m, x, y: (x - y).abs().square().sum(**options),
        ):
            both(program, x, y, tolerance=200 * DTYPES[dtype])


@pytest.mark.usefixtures("kernels_only")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1,), (7,), (40,), (5, 37), (37, 5), (3, 70, 4)], ids=str)
def test_running_totals(shape, dtype):
    x = drawn(shape, dtype)
    for dim in range(len(shape)):
        for program in (
            lambda m, x: (x * 0.5j).cumsum(dim),
            lambda m, x: (x * 0.5).cumprod(dim),
            lambda m, x: x.mT.cumsum(dim - 1) if x.dim() > 1 else x[::2].cumprod(0),
        ):
            both(program, x, tolerance=100 * DTYPES[dtype])


@pytest.mark.usefixtures("kernels_only")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(5,), (4, 37), (37, 4), (3, 300)], ids=str)
def test_rows_of_real_numbers_made_of_complex_ones(shape, dtype):
    x = drawn(shape, dtype)
    for program in (
        lambda m, x: x.abs().softmax(-1),
        lambda m, x: (x * x.conj() * (2 - 1j)).abs().log_softmax(0),
        lambda m, x: (x * (1 + 2j)).angle().var(-1),
        lambda m, x: x.real.exp().logsumexp(0),
        lambda m, x: m.nn.functional.layer_norm((x * x).abs(), (x.shape[-1],)),
    ):
        both(program, x, tolerance=100 * DTYPES[dtype])


@pytest.mark.usefixtures("kernels_only")
@pytest.mark.parametrize("dtype", DTYPES)
def test_picked_put_and_added_up(dtype):
    x, places = drawn((6, 7), dtype), np.random.default_rng(3).integers(0, 6, (9, 7))
    for program in (
        lambda m, x, i: x.gather(0, i),
        lambda m, x, i: m.zeros(6, 7, dtype=x.dtype).scatter_add(0, i, x[i[:, 0]]),
        lambda m, x, i: m.zeros(6, 7, dtype=x.dtype).index_add(0, i[:, 1], x[i[:, 2]]),
        lambda m, x, i: m.zeros(6, 7, dtype=x.dtype).scatter(0, i[:1], x[:1] * 2),
        lambda m, x, i: m.zeros(6, dtype=x.dtype).index_put((i[:, 0],), x.reshape(-1)[:9], accumulate=True),
    ):
        both(program, x, places, tolerance=100 * DTYPES[dtype])


@pytest.mark.usefixtures("kernels_only")
def test_in_place_and_empty():
    def program(m, x, y):
        z = x * 1
        before = z + 0
        z.mul_(y).add_(1j)
        z[1:].div_(2 - 1j)
        z.real.add_(1)
        return m.cat([z.reshape(-1), before.reshape(-1), (x[:0] * y).reshape(-1), z.conj_physical_().reshape(-1)])

    both(program, drawn((6, 5), "complex64"), drawn((5,), "complex64", 1), tolerance=1e-5)


@functools.cache
def _loss_of(m):
    def loss(x, y, r):
        z = m.polar(r.exp(), r) * x / (y + 3) + (x * y).exp().conj() - x.log()
        return (z.abs() ** 2 + z.real * z.angle()).mean() + (x.conj() * z).sum().abs()

    return loss


@pytest.mark.usefixtures("kernels_only")
def test_gradients_of_gradients():
    arrays = drawn((4, 6), "complex128"), drawn((6,), "complex128", 1), drawn((4, 1), "complex128", 2).real.copy()
    flows = []
    for m in (livegrad, torch):
        given = [m.tensor(a).requires_grad_() for a in arrays]
        first = m.autograd.grad(_loss_of(m)(*given), given, create_graph=True)
        again = m.autograd.grad(sum((g.abs() ** 2).sum() for g in first), given)
        flows.append([g.detach() for g in (*first, *again)])
    for mine, its in zip(*flows):
        near(mine, its, 1e-8)


class Launches(Observer):
    def __init__(self):
        self.count = 0

    def begin(self, name, nodes, leaves, outputs, shape, reason):
        self.count += 1


@pytest.mark.usefixtures("kernels_only")
def test_one_kernel_whatever_the_numbers_are(monkeypatch):
    x, r = livegrad.tensor(drawn((9,), "complex64")), livegrad.rand(9)
    made = []
    for number in (2.0, 0.5 - 3j, 7):
        counter = Launches()
        monkeypatch.setattr(WATCH, "observer", counter)
        ((livegrad.polar(r, r * 2) * x + number * 1j).abs() * r.sin()).sum().item()
        assert counter.count == 1
        made.append(kernels.count())
    assert made[0] == made[-1]

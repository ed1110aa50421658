"""Complex tensors: making, converting, printing, views of their parts, changes in place, products, reductions."""

import copy
import io
import pickle

import numpy as np
import pytest
from complex_support import Z, operands, same, torch

import livegrad
from livegrad.autograd import gradcheck, gradgradcheck

DTYPES = ("complex64", "complex128")


@pytest.mark.parametrize(
    "program",
    [
        lambda m: m.tensor([1, 2.5, 1j]),
        lambda m: m.tensor([[1j, 2], [3.0, 4]], dtype=m.complex128),
        lambda m: m.tensor(1 + 2j),
        lambda m: m.tensor(np.array([1j, 2])),
        lambda m: m.from_numpy(np.array([1j, 2], np.complex64)),
        lambda m: m.zeros(2, 3, dtype=m.cfloat),
        lambda m: m.ones(2, dtype=m.cdouble),
        lambda m: m.full((2,), 1j),
        lambda m: m.eye(2, dtype=m.complex64),
        lambda m: m.linspace(0, 1j, 4),
        lambda m: m.zeros_like(m.tensor([1j])),
        lambda m: m.tensor([1.0, 2.0]).cfloat(),
        lambda m: m.tensor([1, 2]).to(m.complex128),
        lambda m: m.tensor([1.5 + 1j, 0j]).bool(),
        lambda m: m.tensor([1, 2]) * 1j,
        lambda m: m.tensor([1.0, 2.0], dtype=m.float64) * 1j,
        lambda m: m.tensor([1.0, 2.0], dtype=m.float64) * m.tensor(1j),
        lambda m: m.tensor([1j]) * m.tensor(2.0, dtype=m.float64),
        lambda m: m.tensor([1j]) * m.tensor([2.0], dtype=m.float64),
        lambda m: m.cat([m.tensor([1j]), m.tensor([2.0])]),
        lambda m: m.stack([m.tensor([1j]), m.tensor([2j])], 1),
        lambda m: m.tensor([1e-9 + 1j, complex("nan"), complex("inf-1j"), -0.5j]),
        lambda m: m.zeros(0, dtype=m.complex64),
        lambda m: m.tensor(1 + 0j, dtype=m.complex128),
        lambda m: m.arange(2000.0).to(m.complex64) * (1 + 1j),
        lambda m: m.complex(m.tensor([1.0]), m.tensor([-2.0])),
        lambda m: m.polar(m.tensor([2.0]), m.tensor([0.5])),
        lambda m: (m.manual_seed(1), m.rand(5, dtype=m.complex64))[1],
        lambda m: (m.manual_seed(1), m.randn(3, dtype=m.complex128))[1],
        lambda m: (m.manual_seed(1), m.randn(40, dtype=m.complex64))[1],
        lambda m: (m.manual_seed(1), m.randn_like(m.zeros(3, dtype=m.complex64)))[1],
    ],
)
def test_made_and_printed(program):
    mine, its = program(livegrad), program(torch)
    assert str(mine.dtype) == str(its.dtype)
    np.testing.assert_array_equal(mine.numpy(), its.resolve_conj().numpy())
    assert repr(mine) == repr(its)


def test_asked_of_dtypes():
    for m in (livegrad, torch):
        assert m.complex64.is_complex and not m.complex64.is_floating_point and m.complex64.is_signed
        assert m.complex128.itemsize == 16 and m.cfloat is m.complex64 and m.cdouble is m.complex128
        assert m.complex64.to_real() is m.float32 and m.float64.to_complex() is m.complex128
        assert m.promote_types(m.float64, m.complex64) is m.complex128
        assert m.promote_types(m.int64, m.complex64) is m.complex64
        assert m.result_type(m.tensor([1]), 1j) is m.complex64
        assert not m.can_cast(m.complex64, m.float32) and m.can_cast(m.float64, m.complex64)
        assert m.finfo(m.complex64).eps == m.finfo(m.float32).eps
        z = m.tensor([1j])
        assert z.is_complex() and m.is_complex(z) and not m.is_complex(z.real)
        assert z.element_size() == 8 and z.type() == "torch.ComplexFloatTensor"
        assert z.tolist() == [1j] and z.item() == 1j and complex(z) == 1j and bool(z)


@pytest.mark.parametrize(
    "program",
    [
        lambda m, z, w, r: z.real * z.imag,
        lambda m, z, w, r: m.view_as_real(z),
        lambda m, z, w, r: m.view_as_complex(r),
        lambda m, z, w, r: m.view_as_complex(r.t()),
        lambda m, z, w, r: m.view_as_complex(m.stack([r, r], -1)[:, 0]),
        lambda m, z, w, r: m.view_as_real(z.t()) * 2,
        lambda m, z, w, r: m.imag(r),
        lambda m, z, w, r: m.real(r),
        lambda m, z, w, r: m.view_as_real(r),
        lambda m, z, w, r: m.complex(r, r * 2),
        lambda m, z, w, r: m.complex(r, r.float()),
        lambda m, z, w, r: m.polar(r.abs(), r),
        lambda m, z, w, r: z.mH @ w,
        lambda m, z, w, r: z.H,
        lambda m, z, w, r: m.adjoint(z),
        lambda m, z, w, r: z.conj().resolve_conj(),
        lambda m, z, w, r: m.isreal(z),
        lambda m, z, w, r: z[:, 0],
        lambda m, z, w, r: z[m.tensor([0, 0, 1])],
        lambda m, z, w, r: z[r > 0],
        lambda m, z, w, r: z.gather(1, m.tensor([[0, 0], [1, 0]])),
        lambda m, z, w, r: z.index_add(0, m.tensor([0, 0]), w),
        lambda m, z, w, r: m.cat([z, r]),
        lambda m, z, w, r: z.roll(1, 0).repeat(2, 1),
        lambda m, z, w, r: z.to(m.complex64),
        lambda m, z, w, r: r.to(m.complex128),
        lambda m, z, w, r: z.to(m.float64),
        lambda m, z, w, r: z.float(),
    ],
)
def test_views_and_places(program):
    same(program, tolerance=1e-7)


def _after(change):
    def program(m, z, w, r):
        z, r = z.clone(), r.clone()
        made = change(m, z, w, r)
        return z * z if made is None else made

    return program


@pytest.mark.parametrize(
    "change",
    [
        lambda m, z, w, r: (z.mul_(w), None)[1],
        lambda m, z, w, r: (z.add_(r), None)[1],
        lambda m, z, w, r: r.add_(z),
        lambda m, z, w, r: (z.copy_(r), None)[1],
        lambda m, z, w, r: r.copy_(z) * r,
        lambda m, z, w, r: (z.fill_(1j), None)[1],
        lambda m, z, w, r: (z.real.mul_(2), None)[1],
        lambda m, z, w, r: (z.imag.copy_(r), None)[1],
        lambda m, z, w, r: (z.real[0].mul_(r[1]), None)[1],
        lambda m, z, w, r: (m.view_as_real(z)[:, :, 1].mul_(3), None)[1],
        lambda m, z, w, r: (lambda v: (z.mul_(w), v * v)[1])(z.real),
        lambda m, z, w, r: (lambda v: (z[0].mul_(w[1]), v * z)[1])(z.imag),
        lambda m, z, w, r: (m.view_as_complex(r).mul_(2j), r * r)[1],
        lambda m, z, w, r: (lambda v: (r.mul_(3), v * v)[1])(m.view_as_complex(r)),
        lambda m, z, w, r: (z.__setitem__((slice(None), 0), 1j), None)[1],
        lambda m, z, w, r: (z.__setitem__(0, r[0]), None)[1],
        lambda m, z, w, r: (z.__setitem__(m.tensor([1]), w[:1]), None)[1],
    ],
)
def test_changes_in_place(change):
    same(_after(change))


def test_parts_share_memory():
    z = livegrad.tensor([1 + 1j, 2 + 2j])
    parts = livegrad.view_as_real(z)
    z.imag = 5
    z.real[1] = 7
    assert parts.tolist() == [[1, 5], [7, 5]]
    assert livegrad.view_as_complex(parts).data_ptr() == z.data_ptr() == z.real.data_ptr()
    held = z.real * 1  # what has read it keeps what it read
    z.mul_(1j)
    assert held.tolist() == [1, 7] and z.tolist() == [-5 + 1j, -5 + 7j]
    a = np.zeros(2, np.complex64)
    livegrad.from_numpy(a).imag.fill_(3)
    assert a.tolist() == [3j, 3j]


@pytest.mark.parametrize(
    "program",
    [
        lambda m, z, w, r: z @ w,
        lambda m, z, w, r: z @ w[0],
        lambda m, z, w, r: z[0] @ w,
        lambda m, z, w, r: z[0] @ w[1],
        lambda m, z, w, r: m.vdot(z[0], w[1]),
        lambda m, z, w, r: m.dot(z[0], r[0]),
        lambda m, z, w, r: z @ r,
        lambda m, z, w, r: m.bmm(m.stack([z, w]), m.stack([w, z])),
        lambda m, z, w, r: m.stack([z, w]) @ z.t(),
        lambda m, z, w, r: m.einsum("ij,kj->ik", z, w),
        lambda m, z, w, r: m.einsum("ij,ij->", z, w),
        lambda m, z, w, r: m.addmm(z, z, w, beta=2, alpha=1j),
        lambda m, z, w, r: m.addmm(z, z, w),
        lambda m, z, w, r: m.nn.functional.linear(z, w, z[0]),
        lambda m, z, w, r: m.nn.functional.linear(z, w),
        lambda m, z, w, r: m.outer(z[0], w[0]),
        lambda m, z, w, r: m.inner(z, w),
        lambda m, z, w, r: m.kron(z, r),
        lambda m, z, w, r: m.tensordot(z, w),
    ],
)
def test_products(program):
    same(program)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shapes", [((70, 90), (90, 80)), ((3, 40, 50), (50, 60)), ((5, 6, 7), (5, 7, 8)), ((1, 9), (9, 1))]
)
def test_larger_products(dtype, shapes):
    a, b = (livegrad.randn(*s, dtype=getattr(livegrad, dtype)) for s in shapes)
    expected = a.numpy().astype(np.complex128) @ b.numpy().astype(np.complex128)
    for left, right in ((a, b), (a.mT.clone().mT, b), (a, b.mT.clone().mT)):
        np.testing.assert_allclose((left @ right).numpy(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "program",
    [
        lambda m, z, w, r: z.sum(),
        lambda m, z, w, r: z.sum(0, keepdim=True),
        lambda m, z, w, r: z.mean(1),
        lambda m, z, w, r: z.prod(),
        lambda m, z, w, r: z.prod(1),
        lambda m, z, w, r: z.cumsum(0),
        lambda m, z, w, r: z.cumprod(1),
        lambda m, z, w, r: z.var(),
        lambda m, z, w, r: z.var(0),
        lambda m, z, w, r: z.std(1, unbiased=False),
        lambda m, z, w, r: z.norm(),
        lambda m, z, w, r: z.norm(1),
        lambda m, z, w, r: z.norm(3, 0),
        lambda m, z, w, r: z.norm(float("inf")),
        lambda m, z, w, r: m.linalg.vector_norm(z, 2, 1),
        lambda m, z, w, r: m.linalg.norm(z),
        lambda m, z, w, r: z.logsumexp(0),
        lambda m, z, w, r: z.logcumsumexp(0),
        lambda m, z, w, r: m.cov(z),
        lambda m, z, w, r: m.corrcoef(z),
        lambda m, z, w, r: z.trace(),
        lambda m, z, w, r: z.any(),
        lambda m, z, w, r: z.all(0),
        lambda m, z, w, r: m.count_nonzero(z),
        lambda m, z, w, r: m.nonzero(z),
        lambda m, z, w, r: m.dist(z, w),
        lambda m, z, w, r: m.nn.functional.mse_loss(z, w),
    ],
)
def test_reductions(program):
    same(program)


def test_product_with_a_zero():
    same(lambda m, z, w, r: (z * m.tensor([0.0, 1.0])).prod(1), order=1)


@pytest.mark.parametrize(
    "program",
    [
        lambda m, z, w, r: z < w,
        lambda m, z, w, r: z.max(),
        lambda m, z, w, r: z.min(0),
        lambda m, z, w, r: z.amax(),
        lambda m, z, w, r: z.argmin(),
        lambda m, z, w, r: m.aminmax(z),
        lambda m, z, w, r: z.sort(),
        lambda m, z, w, r: z.argsort(),
        lambda m, z, w, r: z.topk(1),
        lambda m, z, w, r: z.kthvalue(1),
        lambda m, z, w, r: z.median(),
        lambda m, z, w, r: z.median(0),
        lambda m, z, w, r: z.mode(),
        lambda m, z, w, r: z.unique(),
        lambda m, z, w, r: z.cummax(0),
        lambda m, z, w, r: z.softmax(0),
        lambda m, z, w, r: z.log_softmax(1),
        lambda m, z, w, r: z.nansum(),
        lambda m, z, w, r: m.isposinf(z),
        lambda m, z, w, r: m.heaviside(z, w),
        lambda m, z, w, r: m.arange(3, dtype=m.complex64),
        lambda m, z, w, r: m.tensor([1j], dtype=m.float32),
        lambda m, z, w, r: float(z[0, 0]),
        lambda m, z, w, r: z.sum().backward(),
        lambda m, z, w, r: r.detach().fill_(1j),
        lambda m, z, w, r: z // w,
        lambda m, z, w, r: z % w,
        lambda m, z, w, r: z & w,
        lambda m, z, w, r: m.cdist(z, w),
    ],
)
def test_refusals(program):
    same(program)


def test_gradients_by_differences():
    z, w, r = operands(livegrad)
    assert gradcheck(lambda z, r: (z * r).exp() * z.abs() + z.sgn(), (z, r))
    assert gradgradcheck(lambda z, r: (z * r).exp() * z.abs(), (z, r))
    assert gradgradcheck(lambda z, w: (z @ w).sin().real, (z, w))
    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        gradcheck(lambda z: z.detach().conj() * z, (z,))  # whose gradient is not that of |z|^2


@pytest.mark.parametrize("dtype", DTYPES)
def test_saved_and_loaded(dtype):
    t = livegrad.nn.Parameter(livegrad.randn(3, 2, dtype=getattr(livegrad, dtype)))
    file = io.BytesIO()
    livegrad.save({"a": t, "b": t.detach().t(), "c": 1j}, file)
    file.seek(0)
    back = livegrad.load(file)
    assert isinstance(back["a"], livegrad.nn.Parameter) and back["a"].dtype is t.dtype and back["c"] == 1j
    np.testing.assert_array_equal(back["b"].numpy(), t.detach().numpy().T)
    for other in (pickle.loads(pickle.dumps(t)), copy.deepcopy(t)):
        assert other.requires_grad and other.tolist() == t.tolist()


@pytest.mark.parametrize("dtype", DTYPES)
def test_files_of_pytorch(dtype):
    t = torch.tensor(Z, dtype=getattr(torch, dtype))
    file = io.BytesIO()
    torch.save({"z": t, "conj": t.conj(), "dtype": t.dtype}, file)
    file.seek(0)
    back = livegrad.load(file)
    assert back["dtype"] is back["z"].dtype and str(back["dtype"]) == str(t.dtype)
    np.testing.assert_array_equal(back["z"].numpy(), t.numpy())
    np.testing.assert_array_equal(back["conj"].numpy(), t.conj().resolve_conj().numpy())


def test_tiers_and_modes():
    z = livegrad.randn(300, 400, dtype=livegrad.complex64)
    expected = (z.numpy() * 2j).sum()
    with livegrad.compiling("always"):
        assert abs((z * 2j).sum().item() - expected) < 0.1
    with livegrad.eager():
        assert abs((z * 2j).sum().item() - expected) < 0.1


def test_training_complex_parameters():
    def trained(m):
        p = m.nn.Parameter(m.tensor(Z, dtype=m.complex128))
        optimizer = m.optim.SGD([p], lr=0.05, momentum=0.9)
        for _ in range(5):
            optimizer.zero_grad()
            (p @ m.tensor(Z, dtype=m.complex128) - 1).abs().square().sum().backward()
            optimizer.step()
        return p.detach().numpy()

    np.testing.assert_allclose(trained(livegrad), trained(torch), rtol=1e-10)


@pytest.mark.parametrize("layout", ["dense", "turned", "expanded"])
def test_gradients_of_numbers_made_of_their_parts(layout):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    parts = rng.normal(size=(3, 1)), rng.normal(size=4)
    weights = rng.normal(size=(4, 3)) + 1j * rng.normal(size=(4, 3))

    def both_orders(m):
        x, y = (m.tensor(p, requires_grad=True) for p in parts)
        w = m.tensor(weights)
        w = {"dense": w.reshape(3, 4), "turned": w.t(), "expanded": w[:1, :1].expand(3, 4)}[layout]
        z = m.complex(x, y)
        first = m.autograd.grad(z * z.abs(), (x, y), w, create_graph=True)
        second = m.autograd.grad(sum((g**2).sum() for g in first), (x, y))
        return [g.tolist() for g in (*first, *second)]

    for ours, theirs in zip(both_orders(livegrad), both_orders(torch)):
        np.testing.assert_allclose(ours, theirs, 1e-10)

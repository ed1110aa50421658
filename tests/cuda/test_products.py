"""What cuBLAS is asked for, over a stand-in that multiplies as its documentation says: shapes, strides, precision."""

import numpy as np
import pytest
import stand_in
import stand_in_blas
from hypothesis import given, settings
from hypothesis import strategies as st

import livegrad
from livegrad.runtime.cuda import cublas

F = livegrad.nn.functional
DTYPES = [livegrad.float32, livegrad.float64, livegrad.float16, livegrad.bfloat16]


@pytest.fixture(autouse=True)
def pretended():
    with stand_in.in_use():
        stand_in_blas.calls.clear()
        yield


def made(seed, *shape, dtype=livegrad.float32):
    return livegrad.tensor(np.random.default_rng(seed).standard_normal(shape).astype("f")).to(dtype)


def close(there, here):
    tolerance = {livegrad.float64: 1e-12, livegrad.float32: 1e-5}.get(here.dtype, 3e-2)
    assert there.is_cuda and there.dtype is here.dtype and there.shape == here.shape
    np.testing.assert_allclose(
        there.detach().cpu().double().numpy(), here.detach().double().numpy(), rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_transposes_are_passed_not_copied(dtype):
    a, b = made(0, 5, 7, dtype=dtype), made(1, 7, 3, dtype=dtype)
    x, y = a.cuda(), b.cuda()
    at, bt = a.t().contiguous().cuda(), b.t().contiguous().cuda()
    for left, right, ops in ((x, y, (0, 0)), (at.t(), y, (0, 1)), (x, bt.t(), (1, 0)), (at.t(), bt.t(), (1, 1))):
        stand_in_blas.calls.clear()
        found = None
        before = livegrad.cuda.memory_allocated()
        found = left @ right
        assert livegrad.cuda.memory_allocated() - before == 15 * dtype.itemsize
        close(found, a @ b)
        ((name, *called, kind, compute),) = stand_in_blas.calls
        assert (name, called) == ("gemmEx", [*ops, 3, 5, 7])
        assert compute == (70 if dtype is livegrad.float64 else 68)


sizes = st.integers(1, 4)
lengths = st.integers(0, 5)


@settings(max_examples=150, deadline=None)
@given(
    lead=st.lists(sizes, max_size=3), drop=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    ones=st.tuples(*[st.lists(st.booleans(), min_size=3, max_size=3)] * 2), m=lengths, k=lengths, n=lengths,
    layouts=st.tuples(st.integers(0, 4), st.integers(0, 4)), dtype=st.sampled_from(DTYPES),
)  # fmt: skip
def test_any_shapes_and_layouts(lead, drop, ones, m, k, n, layouts, dtype):
    """Broadcast leading dimensions, transposed, sliced, expanded and permuted operands."""
    with stand_in.in_use():
        here, there = [], []
        for i, (rows, columns) in enumerate(((m, k), (k, n))):
            own = [1 if one else size for size, one in zip(lead, ones[i])][min(drop[i], len(lead)) :]
            a = made(i, *own, rows, columns, dtype=dtype)
            here.append(a)
            there.append(laid_out(a, layouts[i]))
        expected = here[0].double() @ here[1].double()
        close(there[0] @ there[1], expected.to(dtype))


def laid_out(a, how):
    """The same numbers on the device, with other strides."""
    if how == 1:
        return a.mT.contiguous().cuda().mT
    if how == 2:
        wide = livegrad.zeros(*a.shape[:-1], a.shape[-1] + 3, dtype=a.dtype)
        wide[..., 1 : 1 + a.shape[-1]] = a
        return wide.cuda()[..., 1 : 1 + a.shape[-1]]
    if how == 3:
        wide = livegrad.zeros(*a.shape[:-1], 2 * a.shape[-1], dtype=a.dtype)
        wide[..., ::2] = a
        return wide.cuda()[..., ::2]
    if how == 4 and a.dim() > 2:
        return a.transpose(0, 1).contiguous().cuda().transpose(0, 1)
    return a.cuda()


@pytest.mark.parametrize("dtype", DTYPES)
def test_layers_and_their_gradients(dtype):
    layer = livegrad.nn.Linear(6, 4).to(dtype)
    twin = livegrad.nn.Linear(6, 4).to(dtype)
    twin.load_state_dict(layer.state_dict())
    twin.cuda()
    for shape in ((3, 6), (2, 3, 6)):
        a = made(3, *shape, dtype=dtype).requires_grad_()
        x = a.detach().cuda().requires_grad_()
        here, there = layer(a), twin(x)
        close(there, here)
        here.sum().backward()
        there.sum().backward()
        close(x.grad, a.grad)
        close(twin.weight.grad, layer.weight.grad)
        close(twin.bias.grad, layer.bias.grad)


def test_attention_and_batches():
    q = made(0, 2, 3, 5, 8)
    close(F.scaled_dot_product_attention(*[q.cuda()] * 3), F.scaled_dot_product_attention(q, q, q))
    names = [call[0] for call in stand_in_blas.calls]
    assert "gemmStridedBatchedEx" in names
    v = made(1, 8)
    close(q.cuda() @ v.cuda(), q @ v)
    close(v.cuda() @ q.cuda().mT, v @ q.mT)
    close(v.cuda() @ v.cuda(), v @ v)


def test_precision_follows_the_setting():
    x = made(0, 4, 4).cuda()
    try:
        for precision, compute in (("highest", 68), ("high", 77), ("medium", 77), ("highest", 68)):
            livegrad.set_float32_matmul_precision(precision)
            stand_in_blas.calls.clear()
            livegrad.eval(x @ x, x.double() @ x.double(), x.bfloat16() @ x.bfloat16())
            assert [call[-1] for call in stand_in_blas.calls] == [compute, 70, 68]
    finally:
        livegrad.set_float32_matmul_precision("highest")


def test_integers():
    a = livegrad.arange(6).reshape(2, 3)
    assert (a.cuda() @ a.cuda().t()).tolist() == (a @ a.t()).tolist() and not stand_in_blas.calls


def test_operands():
    """(operation, leading dimension): row-major as it is, column-major transposed, copied if it is neither."""
    assert cublas.operand(3, 4, 4, 1) == (0, 4) and cublas.operand(3, 4, 9, 1) == (0, 9)
    assert cublas.operand(3, 4, 1, 3) == (1, 3) and cublas.operand(3, 4, 1, 8) == (1, 8)
    assert cublas.operand(3, 4, 8, 2) is None and cublas.operand(3, 4, 0, 1) is None
    assert cublas.operand(3, 4, 2, 1) is None  # rows that overlap
    assert cublas.operand(1, 4, 77, 1) == (0, 4) and cublas.operand(3, 1, 5, 77) == (0, 5)
    assert cublas.operand(1, 4, 77, 2) == (1, 2) and cublas.operand(1, 1, 0, 0) == (0, 1)


def test_batch_strides():
    assert cublas.batch_stride((), (), ()) == 0
    assert cublas.batch_stride((2, 3), (2, 3), (30, 10)) == 10
    assert cublas.batch_stride((2, 3), (3,), (10,)) is None  # repeated, but not all of it
    assert cublas.batch_stride((2, 1, 3), (1, 1, 1), (5, 5, 5)) == 0
    assert cublas.batch_stride((4, 1), (4, 1), (10, 99)) == 10
    assert cublas.batch_stride((2, 3), (2, 3), (10, 20)) is None


def test_the_second_device():
    x = made(0, 3, 3)
    found = x.to("cuda:1") @ x.to("cuda:1")
    assert found.device == livegrad.device("cuda:1")
    close(found, x @ x)

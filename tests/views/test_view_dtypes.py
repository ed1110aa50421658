"""`view(dtype)`: the same bytes as numbers of another dtype, in the same memory, against PyTorch."""

import io

import pytest

import livegrad
from livegrad import func

torch = pytest.importorskip("torch")


def agree(program):
    theirs, ours = program(torch), program(livegrad)
    assert [t.tolist() for t in ours] == [t.tolist() for t in theirs]
    assert [(str(t.dtype)[6:], t.stride()) for t in ours] == [(str(t.dtype)[6:], t.stride()) for t in theirs]


def changed_through_the_view(m):
    x = m.arange(4.0)
    y = x.view(m.int32)
    y[1] = 0x40490FDB
    y[2:].add_(1)
    return x, y


def changed_through_the_base(m):
    x = m.arange(8, dtype=m.int64)
    y = x.view(m.int16)
    doubled = y * 2
    x[1:3] = -1
    return x, y, doubled


def changed_in_small_parts(m):
    x = m.ones(2, 3)
    y = x[:, 1:].view(m.uint8)
    y[:, ::4] = 7
    return x, y, y.view(m.float32)


def changed_by_itself(m):
    x = m.arange(6, dtype=m.int64)
    halves = x.view(m.int32)
    halves += halves
    return x, halves


def memory_of_numpy(m):
    x = m.arange(8, dtype=m.uint8)
    seen = m.from_numpy(x.numpy())
    y = x.view(m.float32)
    y[0] = 1.0
    y.mul_(2)
    return x, y, seen


def turned(m):
    x = m.arange(6.0).reshape(2, 3).t()
    y = x.view(m.int32)
    y.zero_()
    return x, y


def complex_numbers(m):
    x = m.ones(2, 4)
    y = x.view(m.complex64)
    y[0, 1] = 3 + 4j
    return x, m.view_as_real(y), y.view(m.float32)


PROGRAMS = [
    changed_through_the_view, changed_through_the_base, changed_in_small_parts, changed_by_itself, memory_of_numpy,
    turned, complex_numbers,
]  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS)
def test_memory_is_shared(program):
    agree(program)


def test_a_pending_value_keeps_what_it_read():
    x = livegrad.ones(4)
    later = x.view(livegrad.int32) + 1
    x.zero_()
    assert later.tolist() == [0x3F800001] * 4


def test_what_a_gradient_needs_is_not_changed_unseen():
    w = livegrad.ones(2, requires_grad=True) * 2
    y = w * w
    w.detach().view(livegrad.int32).zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


REFUSED = [
    lambda m: m.ones(()).view(m.float64),
    lambda m: m.ones(2, 3).view(m.float64),
    lambda m: m.ones(2, 3).t().view(m.int16),
    lambda m: m.ones(2, 4)[:, 1:3].view(m.float64),
    lambda m: m.ones(2, 3)[:, :2].view(m.float64),
    lambda m: m.ones(2, 3)[:, ::2].view(m.int16),
]


@pytest.mark.parametrize("line", REFUSED)
def test_elements_that_would_be_torn_apart(line):
    with pytest.raises(RuntimeError) as theirs:
        line(torch)
    with pytest.raises(RuntimeError) as ours:
        line(livegrad)
    assert str(ours.value) == str(theirs.value)


def test_has_no_history_and_can_be_saved_and_batched():
    x = livegrad.ones(2, 3, requires_grad=True)
    y = x.view(livegrad.float16)
    assert not y.requires_grad and y.shape == (2, 6)
    assert x.view(livegrad.float32).grad_fn is None
    file = io.BytesIO()
    livegrad.save(y, file)
    file.seek(0)
    assert livegrad.load(file).equal(y)
    assert func.vmap(lambda row: row.view(livegrad.int16), in_dims=0)(x.detach()).equal(x.view(livegrad.int16))
    assert livegrad.ones(2, 3, device="meta").view(livegrad.int8).shape == (2, 12)

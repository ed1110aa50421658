"""Tensors that are given to NumPy: the memory is the tensor's own from then on, whoever else had the value."""

import numpy as np

import livegrad


def test_what_nobody_else_has():
    x = livegrad.arange(4.0).exp()
    a = x.numpy()
    a[0] = 7.0
    assert x[0].item() == 7.0
    x += 1
    assert a[0] == 8.0
    assert x.numpy() is not x.numpy()
    assert np.shares_memory(x.numpy(), a)


def test_a_shape_of_its_own():
    x = livegrad.arange(4.0) * 2
    a = x.numpy()
    a.shape = (2, 2)
    assert x.numpy().shape == (4,)


def test_what_is_pending_elsewhere_keeps_its_numbers():
    x = livegrad.arange(3.0) * 2
    y = x + 1
    a = x.numpy()
    a[:] = 0
    assert y.tolist() == [1.0, 3.0, 5.0]
    assert x.tolist() == [0.0, 0.0, 0.0]


def test_what_a_backward_needs_is_seen_to_change():
    w = livegrad.ones(3, requires_grad=True)
    y = w.exp()
    z = (y * y).sum()
    a = y.detach().numpy()
    assert np.allclose(a, np.e)
    z.backward()
    assert np.allclose(w.grad.numpy(), 2 * np.e**2)


def test_aliases_see_what_is_written():
    x = livegrad.arange(3.0) * 2
    same = x.detach()
    x.numpy()[1] = 9.0
    assert same.tolist() == [0.0, 9.0, 4.0]
    assert x[1:].tolist() == [9.0, 4.0]


def test_memory_outlives_the_tensor():
    a = (livegrad.arange(1000.0) * 2).numpy()
    for _ in range(8):
        livegrad.zeros(1000).exp().numpy()
    assert a[999] == 1998.0

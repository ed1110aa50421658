"""Random numbers of CUDA devices, over a stand-in for CuPy: generators, states, and the CPU's numbers."""

import numpy as np
import pytest
import stand_in

import livegrad

nn = livegrad.nn


@pytest.fixture(autouse=True)
def pretended():
    with livegrad.random.fork_rng(), stand_in.in_use():
        yield
        livegrad.random.generators._on_cuda.clear()
        livegrad.random.seed_cuda(livegrad.random.DEFAULT_SEED)


def everything(device):
    livegrad.manual_seed(4)
    x = livegrad.rand(6, 8, device=device)
    return [
        x, livegrad.randn(3, 5, device=device), livegrad.randint(0, 9, (7,), device=device), x.normal_(1, 2).clone(),
        livegrad.randperm(10, device=device), livegrad.bernoulli(livegrad.full((4, 4), 0.5, device=device)),
        livegrad.empty(5, device=device).exponential_(), livegrad.rand_like(x), livegrad.normal(x, 2.0),
        nn.functional.dropout(x, 0.4), livegrad.multinomial(livegrad.ones(6, device=device), 3),
        livegrad.poisson(livegrad.ones(5, device=device)), livegrad.normal(0.0, 1.0, (3,), device=device),
    ]  # fmt: skip


def test_the_numbers_of_portable_on_the_cpu():
    there = everything("cuda")
    assert all(t.is_cuda for t in there)
    with livegrad.random.portable():
        here = everything("cpu")
        again = everything("cuda")
    for a, b, c in zip(there, here, again):
        np.testing.assert_array_equal(a.cpu().numpy(), b.numpy())
        np.testing.assert_array_equal(c.cpu().numpy(), b.numpy())


def test_portable_draws_from_one_stream_wherever_it_draws():
    with livegrad.random.portable():
        livegrad.manual_seed(0)
        here = [livegrad.rand(3), livegrad.rand(3)]
        livegrad.manual_seed(0)
        mixed = [livegrad.rand(3), livegrad.rand(3, device="cuda")]
    assert [t.tolist() for t in here] == [t.tolist() for t in mixed]


def test_drawing_copies_nothing_and_waits_for_nothing():
    layer = nn.Dropout(0.5)
    x = livegrad.ones(16, 16, device="cuda", requires_grad=True)
    livegrad.debug.clear_ledger()
    with livegrad.debug.watch_sync("raise"):
        (layer(x) + livegrad.randn(16, 16, device="cuda")).sum().backward()
        livegrad.eval(x.grad, livegrad.randperm(9, device="cuda"))
    assert livegrad.debug.ledger() == []


def test_each_device_has_a_generator():
    livegrad.manual_seed(1)
    a, b = (livegrad.rand(3, device=f"cuda:{i}") for i in (0, 1))
    assert a.tolist() == b.tolist()
    livegrad.rand(3, device="cuda:1")
    assert livegrad.cuda.initial_seed() == 1
    states = livegrad.cuda.get_rng_state_all()
    assert [s.numel() for s in states] == [16, 16] and not states[0].is_cuda
    first = [livegrad.rand(3, device=f"cuda:{i}").tolist() for i in (0, 1)]
    assert first[0] != first[1]
    livegrad.cuda.set_rng_state_all(states)
    assert [livegrad.rand(3, device=f"cuda:{i}").tolist() for i in (0, 1)] == first
    livegrad.cuda.manual_seed(7)
    one = livegrad.rand(2, device="cuda").tolist()
    livegrad.cuda.manual_seed_all(7)
    assert livegrad.rand(2, device="cuda:1").tolist() == one
    livegrad.cuda.seed_all()
    assert livegrad.cuda.initial_seed() == livegrad.random.cuda_generator(1).initial_seed()
    livegrad.cuda.seed()
    assert livegrad.cuda.initial_seed() != livegrad.random.cuda_generator(1).initial_seed()


def test_the_cpus_stream_is_left_alone():
    livegrad.manual_seed(0)
    expected = livegrad.rand(3).tolist()
    livegrad.manual_seed(0)
    livegrad.rand(3, device="cuda")
    assert livegrad.rand(3).tolist() == expected


def test_generators():
    g = livegrad.Generator(device="cuda").manual_seed(5)
    assert g.device == livegrad.device("cuda:0") and g.initial_seed() == 5
    x = livegrad.randn(4, device="cuda", generator=g)
    state = g.get_state()
    y = livegrad.empty(4, device="cuda").uniform_(generator=g).tolist()
    g.set_state(state)
    assert livegrad.empty(4, device="cuda").uniform_(generator=g).tolist() == y
    livegrad.manual_seed(5)
    assert livegrad.randn(4, device="cuda").tolist() == x.tolist()
    with pytest.raises(RuntimeError, match="Expected a 'cpu' device type for generator but found 'cuda'"):
        livegrad.rand(2, generator=g)
    with pytest.raises(RuntimeError, match="Expected a 'cuda' device type for generator but found 'cpu'"):
        livegrad.rand(2, device="cuda", generator=livegrad.Generator())
    with pytest.raises(RuntimeError, match="wrong size"):
        g.set_state(livegrad.Generator().get_state())


def test_forked():
    livegrad.manual_seed(3)
    livegrad.rand(1, device="cuda")
    with livegrad.random.fork_rng(devices=[0]):
        inside = livegrad.rand(2, device="cuda").tolist()
    assert livegrad.rand(2, device="cuda").tolist() == inside


def test_tensors_are_made_on_the_device():
    """What is made of sizes and numbers is not copied there."""
    livegrad.debug.clear_ledger()
    with livegrad.debug.watch_sync("raise"):
        made = {
            device: [
                livegrad.zeros(3, 2, device=device), livegrad.ones(4, device=device, dtype=livegrad.int64),
                livegrad.full((2, 2), 3.5, device=device), livegrad.full((2,), True, device=device),
                livegrad.arange(5, device=device), livegrad.arange(1.0, 9.0, 0.5, device=device),
                livegrad.arange(9, 2, -2, device=device, dtype=livegrad.int32), livegrad.eye(3, 4, device=device),
                livegrad.zeros(0, device=device), livegrad.arange(0, device=device),
            ]
            for device in ("cpu", "cuda")
        }  # fmt: skip
        livegrad.empty(3, device="cuda").fill_(2.0)
        livegrad.eval(*made["cuda"])
        x = livegrad.ones(3, device="cuda", requires_grad=True)
        y = x * 2
        y[0] = 0.0
        y.fill_(1.0)
        (y * x).sum().backward()
    assert livegrad.debug.ledger() == []
    for here, there in zip(made["cpu"], made["cuda"]):
        assert there.is_cuda and here.dtype is there.dtype and here.shape == there.shape
        assert here.tolist() == there.tolist()
    assert x.grad.tolist() == [1.0, 1.0, 1.0]

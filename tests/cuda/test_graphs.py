"""Launches that are put off and started as CUDA graphs, over a stand-in: the same results, and what is captured when.

That CUDA does with a graph what it says is not shown by this, nor that anything is faster.
"""

import threading
import warnings

import numpy as np
import pytest
import stand_in
import stand_in_graphs

import livegrad
from livegrad import nn
from livegrad.runtime.cuda import driver, graphs

F = nn.functional
settings = livegrad.backends.cuda


@pytest.fixture(autouse=True)
def pretended(monkeypatch):
    """Everything is put off, over a pool of memory as CuPy's."""
    monkeypatch.setattr(settings, "graphs", True)
    monkeypatch.setattr(graphs, "STATE", graphs._State())
    monkeypatch.setattr(stand_in_graphs.Lease, "pooling", True)
    for device in range(stand_in.COUNT):  # memory that the process has already
        for nbytes in range(512, 4096, 512):
            stand_in_graphs.Lease.free[device, nbytes] = [stand_in._allocate(nbytes, device) for _ in range(100)]
    stand_in_graphs.GRAPHS.clear()
    del stand_in_graphs.FAILING[:]
    with stand_in.in_use():
        yield
        livegrad.cuda.synchronize()
        assert not driver.HELD.entries and not stand_in_graphs.CAPTURING
    del stand_in_graphs.MemoryHook.active[:]
    stand_in_graphs.Lease.free.clear()


def trained(device, steps, *, read=False, optimizer=livegrad.optim.Adam, dropout=0.0):
    """The losses of a small model, and its parameters after some steps. read: each step's loss, not just the last."""
    livegrad.manual_seed(0)
    rng = np.random.default_rng(0)
    data = [rng.standard_normal((8, 6)).astype("f") for _ in range(steps)]
    with livegrad.random.portable():
        model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 3)).to(device)
        step = optimizer(model.parameters(), lr=0.05)
        losses = []
        for x in data:
            step.zero_grad()
            y = model(livegrad.tensor(x, device=device))
            loss = (y * y).mean() + y.exp().mean()
            loss.backward()
            step.step()
            losses = [*losses, loss.item()] if read else [loss.detach()]
        losses = losses if read else [loss.item() for loss in losses]
    return losses, [p.detach().cpu().numpy() for p in model.parameters()]


@pytest.mark.parametrize("options", [
    {}, {"read": True}, {"optimizer": livegrad.optim.SGD}, {"dropout": 0.5}, {"read": True, "dropout": 0.25},
])  # fmt: skip
def test_training_gives_what_it_gives_without_graphs(options):
    found = trained("cuda", 16, **options)
    assert graphs.STATE.replayed > 0 and all(g.launches for g in stand_in_graphs.GRAPHS.values())
    settings.graphs = False
    replayed, expected = graphs.STATE.replayed, trained("cuda", 16, **options)
    assert graphs.STATE.replayed == replayed
    assert found[0] == expected[0]
    for a, b in zip(found[1], expected[1]):
        np.testing.assert_array_equal(a, b)
    here = trained("cpu", 16, **options)
    np.testing.assert_allclose(found[0], here[0], rtol=1e-4)


def made(*shape):
    """Ones, which are there."""
    x = livegrad.ones(*shape, device="cuda")
    livegrad.eval(x)
    livegrad.cuda.synchronize()
    return x


def total(x):
    """One launch, at once: elementwise ones are kept together by the evaluation, and `livegrad.eval` starts them."""
    return x.sum(0)


def test_a_sequence_is_a_graph_from_the_second_time_on():
    x = made(6, 4)
    for k in range(6):
        before = len(stand_in.driver.launches)
        found = [(x * (number + k)).sum(0) for number in (2.0, 3.0, 4.0, 5.0, 6.0)]
        assert len(driver.HELD.entries) == 5 and len(stand_in.driver.launches) == before  # nothing has been started
        livegrad.cuda.synchronize()
        assert len(stand_in.driver.launches) == before + 5
        assert graphs.STATE.captured == (k >= 1) and graphs.STATE.replayed == k
        assert [y.tolist() for y in found] == [[6 * (number + k)] * 4 for number in (2.0, 3.0, 4.0, 5.0, 6.0)]
    (graph,) = stand_in_graphs.GRAPHS.values()
    assert graph.launches == 5 and graph.changed >= 15  # the numbers are other ones each time


def test_the_end_of_an_optimizers_step_starts_it():
    p = livegrad.ones(4, device="cuda", requires_grad=True)
    optimizer = livegrad.optim.SGD([p], lr=0.5)
    livegrad.cuda.synchronize()
    (p * 3).sum().backward()
    assert driver.HELD.entries
    optimizer.step()
    assert not driver.HELD.entries and p.tolist() == [-0.5] * 4


@pytest.mark.parametrize("waits", [
    lambda x: x.sum().item(), lambda x: livegrad.cuda.synchronize(), lambda x: livegrad.cuda.Event().record(),
    lambda x: x.cpu(), lambda x: x.sort(), lambda x: livegrad.cuda.empty_cache(),
    lambda x: livegrad.cuda.current_stream().synchronize(), lambda x: livegrad.cuda.current_stream().query(),
    lambda x: livegrad.cuda.Stream().wait_stream(livegrad.cuda.current_stream()), lambda x: x.to("cuda:1"),
    lambda x: x.to("cpu", non_blocking=True), lambda x: livegrad.randperm(5, device="cuda"),
    lambda x: livegrad.eval(livegrad.ones(4, device="cuda:1") + 1), lambda x: livegrad.cuda.mem_get_info(),
])  # fmt: skip
def test_what_starts_it(waits):
    x = made(2, 4)
    y = total(x)
    (held,) = driver.HELD.entries
    waits(y)
    assert held not in driver.HELD.entries
    assert y.tolist() == [2.0] * 4


def test_other_streams_keep_their_order():
    x = made(2, 4)
    stream = livegrad.cuda.Stream()
    del stand_in.driver.launches[:]
    y = total(x)
    with livegrad.cuda.stream(stream):
        z = total(y.reshape(2, 2))
        assert [launch[4] for launch in stand_in.driver.launches] == [0]  # the first one, on its stream
    w = total(z.reshape(2, 1))
    assert w.tolist() == [8.0]
    assert [launch[4] for launch in stand_in.driver.launches][:3] == [0, stream.cuda_stream, 0]


def test_large_launches_are_started_at_once(monkeypatch):
    x, a = made(2, 64), made(8, 8)
    b = a @ a
    total(x)
    assert len(driver.HELD.entries) == 2
    monkeypatch.setattr(graphs, "SMALL", 0)
    c = total(x)
    assert not driver.HELD.entries
    monkeypatch.setattr(graphs, "FEW_OPERATIONS", 10)
    d = a @ a
    assert not driver.HELD.entries and b.tolist() == d.tolist() and c.tolist() == [2.0] * 64


def test_another_thread_does_not_mix_in():
    x = made(2, 4)
    y, found = total(x), []
    thread = threading.Thread(target=lambda: found.append(total(y.reshape(2, 2)).tolist()))
    thread.start()
    thread.join()
    assert found == [[4.0] * 2] and not driver.HELD.entries


def summed():
    """The same launches several times over, with other numbers and the same memory each time."""
    x, found = made(6, 4), []
    for k in range(6):
        sums = [(x * (number + k)).sum(0) for number in (2.0, 3.0, 4.0, 5.0, 6.0)]
        livegrad.cuda.synchronize()
        found.append([y.tolist() for y in sums])
    return found


@pytest.mark.parametrize("failing", ["cuStreamGetCaptureInfo_v2", "cuGraphExecKernelNodeSetParams", "launch"])
def test_what_cannot_be_a_graph_is_started_launch_by_launch(failing):
    expected = summed()
    stand_in_graphs.FAILING.append(failing)
    graphs.STATE.known.clear()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = summed()
    assert found == expected
    assert any("are not made a CUDA graph" in str(w.message) for w in told)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # once is enough
        assert summed() == expected


def test_products_of_ever_new_memory():
    """Their addresses cannot be changed in a graph, which none of these is worth."""
    a = made(4, 4)
    kept = []
    for _ in range(12):
        b = a @ a
        kept += [b, b @ a, b @ b, total(b), total(a)]
        livegrad.cuda.synchronize()
    assert [x.flatten()[0].item() for x in kept[:4]] == [4.0, 16.0, 64.0, 16.0]
    assert all(x.tolist() == y.tolist() for x, y in zip(kept[5:], kept))
    assert not stand_in_graphs.GRAPHS


def test_memory_given_back_is_not_written_before_its_time():
    """A function of CuPy's gets memory that launches in the list still read."""
    x = made(2, 4)
    a = total(x)
    b = total(a.reshape(2, 2))
    assert len(driver.HELD.entries) == 2
    del a
    xp = driver.quiet()  # what an operator has asked for before its operands were evaluated
    xp.zeros(4, np.float32)
    assert not driver.HELD.entries
    assert b.tolist() == [4.0] * 2


def test_the_log_says_so(capsys):
    from livegrad.lazy import log
    from livegrad.observe import WATCH

    before = WATCH.observer
    WATCH.observer = log.Log()
    try:
        trained("cuda", 16)
    finally:
        WATCH.observer = before
    assert "CUDA graph of" in "".join(capsys.readouterr())

"""DataParallel, its steps, and pinned memory, over a stand-in with two devices."""

from collections import namedtuple

import numpy as np
import pytest
import stand_in

import livegrad
from livegrad import nn
from livegrad.nn import parallel
from livegrad.utils.data import DataLoader, TensorDataset


@pytest.fixture(autouse=True)
def pretended():
    with stand_in.in_use():
        yield


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)
        self.last.bias.requires_grad_(False)
        self.register_buffer("scale", livegrad.tensor(2.0))
        self.seen = []

    def forward(self, x, *, add=0.0):
        self.seen.append((x.device.index, len(x)))
        return {"out": self.last(self.norm(self.first(x)).tanh()) * self.scale + add, "norm": x.norm()}


def networks():
    livegrad.manual_seed(0)
    one, two = Network(), Network()
    two.load_state_dict(one.state_dict())
    return one.eval(), two.eval()


def test_results_and_gradients_are_those_of_the_whole_batch():
    plain, network = networks()
    model = nn.DataParallel(network.cuda())
    assert model.device_ids == [0, 1] and all(k.startswith("module.") for k in model.state_dict())
    x = livegrad.randn(5, 3)
    a, b = x.clone().requires_grad_(), x.cuda().requires_grad_()
    here, there = plain(a, add=1.0), model(b, add=1.0)
    assert network.seen == [(0, 3), (1, 2)] and there["out"].device == livegrad.device("cuda:0")
    assert there["norm"].shape == (2,)  # one for each device
    np.testing.assert_allclose(there["out"].detach().cpu().numpy(), here["out"].detach().numpy(), rtol=1e-5, atol=1e-6)
    here["out"].square().sum().backward()
    there["out"].square().sum().backward()
    pairs = [(b, a), *zip(network.parameters(), plain.parameters())]
    for t, h in pairs:
        assert (t.grad is None) == (h.grad is None)
        if h.grad is not None:
            assert t.grad.device == livegrad.device("cuda:0")
            np.testing.assert_allclose(t.grad.cpu().numpy(), h.grad.numpy(), rtol=1e-4, atol=1e-5)


def test_a_step_of_training():
    _, network = networks()
    model = nn.DataParallel(network.cuda().train(), output_device=1)
    optimizer = livegrad.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=0.1)
    before = network.norm.running_mean.tolist()
    x = livegrad.randn(8, 3, device="cuda")
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = model(x)["out"].square().mean()
        assert loss.device == livegrad.device("cuda:1")
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    # The running statistics are those of the first device's part.
    assert network.norm.running_mean.tolist() != before and network.norm.num_batches_tracked.item() == 5


def test_fewer_elements_than_devices_and_one_device():
    _, network = networks()
    network.cuda()
    nn.DataParallel(network)(livegrad.ones(1, 3, device="cuda"))
    nn.DataParallel(network, device_ids=[0])(livegrad.ones(4, 3))
    assert network.seen == [(0, 1), (0, 4)]
    with pytest.raises(
        RuntimeError, match=r"on device cuda:1 \(device_ids\[0\]\) but found one of them on device: cuda:0"
    ):
        nn.DataParallel(network, device_ids=["cuda:1", 0])(livegrad.ones(4, 3))


def test_without_devices(monkeypatch):
    from livegrad.runtime.cuda import driver

    monkeypatch.setattr(driver, "LIBRARY", library := driver._Library())
    library.looked = True
    plain, network = networks()
    model = nn.DataParallel(network)
    assert model.device_ids == [] and model.output_device is None
    x = livegrad.randn(4, 3)
    assert model(x)["out"].tolist() == plain(x)["out"].tolist()
    assert nn.parallel.data_parallel(network, x)["out"].tolist() == plain(x)["out"].tolist()


def test_scatter_and_gather():
    x = livegrad.arange(10.0).reshape(5, 2)
    Pair = namedtuple("Pair", "a b")
    given = {"x": [x, "same"], "p": Pair(x, x[:, :1]), "n": None}
    first, second = parallel.scatter(given, [0, "cuda:1"])
    assert first["x"][0].tolist() == x[:3].tolist() and second["x"][0].device == livegrad.device("cuda:1")
    assert second["x"][1] == "same" and second["n"] is None and isinstance(second["p"], Pair)
    together = parallel.gather([first["p"], second["p"]], 1)
    assert isinstance(together, Pair) and together.a.device.index == 1 and together.a.tolist() == x.tolist()
    assert parallel.gather([livegrad.tensor(1.0), livegrad.tensor(2.0)], "cpu").tolist() == [1.0, 2.0]
    wide = parallel.scatter(x, [0, 1], dim=1)
    assert [p.shape for p in wide] == [(5, 1), (5, 1)]
    with pytest.raises(ValueError, match="same keys"):
        parallel.gather([{"a": x}, {"b": x}], 0)
    with pytest.raises(TypeError, match="not float"):
        parallel.gather([1.0, 2.0], 0)
    with pytest.raises(AssertionError, match="2 modules, 1 inputs"):
        parallel.parallel_apply([nn.Identity(), nn.Identity()], [x])


def test_communication():
    comm = livegrad.cuda.comm
    x = livegrad.arange(6.0, requires_grad=True)
    copies = comm.broadcast(x, [0, 1])
    assert [c.device.index for c in copies] == [0, 1]
    pieces = comm.scatter(x, [1, 0], [4, 2])
    assert [p.tolist() for p in pieces] == [[0, 1, 2, 3], [4, 5]] and pieces[0].device.index == 1
    total = comm.reduce_add([c * (i + 1) for i, c in enumerate(copies)], 1)
    (total.sum() + comm.gather(pieces, destination=1).sum()).backward()
    assert total.tolist() == [0, 3, 6, 9, 12, 15] and x.grad.tolist() == [4.0] * 6
    with pytest.raises(RuntimeError, match=r"\[4, 3\] are no sizes"):
        comm.scatter(x, [0, 1], [4, 3])
    with pytest.raises(ValueError, match="one shape"):
        comm.reduce_add([x, x[:2]])


def test_pinned_memory():
    x = livegrad.arange(6.0).reshape(2, 3).t()
    assert not x.is_pinned() and not x.cuda().is_pinned()
    p = x.pin_memory()
    assert p.is_pinned() and p.tolist() == x.tolist() and p.pin_memory() is p and p.is_contiguous()
    livegrad.debug.clear_ledger()
    with livegrad.debug.watch_sync("raise"):
        there = p.to("cuda", non_blocking=True)
        again = p.cuda(1, non_blocking=True)
        with pytest.raises(RuntimeError, match="host to device"):
            x.to("cuda", non_blocking=True)  # not pinned
    assert there.tolist() == again.tolist() == x.tolist()
    assert [e.waits for e in livegrad.debug.ledger("host to device")] == [False, False]
    assert livegrad.zeros(0).pin_memory().cuda(non_blocking=True).shape == (0,)
    with pytest.raises(RuntimeError, match="only dense CPU tensors can be pinned"):
        there.pin_memory()


def test_copies_to_the_cpu_that_are_not_waited_for():
    x = livegrad.arange(12.0, device="cuda").reshape(3, 4)
    livegrad.debug.clear_ledger()
    with livegrad.debug.watch_sync("raise"):
        whole, part = (x + 1).to("cpu", non_blocking=True), x[:, 1:3].to("cpu", non_blocking=True)
        kept = livegrad.zeros(3, 4).pin_memory()
        kept.copy_(x, non_blocking=True)
        here = livegrad.ones(3, 4).pin_memory()
        x.copy_(here, non_blocking=True)
        for other in (
            livegrad.zeros(2, 3, 4),
            livegrad.zeros(3, 4, dtype=livegrad.float64),
            livegrad.zeros(3, 8)[:, :4],
        ):
            with pytest.raises(RuntimeError, match="device to host of 48 bytes"):
                other.copy_(x, non_blocking=True)  # its elements are read, which has to wait
    assert [(e.nbytes, e.waits) for e in livegrad.debug.ledger("device to host")] == [
        (48, False),
        (24, False),
        (48, False),
    ]
    livegrad.cuda.synchronize()
    assert whole.is_pinned() and part.is_pinned() and kept.is_pinned()
    assert whole.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]] and part.tolist() == [
        [1, 2],
        [5, 6],
        [9, 10],
    ]
    assert kept.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]] and x.tolist() == [[1.0] * 4] * 3
    assert livegrad.zeros(0, device="cuda").to("cpu", non_blocking=True).shape == (0,)
    half = livegrad.tensor([1.5, 2.5], dtype=livegrad.bfloat16, device="cuda").to("cpu", non_blocking=True)
    assert half.tolist() == [1.5, 2.5]


def test_parts_of_one_memory_are_joined_where_they_lie():
    x = livegrad.arange(6.0, device="cuda")
    joined = livegrad.cat([x[:2], x[2:], x[:0]])
    assert joined.is_cuda and joined.tolist() == [0, 1, 2, 3, 4, 5]


def test_a_loader_pins_its_batches():
    data = TensorDataset(livegrad.randn(5, 2), livegrad.arange(5))
    for x, y in DataLoader(data, batch_size=2, pin_memory=True):
        assert x.is_pinned() and y.is_pinned()
    assert len(iter(DataLoader(data, batch_size=2, pin_memory=True))) == 3
    assert not next(iter(DataLoader(data, batch_size=2)))[0].is_pinned()

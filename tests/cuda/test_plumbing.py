"""Devices, copies, printing, errors, streams and the ledger over a stand-in for CuPy (see `stand_in`).

What NumPy computes in place of CuPy is no proof of numbers; what kernels compute in the interpreter is.
"""

import copy
import gc
import re
import struct

import numpy as np
import pytest
import stand_in

import livegrad
from livegrad import nn
from livegrad.codegen.gpu import maps, target
from livegrad.codegen.gpu.kernels import Kernel, Launch
from livegrad.lazy import log
from livegrad.observe import WATCH
from livegrad.runtime.cuda import driver, ledger, memory


@pytest.fixture(autouse=True)
def pretended():
    with stand_in.in_use():
        yield


def entries(kind=None):
    return [e for e in ledger.LEDGER.entries if kind in (None, e.kind)]


def test_devices():
    assert livegrad.cuda.is_available() and livegrad.cuda.device_count() == 2
    assert livegrad.cuda.get_device_name() == "stand-in" and livegrad.cuda.get_device_capability(1) == (9, 0)
    assert livegrad.cuda.get_device_properties(0).total_memory == 1 << 30
    with livegrad.cuda.device(1):
        assert livegrad.cuda.current_device() == 1
        assert livegrad.ones(1, device="cuda").device == livegrad.device("cuda:1")
    livegrad.cuda.set_device(1)
    assert livegrad.zeros(1, device="cuda").get_device() == 1
    livegrad.cuda.set_device("cuda:0")
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        livegrad.ones(1, device="cuda:2")


def test_copies_and_printing():
    x = livegrad.arange(6.0).reshape(2, 3)
    y = x.to("cuda")
    assert y.is_cuda and y.device == livegrad.device("cuda", 0) and not x.is_cuda
    assert repr(y) == "tensor([[0., 1., 2.],\n        [3., 4., 5.]], device='cuda:0')"
    assert y.cpu().tolist() == x.tolist() == y.tolist()
    assert y.cuda() is y and y.to("cuda:0") is y
    z = y.cuda(1)
    assert z.device.index == 1 and z.tolist() == x.tolist()
    with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
        y.numpy()
    assert y[1, 2].item() == 5.0
    assert livegrad.tensor([1, 2], device="cuda").dtype is livegrad.int64
    assert livegrad.tensor([[1.0, 2.0]], device="cuda").is_cuda and livegrad.tensor(1.0, device="cuda").is_cuda
    assert livegrad.stack(list(y)).is_cuda and livegrad.stack([row + 1 for row in y]).tolist() == (x + 1).tolist()


def test_operators_are_where_their_operands_are():
    rng = np.random.default_rng(0)
    a, b = (livegrad.tensor(rng.standard_normal((3, 4)).astype("f")) for _ in range(2))
    with stand_in.in_use():
        x, y = a.cuda(), b.cuda()
        for f in (
            lambda x, y: (x * 2 + y).exp(), lambda x, y: x.sum(1), lambda x, y: (x - y).mean(), lambda x, y: x @ y.t(),
            lambda x, y: x.softmax(-1), lambda x, y: livegrad.where(x > y, x, 0.0), lambda x, y: (x > 0).any(),
            lambda x, y: x.reshape(4, 3)[1:].t(), lambda x, y: x.std(), lambda x, y: x.amax(0), lambda x, y: x.sigmoid(),
            lambda x, y: nn.functional.layer_norm(x, (4,)), lambda x, y: x.unsqueeze(0).expand(2, 3, 4) * y,
            lambda x, y: 1 / x, lambda x, y: x.clamp(-0.5, 0.5), lambda x, y: nn.functional.gelu(x, approximate="tanh"),
            lambda x, y: x.cumsum(1), lambda x, y: x.half() + y,
        ):  # fmt: skip
            there, here = f(x, y), f(a, b)
            assert there.device == x.device and there.dtype is here.dtype
            np.testing.assert_allclose(there.cpu().float().numpy(), here.float().numpy(), rtol=1e-3, atol=1e-5)


def test_gradients_and_a_step():
    def train(device):
        livegrad.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 1)).to(device)
        x, y = livegrad.randn(16, 4).to(device), livegrad.randn(16, 1).to(device)
        optimizer = livegrad.optim.Adam(model.parameters(), lr=0.05)
        for _ in range(3):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
        assert all(p.device == p.grad.device == x.device for p in model.parameters())
        return loss.item()

    assert train("cuda") == pytest.approx(train("cpu"), rel=1e-5)


def test_gradients_flow_back_over_a_copy():
    w = livegrad.ones(3, requires_grad=True)
    (w.to("cuda") * 2).sum().backward()
    assert w.grad.device.type == "cpu" and w.grad.tolist() == [2.0, 2.0, 2.0]


def test_in_place_and_views():
    x = livegrad.zeros(4, device="cuda")
    view = x[1:3]
    view += 1
    x.mul_(3)
    assert x.tolist() == [0.0, 3.0, 3.0, 0.0] == x.clone().tolist()
    x.copy_(livegrad.arange(4.0))
    assert x.device.type == "cuda" and view.tolist() == [1.0, 2.0]
    x[0] = 7.0
    assert x.tolist() == [7.0, 1.0, 2.0, 3.0]


def test_mixed_devices():
    a, b = livegrad.ones(2, 3, requires_grad=True) * 1, livegrad.ones(2, 3, device="cuda")
    with pytest.raises(RuntimeError, match="at least two devices, cpu and cuda:0") as told:
        a + b
    assert "[2, 3] on cuda:0" in str(told.value) and "test_plumbing.py" in str(told.value)
    with pytest.raises(RuntimeError, match="at least two devices"):
        a @ b.t()
    with pytest.raises(RuntimeError, match="at least two devices"):
        b + livegrad.ones(2, 3, device="cuda:1")
    assert (b * livegrad.tensor(3.0)).sum().item() == 18.0
    assert (livegrad.tensor(3.0) + 1 - b).device == b.device


def test_default_device():
    livegrad.set_default_device("cuda:1")
    try:
        assert livegrad.zeros(2).device == livegrad.device("cuda:1") == nn.Linear(2, 2).weight.device
    finally:
        livegrad.set_default_device(None)
    assert livegrad.zeros(2).device.type == "cpu"


def test_the_ledger():
    x = livegrad.ones(4).cuda()
    y = x + 1
    assert [e.kind for e in entries()] == ["host to device"]
    y.sum().item()
    livegrad.cuda.synchronize()
    assert [e.kind for e in entries()] == ["host to device", "device to host", "synchronize"]
    assert all(e.site.filename == __file__ for e in entries())
    assert entries()[0].nbytes == 16


def test_streams_and_events():
    stream = livegrad.cuda.Stream()
    a, b = (livegrad.cuda.Event(enable_timing=True) for _ in range(2))
    a.record()
    with livegrad.cuda.stream(stream):
        assert livegrad.cuda.current_stream().native is stream.native
        b.record()
    b.synchronize()
    assert a.elapsed_time(b) >= 0 and a.query() and stream.query()
    stream.wait_stream(livegrad.cuda.current_stream())
    assert len(stream.native.waited) == 1
    with pytest.raises(RuntimeError, match="enable_timing"):
        livegrad.cuda.Event().elapsed_time(b)


def test_memory_figures():
    gc.collect()
    before = livegrad.cuda.memory_allocated()
    livegrad.cuda.reset_peak_memory_stats()
    x = livegrad.zeros(8, device="cuda")
    assert livegrad.cuda.memory_allocated() == livegrad.cuda.max_memory_allocated() == before + 32
    del x
    assert livegrad.cuda.memory_allocated() == before and livegrad.cuda.max_memory_allocated() == before + 32
    assert livegrad.cuda.memory_reserved() == 4096
    livegrad.cuda.reset_peak_memory_stats()
    assert livegrad.cuda.max_memory_allocated() == before
    livegrad.cuda.empty_cache()


def test_a_full_device(monkeypatch):
    def refuse(nbytes):
        raise MemoryError("Out of memory allocating 4,096 bytes")

    x = livegrad.randn(32, 32).cuda()
    with livegrad.compiling("always"):
        y = x * 2
        with (
            monkeypatch.context() as full,
            pytest.raises(livegrad.OutOfMemoryError, match="4096 bytes.*float32") as told,
        ):
            full.setattr(stand_in.cuda, "alloc", refuse)
            livegrad.eval(y)
        assert "[32, 32]" in str(told.value) and "test_plumbing.py" in str(told.value)
        # (Larger ones of earlier tests may not have been collected yet.)
        assert re.search(r"largest live tensors:\n +[\d.]+ [KM]iB  \w+ \[\d+.*\]  \w", str(told.value))
        livegrad.eval(y)  # what could not be had stays pending


@pytest.mark.parametrize("words", (3, 600))
def test_launching_a_kernel(words):
    """Parameters arrive as they were packed: by value, or behind an address where they are too many."""

    def source():
        module, b, args = target.entry(words)
        out = args.pointer()
        for k in range(words - 1):
            b.store(args.word(), b.gep(out, "i64", k))
        return args.finish(module)

    kernel = Kernel(lambda: ("words in a row", words), source, f"{words}q", words)
    numbers = list(range(100, 99 + words))
    for index in (1, 0):  # another device: loaded there at its first launch
        out = memory.empty((words - 1,), livegrad.int64, livegrad.device("cuda", index)).native()
        with livegrad.cuda.device(index), livegrad.compiling("auto"):
            assert driver.loadable(kernel, index)
            driver.launch(Launch(kernel, 4, b"", 128, 64), index, kernel.pack(out.data.ptr, *numbers))
        (_, name), *how, _ = stand_in.driver.launches[-1]
        assert (name, *how) == ("kernel", 4, 128, 64, 0)
        assert out.get().tolist() == numbers
    assert sorted(kernel.loaded) == [0, 1]


def launched(make):
    """The parameters of the kernels that evaluating something launches, as 64-bit words."""
    before = len(stand_in.driver.launches)
    with livegrad.compiling("always"):
        kept = make()
        livegrad.eval(kept)
    return [struct.unpack(f"={len(p) // 8}q", p) for *_, p in stand_in.driver.launches[before:]]


def place(tensor):
    return memory.address(tensor._value().array)


def test_a_program_is_one_launch():
    x = livegrad.randn(6, 4).cuda()
    ledger.LEDGER.entries.clear()
    made = []
    (words,) = launched(lambda: made.append((x * 2.0 + 3).exp()) or made[0])
    number = struct.unpack("=2q", struct.pack("=2d", 2.0, 3.0))
    assert words == (place(made[0]), place(x), *number, 24)
    assert made[0].device == x.device and made[0].shape == (6, 4) and not entries()


def test_numbers_of_the_cpu_are_parameters():
    x, number = livegrad.randn(6, 4).cuda(), livegrad.tensor(3.5)
    ledger.LEDGER.entries.clear()
    (words,) = launched(lambda: x * number)
    assert struct.pack("=f", 3.5) == struct.pack("=q", words[2])[:4] and not entries()
    assert launched(lambda: livegrad.zeros((), device="cuda", dtype=livegrad.int64) - livegrad.tensor(-2))[0][2] == -2


def test_what_is_still_wanted_is_written_by_the_same_launch():
    x = livegrad.randn(6, 4).cuda()
    kept = []
    (words,) = launched(lambda: kept.append(x + 1) or kept.append(kept[0].tanh()) or kept[1])
    assert words[:3] == (place(kept[0]), place(kept[1]), place(x))


def test_memory_of_replaced_operands_is_used_again():
    x = livegrad.randn(6, 4).cuda()
    x = x * 1  # so that nobody else sees its memory
    livegrad.eval(x)
    before = place(x)
    (words,) = launched(lambda: x.mul_(2.0))
    assert words[:2] == (before, before) == (place(x),) * 2
    seen = x.view(4, 6)
    (words,) = launched(lambda: x.add_(1.0))
    assert words[0] != words[1] and seen.shape == (4, 6)


def test_eager_mode_launches_at_once():
    x = livegrad.randn(6).cuda()
    with livegrad.eager():
        assert len(launched(lambda: (x * 2 + 1).exp())) == 3


def test_half_types_run_in_kernels():
    x = livegrad.randn(6, 8).cuda()
    assert len(launched(lambda: (x.bfloat16() * x.half()).bfloat16())) == 1
    assert len(launched(lambda: x.bfloat16() + 1)) == 1


@pytest.mark.parametrize("make", (livegrad.optim.SGD, livegrad.optim.AdamW))
def test_an_optimizer_updates_all_parameters_in_one_launch(make):
    parameters = [livegrad.randn(n, 4).cuda().requires_grad_() for n in (3, 5, 7, 100)]
    optimizer = make(parameters, lr=0.1)
    for p in parameters:
        p.grad = livegrad.ones_like(p)
    livegrad.eval([p.grad for p in parameters])
    optimizer.step()
    (words,) = launched(optimizer.step)
    starts = words[: 1 + len(parameters)]
    assert list(starts) == [0, 1, 2, 3, 4]
    for p in parameters:
        assert place(p) in words and place(p.grad) in words and p.numel() in words


def test_many_small_launches_are_as_few_as_fit():
    x = [livegrad.randn(n + 2).cuda() for n in range(250)]
    words = launched(lambda: [t * 2.0 for t in x])
    most = maps.jobs_of(4)
    assert most == 102 and len(words) == 3
    assert [w[most] for w in words] == [102, 102, 46]


def test_a_launch_that_is_put_off_is_not_overtaken():
    """What reads the result of one, or is one of its results, waits for it; memory that it reads is not used again."""
    x = livegrad.randn(8).cuda()
    y = x * 2
    z = livegrad.randn(4, 8).cuda() + y  # of another shape: it reads what was written
    a, b = (livegrad.randn(4).cuda() * 2 for _ in range(2))
    words = launched(lambda: [y, z, a, b])
    assert sum(place(y) in w for w in words) == 2
    assert [place(y) in w for w in words].index(True) < [place(z) in w for w in words].index(True)


def test_nothing_is_launched_for_no_elements():
    x = livegrad.randn(0, 4).cuda()
    assert launched(lambda: x + 1) == [] and (x + 1).shape == (0, 4)
    assert launched(lambda: x.t() * x.view(4, 0)) == []


def test_the_log_names_the_device(capsys, monkeypatch):
    monkeypatch.setattr(WATCH, "observer", log.Log())
    x = livegrad.randn(6, 8).cuda()
    launched(lambda: x * 3)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "mul" in line]
    assert "[6x8] cuda:0" in line and "livegrad.eval" in line and "test_plumbing.py" in line and "tier 0" not in line


def test_a_kernel_that_cannot_be_made(monkeypatch):
    def source():
        return "this is no IR"

    monkeypatch.delenv("LIVEGRAD_STRICT", raising=False)
    kernel = Kernel(lambda: ("no kernel",), source, "q", 1)
    with livegrad.compiling("auto"):
        assert not driver.loadable(kernel, 0)
    assert isinstance(kernel.error, RuntimeError)
    monkeypatch.setenv("LIVEGRAD_STRICT", "1")
    with livegrad.compiling("auto"), pytest.raises(RuntimeError):
        driver.loadable(Kernel(lambda: ("no kernel",), source, "q", 1), 0)


def test_both_sides_agree_on_the_parameters():
    module, _, args = target.entry(2)
    args.word()
    with pytest.raises(ValueError, match="with 2 words of parameters reads 1"):
        args.finish(module)
    args.word()
    with pytest.raises(ValueError, match="reads one more"):
        args.word()


def test_layers():
    """What has kernels of its own on the CPU runs by other operators here."""
    F = nn.functional
    image, rows = livegrad.randn(2, 3, 6, 6), livegrad.randn(4, 5)
    index = livegrad.tensor([2, 0, 1, 1])
    weight, table = livegrad.randn(4, 3, 3, 3), livegrad.randn(5, 3)
    lstm = nn.LSTM(5, 3)
    lstms = {"cpu": lstm, "cuda": copy.deepcopy(lstm).cuda()}
    q = livegrad.randn(1, 2, 4, 8)
    for name, f, given in (
        ("conv2d", lambda x, w: F.conv2d(x, w, stride=2, padding=1), (image, weight)),
        ("max_pool2d", lambda x: F.max_pool2d(x, 2), (image,)),
        ("avg_pool2d", lambda x: F.avg_pool2d(x, 2), (image,)),
        ("embedding", F.embedding, (index, table)),
        ("cross_entropy", F.cross_entropy, (rows, index)),
        ("attention", lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True), (q,)),
        ("lstm", lambda x: lstms[x.device.type](x)[0], (rows,)),
        ("gather", lambda x, i: x.gather(1, i.reshape(4, 1)), (rows, index)),
        ("index", lambda x, i: x[i, 1:], (rows, index)),
        ("cat", lambda x: livegrad.cat([x, x], 1), (rows,)),
        ("sort", lambda x: x.sort(1)[0], (rows,)),
        ("interpolate", lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), (image,)),
        ("batch_norm", lambda x: F.batch_norm(x, None, None, training=True), (image,)),
        ("one_hot", lambda i: F.one_hot(i, 5), (index,)),
        ("argmax", lambda x: x.argmax(1), (rows,)),
        ("topk", lambda x: x.topk(2)[0], (rows,)),
        ("tril", lambda x: x.tril(), (rows,)),
        ("pad", lambda x: F.pad(x, (1, 1)), (rows,)),
    ):  # fmt: skip
        here = [t.clone().requires_grad_(t.is_floating_point()) for t in given]
        there = [t.cuda().requires_grad_(t.is_floating_point()) for t in given]
        there_result = f(*there)
        here_result = f(*here)
        assert there_result.is_cuda, name
        np.testing.assert_allclose(
            there_result.detach().cpu().numpy(), here_result.detach().numpy(), rtol=1e-4, atol=1e-5, err_msg=name
        )
        if here_result.requires_grad:
            here_result.sum().backward()
            there_result.sum().backward()
            for a, b in zip(there, here):
                if b.requires_grad:
                    assert a.grad.is_cuda, name
                    np.testing.assert_allclose(a.grad.cpu().numpy(), b.grad.numpy(), rtol=1e-4, atol=1e-5, err_msg=name)

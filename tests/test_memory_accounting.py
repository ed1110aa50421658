"""Memory in use is counted, and told by kind, line and module; where there is none, the error says what fills it."""

import gc
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import livegrad
from livegrad import nn
from livegrad.memory import largest_tensors, live_tensors

MIB = 1 << 20


@pytest.fixture(autouse=True, scope="module")
def only_what_is_made_here():
    """What other tests have left is not gone through again and again: there are millions of objects."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def no_limit():
    gc.collect()
    yield
    livegrad.set_memory_limit(None)


def line_with(text):
    with open(__file__, encoding="utf-8") as file:
        return next(n for n, line in enumerate(file, 1) if text in line and "line_with" not in line)


def found(shape):
    """The one live tensor of that shape."""
    (live,) = [live for live in live_tensors() if live.shape == shape]
    return live


def test_figures_follow_what_lives():
    before = livegrad.memory_allocated()
    livegrad.reset_peak_memory_stats()
    x = livegrad.ones(3 * MIB // 4)
    assert livegrad.memory_allocated() - before == 3 * MIB
    del x
    assert livegrad.memory_allocated() == before
    assert livegrad.max_memory_allocated() - before >= 3 * MIB
    assert livegrad.memory_reserved() >= livegrad.memory_allocated()
    livegrad.reset_peak_memory_stats()
    assert livegrad.max_memory_allocated() == livegrad.memory_allocated()


def test_stats_agree_with_the_functions():
    kept = livegrad.ones(MIB)
    stats = livegrad.memory_stats("cpu")
    assert stats["allocated_bytes.all.current"] == livegrad.memory_allocated()
    assert stats["allocated_bytes.all.peak"] == livegrad.max_memory_allocated(livegrad.device("cpu"))
    assert stats["reserved_bytes.all.current"] == livegrad.memory_reserved()
    assert stats["limit_bytes"] is None
    assert 0 <= stats["cache_hits"] < stats["allocation.all.allocated"]
    assert stats["blocks"] >= 1
    del kept
    assert livegrad.memory_stats()["blocks"] == stats["blocks"] - 1
    livegrad.set_memory_limit(1 << 30)
    assert livegrad.memory_stats()["limit_bytes"] == 1 << 30
    gc.collect()  # what others left in cycles must not come back in between
    cached = livegrad.memory_stats()["cached_bytes"]
    livegrad.empty_cache()  # (what is free beside small tensors of others stays)
    assert livegrad.memory_stats()["cached_bytes"] <= cached - 4 * MIB


def test_another_device_is_refused():
    with pytest.raises(RuntimeError, match="cuda"):
        livegrad.memory_allocated("cuda")


def test_what_is_alive_is_told_by_line():
    x = livegrad.randn(301, 203)  # made here
    live = found((301, 203))
    assert live.nbytes == 301 * 203 * 4
    assert live.dtype is livegrad.float32
    assert live.kind == "tensor"
    assert live.site.lineno == line_with("# made here")
    assert live.site.filename == __file__
    assert live.module is None
    assert "x = livegrad.randn(301, 203)" in str(live)
    assert "test_memory_accounting.py:" in live.where
    del x
    assert not [live for live in live_tensors() if live.shape == (301, 203)]


def test_recorded_work_is_told_by_the_line_that_recorded_it():
    x = livegrad.ones(307, 211, requires_grad=True)
    y = x.exp()  # recorded here
    livegrad.eval(y)
    del x
    assert largest_tensors(1)
    (live,) = [live for live in live_tensors() if live.shape == (307, 211) and live.kind == "tensor"]
    assert live.site.lineno == line_with("# recorded here")


def test_kinds_and_modules():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(313, 317)

        def forward(self, x):
            return self.inner(x).tanh()  # inside

    net = Net()
    out = net(livegrad.ones(331, 313))
    loss = out.sum()
    loss.item()
    weight = found((317, 313))
    assert weight.kind == "parameter"
    assert weight.site.lineno == line_with("self.inner = nn.Linear(313, 317)")
    names = {live.name: live for live in live_tensors(names=net) if live.name}
    assert names["inner.weight"].shape == (317, 313)
    assert "inner.weight" in str(names["inner.weight"])
    del out  # the backward pass still needs it
    kept = [live for live in live_tensors() if live.shape == (331, 317)]
    assert kept
    assert {live.kind for live in kept} == {"kept"}
    assert kept[-1].site.lineno == line_with("# inside")
    assert any(live.module in ("", "inner") for live in kept)
    loss.backward()
    assert not [live for live in live_tensors() if live.shape == (331, 317)]
    assert [live.kind for live in live_tensors() if live.shape == (317, 313)].count("gradient") == 1


def test_operands_of_pending_work_are_awaited():
    x = livegrad.ones(337, 347)
    y = x + 1
    del x
    assert found((337, 347)).kind == "awaited"
    livegrad.eval(y)
    assert found((337, 347)).kind == "tensor"


def test_views_and_memory_of_the_outside():
    x = livegrad.ones(349, 353)
    view = x[1:]
    outside = x.numpy()
    del x
    live = found((349, 353))
    assert live.kind == "tensor"
    assert view.shape == (348, 353) and outside[0, 0] == 1
    before = len(live_tensors())
    foreign = livegrad.from_numpy(outside.copy())
    assert len(live_tensors()) == before
    assert foreign.shape == (349, 353)


def test_the_summary_shows_it():
    x = livegrad.zeros(359, 367, dtype=livegrad.float64)  # shown
    text = livegrad.memory_summary()
    for word in ("in use", "peak", "cached", "by kind", "by dtype", "float64", "by size", "largest"):
        assert word in text
    short = livegrad.memory_summary(abbreviated=True)
    assert text.startswith(short[: short.index("allocations")])
    assert "largest" not in short
    named = livegrad.memory_summary(names={"mine": x})
    assert "mine" in named


def test_a_limit_is_kept_and_the_error_tells():
    filling = livegrad.ones(1024, 1024)  # what fills it
    before = livegrad.memory_allocated()
    livegrad.set_memory_limit(before + 2 * MIB)
    fits = livegrad.ones(256, 1024)
    with pytest.raises(livegrad.OutOfMemoryError) as caught:
        livegrad.zeros(2048, 512, dtype=livegrad.int64)  # too much
    text = str(caught.value)
    assert isinstance(caught.value, MemoryError) and isinstance(caught.value, RuntimeError)
    assert caught.value.nbytes == 8 * MIB
    assert f"{8 * MIB} bytes (8.00 MiB) for a int64 tensor of shape [2048, 512]" in text
    assert f"limit of {before + 2 * MIB} bytes, which livegrad.set_memory_limit has set" in text
    assert f"line {line_with('# too much')}," in text
    assert f"test_memory_accounting.py:{line_with('# what fills it')}: filling" in text
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    assert str(pickle.loads(pickle.dumps(caught.value))) == text
    del filling
    assert livegrad.zeros(1024, 512, dtype=livegrad.int64).sum().item() == 0
    assert fits.sum().item() == 256 * 1024


def test_pending_work_that_did_not_fit_can_be_asked_for_again():
    x = livegrad.ones(1024, 1024)
    y = x * 3
    livegrad.set_memory_limit(livegrad.memory_allocated() + MIB)
    with pytest.raises(livegrad.OutOfMemoryError, match=r"float32 tensor of shape \[1024, 1024\]"):
        livegrad.eval(y)
    livegrad.set_memory_limit(None)
    assert y[0, 0].item() == 3


def test_garbage_in_cycles_makes_room():
    gc.disable()
    try:
        ring = [livegrad.ones(1024, 1024)]
        ring.append(ring)
        livegrad.set_memory_limit(livegrad.memory_allocated() + MIB)
        del ring
        assert livegrad.ones(1024, 1024).sum().item() == 1024 * 1024
    finally:
        gc.enable()


def test_small_tensors_count_towards_a_limit():
    livegrad.set_memory_limit(livegrad.memory_allocated() + MIB)
    kept = []
    with pytest.raises(livegrad.OutOfMemoryError, match="limit of"):
        for _ in range(1000):
            kept.append(livegrad.ones(1000))  # noqa: PERF401
    assert 200 < len(kept) < 1000 or livegrad.memory_stats()["cached_bytes"] > 0
    livegrad.set_memory_limit(None)
    assert livegrad.ones(1000).sum().item() == 1000


def test_wrong_limits():
    with pytest.raises(ValueError, match="-1"):
        livegrad.set_memory_limit(-1)


def test_the_system_refuses():
    with pytest.raises(livegrad.OutOfMemoryError, match="the system refuses"):
        livegrad.empty(1 << 55)


def test_what_could_not_be_had_is_the_size_of_the_tensor():
    with pytest.raises(
        livegrad.OutOfMemoryError, match=r"400000000000000 bytes \(363.80 TiB\).*\[10000000, 10000000\]"
    ) as e:
        livegrad.zeros(10**7, 10**7)
    assert e.value.nbytes == 4 * 10**14


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.integers(1, 400_000), st.booleans()), max_size=12))
def test_live_tensors_are_exactly_those_that_live(plan):
    gc.collect()
    before = sorted(live.nbytes for live in live_tensors())
    start = livegrad.memory_allocated()
    kept = []
    for n, keep in plan:
        x = livegrad.empty(n, dtype=livegrad.uint8)
        if keep:
            kept.append(x)
    x = None
    now = sorted(live.nbytes for live in live_tensors())
    assert now == sorted([*before, *(len(t) for t in kept)])
    assert livegrad.memory_allocated() - start >= sum(len(t) for t in kept)
    kept.clear()
    assert livegrad.memory_allocated() == start

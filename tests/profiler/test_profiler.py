"""Profiles tell what ran, nested and added up, and leave no trace when they are over."""

import gzip
import json
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import livegrad
from livegrad import nn
from livegrad.autograd import profiler as autograd_profiler
from livegrad.lazy.value import Bound
from livegrad.observe import WATCH
from livegrad.profiler import (
    ProfilerAction,
    ProfilerActivity,
    profile,
    record_function,
    schedule,
    tensorboard_trace_handler,
)


@pytest.fixture(autouse=True)
def nothing_is_left_on():
    limit, observer = Bound.limit, WATCH.observer
    yield
    assert WATCH.observer is observer
    assert WATCH.bound is None
    assert Bound.limit == limit


def model():
    livegrad.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 4))


def train_step(net, optimizer, x):
    optimizer.zero_grad()
    loss = net(x).square().mean()  # the forward line
    loss.backward()
    optimizer.step()
    return loss.item()


def by_key(events):
    return {e.key: e for e in events}


def line_with(text):
    with open(__file__, encoding="utf-8") as file:
        return next(n for n, line in enumerate(file, 1) if text in line and "line_with" not in line)


def test_a_training_step_is_told_in_full():
    net, x = model(), livegrad.randn(8, 16)
    optimizer = livegrad.optim.Adam(net.parameters())
    with profile(record_shapes=True, with_flops=True) as prof, record_function("step"):
        train_step(net, optimizer, x)
    rows = by_key(prof.key_averages())
    assert rows["step"].count == 1
    assert rows["step"].is_user_annotation
    assert rows["linear"].count == 2
    assert rows["linear"].flops == 2 * 8 * 32 * 16 + 8 * 32 + 2 * 8 * 4 * 32 + 8 * 4
    # two products forward; backward two by the weights and one by the hidden layer
    assert rows["gemm"].count == 5
    assert rows["gemm"].flops == 2 * (8 * 16 * 32 * 2 + 8 * 32 * 4 * 3)
    assert rows["AddmmBackward0"].count == 2
    assert rows["Optimizer.step#Adam.step"].count == 1
    # the first Tensor is evaluated by the second product; a small product has added to the bias already
    fused = [e for e in prof.events() if e.kind == "kernel" and "tanh" in e.ops]
    assert fused[0].ops == ["tanh"]
    assert fused[0].reason == "data read"
    assert fused[0].shape == (8, 32)
    assert fused[0].bytes == 4 * (8 * 32 + 8 * 32)


def test_spans_nest_and_own_times_add_up():
    net, x = model(), livegrad.randn(8, 16)
    optimizer = livegrad.optim.SGD(net.parameters(), lr=0.1)
    with profile() as prof, record_function("all"):
        for _ in range(3):
            train_step(net, optimizer, x)
    events = prof.events()
    whole = next(e for e in events if e.key == "all")
    assert whole.cpu_parent is None
    assert sum(e.self_cpu_time_total for e in events) == pytest.approx(whole.cpu_time_total)
    for e in events:
        for child in e.cpu_children:
            assert child.cpu_parent is e
            assert e.time_range.start <= child.time_range.start
            assert child.time_range.end <= e.time_range.end
    assert [e.time_range.start for e in events] == sorted(e.time_range.start for e in events)


def test_lines_are_those_that_recorded_and_that_caused():
    net, x = model(), livegrad.randn(8, 16)
    optimizer = livegrad.optim.SGD(net.parameters(), lr=0.1)
    with profile() as prof:
        train_step(net, optimizer, x)
    forward = f"test_profiler.py:{line_with('# the forward line')}"
    backward = f"test_profiler.py:{line_with('    loss.backward()')}"
    nodes = [e for e in prof.events() if e.kind == "backward"]
    assert nodes
    for e in nodes:
        assert e.recorded_at == [forward]
        assert e.caused_by == backward
    gradients = [e for e in prof.events() if e.kind == "kernel" and "tanh_grad_input" in e.ops]
    assert gradients
    assert all(e.recorded_at == [forward] and e.caused_by == backward for e in gradients)
    lines = by_key(prof.key_averages(by="line"))
    assert forward in lines
    assert prof.key_averages(by="line").table(sort_by="self_cpu_time_total", row_limit=1).count("test_profiler") == 1


@pytest.mark.parametrize("with_modules", [False, True])
def test_all_tables_have_one_sum(with_modules):
    net, x = model(), livegrad.randn(8, 16)
    optimizer = livegrad.optim.Adam(net.parameters())
    with profile(with_modules=with_modules) as prof, record_function("step"):
        train_step(net, optimizer, x)
    (step,) = (e for e in prof.events() if e.key == "step")
    for by in ("operator", "line", "module"):
        assert prof.key_averages(by=by).self_cpu_time_total == pytest.approx(step.cpu_time_total), by


def test_deferred_operators_are_charged_to_their_own_lines():
    x = livegrad.randn(64)
    with profile() as prof:
        y = x.exp()  # recorded first
        z = y.sin()  # recorded second
        z.tolist()  # computed here
    (kernel,) = (e for e in prof.events() if e.kind == "kernel")
    first, second, here = (
        f"test_profiler.py:{line_with(t)}" for t in ("# recorded first", "# recorded second", "# computed here")
    )
    assert kernel.recorded_at == [first, second]
    assert kernel.caused_by == here
    lines = by_key(prof.key_averages(by="line"))
    assert lines[first].self_cpu_time_total == pytest.approx(kernel.self_cpu_time_total / 2)
    assert lines[second].self_cpu_time_total == pytest.approx(kernel.self_cpu_time_total / 2)


def test_modules_have_their_rows_and_ranges():
    net, x = model(), livegrad.randn(8, 16)
    with profile(with_modules=True) as prof:
        net(x).tolist()
    assert {"0", "1", "2"} <= set(by_key(prof.key_averages(by="module")))
    ranges = [e for e in prof.events() if e.kind == "module"]
    names = ["nn.Module: Sequential", "nn.Module: Linear (0)", "nn.Module: Tanh (1)", "nn.Module: Linear (2)"]
    assert [e.key for e in ranges] == names
    assert all(e.cpu_parent is ranges[0] for e in ranges[1:])
    count = len(prof.events())
    net(x).tolist()
    assert len(prof.events()) == count


def test_profiling_changes_no_result_and_no_evaluation():
    def program():
        net, x = model(), livegrad.randn(8, 16)
        optimizer = livegrad.optim.Adam(net.parameters())
        return [train_step(net, optimizer, x) for _ in range(3)]

    plain = program()
    with profile(record_shapes=True, profile_memory=True, with_stack=True, with_flops=True, with_modules=True):
        assert program() == plain
    x = livegrad.ones(4)
    with profile() as prof:
        y = x + 1
        assert y._value().array is None  # still deferred
    assert y.tolist() == [2.0] * 4
    assert not [e for e in prof.events() if e.kind == "kernel"]


def test_eager_holds_inside_a_profile_and_its_end():
    with profile():
        with livegrad.eager():
            assert livegrad.is_eager()
            assert (livegrad.ones(2) + 1)._value().array is not None
        assert not livegrad.is_eager()
    with livegrad.eager(), profile():
        assert livegrad.is_eager()
    assert not livegrad.is_eager()


def test_bounds_still_hold():
    y = livegrad.ones(4)
    with profile() as prof:
        for _ in range(200):
            y = y + 1
        assert any(e.reason == "bound reached" for e in prof.events())
    assert y.tolist() == [201.0] * 4


def test_schedules():
    taken = []
    net, x = model(), livegrad.randn(8, 16)
    optimizer = livegrad.optim.SGD(net.parameters(), lr=0.1)

    def ready(prof):
        taken.append([e.key for e in prof.events() if e.key.startswith("ProfilerStep")])

    plan = schedule(wait=1, warmup=1, active=2, repeat=2)
    with profile(schedule=plan, on_trace_ready=ready) as prof:
        for _ in range(10):
            train_step(net, optimizer, x)
            prof.step()
    assert taken == [["ProfilerStep#2", "ProfilerStep#3"], ["ProfilerStep#6", "ProfilerStep#7"]]


@settings(max_examples=60, deadline=None)
@given(
    wait=st.integers(0, 3), warmup=st.integers(0, 3), active=st.integers(1, 3), repeat=st.integers(0, 3),
    skip=st.integers(0, 3),
)  # fmt: skip
def test_schedules_are_pytorchs(wait, warmup, active, repeat, skip):
    torch = pytest.importorskip("torch")
    options = {"wait": wait, "warmup": warmup, "active": active, "repeat": repeat, "skip_first": skip}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.profiler.profiler.warn", lambda *args, **kwargs: None, raising=False)
        theirs = torch.profiler.schedule(**options)
    ours = schedule(**options)
    assert [ours(i).name for i in range(30)] == [theirs(i).name for i in range(30)]


def test_bad_schedules_are_refused():
    with pytest.raises(ValueError, match="Invalid profiler schedule"):
        schedule(wait=0, warmup=0, active=0)
    assert schedule(wait=0, warmup=0, active=1)(5) is ProfilerAction.RECORD_AND_SAVE


def test_traces_are_in_the_trace_event_format(tmp_path):
    net, x = model(), livegrad.randn(8, 16)
    options = {"profile_memory": True, "record_shapes": True, "activities": [ProfilerActivity.CPU]}
    with profile(**options) as prof, record_function("mine"):
        net(x).sum().backward()
    prof.add_metadata_json("run", '{"seed": 0}')
    prof.export_chrome_trace(tmp_path / "trace.json")
    prof.export_chrome_trace(str(tmp_path / "trace.json.gz"))
    trace = json.loads((tmp_path / "trace.json").read_text())
    with gzip.open(tmp_path / "trace.json.gz", "rt") as file:
        assert json.load(file) == trace
    assert trace["run"] == {"seed": 0}
    spans = [e for e in trace["traceEvents"] if e["ph"] == "X"]
    assert {"kernel", "library", "cpu_op", "user_annotation"} <= {e["cat"] for e in spans}
    for e in spans:
        assert e["dur"] >= 0
        assert e["ts"] >= 0
        assert isinstance(e["pid"], int)
        assert isinstance(e["tid"], int)
    kernel = next(e for e in spans if e["cat"] == "kernel")
    assert "test_profiler.py:" in kernel["args"]["caused by"]
    assert kernel["args"]["reason"]
    counters = [e for e in trace["traceEvents"] if e["ph"] == "C"]
    assert counters
    assert all(e["args"]["bytes"] >= 0 for e in counters)


def test_tensorboards_handler_writes_a_file(tmp_path):
    with profile(on_trace_ready=tensorboard_trace_handler(str(tmp_path / "log"), worker_name="w")):
        (livegrad.ones(3) + 1).tolist()
    (written,) = (tmp_path / "log").iterdir()
    assert written.name.startswith("w.")
    assert written.name.endswith(".pt.trace.json")
    assert json.loads(written.read_text())["traceEvents"]


def test_memory_is_watched(tmp_path):
    with profile(profile_memory=True) as prof:
        ones = livegrad.ones(1 << 18)
        x = ones + 1
        livegrad.eval(x)  # now
    kernel = next(e for e in prof.events() if e.kind == "kernel")
    assert kernel.cpu_memory_usage >= 4 << 18
    assert "CPU Mem" in prof.key_averages().table()
    prof.export_chrome_trace(tmp_path / "trace.json")
    trace = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    marks = [e["args"] for e in trace if e["name"] == "[memory]"]
    assert {m["Bytes"] for m in marks} == {4 << 18}
    assert [m["recorded at"] for m in marks] == [
        f"test_profiler.py:{line_with(text)}" for text in ("ones = livegrad.ones(1 << 18)", "livegrad.eval(x)  # now")
    ]
    levels = [e["args"]["bytes"] for e in trace if e["ph"] == "C"]
    assert max(levels) == marks[-1]["Total Allocated"] <= marks[-1]["Total Reserved"]
    prof.export_memory_timeline(str(tmp_path / "m.json"))
    times, sizes = json.loads((tmp_path / "m.json").read_text())
    assert len(times) == len(sizes) > 1
    assert max(sizes) - min(sizes) >= 4 << 18
    prof.export_memory_timeline(str(tmp_path / "m.html"))
    assert "<svg" in (tmp_path / "m.html").read_text()
    with pytest.raises(ValueError, match="json"):
        prof.export_memory_timeline(str(tmp_path / "m.txt"))
    with profile() as plain:
        pass
    with pytest.raises(RuntimeError, match="profile_memory=True"):
        plain.export_memory_timeline(str(tmp_path / "n.json"))


def inner_function(x):
    return (x + 1).tolist()


def test_stacks(tmp_path):
    with profile(with_stack=True) as prof:
        inner_function(livegrad.ones(3))
    prof.export_stacks(tmp_path / "stacks", "cpu_time_total")
    lines = (tmp_path / "stacks").read_text().splitlines()
    assert any("inner_function" in line and line.split(" ")[0].endswith(";add") for line in lines)
    assert all(line.rsplit(" ", 1)[1].isdigit() for line in lines)
    with pytest.raises(ValueError, match="metric should be one of"):
        prof.export_stacks(tmp_path / "stacks", "nonsense")
    rows = prof.key_averages(group_by_stack_n=1)
    assert any("inner_function" in row.stack[0] for row in rows)
    with profile() as plain:
        pass
    with pytest.raises(RuntimeError, match="with_stack=True"):
        plain.export_stacks(tmp_path / "stacks")


def test_tables():
    with profile(record_shapes=True) as prof:
        for n in (2, 3, 3):
            (livegrad.ones(n, n) @ livegrad.ones(n, n)).tolist()
    rows = prof.key_averages(group_by_input_shape=True)
    counts = {str(row.input_shapes): row.count for row in rows if row.key == "gemm"}
    assert counts == {"[[2, 2], [2, 2]]": 1, "[[3, 3], [3, 3]]": 2}
    table = prof.key_averages().table(sort_by="count", row_limit=1, header="Mine")
    assert "Mine" in table
    assert table.count("\n") == 8
    with pytest.raises(AttributeError, match="nonsense"):
        prof.key_averages().table(sort_by="nonsense")
    with pytest.raises(ValueError, match="by must be one of"):
        prof.key_averages(by="nonsense")
    total = prof.key_averages().total_average()
    assert total.self_cpu_time_total == pytest.approx(prof.events().self_cpu_time_total)


def test_record_function_as_decorator_and_without_a_profile():
    @record_function("decorated")
    def double(x):
        """Twice."""
        return x * 2

    assert double(2) == 4
    assert double.__doc__ == "Twice."
    with profile() as prof:
        assert double(3) == 6
        with record_function("outer"), record_function("inner"):
            pass
    rows = by_key(prof.events())
    assert rows["decorated"].kind == "user"
    assert rows["inner"].cpu_parent is rows["outer"]


def test_an_error_leaves_the_profile_whole():
    x = livegrad.ones(2, 2)
    with profile() as prof, record_function("outer"):
        with pytest.raises(RuntimeError), record_function("fails"):
            x @ livegrad.ones(3, 3)
        (x @ x).tolist()
    events = prof.events()
    outer = next(e for e in events if e.key == "outer")
    assert next(e for e in events if e.key == "fails").cpu_parent is outer
    assert next(e for e in events if e.key == "gemm").cpu_parent.cpu_parent is outer


def test_profiles_do_not_nest():
    with profile(), pytest.raises(RuntimeError, match="already running"), profile():
        pass


def test_threads_have_their_own_nesting():
    def work():
        with record_function("worker"):
            (livegrad.ones(4) + 1).tolist()

    with profile() as prof, record_function("main"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    rows = by_key(prof.events())
    assert rows["worker"].cpu_parent is None
    assert rows["worker"].thread != rows["main"].thread


def test_results_before_the_start_are_refused():
    with pytest.raises(AssertionError, match="nothing was recorded"):
        profile().events()


def test_the_older_interface():
    with autograd_profiler.profile(record_shapes=True) as prof, autograd_profiler.record_function("mine"):
        (livegrad.ones(3) * 2).tolist()
    assert {"mine", "mul"} <= {e.key for e in prof.function_events}
    assert "mine" in prof.table()
    assert "mul" in prof.key_averages().table(sort_by="cpu_time_total")
    assert prof.self_cpu_time_total > 0
    with autograd_profiler.profile(enabled=False):
        assert WATCH.observer is None or not hasattr(WATCH.observer, "spans")


def test_convolution_and_pooling_are_library_calls():
    x, w = livegrad.randn(2, 3, 32, 32), livegrad.randn(8, 3, 3, 3, requires_grad=True)
    with livegrad.compiling("always"), profile(with_flops=True) as prof:
        y = nn.functional.max_pool2d(nn.functional.conv2d(x, w), 2)
        y.sum().backward()
    names = {e.key for e in prof.events() if e.kind == "library"}
    assert {"convolution", "pooling"} <= names
    assert any(e.kind == "operator" and e.flops >= 2 * 2 * 8 * 30 * 30 * 27 for e in prof.events())


def test_a_profile_that_was_cut_off_does_not_stand_in_the_way():
    def cut_off():
        profile().__enter__()  # and Ctrl-C strikes where __exit__ begins

    cut_off()
    with profile() as prof:
        (livegrad.ones(3) + 1).tolist()
        with pytest.raises(RuntimeError, match="cannot be nested"):
            profile().start()
    assert prof.key_averages() and WATCH.observer is None

"""find_nan: replaying a recorded graph to find the first NaN or infinity."""

import re
import warnings

import pytest

import livegrad
import livegrad.nn.functional as F
from livegrad import nn
from livegrad.debug import find_nan
from livegrad.graph.replay import _Replay


def test_names_the_step_its_line_and_its_operands():
    x = livegrad.tensor([[1.0, 2.0], [0.5, -1.0]], requires_grad=True)
    a = x.log()  # this one
    y = (a * 2).softmax(1).sum()
    finding = find_nan(y)
    assert finding and (finding.phase, finding.kind, finding.name) == ("forward", "nan", "LogBackward0")
    assert finding.site.line == "a = x.log()  # this one"
    assert finding.result.first == (1, 1) and finding.result.nans == 1
    (operand,) = finding.operands
    assert (operand.name, operand.shape, operand.numbers.low, operand.numbers.high) == ("x", (2, 2), -1.0, 2.0)
    assert "x: float32 [2, 2], from -1 to 2" in str(finding) and "a = x.log()" in str(finding)
    y.backward()  # nothing was freed


def test_the_infinity_before_the_nan_is_the_first():
    x = livegrad.full((3,), 50.0, requires_grad=True)
    big = (x * 2).exp()
    y = (big - big).sum()
    finding = find_nan(y)
    assert (finding.kind, finding.name) == ("inf", "ExpBackward0") and finding.result.infinities == 3


def test_everything_finite():
    x = livegrad.ones(3, requires_grad=True)
    finding = find_nan((x * x).sum())
    assert not finding and finding.node is None and str(finding) == "no NaN and no infinity"


def test_a_gradient_that_is_not_finite():
    x = livegrad.zeros(2, requires_grad=True)
    root = x.sqrt()
    finding = find_nan((root * 3).sum())
    assert (finding.phase, finding.kind, finding.name) == ("backward", "inf", "SqrtBackward0")
    assert finding.site.line == "root = x.sqrt()" and finding.operands[0].name == "g"
    assert x.grad is None
    assert not find_nan((root * 3).sum(), backward=False)


def test_a_leaf_or_parameter_that_came_in_so():
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    with livegrad.no_grad():
        model[2].weight[0, 1] = float("nan")
    finding = find_nan(model(livegrad.ones(4, 2)).sum(), params=model)
    assert finding.node.label == "2.weight" and finding.node.kind == "leaf" and finding.result.first == (0, 1)
    assert "2.weight came in with 1 nan" in str(finding)
    assert re.search(r"\n  first read here: File .*test_find_nan.py\", line \d+, in test_a_leaf_or_", str(finding))


def test_data_that_came_in_so_are_named_and_the_step_that_reads_them():
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    batch = livegrad.tensor([[1.0, 2.0], [3.0, float("nan")]])
    finding = find_nan(model(batch).sum())  # read here
    assert (finding.phase, finding.kind, finding.name, finding.module) == ("forward", "nan", "AddmmBackward0", "0")
    assert finding.given.name == "batch" and finding.result.first == (1, 1) and "# read here" in finding.site.line
    assert str(finding).startswith("batch came in with 1 nan among 4 numbers, the first at [1, 1]\n  read by Addmm")
    finding = find_nan((model[0].bias * livegrad.tensor([1.0, float("inf"), 2.0])).sum())
    assert finding.kind == "inf" and finding.given is not None and not find_nan(model(livegrad.ones(1, 2)).sum())


def test_a_nan_in_data_that_reaches_no_result_is_found_where_the_gradient_meets_it():
    w = livegrad.ones(2, requires_grad=True)
    data = livegrad.tensor([1.0, float("nan")])
    finding = find_nan(livegrad.where(data.isnan(), 0.0, data * w).sum())
    assert (finding.phase, finding.name, finding.given) == ("backward", "MulBackward0", None)
    assert "MulBackward0 made 1 nan among 2 numbers of a gradient, in the backward pass, the first" in str(finding)


def test_a_result_without_steps_is_looked_at_itself():
    ratio = livegrad.ones(2) / 0
    assert find_nan(ratio).kind == "inf" and "ratio holds 2 inf among 2 numbers" in str(find_nan(ratio))
    weight = nn.Parameter(livegrad.tensor([float("nan")]))
    assert "weight came in with 1 nan" in str(find_nan(weight)) and not find_nan(livegrad.ones(2))


def test_infinities_put_in_on_purpose_do_not_count():
    s = livegrad.randn(3, 4, requires_grad=True)
    scores = (s @ s.T).masked_fill(livegrad.ones(3, 3).triu(1).bool(), float("-inf"))
    assert not find_nan(scores.softmax(-1).sum())
    mask = livegrad.full((3, 3), float("-inf")).triu(1)
    assert not find_nan((s @ s.T + mask).softmax(-1).pow(2).sum())
    hidden = livegrad.full((3, 3), float("-inf"))
    finding = find_nan((s @ s.T + hidden).softmax(-1).sum())
    assert finding.kind == "nan" and finding.name == "SoftmaxBackward0"  # what was added is gone:
    assert [node.op for node in finding.suspects] == ["add"] and "cannot be had: not kept" in str(finding)


def test_what_cannot_be_had_is_said():
    class Twice(livegrad.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2

    x = livegrad.ones(2, requires_grad=True)
    y = Twice.apply(x) + 1
    z = y.reshape(2, 1).sum()
    finding = find_nan(z)
    assert not finding and [node.op for node, _ in finding.unknown][0] == "Twice"
    assert "a user's Function is not run again" in str(finding)

    broken = Twice.apply(x * 2e38)
    finding = find_nan((broken * 0).sum())  # this product has kept what it read
    assert finding.name == "TwiceBackward" and finding.kind == "inf" and not finding.suspects
    finding = find_nan((broken - broken).sum())
    assert finding.name == "SumBackward0" and [node.op for node in finding.suspects] == ["Twice", "sub"]


def test_after_backward_the_leaves_still_tell():
    x = livegrad.tensor([4.0, -4.0], requires_grad=True)
    y = (x.sqrt() * 2).sum()
    y.backward()
    finding = find_nan(y)
    assert finding.name == "SqrtBackward0" and finding.phase == "forward"


def test_other_arguments_are_refused():
    with pytest.raises(TypeError, match="expects tensors"):
        find_nan("y")


def lstm(x):
    return nn.LSTM(4, 5, batch_first=True)(x)[0]


def conv(x):
    return nn.Sequential(nn.Conv1d(4, 6, 3, padding=1), nn.BatchNorm1d(6), nn.ReLU(), nn.MaxPool1d(2))(
        x.transpose(1, 2)
    )


def written(x):
    y = x.clone()
    y[0] = y[1] * 2
    y.mul_(3)
    y[:, 0].add_(1)
    return y


def views(x):
    y = x * 1
    part = y[1:, :2]
    y.mul_(2)
    return part.transpose(0, 1) + 1


PROGRAMS = {
    "norms": lambda x: F.group_norm(F.layer_norm(x, (4,)).transpose(1, 2), 2) + F.rms_norm(x, (4,)).transpose(1, 2),
    "reductions": lambda x: x.sum(1) + x.mean(1) + x.amax(1) + x.std(1) + x.logsumexp(1) + x.norm(dim=1) + x.prod(1),
    "products": lambda x: x @ x.transpose(1, 2) + livegrad.einsum("abc,adc->abd", x, x),
    "joining": lambda x: livegrad.cat([x, x * 2], 1) + livegrad.stack([x, x], 1).reshape(3, 10, 4),
    "splitting": lambda x: x.chunk(2, 2)[1] * x.split([1, 3], 2)[0] + x.unbind(2)[0][:, :, None],
    "indices": lambda x: x[[0, 2]] + x.gather(2, livegrad.zeros(2, 5, 4, dtype=livegrad.int64)) + x.flip(0)[:2],
    "attention": lambda x: F.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None], is_causal=True),
    "losses": lambda x: F.cross_entropy(x.reshape(-1, 4), livegrad.arange(15) % 4) + F.mse_loss(x, x.detach() + 1),
    "running": lambda x: x.cumsum(1) + x.cumprod(2) + x.sort(1)[0] + x.roll(1, 0) + x.tril(),
    "padding": lambda x: F.pad(x, (1, 2), mode="reflect").repeat(1, 2, 1) * F.interpolate(x, 7).repeat(1, 2, 1),
    "lstm": lstm,
    "conv": conv,
    "written": written,
    "views": views,
    "linalg": lambda x: livegrad.linalg.inv(x[:, :4] + 5 * livegrad.eye(4)) + livegrad.linalg.svdvals(x)[..., None],
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_is_computed_again_is_what_was(name):
    livegrad.manual_seed(0)
    x = livegrad.randn(3, 5, 4, requires_grad=True)
    y = PROGRAMS[name](x)
    replay = _Replay(livegrad.graph(y), [y])
    once = {}
    for node in replay.graph.ops:  # as they were, where somebody knows
        for (record, nr), v in replay.values.items():
            if record is node.grad_fn:
                once[record, nr] = livegrad.tensor(v.native().copy())
    leaves = {key: v for key, v in replay.values.items() if key[0].is_leaf}
    replay.values = dict(leaves)
    checked = 0
    for node in replay.graph.ops:
        why = replay.compute(node.grad_fn)
        assert "failed" not in why, (node, why)
        for nr in range(node.grad_fn.outputs):
            key = node.grad_fn, nr
            if key in once and key in replay.values:
                livegrad.testing.assert_close(livegrad.tensor(replay.values[key].native()), once[key])
                checked += 1
    assert checked


def test_anomaly_detection_tells_the_line_of_the_forward_pass():
    x = livegrad.zeros(2, requires_grad=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with livegrad.autograd.detect_anomaly():
            y = x.sqrt()  # makes the NaN
            with pytest.raises(RuntimeError, match="Function 'SqrtBackward0' returned nan values in its 0th output"):
                (y * 0).sum().backward()
    texts = [str(w.message) for w in caught]
    assert texts[0].startswith("Anomaly Detection has been enabled.")
    assert texts[1].startswith("Error detected in SqrtBackward0. Traceback of forward call that caused the error:\n")
    assert "y = x.sqrt()  # makes the NaN" in texts[1] and caught[1].filename == __file__

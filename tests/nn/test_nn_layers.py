"""Layers: initial values, names, reprs, results and gradients equal PyTorch's."""

import copy
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from against_torch import check, drawn_by_both, identical, numpy, outcome, pair, same, torch

import livegrad
from livegrad import nn

rng = np.random.default_rng(2)

# (constructor, shapes of the inputs)
LAYERS = [
    ("Identity(3, a=4)", [(2, 3)]),
    ("Linear(3, 4)", [(2, 3)]),
    ("Linear(3, 4, bias=False)", [(2, 5, 3)]),
    ("Linear(3, 4, dtype=DTYPE.float64)", None),
    ("Bilinear(2, 3, 4)", [(5, 2), (5, 3)]),
    ("Bilinear(2, 3, 4, bias=False)", [(5, 2), (5, 3)]),
    ("Flatten()", [(2, 3, 4)]),
    ("Flatten(0, 1)", [(2, 3, 4)]),
    ("Unflatten(1, (2, 3))", [(4, 6)]),
    ("ReLU()", [(4, 6)]),
    ("ReLU(inplace=True)", None),
    ("ReLU6()", [(4, 6)]),
    ("LeakyReLU(0.2)", [(4, 6)]),
    ("LeakyReLU(0.2, True)", None),
    ("PReLU()", [(4, 6)]),
    ("PReLU(6, 0.1)", [(4, 6)]),
    ("RReLU()", [(4, 6)]),
    ("ELU(0.5)", [(4, 6)]),
    ("SELU()", [(4, 6)]),
    ("CELU(0.5)", [(4, 6)]),
    ("GELU()", [(4, 6)]),
    ("GELU('tanh')", [(4, 6)]),
    ("SiLU()", [(4, 6)]),
    ("SiLU(True)", None),
    ("Mish()", [(4, 6)]),
    ("Softplus(2, 10)", [(4, 6)]),
    ("Softsign()", [(4, 6)]),
    ("Tanh()", [(4, 6)]),
    ("Tanhshrink()", [(4, 6)]),
    ("Sigmoid()", [(4, 6)]),
    ("LogSigmoid()", [(4, 6)]),
    ("Hardtanh(-2, 1)", [(4, 6)]),
    ("Hardtanh(0, 1, True)", None),
    ("Hardsigmoid()", [(4, 6)]),
    ("Hardswish()", [(4, 6)]),
    ("Hardshrink(0.3)", [(4, 6)]),
    ("Softshrink(0.3)", [(4, 6)]),
    ("Threshold(0.1, 2)", [(4, 6)]),
    ("Softmax(1)", [(4, 6)]),
    ("LogSoftmax(-1)", [(4, 6)]),
    ("Softmin(0)", [(4, 6)]),
    ("Softmax2d()", [(2, 3, 4, 5)]),
    ("GLU()", [(4, 6)]),
    ("LayerNorm(6)", [(4, 6)]),
    ("LayerNorm((3, 6), 1e-3, False)", [(4, 3, 6)]),
    ("LayerNorm(6, bias=False)", [(4, 6)]),
    ("RMSNorm(6)", [(4, 6)]),
    ("RMSNorm((3, 6), 1e-3, False)", [(4, 3, 6)]),
    ("BatchNorm1d(6)", [(4, 6)]),
    ("BatchNorm1d(6)", [(4, 6, 3)]),
    ("BatchNorm1d(6, bias=False)", [(4, 6)]),
    ("BatchNorm2d(3, momentum=None, affine=False)", [(4, 3, 2, 2)]),
    ("BatchNorm2d(3, track_running_stats=False)", [(4, 3, 2, 2)]),
    ("BatchNorm3d(3, 1e-3, 0.5)", [(4, 3, 2, 2, 2)]),
    ("GroupNorm(2, 6)", [(4, 6, 3)]),
    ("GroupNorm(2, 6, affine=False)", [(4, 6)]),
    ("InstanceNorm1d(6)", [(4, 6, 3)]),
    ("InstanceNorm1d(6, affine=True)", [(6, 3)]),
    ("InstanceNorm2d(3, affine=True, track_running_stats=True)", [(4, 3, 2, 2)]),
    ("InstanceNorm3d(3, affine=True)", [(4, 3, 2, 2, 2)]),
    ("LocalResponseNorm(3)", [(4, 6, 3)]),
    ("CrossMapLRN2d(3, alpha=0.5)", [(4, 6, 3, 2)]),
    ("CrossMapLRN2d(4, alpha=0.5)", [(4, 7, 3, 2)]),
    ("CosineSimilarity()", [(4, 6), (4, 6)]),
    ("PairwiseDistance(1.0, keepdim=True)", [(4, 6), (4, 6)]),
    ("Dropout(0.3)", [(4, 6)]),
    ("Dropout(0.3, True)", None),
    ("Dropout1d(0.3)", [(4, 6, 3)]),
    ("Dropout2d(0.3)", [(4, 6, 3, 2)]),
    ("Dropout3d(0.3)", [(4, 6, 3, 2, 2)]),
    ("AlphaDropout(0.3)", [(4, 6)]),
    ("FeatureAlphaDropout(0.3)", [(4, 6, 3)]),
    ("ConstantPad1d(2, 1.5)", [(4, 6)]),
    ("ConstantPad2d((1, 0, 2, 1), 1.5)", [(4, 6, 3)]),
    ("ConstantPad3d(1, 1.5)", [(4, 6, 3, 2)]),
    ("ZeroPad1d(2)", [(4, 6)]),
    ("ZeroPad2d((1, 2, 3, 4))", [(4, 6, 3)]),
    ("ZeroPad3d(1)", [(4, 6, 3, 2)]),
    ("ReflectionPad1d(2)", [(4, 6)]),
    ("ReflectionPad2d((1, 2, 0, 1))", [(4, 6, 3, 3)]),
    ("ReplicationPad1d(2)", [(4, 6)]),
    ("ReplicationPad2d(2)", [(4, 6, 3)]),
    ("ReplicationPad3d(1)", [(4, 6, 3, 2)]),
    ("CircularPad1d(2)", [(4, 6)]),
    ("CircularPad2d(2)", [(4, 6, 3)]),
    ("Embedding(5, 3)", None),
    ("Embedding(5, 3, padding_idx=-1, max_norm=2, norm_type=3, scale_grad_by_freq=True, sparse=True)", None),
    ("Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Sequential(nn.Linear(4, 2), nn.Tanh()))", [(5, 3)]),
]


def both(code, seed=0):
    """The same module in both libraries, made after the same seed."""
    return drawn_by_both(
        lambda: eval("nn." + code, {"nn": nn, "DTYPE": livegrad}),
        lambda: eval("nn." + code, {"nn": torch.nn, "DTYPE": torch}),
        seed,
    )


@pytest.mark.parametrize("code, shapes", LAYERS)
def test_layers_start_as_pytorchs(code, shapes):
    mine, theirs = both(code)
    assert repr(mine) == repr(theirs)
    a, b = mine.state_dict(), theirs.state_dict()
    assert list(a) == list(b)
    for name in b:
        identical(a[name], b[name])
    assert [n for n, _ in mine.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    assert a._metadata == b._metadata


@pytest.mark.parametrize("code, shapes", [case for case in LAYERS if case[1]])
def test_layers_compute_as_pytorchs(code, shapes):
    mine, theirs = both(code)
    for training in (True, False):
        mine.train(training)
        theirs.train(training)
        for _ in range(2):
            arrays = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
            check(mine, theirs, arrays, rtol=1e-4, atol=1e-5)
        for (name, p), (_, q) in zip(mine.named_parameters(), theirs.named_parameters()):
            assert (p.grad is None) == (q.grad is None), name
            same(p.grad, q.grad, rtol=1e-4, atol=1e-4)
    for name, value in theirs.state_dict().items():
        same(mine.state_dict()[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("code", ["Linear(3, 4)", "BatchNorm1d(3)", "Sequential(nn.Linear(3, 4), nn.PReLU())"])
def test_layers_can_be_copied_and_pickled(code):
    mine, _ = both(code)
    mine.train()
    x = livegrad.from_numpy(rng.standard_normal((4, 3)).astype(np.float32))
    mine(x).sum().backward()
    mine.eval()
    for other in (copy.deepcopy(mine), pickle.loads(pickle.dumps(mine))):
        assert repr(other) == repr(mine)
        for (n, p), (m, q) in zip(mine.state_dict().items(), other.state_dict().items()):
            assert n == m and p is not q
            np.testing.assert_array_equal(numpy(p), numpy(q))
        np.testing.assert_array_equal(numpy(mine(x)), numpy(other(x)))
        for p, q in zip(mine.parameters(), other.parameters()):
            assert q.requires_grad and isinstance(q, nn.Parameter) and p is not q
            with livegrad.no_grad():
                q.fill_(9)
            assert not bool((p == 9).any())


def test_embedding_layer():
    for code in ("Embedding(5, 3)", "Embedding(5, 3, padding_idx=2)"):
        mine, theirs = both(code)
        a, b = pair(np.array([[1, 2, 2], [4, 0, 2]]))
        x, y = mine(a), theirs(b)
        same(x, y)
        (x * x).sum().backward()
        (y * y).sum().backward()
        same(mine.weight.grad, theirs.weight.grad)
    rows = livegrad.ones(4, 2)
    fixed = nn.Embedding.from_pretrained(rows)
    assert not fixed.weight.requires_grad and fixed.num_embeddings == 4
    assert nn.Embedding.from_pretrained(rows, freeze=False).weight.requires_grad


def test_batch_norm_loads_states_without_a_count():
    old = nn.BatchNorm1d(3).state_dict()
    del old["num_batches_tracked"]
    old._metadata[""]["version"] = 1
    assert repr(nn.BatchNorm1d(3).load_state_dict(old)) == "<All keys matched successfully>"


WRONG = [
    "nn.Bilinear(0, 1, 2)", "nn.Dropout(2)", "nn.Embedding(3, 4, padding_idx=5)",
    "nn.Embedding(3, 4, _weight=o(2, 2))", "nn.Embedding.from_pretrained(o(3))", "nn.GroupNorm(2, 3)",
    "nn.GroupNorm(1, 3)(o(2, 4, 2))", "nn.Hardtanh(2, 1)", "nn.Hardtanh(min_value=-2)",
    "nn.Unflatten(1, 3)", "nn.Unflatten(1, (2, 'x'))", "nn.BatchNorm1d(3)(o(2, 4))",
    "nn.BatchNorm1d(3)(o(3))", "nn.BatchNorm2d(3)(o(3, 3))", "nn.BatchNorm3d(3)(o(3, 3))",
    "nn.InstanceNorm1d(3)(o(2))", "nn.InstanceNorm1d(3, affine=True)(o(2, 4, 5))", "nn.InstanceNorm1d(3)(o(2, 4, 5))",
    "nn.InstanceNorm2d(3)(o(2, 4))", "nn.LayerNorm(3)(o(2, 4))", "nn.Softmax()(o(2, 2))",
    "nn.Softmax2d()(o(2))", "nn.TripletMarginLoss(-1)", "nn.L1Loss(size_average=False)",
    "nn.L1Loss(reduce=False)", "nn.CircularPad1d(1)(o(2))",
]  # fmt: skip


@pytest.mark.parametrize("code", WRONG)
def test_errors_and_warnings_read_as_pytorchs(code):
    mine = outcome(lambda: eval(code, {"nn": nn, "o": livegrad.ones}))
    theirs = outcome(lambda: eval(code, {"nn": torch.nn, "o": torch.ones}))
    assert mine[1:] == theirs[1:]


@pytest.mark.parametrize("native", ["0", "always"])
def test_a_softmax_without_a_dimension_warns_at_the_users_line(native, tmp_path):
    """With Module.__call__ in Python, and compiled: it has no frame then."""
    program = tmp_path / "program.py"
    program.write_text("import livegrad\nlivegrad.nn.Softmax()(livegrad.ones(2, 2))\n")
    environment = {**os.environ, "LIVEGRAD_NATIVE": native}
    ran = subprocess.run([sys.executable, program], env=environment, capture_output=True, text=True, check=True)
    assert f"{program}:2: UserWarning: Implicit dimension choice" in ran.stderr

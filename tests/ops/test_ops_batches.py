"""Operators under `func.vmap`: what they make of whole batches is what they make of each example, gradients too."""

from __future__ import annotations

import numpy as np
import pytest
from ops_samples import CASES
from ops_support import as_dtype, attempt, needs_torch, to_livegrad, to_numpy, to_torch

import livegrad
from livegrad import dtypes
from livegrad.func import vmap
from livegrad.ops.registry import elementwise, operator, public
from livegrad.ops.rowprogram import total
from livegrad.ops.rows import row_operator
from livegrad.utils._pytree import tree_flatten, tree_unflatten

try:
    import torch
except ImportError:
    torch = None

SIZE = 3
# They return Python numbers, of which there is only one for all examples.
NO_TENSOR = {"allclose", "equal"}
NAMES = [n for n in CASES if n not in NO_TENSOR]


def examples(a, alike):
    """Three variants of an array: others of the same numbers, or the same again."""
    return np.stack([a if alike else np.roll(a.reshape(-1), k).reshape(a.shape) for k in range(SIZE)])


class Sample:
    """A sample of an operator, of which some arrays are batches."""

    def __init__(self, case, args, kwargs, which, alike, grad=False):
        self.case = case
        given = tuple(as_dtype(list(args), dtypes.float32)), {k: as_dtype(v, dtypes.float32) for k, v in kwargs.items()}
        self.leaves, self.spec = tree_flatten(given)
        arrays = [i for i, x in enumerate(self.leaves) if isinstance(x, np.ndarray)]
        self.batched = {"all": arrays, "first": arrays[:1], "others": arrays[1:]}[which]
        self.leaves = [examples(x, alike) if i in self.batched else x for i, x in enumerate(self.leaves)]
        self.tensors = [to_livegrad(x, grad) for x in self.leaves]
        self.variables = [t for t in self.tensors if isinstance(t, livegrad.Tensor) and t.requires_grad]

    def call(self, function, whole, parts):
        full = list(whole)
        for i, part in zip(self.batched, parts):
            full[i] = part
        args, kwargs = tree_unflatten(full, self.spec)
        return function(*args, **kwargs)

    def one_by_one(self):
        rows = [
            tree_flatten(self.call(self.case.function, self.tensors, [self.tensors[i][k] for i in self.batched]))[0]
            for k in range(SIZE)
        ]
        return [livegrad.stack(found) for found in zip(*rows)]

    def together(self):
        batched = vmap(lambda *parts: self.call(self.case.function, self.tensors, parts))
        return tree_flatten(batched(*[self.tensors[i] for i in self.batched]))[0]

    def in_torch(self):
        whole = [to_torch(x) for x in self.leaves]
        batched = torch.func.vmap(lambda *parts: self.call(self.case.torch_function, whole, parts))
        made = batched(*[whole[i] for i in self.batched])
        return list(tree_flatten(tuple(made) if isinstance(made, tuple) else made)[0])

    def gradients(self, outputs):
        wanted = [t for t in outputs if t.requires_grad]
        if not wanted:
            return [None] * len(self.variables)
        seeds = [livegrad.ones_like(t) * 1.5 for t in wanted]
        return livegrad.autograd.grad(wanted, self.variables, seeds, allow_unused=True)


def samples(case, grad=False):
    for args, kwargs in case.samples():
        for which in ("all", "first", "others"):
            for alike in (False, True):  # some operators take only what is symmetric, say
                sample = Sample(case, args, kwargs, which, alike, grad)
                expected = attempt(sample.one_by_one) if sample.batched else None
                if isinstance(expected, list):
                    yield sample, expected
                    break


def near(got, expected):
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(to_numpy(got), to_numpy(expected), rtol=1e-3, atol=1e-4)


# (Of an example alone, `as_strided` looks at the memory of the whole batch.)
@pytest.mark.parametrize("name", [n for n in NAMES if n != "as_strided"])
def test_a_batch_gives_what_its_examples_give_and_their_gradients(name):
    for sample, expected in samples(CASES[name], True):
        made = sample.together()
        assert len(made) == len(expected)
        for got, e in zip(made, expected):
            near(got, e)
        wanted = attempt(sample.gradients, expected) if sample.variables else None
        if not isinstance(wanted, (list, tuple)):
            continue  # there is no derivative
        for got, e in zip(sample.gradients(made), wanted):
            if got is not None and e is not None:
                near(got, e)
            else:
                assert all(t is None or not t.any() for t in (got, e))


@needs_torch
@pytest.mark.parametrize("name", [n for n in NAMES if torch and CASES[n].torch_function])
def test_a_batch_gives_what_it_gives_in_pytorch(name):
    for sample, _ in samples(CASES[name]):
        expected = attempt(sample.in_torch)
        if not isinstance(expected, list):
            continue  # PyTorch has no rule for it
        for got, e in zip(sample.together(), expected):
            assert tuple(got.shape) == tuple(e.shape)
            np.testing.assert_allclose(to_numpy(got), to_numpy(e), rtol=1e-3, atol=1e-4)


def test_new_operators_take_batches_by_their_kind():
    bump = elementwise("bump_of_batches", lambda x, y: x * x - y)
    shares = row_operator(
        "shares_of_batches", lambda x: x / total(x), lambda g, x, result: (g - total(g * result)) / total(x)
    )
    cubes = operator(
        "cubes_of_batches",
        lambda x: livegrad.from_numpy(x.native() ** 3)._value(),
        tensors=("x",),
        grads={"x": lambda g, x: g * 3 * x * x},
    )

    @public("sum_of_cubes_of_batches", op=cubes)
    def sum_of_cubes(x):
        return cubes.apply((x,)).sum()

    x = livegrad.rand(4, 3, requires_grad=True)
    y = livegrad.rand(3)
    for f in (
        lambda t: bump(t, y),
        lambda t: t.bump_of_batches(2.0),
        lambda t: shares.apply((t,), dim=0),
        lambda t: t.sum_of_cubes_of_batches(),
    ):
        expected = livegrad.stack([f(row) for row in x])
        made = vmap(f)(x)
        near(made, expected)
        weights = livegrad.rand_like(made)
        got, wanted = (livegrad.autograd.grad((t * weights).sum(), x)[0] for t in (made, expected))
        near(got, wanted)


def test_a_rule_that_an_operator_states_is_used():
    calls = []

    def forward(x, dim):
        calls.append(x.shape)
        return livegrad.from_numpy(x.native().max(dim))._value()

    from livegrad.ops.batch_rules import along

    top = operator("top_of_batches", forward, tensors=("x",), batch=along("dim"))
    x = livegrad.rand(4, 3, 2)
    near(vmap(lambda t: top.apply((t,), dim=1))(x), x.amax(2))
    assert calls == [(4, 3, 2)]

"""Random indices, read and written, with gradients: as in PyTorch. And what single indices and numbers mean at the edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ops_support import needs_torch

import livegrad

try:
    import torch
except ImportError:
    torch = None

SHAPES = [(1,), (3,), (5,), (2, 3), (4, 1), (2, 3, 4), (1, 3, 2), (0, 3), (2, 2, 2, 2)]


@st.composite
def one_index(draw, shape):
    """Python text of an index into a shape, in which T is the library."""
    items, d = [], 0
    common = draw(st.sampled_from([(), (2,), (3,), (2, 1)]))
    while d < len(shape):
        n = shape[d]
        kind = draw(
            st.sampled_from(
                ["int", "slice", "slice", "none", "dots", "tensor", "tensor", "list", "mask", "array", "stop"]
            )
        )
        if kind == "int" and n:
            items.append(str(draw(st.integers(-n, n - 1))))
        elif kind == "slice" or not n:
            bound = st.none() | st.integers(-n - 2, n + 2)
            items.append(f"slice({draw(bound)}, {draw(bound)}, {draw(st.sampled_from([None, 1, 2, 3]))})")
        elif kind == "none":
            items.append("None")
            continue
        elif kind == "dots" and "..." not in items:
            items.append("...")
            d += draw(st.integers(0, len(shape) - d))
            continue
        elif kind in ("tensor", "array"):
            count = int(np.prod(common))
            values = draw(st.lists(st.integers(-n, n - 1), min_size=count, max_size=count))
            make = "T.tensor({}).reshape({})" if kind == "tensor" else "np.array({}).reshape({})"
            items.append(make.format(values, common))
        elif kind == "list":
            items.append(str(draw(st.lists(st.integers(-n, n - 1), max_size=3))))
        elif kind == "mask":
            items.append(f"T.tensor({draw(st.lists(st.booleans(), min_size=n, max_size=n))})")
        elif kind == "stop":
            break
        else:
            continue
        d += 1
    return f"({', '.join(items)},)" if items else "()"


@st.composite
def programs(draw):
    shape = draw(st.sampled_from(SHAPES))
    index = draw(one_index(shape))
    n = int(np.prod(shape))
    lines = [f"leaf = T.arange(1.0, {n + 1}.0, dtype=T.float64).requires_grad_()", f"x = (leaf * 1).reshape({shape})"]
    if draw(st.booleans()) and len(shape) > 1 and shape[0] == 1:
        lines.append("x = x.expand(3, *x.shape[1:])[1:2].clone()")
    kind = draw(st.sampled_from(["read", "number", "values", "multiply", "accumulate"]))
    if kind == "read":
        lines.append(f"x = x[{index}]")
    elif kind == "number":
        lines.append(f"x[{index}] = 2.5")
    elif kind == "values":
        lines += [
            f"shape = tuple(x[{index}].shape)",
            "v = T.full(shape, 3.0, dtype=T.float64).requires_grad_()",
            f"x[{index}] = v",
        ]
    elif kind == "multiply":
        lines.append(f"x[{index}] *= 2")
    else:
        lines += [
            f"index = tuple(i for i in {index} if isinstance(i, T.Tensor))",
            "if index: x = x.index_put(index, T.tensor(7.0, dtype=T.float64), accumulate=True)",
        ]
    lines.append("loss = (x * x * (1 + T.arange(x.numel(), dtype=T.float64).reshape(x.shape))).sum()")
    lines.append("if loss.requires_grad: loss.backward()")
    return "\n".join(lines)


def run(program, lib):
    names = {"T": lib, "np": np}
    try:
        exec(program, names)
    except Exception as error:  # noqa: BLE001 (the errors are what is compared)
        return error
    return names


@needs_torch
@settings(max_examples=150, deadline=None)
@given(programs())
def test_random_indices(program):
    ours, theirs = run(program, livegrad), run(program, torch)
    if isinstance(theirs, Exception):
        # Which of several wrong things is named first is no matter.
        assert isinstance(ours, Exception), f"{program}\nPyTorch: {theirs!r}"
        return
    assert not isinstance(ours, Exception), f"{program}\nlivegrad: {ours!r}"
    for name in ("x", "loss", "leaf"):
        a, b = ours[name].detach().numpy(), theirs[name].detach().numpy()
        assert a.shape == b.shape, f"{program}\n{name}"
        np.testing.assert_allclose(a, b, 1e-9, err_msg=f"{program}\n{name}")
    for name in ("leaf", "v"):
        if name in theirs and theirs[name].grad is not None:
            a, b = ours[name].grad.numpy(), theirs[name].grad.numpy()
            np.testing.assert_allclose(a, b, 1e-9, err_msg=f"{program}\ngradient of {name}")


EDGES = """
T.arange(9).reshape(3, 3)[[[0, 1], [1, 2]]]
T.arange(9).reshape(3, 3)[[T.tensor(0), 1]]
T.arange(9).reshape(3, 3)[[T.tensor(0)]]
T.arange(9).reshape(3, 3)[[slice(0, 2), 1]]
T.arange(9).reshape(3, 3)[[None, 1]]
T.arange(9).reshape(3, 3)[[..., 1]]
T.arange(9).reshape(3, 3)[[True, False, True]]
T.arange(9).reshape(3, 3)[[np.array([1]), np.array([0])]]
T.arange(9).reshape(3, 3)[np.array([1, 0, 1], dtype=np.uint8)]
T.zeros(0, 3)[np.zeros((0, 3), bool)]
T.arange(9).reshape(3, 3)[np.zeros((0, 3), bool)]
T.arange(9).reshape(3, 3)[0.5:2]
T.arange(9).reshape(3, 3)[::0]
T.arange(9).reshape(3, 3)[T.tensor(1.0):]
T.arange(9).reshape(3, 3)[T.tensor([1], dtype=T.int16)]
T.zeros(3, dtype=T.uint8).fill_(-1)
T.zeros(3, dtype=T.uint8).fill_(-256)
T.zeros(3).fill_(1e300)
T.full((2,), -1, dtype=T.uint8)
T.full((2,), nan, dtype=T.int64)
T.tensor(-1, dtype=T.uint8)
T.tensor([-1, 255], dtype=T.uint8)
T.tensor([300], dtype=T.uint8)
T.tensor([2**40, 1], dtype=T.int32)
T.tensor([200], dtype=T.int8)
T.tensor([1.7e19], dtype=T.int64)
T.zeros(3, dtype=T.uint8).masked_fill(T.tensor([True, False, True]), 300)
T.zeros(3, dtype=T.uint8).masked_fill(T.tensor([True, False, True]), -1)
T.full((2,), 200, dtype=T.uint8).clamp(max=300)
T.zeros(2) * 2**70
T.zeros(2) + 10**400
T.zeros(2, 3).index_add(0, T.tensor([0, 0]), T.ones(2, 2))
T.zeros(2, 3).index_copy(0, T.tensor([0]), T.ones(2, 3))
T.zeros(2, 3).index_put((T.tensor([0]),), T.ones(3, dtype=T.float64))
T.zeros(2, 3).masked_scatter(T.tensor([True, False, True]), T.arange(1.0))
T.zeros(2, 3).masked_scatter(T.tensor([True, False, True]), T.arange(4.0))
put(T.zeros(2, 3), T.tensor([True, False]), T.arange(3))
put(T.zeros(2, 3), T.tensor([True, False]), T.tensor(3))
put(T.zeros(2, 3), T.tensor([1, 0]), T.tensor(3))
put(T.zeros(2, 3), 0, T.tensor([1, 2, 3]))
put(T.zeros(2, 3), 0, None)
put(T.zeros(2, 3), [0], "a")
put(T.zeros(3, dtype=T.uint8), [0], -1)
T.tensor([1.0, 2.0]).sum(dtype=float)
T.tensor([1, 2]).mean(dtype=float)
T.tensor([1.0, 2.0]).prod(dtype=int)
T.tensor([1.0, 2.0]).cumsum(0, dtype=float)
T.tensor([1.0, 2.0]).cumprod(0, dtype=float)
T.nn.functional.pad(T.arange(6.0).reshape(1, 2, 3), (-1, 2), mode="circular")
T.nn.functional.pad(T.arange(6.0).reshape(1, 2, 3), (2, -1), mode="circular")
T.nn.functional.pad(T.arange(6.0).reshape(1, 2, 3), (-1, -1), mode="circular")
T.linalg.solve(T.eye(2), T.zeros(3))
T.linalg.solve(T.eye(2), T.zeros(3, 2))
T.linalg.inv([[1.0, 2.0], [3.0, 4.0]])
T.linalg.norm("a")
T.fft.fft([1.0])
T.fft.fft(None)
""".strip().splitlines()


def put(x, index, value):
    x[index] = value
    return x


@needs_torch
@pytest.mark.parametrize("source", EDGES)
def test_edges(source):
    found = []
    for lib in (livegrad, torch):
        try:
            found.append(eval(source, {"T": lib, "np": np, "nan": float("nan"), "put": put}))
        except Exception as error:  # noqa: BLE001 (the errors are what is compared)
            found.append(error)
    ours, theirs = found
    if isinstance(theirs, Exception):
        assert type(ours) is type(theirs), f"{ours!r}, not {theirs!r}"
    else:
        assert not isinstance(ours, Exception), repr(ours)
        assert (tuple(ours.shape), str(ours.dtype)) == (tuple(theirs.shape), str(theirs.dtype))
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())

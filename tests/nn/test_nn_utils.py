"""nn.utils: clipping, and parameters as one vector."""

import numpy as np
import pytest
from against_torch import outcome, same, torch

import livegrad

rng = np.random.default_rng(3)
SHAPES = [(3, 4), (5,), ()]


def parameters(library, scale=1.0):
    generator = np.random.default_rng(3)
    made = []
    for shape in SHAPES:
        p = library.nn.Parameter(library.from_numpy(np.asarray(generator.standard_normal(shape), np.float32)))
        p.grad = library.from_numpy(np.asarray(scale * generator.standard_normal(shape), np.float32))
        made.append(p)
    return [*made, library.nn.Parameter(library.ones(2))]  # and one without a gradient


@pytest.mark.parametrize("norm", [2.0, 1, 3, float("inf")])
@pytest.mark.parametrize("scale", [1e-3, 10.0])
def test_clip_grad_norm(norm, scale):
    mine, theirs = parameters(livegrad, scale), parameters(torch, scale)
    same(livegrad.nn.utils.clip_grad_norm_(mine, 1.0, norm), torch.nn.utils.clip_grad_norm_(theirs, 1.0, norm))
    same([p.grad for p in mine], [p.grad for p in theirs])


def test_clip_grad_norm_of_one_tensor_of_a_generator_and_of_none():
    for pick in (lambda p: p[0], lambda p: (q for q in p), lambda p: []):
        mine, theirs = parameters(livegrad), parameters(torch)
        a = outcome(lambda: livegrad.nn.utils.clip_grad_norm_(pick(mine), 0.5))  # noqa: B023
        b = outcome(lambda: torch.nn.utils.clip_grad_norm_(pick(theirs), 0.5))  # noqa: B023
        same(a[0], b[0])
        assert a[1:] == b[1:]
        same([p.grad for p in mine], [p.grad for p in theirs])


def test_clip_grad_norm_may_refuse_infinity():
    mine, theirs = parameters(livegrad), parameters(torch)
    mine[0].grad[0, 0] = theirs[0].grad[0, 0] = float("inf")
    a = outcome(lambda: livegrad.nn.utils.clip_grad_norm_(mine, 1.0, error_if_nonfinite=True))
    b = outcome(lambda: torch.nn.utils.clip_grad_norm_(theirs, 1.0, error_if_nonfinite=True))
    assert a[1] == b[1]


def test_clip_grad_value():
    mine, theirs = parameters(livegrad), parameters(torch)
    livegrad.nn.utils.clip_grad_value_(mine, 0.3)
    torch.nn.utils.clip_grad_value_(theirs, 0.3)
    same([p.grad for p in mine], [p.grad for p in theirs])


def test_vectors():
    mine, theirs = parameters(livegrad), parameters(torch)
    vector = livegrad.nn.utils.parameters_to_vector(mine)
    same(vector, torch.nn.utils.parameters_to_vector(theirs))
    livegrad.nn.utils.vector_to_parameters(vector * 2, mine)
    torch.nn.utils.vector_to_parameters(torch.nn.utils.parameters_to_vector(theirs) * 2, theirs)
    same(mine, theirs)
    assert all(p.requires_grad and p.is_leaf for p in mine)
    with pytest.raises(TypeError, match="expected torch.Tensor, but got: int"):
        livegrad.nn.utils.vector_to_parameters(3, [])

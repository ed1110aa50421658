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


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("norm", [2.0, float("inf"), -float("inf"), 0.5])
def test_total_norm_of_every_dtype(dtype, norm):
    mine, theirs = ([p.grad.to(getattr(m, dtype)) for p in parameters(m)[:-1]] for m in (livegrad, torch))
    a = livegrad.nn.utils.get_total_norm(mine, norm)
    b = torch.nn.utils.get_total_norm(theirs, norm)
    assert str(a.dtype) == str(b.dtype)
    rtol = {"float64": 1e-12, "float32": 2e-6}.get(dtype, 0.02)
    assert a.item() == pytest.approx(b.item(), rel=rtol)


def test_total_norms_are_not_recorded():
    for library in (livegrad, torch):
        x = library.ones(3, requires_grad=True)
        assert not library.nn.utils.get_total_norm([x, x * 2]).requires_grad


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_gradients_that_are_not_finite_are_scaled_as_pytorch_does(bad):
    mine, theirs = parameters(livegrad), parameters(torch)
    mine[0].grad[1, 1] = theirs[0].grad[1, 1] = bad
    same(livegrad.nn.utils.clip_grad_norm_(mine, 1.0), torch.nn.utils.clip_grad_norm_(theirs, 1.0))
    same([p.grad for p in mine], [p.grad for p in theirs])


def test_a_clipped_step_is_pytorchs():
    """The scaling waits for the optimizer, which reads the gradients in the same kernel."""
    paths = []
    for library in (livegrad, torch):
        params = parameters(library, 10.0)[:-1]
        optimizer = library.optim.AdamW(params, lr=0.1)
        library.nn.utils.clip_grad_norm_(params, 0.5)
        optimizer.step()
        paths.append([*params, *(p.grad for p in params)])
    same(*paths)
    small = parameters(livegrad, 1e-3)
    before = [p.grad.tolist() for p in small[:-1]]
    livegrad.nn.utils.clip_grad_norm_(small, 1.0)
    assert [p.grad.tolist() for p in small[:-1]] == before


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


def test_modules_without_initial_numbers():
    livegrad.manual_seed(0)
    module = livegrad.nn.utils.skip_init(livegrad.nn.Linear, 3, out_features=2, dtype=livegrad.float64)
    assert module.weight.shape == (2, 3) and module.weight.dtype is livegrad.float64 and module.weight.requires_grad
    assert module.weight.device.type == "cpu"
    drawn = livegrad.rand(1)
    livegrad.manual_seed(0)
    assert drawn.tolist() == livegrad.rand(1).tolist()
    with pytest.raises(RuntimeError, match="Expected a Module"):
        livegrad.nn.utils.skip_init(int)
    with pytest.raises(RuntimeError, match="'device' arg"):
        livegrad.nn.utils.skip_init(livegrad.nn.ReLU)

"""Every elementwise operator of the registry on complex operands: as in PyTorch, refusals included."""

import functools

import pytest
from complex_support import same, torch

import livegrad  # noqa: F401  (registers the operators)
from livegrad.ops.registry import ELEMENTWISE, REGISTRY

# PyTorch's own gradients of these raise, for complex operands or for mixed ones.
NO_GRADIENT_THERE = {"logaddexp", "nn.functional.silu"}
# The words of the refusal differ.
OTHER_WORDS = {"clamp_min", "clamp_max", "bitwise_left_shift", "bitwise_right_shift"}


def _dotted(module, name):
    return functools.reduce(getattr, name.split("."), module)


ENTRIES = sorted(
    (entry.reference, entry.name)
    for entry in REGISTRY.values()
    if entry.kind == "elementwise" and entry.reference and entry.name in ELEMENTWISE
    and len(ELEMENTWISE[entry.name].names) <= 2 and "nn." not in entry.reference
)  # fmt: skip


@pytest.mark.parametrize("reference", [reference for reference, _ in ENTRIES])
def test_one_operand_or_two(reference):
    if reference in OTHER_WORDS or not hasattr(torch, reference):
        pytest.skip("no such function there")
    order = 0 if reference in NO_GRADIENT_THERE else 2
    count = next(len(ELEMENTWISE[name].names) for r, name in ENTRIES if r == reference)
    if count == 1:
        same(lambda m, z, w, r: _dotted(m, reference)(z), order)
        return
    same(lambda m, z, w, r: _dotted(m, reference)(z, w), order)
    same(lambda m, z, w, r: _dotted(m, reference)(z, r), order)
    same(lambda m, z, w, r: _dotted(m, reference)(r, z), order)


NUMBERS = [2.5 - 1j, 2, 0.5, -1, -2, 3, 1j]


@pytest.mark.parametrize("number", NUMBERS, ids=str)
def test_with_numbers(number):
    for program in (
        lambda m, z, w, r: z + number,
        lambda m, z, w, r: number - z,
        lambda m, z, w, r: r * number,
        lambda m, z, w, r: z / (number + 1),
        lambda m, z, w, r: number / z,
        lambda m, z, w, r: z**number,
        lambda m, z, w, r: r.abs() ** number,
        lambda m, z, w, r: m.add(z, w, alpha=number),
        lambda m, z, w, r: m.addcmul(z, w, w, value=number),
        lambda m, z, w, r: m.addcdiv(z, w, w, value=number),
        lambda m, z, w, r: z == number,
        lambda m, z, w, r: z.masked_fill(r > 0, number),
    ):
        same(program)


def test_choices():
    same(lambda m, z, w, r: m.where(r > 0, z, w))
    same(lambda m, z, w, r: m.where(r > 0, z, 2j))
    same(lambda m, z, w, r: m.lerp(z, w, 0.3))
    same(lambda m, z, w, r: m.add(r, r, alpha=1j), order=0)
    same(lambda m, z, w, r: z.clamp(0, 1))
    same(lambda m, z, w, r: m.float_power(z, r))
    same(lambda m, z, w, r: m.nan_to_num(z * float("inf")), order=0)
    same(lambda m, z, w, r: m.isclose(z, z + 1e-12))


@pytest.mark.parametrize("name", ["gelu", "elu", "softplus", "leaky_relu", "hardtanh", "relu6", "hardswish"])
def test_activations_that_are_of_real_numbers(name):
    same(lambda m, z, w, r: getattr(m.nn.functional, name)(z))


def test_single_precision_is_kept():
    x = livegrad.tensor([1 + 2j, -0.5 + 0.1j])
    for name in ("exp", "log", "sqrt", "sin", "tanh", "abs", "angle", "sgn", "reciprocal"):
        made, there = getattr(x, name)(), getattr(torch.tensor([1 + 2j, -0.5 + 0.1j]), name)()
        assert str(made.dtype) == str(there.dtype)
        assert torch.allclose(torch.from_numpy(made.numpy()), there, rtol=1e-6)

"""Checking gradients against central differences."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from ..tensor import Tensor
from .functions import grad
from .mode import enable_grad, no_grad


class GradcheckError(RuntimeError):
    """The analytical gradient differs from the numerical one."""


def _outputs(function: Callable, inputs: tuple) -> list[Tensor]:
    out = function(*inputs)
    return [t for t in (out if isinstance(out, (tuple, list)) else (out,)) if isinstance(t, Tensor)]


def _numerical(function: Callable, inputs: tuple, x: Tensor, eps: float) -> list[np.ndarray]:
    """For each output the Jacobian by x, (elements of x, directions, elements of the output), by central differences.

    Directions: real, and for complex x imaginary.
    """
    data = x.detach()
    directions = (1, 1j) if x.is_complex() else (1,)
    flat = data.reshape(-1)
    columns: list[list[np.ndarray]] = []
    with no_grad():
        for i in range(flat.numel()):
            keep = flat[i].item()
            for direction in directions:
                pair = []
                for shift in (eps, -eps):
                    flat[i] = keep + shift * direction
                    pair.append([_wide(t).copy() for t in _outputs(function, inputs)])
                flat[i] = keep
                columns.append([(a - b).reshape(-1) / (2 * eps) for a, b in zip(*pair)])
    if not columns:
        return []
    jacobians = [np.stack([c[k] for c in columns]) for k in range(len(columns[0]))]
    return [j.reshape(flat.numel(), len(directions), j.shape[-1]) for j in jacobians]


def _wide(t: Tensor) -> np.ndarray:
    return t._to_numpy().astype(np.complex128 if t.is_complex() else np.float64)


def _expected(numerical: np.ndarray, seed: complex) -> np.ndarray:
    """The gradient of Re(conj(seed) * output) by x, whose imaginary part is that in the imaginary direction."""
    along = (np.conj(seed) * numerical).real
    return along[:, 0] if along.shape[1] == 1 else along[:, 0] + 1j * along[:, 1]


def gradcheck(
    func: Callable,
    inputs: Any,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    *,
    check_backward_ad: bool = True,
    check_forward_ad: bool = False,
    **ignored: Any,
) -> bool:
    """Compare the gradients of `func` with central differences, at inputs that require gradients, in float64 or
    complex128; with check_forward_ad also the tangents that it makes of dual numbers.

    Returns True; raises GradcheckError where they differ (or returns False with raise_exception=False).
    """
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    wanted = [x for x in inputs if isinstance(x, Tensor) and x.requires_grad]
    if not wanted:
        raise ValueError("gradcheck expects at least one input tensor to require gradient")
    # Leaves over contiguous memory of their own, so that elements can be shifted one by one.
    # All differences come first: shifting an element is an in-place change of what a recorded graph holds.
    differences = [_numerical(func, inputs, x, eps) for x in wanted]
    if check_forward_ad and not _tangents_agree(func, inputs, wanted, differences, atol, rtol, raise_exception):
        return False
    outputs = _outputs(func, inputs)
    for o_number, output in enumerate(outputs):
        if not output.requires_grad or not check_backward_ad:
            continue
        for x_number, (x, numerical) in enumerate(zip(wanted, differences)):
            for direction in (1, 1j) if output.is_complex() else (1,):
                expected = np.zeros((0, output.numel()))
                if numerical:
                    expected = _expected(numerical[o_number], direction)
                analytical = np.zeros_like(expected)
                for j in range(output.numel()):
                    seed = output.new_zeros(output.numel())
                    seed[j] = direction
                    (g,) = grad(output, x, seed.reshape(output.shape), retain_graph=True, allow_unused=True)
                    if g is not None:
                        analytical[:, j] = _wide(g).reshape(-1)
                if not np.allclose(analytical, expected, rtol, atol, equal_nan=True):
                    if not raise_exception:
                        return False
                    raise _mismatch(o_number, x_number, expected, analytical)
    return True


def _mismatch(output: int, x: int, expected: np.ndarray, analytical: np.ndarray) -> GradcheckError:
    worst = float(np.nanmax(np.abs(analytical - expected)))
    return GradcheckError(
        f"Jacobian mismatch for output {output} with respect to input {x} (largest difference {worst:g}),\n"
        f"numerical:{expected}\nanalytical:{analytical}"
    )


def _tangents_agree(
    func: Callable, inputs: tuple, wanted: list[Tensor], differences: list, atol: float, rtol: float, raising: bool
) -> bool:
    """Whether duals along each element of each input have the tangents that central differences tell of."""
    from . import forward_ad

    for x_number, (x, numerical) in enumerate(zip(wanted, differences)):
        for i in range(x.numel()):
            for k, direction in enumerate((1, 1j) if x.is_complex() else (1,)):
                along = x.detach().new_zeros(x.numel())  # type: ignore[attr-defined]
                along[i] = direction
                with forward_ad.dual_level():
                    given = [forward_ad.make_dual(t, along.reshape(t.shape)) if t is x else t for t in inputs]
                    found = [forward_ad.unpack_dual(t).tangent for t in _outputs(func, tuple(given))]
                for o_number, tangent in enumerate(found):
                    expected = numerical[o_number][i, k]
                    analytical = np.zeros_like(expected) if tangent is None else _wide(tangent.detach()).reshape(-1)
                    if not np.allclose(analytical, expected, rtol, atol, equal_nan=True):
                        if raising:
                            raise _mismatch(o_number, x_number, expected, analytical)
                        return False
    return True


def gradgradcheck(
    func: Callable, inputs: Any, grad_outputs: Any = None, eps: float = 1e-6, atol: float = 1e-5, rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False, raise_exception: bool = True, **ignored: Any,
) -> bool:  # fmt: skip
    """Compare second derivatives of `func` with central differences of its gradients."""
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    wanted = [x for x in inputs if isinstance(x, Tensor) and x.requires_grad]
    outputs = [o for o in _outputs(func, inputs) if o.requires_grad]
    if grad_outputs is None:
        from ..random import randn

        seeds = [randn(tuple(o.shape), dtype=o.dtype, device=o.device).requires_grad_() for o in outputs]
    else:
        seeds = list((grad_outputs,) if isinstance(grad_outputs, Tensor) else grad_outputs)

    def first_order(*args: Any) -> tuple:
        with enable_grad():  # differences are taken with recording off
            outs = [o for o in _outputs(func, args[: len(inputs)]) if o.requires_grad]
            xs = [x for x in args[: len(inputs)] if isinstance(x, Tensor) and x.requires_grad]
            grads = grad(outs, xs, args[len(inputs) :], create_graph=True, allow_unused=True)
        return tuple(g for g in grads if g is not None)

    del wanted
    return gradcheck(first_order, (*inputs, *seeds), eps, atol, rtol, raise_exception)


class _Callable(ModuleType):
    """Importing this module puts it where the package has the function of its name, so it can be called as well."""

    def __call__(self, *args: Any, **kwargs: Any) -> bool:
        return gradcheck(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable

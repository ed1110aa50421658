"""Forward-mode differentiation with dual numbers: a tensor with a tangent, and what becomes of the tangent.

Tangents are not carried along: what is computed from dual tensors is recorded as usual, and `unpack_dual` goes through
the record with a vector-Jacobian product and differentiates that by its cotangent, which gives the Jacobian-vector
product. So a dual tensor requires gradients, and what is computed in a `no_grad` block has no tangent.

>>> import livegrad
>>> from livegrad.autograd import forward_ad
>>> with forward_ad.dual_level():
...     x = forward_ad.make_dual(livegrad.tensor([1.0, 2.0]), livegrad.tensor([1.0, 10.0]))
...     primal, tangent = forward_ad.unpack_dual(x ** 2)
>>> primal, tangent
(tensor([1., 4.]), tensor([ 2., 40.]))
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

from ..tensor import Tensor
from .functions import grad
from .mode import MODE, enable_grad

__all__ = ["UnpackedDualTensor", "dual_level", "enter_dual_level", "exit_dual_level", "make_dual", "unpack_dual"]


class UnpackedDualTensor(NamedTuple):
    """What `unpack_dual` returns: the tensor without its tangent, and the tangent or None."""

    primal: Tensor
    tangent: Tensor | None


class _Dual(NamedTuple):
    """A dual tensor, its tangent, and whether the tensor that it was made of has a history of its own."""

    tensor: Tensor
    tangent: Tensor
    outside: bool


class _Level(threading.local):
    """The duals of the level that is open in this thread, or None."""

    duals: list[_Dual] | None = None


_LEVEL = _Level()


def enter_dual_level() -> int:
    """Open the level in which dual tensors can be made. Raises RuntimeError if one is open: there is only one."""
    if _LEVEL.duals is not None:
        raise RuntimeError(
            "Nested forward mode AD is not supported at the moment. Close the level that is open by exit_dual_level(), "
            "or use livegrad.func.jvp, which can be nested"
        )
    _LEVEL.duals = []
    return 0


def exit_dual_level(*, level: int | None = None) -> None:
    """Close the level: its tensors have no tangents any more. Raises RuntimeError if none is open."""
    if _LEVEL.duals is None or level not in (None, 0):
        raise RuntimeError(
            f"Trying to exit a forward AD level that was not the last one that was created: expected "
            f"{'none' if _LEVEL.duals is None else 0}, got {level}"
        )
    _LEVEL.duals = None


class dual_level:
    """Context manager: `enter_dual_level`, and `exit_dual_level` at its end."""

    def __enter__(self) -> int:
        return enter_dual_level()

    def __exit__(self, *exc: Any) -> None:
        exit_dual_level()


def __getattr__(name: str) -> Any:
    if name == "_current_level":
        return -1 if _LEVEL.duals is None else 0
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Tensor:
    """A tensor that sees the memory of `tensor` and has this tangent, of the same shape.

    `unpack_dual` of it gives that very tangent, or a copy if it lies in memory otherwise than `tensor`.

    Raises RuntimeError outside of any level and for another shape, ValueError for whole numbers.
    """
    if _LEVEL.duals is None:
        raise RuntimeError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to enter_dual_level() first."
        )
    for what, t in (("primal", tensor), ("tangent", tangent)):
        if not (t.dtype.is_floating_point or t.dtype.is_complex):
            raise ValueError(f"Expected {what} to be floating point or complex, but got: {t.dtype}")
    if tensor.shape != tangent.shape:
        raise RuntimeError(
            f"Expected tangent to have the shape of the primal, {list(tensor.shape)}, but got {list(tangent.shape)}"
        )
    if tangent.stride() != tensor.stride():
        tangent = tangent.clone()
    outside = tensor.requires_grad and MODE.grad
    made = tensor.view_as(tensor) if outside else tensor.detach().requires_grad_()
    _LEVEL.duals.append(_Dual(made, tangent, outside))
    return made


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """The tensor without its tangent, and the tangent: None if it does not depend on any dual tensor, or no level is
    open."""
    duals = _LEVEL.duals
    if not duals or tensor._edge is None:
        return UnpackedDualTensor(tensor, None)
    for dual in duals:
        if dual.tensor is tensor:
            record = dual.outside or dual.tangent.requires_grad
            return UnpackedDualTensor(tensor if record else tensor.detach(), dual.tangent)
    inputs = [dual.tensor for dual in duals]
    with enable_grad():
        seed = tensor.detach().new_zeros(tensor.shape).requires_grad_()  # type: ignore[attr-defined]
        slopes = grad([tensor], inputs, [seed], retain_graph=True, create_graph=True, allow_unused=True)
        used = [(dual, slope) for dual, slope in zip(duals, slopes) if slope is not None]
        if not used:
            return UnpackedDualTensor(tensor, None)
        record = _leads_outside(tensor, duals) or any(dual.tangent.requires_grad for dual, _ in used)
        flowing = [(slope, dual.tangent.to(slope.dtype)) for dual, slope in used if slope.requires_grad]
        found = None
        if flowing:
            parts, tangents = zip(*flowing)
            (found,) = grad(parts, [seed], tangents, create_graph=record, allow_unused=True)
    tangent = seed.detach() if found is None else found
    return UnpackedDualTensor(tensor if record else tensor.detach(), tangent)


def _leads_outside(tensor: Tensor, duals: list[_Dual]) -> bool:
    """Whether a tensor depends on what requires gradients otherwise than by a dual tensor that was made of nothing."""
    own = {dual.tensor._edge for dual in duals if not dual.outside}
    waiting: list[Any] = [tensor._edge]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        if node.is_leaf and node not in own:
            return True
        for edge in node.next:
            if edge is not None and edge not in seen:
                seen.add(edge)
                waiting.append(edge)
    return False

"""Special functions that are computed as a whole, from `special_values`, rather than by a formula of scalars."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import livegrad

from .lazy import backend
from .ops.arguments import type_name
from .ops.operator import Operator, without_derivative
from .ops.registry import check_out, operator, write_out
from .overriding import asks
from .special_values import bessel, gamma, polynomials
from .tensor import Tensor


def _floating(x: Tensor) -> Tensor:
    return x if x.is_floating_point() else x.to(livegrad.get_default_dtype())


def _computed(values: Callable, *operands: Any) -> Any:
    """What a function of float64 arrays gives, in the dtype of the operands."""
    with np.errstate(all="ignore"):
        made = values(*[x.native().astype(np.float64) for x in operands])
    return backend.copied(np.asarray(made, dtype=np.float64).astype(operands[0].dtype.np))


def _out(name: str, made: Tensor, out: Any) -> Tensor:
    if out is None:
        return made
    check_out(name, out)
    return write_out(out, made)


def _of_one(name: str, values: Callable, doc: str, gradient: Any = None) -> Callable:
    op: Operator = operator(
        f"_special_{name}", lambda x: _computed(values, x), tensors=("x",), grads=gradient and {"x": gradient},
        node="Special" + name.title().replace("_", ""),
    )  # fmt: skip

    def function(input: Tensor, *, out: Tensor | None = None) -> Tensor:
        if not isinstance(input, Tensor):
            raise TypeError(f"special_{name}(): argument 'input' (position 1) must be Tensor, not {type_name(input)}")
        x = _floating(input)
        return _out(name, op.apply((x if gradient else x.detach(),)), out)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{doc} Without a gradient." if gradient is None else doc
    return asks(function)


def _pair(name: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """Two tensors of one shape and dtype, of tensors and numbers."""
    like = next((x for x in (a, b) if isinstance(x, Tensor)), None)
    if like is None:
        raise TypeError(f"special_{name}(): argument 'input' (position 1) must be Tensor, not {type_name(a)}")
    a, b = (x if isinstance(x, Tensor) else livegrad.tensor(x, device=like.device) for x in (a, b))
    dtype = livegrad.result_type(a, b)
    if not dtype.is_floating_point:
        dtype = livegrad.get_default_dtype()
    return tuple(livegrad.broadcast_tensors(a.to(dtype), b.to(dtype)))  # type: ignore[return-value]


def _density(a: Any, x: Any) -> Any:
    return _DENSITY.forward(a, x) if not isinstance(a, Tensor) else _DENSITY.apply((a, x))


def _zeta_over(s: Any, q: Any) -> Any:
    return _ZETA.forward(s + 1, q) if not isinstance(s, Tensor) else _ZETA.apply((s + 1, q))


_DENSITY: Operator = operator(
    "_gamma_density", lambda a, x: _computed(gamma.gamma_density, a, x), tensors=("a", "x"),
    grads={"a": without_derivative("igamma: input"), "x": lambda g, a, x, result: g * result * ((a - 1) / x - 1)},
)  # fmt: skip
_LOWER = operator(
    "_igamma", lambda a, x: _computed(gamma.gammainc, a, x), tensors=("a", "x"), node="Igamma",
    grads={"a": without_derivative("igamma: input"), "x": lambda g, a, x: g * _density(a, x)},
)  # fmt: skip
_UPPER = operator(
    "_igammac", lambda a, x: _computed(gamma.gammaincc, a, x), tensors=("a", "x"), node="Igammac",
    grads={"a": without_derivative("igammac: input"), "x": lambda g, a, x: -g * _density(a, x)},
)  # fmt: skip
_ZETA: Operator = operator(
    "_zeta", lambda s, q: _computed(gamma.zeta, s, q), tensors=("s", "q"), node="SpecialZeta",
    grads={"s": without_derivative("zeta"), "q": lambda g, s, q: -g * s * _zeta_over(s, q)},
)  # fmt: skip


@asks
def gammainc(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The regularised lower incomplete gamma function P(input, other), with a gradient by `other`.

    >>> import livegrad
    >>> gammainc(livegrad.tensor([1.0, 2.0]), livegrad.tensor([2.0, 2.0]))
    tensor([0.8647, 0.5940])
    """
    return _out("gammainc", _LOWER.apply(_pair("gammainc", input, other)), out)


@asks
def gammaincc(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The regularised upper incomplete gamma function, 1 - `gammainc`, with a gradient by `other`."""
    return _out("gammaincc", _UPPER.apply(_pair("gammaincc", input, other)), out)


@asks
def zeta(input: Any, other: Any, *, out: Tensor | None = None) -> Tensor:
    """Hurwitz's zeta function: the sum of (other + k)^-input over k from 0, with a gradient by `other`.

    >>> import livegrad
    >>> zeta(livegrad.tensor(2.0), livegrad.tensor(1.0))
    tensor(1.6449)
    """
    return _out("zeta", _ZETA.apply(_pair("zeta", input, other)), out)


igamma, igammac = gammainc, gammaincc


def _polynomial(name: str, kind: str) -> Callable:
    op = operator(f"_{name}", lambda x, n: _computed(lambda a, b: polynomials.values(name, a, b), x, n),
                  tensors=("x", "n"))  # fmt: skip

    def function(input: Any, n: Any, *, out: Tensor | None = None) -> Tensor:
        x, degree = _pair(name, input, n)
        return _out(name, op.apply((x.detach(), degree.detach())), out)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{kind}, of degree `n`, at `input`: numbers or tensors. Without a gradient."
    return asks(function)


airy_ai = _of_one("airy_ai", bessel.airy, "Airy's function Ai.")
bessel_j0 = _of_one("bessel_j0", bessel.j0, "The Bessel function of the first kind and order 0.")
bessel_j1 = _of_one("bessel_j1", bessel.j1, "The Bessel function of the first kind and order 1.")
bessel_y0 = _of_one("bessel_y0", bessel.y0, "The Bessel function of the second kind and order 0.")
bessel_y1 = _of_one("bessel_y1", bessel.y1, "The Bessel function of the second kind and order 1.")
erfcx = _of_one(
    "erfcx", gamma.erfcx, "exp(x²) erfc(x), also where erfc underflows.",
    lambda g, x, result: g * (2 * x * result - 2 / math.sqrt(math.pi)),
)  # fmt: skip
modified_bessel_k0 = _of_one("modified_bessel_k0", bessel.k0, "The modified Bessel function K of order 0.")
modified_bessel_k1 = _of_one("modified_bessel_k1", bessel.k1, "The modified Bessel function K of order 1.")
scaled_modified_bessel_k0 = _of_one(
    "scaled_modified_bessel_k0", lambda x: bessel.scaled_k(x, 0), "exp(x) K(x) of order 0."
)
scaled_modified_bessel_k1 = _of_one(
    "scaled_modified_bessel_k1", lambda x: bessel.scaled_k(x, 1), "exp(x) K(x) of order 1."
)
spherical_bessel_j0 = _of_one("spherical_bessel_j0", bessel.spherical_j0, "The spherical Bessel function: sin(x) / x.")


def _modified(order: int) -> Callable:
    def function(input: Tensor, *, out: Tensor | None = None) -> Tensor:
        from .ops.bessel import i0, i1

        if not isinstance(input, Tensor):
            raise TypeError(
                f"special_modified_bessel_i{order}(): argument 'input' (position 1) must be Tensor, not "
                f"{type_name(input)}"
            )
        return _out(f"modified_bessel_i{order}", (i1 if order else i0)(input.detach()), out)

    function.__name__ = function.__qualname__ = f"modified_bessel_i{order}"
    function.__doc__ = f"The modified Bessel function I of order {order}. Without a gradient: see `i{order}`."
    return asks(function)


modified_bessel_i0, modified_bessel_i1 = _modified(0), _modified(1)
_KINDS = {
    "chebyshev_polynomial_t": "Chebyshev's polynomial of the first kind",
    "chebyshev_polynomial_u": "Chebyshev's polynomial of the second kind",
    "chebyshev_polynomial_v": "Chebyshev's polynomial of the third kind",
    "chebyshev_polynomial_w": "Chebyshev's polynomial of the fourth kind",
    "hermite_polynomial_h": "Hermite's polynomial of physics",
    "hermite_polynomial_he": "Hermite's polynomial of probability",
    "laguerre_polynomial_l": "Laguerre's polynomial", "legendre_polynomial_p": "Legendre's polynomial",
}  # fmt: skip
_KINDS |= {f"shifted_{name}": f"{kind}, of 2x - 1" for name, kind in _KINDS.items() if name.startswith("chebyshev")}
globals().update({name: _polynomial(name, kind) for name, kind in _KINDS.items()})

__all__ = [  # noqa: PLE0604
    "airy_ai", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "erfcx", "gammainc", "gammaincc",
    "modified_bessel_i0", "modified_bessel_i1", "modified_bessel_k0", "modified_bessel_k1",
    "scaled_modified_bessel_k0", "scaled_modified_bessel_k1", "spherical_bessel_j0", "zeta", *_KINDS,
]  # fmt: skip

"""Elementary and special functions as straight-line LLVM IR, for any number of lanes, in float32 and float64.

Each function takes a :class:`~livegrad.codegen.ir.Builder` and registers of kind ``f32`` or ``f64`` and appends
instructions: arithmetic, integer arithmetic and selects, with no call out of the loop. The exceptions are arguments
that are rare and need a long computation, a sine of a huge number or a remainder of two numbers of very different
size: there a branch is taken if any lane needs it, which then works lane by lane. Infinities, NaN, signed zeros,
subnormals and overflow behave as in IEEE 754 and C99 Annex F.

| module | what |
|---|---|
| `lanes` | what they are written with: a register with operators, arithmetic in two parts, polynomials |
| `coefficients` | of the polynomials |
| `exponential`, `logarithm`, `power` | with sigmoid, softplus, roots |
| `angle`, `trigonometric`, `inverse_trigonometric` | |
| `hyperbolic` | with the inverses |
| `error`, `gamma` | `erf` and its relatives, `lgamma` and `digamma` |
| `division`, `choice` | remainders and whole quotients; rounding, sign, the smaller and the larger |

Each names the sources of its methods.

float32 is computed in float32, except for functions that are rare and ill-conditioned there (``pow``, the inverse
hyperbolic functions, ``lgamma``, ``digamma``), which are computed in float64. Without a fused multiply-add (see
``Builder.has_fma``) the errors are a little larger; where a step relies on it being exact, it is emulated.
"""

from __future__ import annotations

from .choice import maximum, minimum, round, sign
from .division import floor_divide, fmod, remainder
from .error import erf, erfc, erfinv
from .exponential import exp, exp2, exp_below_one, expm1, sigmoid
from .gamma import digamma, lgamma
from .hyperbolic import acosh, asinh, atanh, cosh, sinh, tanh
from .inverse_trigonometric import acos, asin, atan, atan2
from .logarithm import log, log1p, log1pexp, log2, log10, logaddexp
from .power import hypot, pow, rsqrt
from .trigonometric import cos, sin, tan

__all__ = [
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "cos",
    "cosh",
    "digamma",
    "erf",
    "erfc",
    "erfinv",
    "exp",
    "exp2",
    "exp_below_one",
    "expm1",
    "floor_divide",
    "fmod",
    "hypot",
    "lgamma",
    "log",
    "log10",
    "log1p",
    "log1pexp",
    "log2",
    "logaddexp",
    "maximum",
    "minimum",
    "pow",
    "remainder",
    "round",
    "rsqrt",
    "sigmoid",
    "sign",
    "sin",
    "sinh",
    "tan",
    "tanh",
]

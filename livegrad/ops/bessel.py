"""Modified Bessel functions of the first kind, of orders 0 and 1, and those times exp(-|x|).

Up to `_BORDER` exp(-s) I_0(s) and exp(-s) I_1(s) / s, and above it exp(-s) I(s) sqrt(s) as functions of 1 / s, are sums
of Chebyshev polynomials, with s = |x|. The coefficients are interpolations at Chebyshev's points with 40 digits.
"""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from . import dispatch, scalar
from .registry import ELEMENTWISE, FUNCTIONS, elementwise, with_out

_BORDER = 8.0
# fmt: off
_NEAR_0 = (
    0.338397637204738042, -0.304682672343198399, 0.171620901522208775, -0.0949010970480476444, 0.0493052842396707085,
    -0.0237374148058994688, 0.0105464603945949983, -0.00432430999505057594, 0.0016394756169413358,
    -0.000576375574538582366, 0.000188502885095841656, -0.000057541950100821037, 0.0000164484480707288971,
    -4.41673835845875056e-6, 1.11738753912010372e-6, -2.67079385394061173e-7, 6.04699502254191895e-8,
    -1.30002500998624804e-8, 2.65982372468238665e-9, -5.18979560163526291e-10, 9.67580903537323691e-11,
    -1.72682629144155571e-11, 2.95505266312963983e-12, -4.85644678311192946e-13, 7.67618549860493562e-14,
    -1.16853328779934517e-14, 1.71539128555513303e-15, -2.43127984654795469e-16, 3.3307945188222381e-17,
    -4.41534164647933938e-18, 5.66917800692149616e-19,
)
_FAR_0 = (
    0.402245205507054416, 0.00336911647825569409, 0.0000688975834691682398, 2.89137052083475648e-6,
    2.04891858946906374e-7, 2.26666899049817806e-8, 3.39623202570838635e-9, 4.94060238822496959e-10,
    1.18891471078464383e-11, -3.14991652796324136e-11, -1.32158118404477131e-11, -1.79417853150680612e-12,
    7.18012445138366623e-13, 3.8527783827421427e-13, 1.54008621752140983e-14, -4.15056934728722209e-14,
    -9.55484669882830765e-15, 3.81168066935262242e-15, 1.77256013305652638e-15, -3.42548561967721914e-16,
    -2.82762398051658348e-16, 3.461222867697461e-17, 4.46562142029675996e-17, -4.83050448594417829e-18,
    -7.23318048787475975e-18, 9.92147541217367551e-19, 1.19365089084600623e-18,
)
_NEAR_1 = (
    0.126293593221816827, -0.176416518357834055, 0.102643658689847095, -0.0529459812080949914, 0.0247264490306265168,
    -0.0105640848946261982, 0.00415642294431288816, -0.00151357245063125315, 0.000512285956168575773,
    -0.000161760815825896746, 0.0000478156510755005423, -0.0000132731636560394358, 3.47025130813767848e-6,
    -8.56872026469545474e-7, 2.00329475355213526e-7, -4.44505912879632808e-8, 9.38153738649577178e-9,
    -1.88724975172282929e-9, 3.62559028155211704e-10, -6.66348972350202774e-11, 1.17361862988909016e-11,
    -1.98397439776494372e-12, 3.22379336594557471e-13, -5.04218550472791169e-14, 7.60068429473540693e-15,
    -1.10559694773538631e-15, 1.55363195773620047e-16, -2.11142121435816608e-17, 2.77791411276104637e-18,
    -3.54158177254213621e-19,
)
_FAR_1 = (
    0.38928811750914006, -0.00976109749136146841, -0.000110588938762623716, -3.88256480887769039e-6,
    -2.51223623787020893e-7, -2.63146884688951951e-8, -3.83538038596423702e-9, -5.58974346219658381e-10,
    -1.89749581235054123e-11, 3.25260358301548824e-11, 1.41258074366137813e-11, 2.03562854414708951e-12,
    -7.19855177624590851e-13, -4.08355111109219732e-13, -2.10154184277266431e-14, 4.27244001671195135e-14,
    1.04202769841288028e-14, -3.8144030724370078e-15, -1.88035477551078245e-15, 3.30820231092092828e-16,
    2.96262899764595013e-16, -3.20952592199342386e-17, -4.65030536848935829e-17, 4.41434832307170414e-18,
    7.51729631084211076e-18, -9.3141788673268624e-19, -1.24219327519491527e-18,
)
# fmt: on


def _sum(coefficients: tuple, t: Any) -> Any:
    """The sum of Chebyshev polynomials at t, from -1 to 1, by Clenshaw's recurrence."""
    twice = t + t
    now, before = coefficients[-1], 0.0
    for c in coefficients[-2:0:-1]:
        now, before = twice * now + (c - before), now
    return t * now + (coefficients[0] - before)


def _parts(x: Any, near: tuple, far: tuple) -> tuple:
    """(whether |x| is small, the value for such, the value for others)."""
    s = abs(x)
    return s <= _BORDER, _sum(near, s * (2 / _BORDER) - 1), _sum(far, (2 * _BORDER) / s - 1) / scalar.sqrt(s)


def _i0e(x: Any) -> Any:
    return scalar.where(*_parts(x, _NEAR_0, _FAR_0))


def _i1e(x: Any) -> Any:
    small, near, far = _parts(x, _NEAR_1, _FAR_1)
    return scalar.where(small, x * near, scalar.copysign(far, x))


def _i1e_over(x: Any) -> Any:
    """I_1(x) exp(-|x|) / x, which is 1/2 at 0."""
    small, near, far = _parts(x, _NEAR_1, _FAR_1)
    return scalar.where(small, near, far / abs(x))


def _unscaled(value: Any, x: Any) -> Any:
    """A value times exp(|x|), which alone may be too large a number."""
    half = scalar.exp(abs(x) * 0.5)
    return value * half * half


def _declare(name: str, order: int, scaled: bool, formula: Any, gradient: Any) -> Any:
    elementwise(
        f"_{name}", formula, names=("input",), grads={"input": gradient}, reference="", method=False, function=False,
        node="I0" if name == "i0" else f"Special{name.upper()}",
    )  # fmt: skip

    def function(input: Tensor) -> Tensor:  # noqa: A002
        return dispatch.call(ELEMENTWISE[f"_{name}"], (input,))

    function.__name__ = name
    kind = "exponentially scaled modified" if scaled else "modified"
    function.__doc__ = f"The {kind} Bessel function of the first kind and order {order}."
    return function


i0 = _declare("i0", 0, False, lambda input: _unscaled(_i0e(input), input),
              lambda g, input: g * _unscaled(_i1e(input), input))  # fmt: skip
i1 = _declare("i1", 1, False, lambda input: _unscaled(_i1e(input), input),
              lambda g, input: g * _unscaled(_i0e(input) - _i1e_over(input), input))  # fmt: skip
i0e = _declare("i0e", 0, True, _i0e, lambda g, input: g * (_i1e(input) - scalar.sign(input) * _i0e(input)))
i1e = _declare("i1e", 1, True, _i1e, lambda g, input: g * (
    _i0e(input) - _i1e_over(input) - scalar.sign(input) * _i1e(input)
))  # fmt: skip
FUNCTIONS["i0"] = with_out(i0)
Tensor.i0 = i0  # type: ignore[attr-defined]

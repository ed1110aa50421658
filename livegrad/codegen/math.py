"""Elementary and special functions as straight-line LLVM IR, for any number of lanes, in float32 and float64.

Each function takes a :class:`~livegrad.codegen.ir.Builder` and registers of kind ``f32`` or ``f64`` and appends
instructions: arithmetic, integer arithmetic and selects, with no call out of the loop. The exceptions are arguments
that are rare and need a long computation, a sine of a huge number or a remainder of two numbers of very different
size: there a branch is taken if any lane needs it, which then works lane by lane. Infinities, NaN, signed zeros,
subnormals and overflow behave as in IEEE 754 and C99 Annex F.

Methods. The polynomials are minimax fits of our own (Remez' exchange algorithm in 45 to 70 digits, the leading
coefficients rounded first and the others fitted again). The argument reductions are the classical ones: Cody and
Waite, *Software Manual for the Elementary Functions* (1980), with fused multiply-adds for pi/2; Payne and Hanek
(1983) for huge angles; the form ``2 s + s R(s**2)`` with ``s = f / (2 + f)`` for the logarithm as in Sun's fdlibm;
double-length arithmetic after Dekker (1971) where a result needs more than working precision; Shepherd and
Laframboise (1981) for ``erfc``, whose scaled form is smooth in ``(x - 3) / (x + 3)``; Giles (2010) for ``erfinv``, in
``-log(1 - x**2)``.

float32 is computed in float32, except for functions that are rare and ill-conditioned there (``pow``, the inverse
hyperbolic functions, ``lgamma``, ``digamma``), which are computed in float64. Without a fused multiply-add (see
``Builder.has_fma``) the errors are a little larger; where a step relies on it being exact, it is emulated.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

from livegrad.codegen.ir import Builder, Module, Reg

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

# Coefficients, lowest power first.
_F32: dict[str, tuple[float, ...]] = {
    "exp": (
        0.49999994, 0.16666523, 0.04166822, 0.008368651, 0.0013828187,
    ),
    "log": (
        -0.49999988, 0.33333325, -0.2500161, 0.20000426, -0.16605423, 0.14225173, -0.1333314, 0.12617563,
        -0.07007725,
    ),
    "sin": (
        -0.16666655, 0.008332189, -0.0001951826,
    ),
    "cos": (
        0.041666646, -0.001388731, 2.4432327e-05,
    ),
    "tan": (
        0.3333335, 0.13332675, 0.05405891, 0.02128625, 0.010827287, 9.849724e-05, 0.004372552,
    ),
    "atan": (
        -0.333333, 0.1999853, -0.14264016, 0.10950878, -0.083992854, 0.057880644, -0.031095715, 0.010867648,
        -0.0017824944,
    ),
    "asin": (
        0.16666752, 0.074953094, 0.04546917, 0.024184588, 0.042158816,
    ),
    "sinh": (
        0.16666667, 0.0083333105, 0.00019842896, 2.7822207e-06,
    ),
    "tanh": (
        -0.33333313, 0.13332437, -0.053835753, 0.021000344, -0.006169547,
    ),
    "erf": (
        0.12837917, -0.37612626, 0.11283579, -0.026853347, 0.005187162, -0.0007997852, 7.806893e-05,
    ),
    "erf_large": (
        0.00034168013, 1.1270884, 0.63814634, 0.1031052, -0.021837188, 0.0029474013, -0.00018634851,
    ),
    "erfcx": (
        1.0740069, -0.88339424, 0.5902273, -0.3104737, 0.11954951, -0.026770838, -0.0013389713, 0.0028315946,
        -0.00029955246,
    ),
    "erfinv_centre": (
        1.5014094, 0.24664028, -0.0041777724, -0.0012527558, 0.00021880107, -4.9414107e-06, -3.6520391e-06,
        4.5885275e-07, 5.531701e-08, -8.104268e-09, -1.9062056e-09,
    ),
    "erfinv_tail": (
        2.8329768, 1.0016752, 0.009445336, -0.007641018, 0.0056849164, -0.0035824869, 0.001492069, -8.05519e-05,
        -0.00031572935, 0.00012920097,
    ),
}  # fmt: skip
_F64: dict[str, tuple[float, ...]] = {
    "exp": (
        0.5000000000000011, 0.16666666666666474, 0.04166666666653, 0.008333333333471546, 0.00138888889433145,
        0.00019841269535796475, 2.4801493561633568e-05, 2.755757134614347e-06, 2.7630068059410783e-07,
        2.5002580042276236e-08,
    ),
    "log": (
        0.6666666666666734, 0.39999999999416186, 0.2857142874219978, 0.22222198581911673, 0.18183564292484614,
        0.15314042662416075, 0.1479610307974525,
    ),
    "sin": (
        -0.1666666666666663, 0.008333333333321842, -0.00019841269829360452, 2.7557313539172107e-06,
        -2.505073447539876e-08, 1.589543688004844e-10,
    ),
    "cos": (
        0.041666666666666595, -0.001388888888887334, 2.4801587288999904e-05, -2.755731421615203e-07,
        2.0875705241189474e-09, -1.135873945160551e-11,
    ),
    "tan": (
        0.33333333333332776, 0.13333333333414865, 0.05396825392654207, 0.021869489612183574, 0.008863219117651974,
        0.003592289512352167, 0.0014547552633702382, 0.0005950763807251729, 0.00022234484524300292,
        0.0001365986518003151, -2.6490476350795362e-05, 8.954919338703113e-05, -4.492932006297014e-05,
        2.087605145630594e-05,
    ),
    "atan": (
        -0.333333333333332, 0.19999999999953674, -0.1428571428019918, 0.11111110783439769, -0.09090897754957922,
        0.0769206014726202, -0.06663103204602487, 0.05847883191688715, -0.050392790439829076, 0.03806398813254791,
        -0.01790669373359225,
    ),
    "asin": (
        0.1666666666666676, 0.07499999999970863, 0.04464285717456394, 0.030381942709712655, 0.022372214940403697,
        0.017351612769544156, 0.013980812331570848, 0.011398973983649799, 0.010779931502796878, 0.003707544601304093,
        0.0217048417545702, -0.02099556503098654, 0.03262653758034804,
    ),
    "sinh": (
        0.16666666666666669, 0.008333333333332912, 0.00019841269841593427, 2.755731910674623e-06,
        2.505213100125906e-08, 1.60566589078789e-10, 7.776609715547935e-13,
    ),
    "tanh": (
        -0.33333333333333276, 0.13333333333322822, -0.05396825396154673, 0.02186948832227799, -0.00886323155680473,
        0.0035920814541895436, -0.0014554746255611357, 0.000588163472005141, -0.00023266609559635115,
        8.229087752774994e-05, -1.886184753091634e-05,
    ),
    "asinh": (
        -0.1666666666666661, 0.07499999999984418, -0.04464285712783166, 0.030381943716371228, -0.022372138357039908,
        0.01735238692748318, -0.013960231895815788, 0.011512981124727826, -0.009534127062142253,
        0.007465549579835566, -0.0047474210357718784, 0.0017180127249245686,
    ),
    "atanh": (
        0.33333333333333987, 0.19999999999795787, 0.14285714307983688, 0.11111109890663429, 0.09090948435584294,
        0.0769149554895463, 0.06677935746425202, 0.057744605264770675, 0.059820715375206265, 0.014576508556518137,
        0.1449010143293506, -0.15285846772291745, 0.22475468056138947,
    ),
    "erf": (
        0.12837916709551256, -0.37612638903183343, 0.11283791670936917, -0.02686617064194715, 0.005223977596577353,
        -0.0008548325474349356, 0.00012055280083616707, -1.4924455855919796e-05, 1.6444006846177867e-06,
        -1.6182714773738852e-07, 1.361042714648031e-08, -7.594729836169438e-10,
    ),
    "erfcx": (
        1.0740069070883398, -0.8833944531698836, 0.5902283571041016, -0.3104672619005656, 0.11952776128730778,
        -0.026827234624590444, -0.0012124166276211944, 0.0030340620037524225, -0.000548309687929346,
        -0.00027677787569992536, 0.00010756147767072578, 3.0398353566761812e-05, -1.7470655100361504e-05,
        -4.7499516484611605e-06, 2.7661578143494146e-06, 1.000508094084492e-06, -4.1060874507787176e-07,
        -2.3537593871303772e-07, 5.0880803246900506e-08, 5.107248900707013e-08, -5.6385145211215656e-09,
        -7.305763523802502e-09, 1.0347259201083789e-09,
    ),
    "erfinv_centre": (
        1.6536545626831027, 0.2401581824255881, -0.006033670871427919, -0.0007407025341529674, 0.0001867342080251189,
        -1.3882523397518716e-05, -1.365469185818942e-06, 4.234788205790017e-07, -2.907038168170652e-08,
        -4.11266273906215e-09, 1.051217897929796e-09, -5.4142146595110876e-11, -1.2976815142587604e-11,
        2.6303036018129944e-12, -8.119648289945193e-14, -3.998269919085477e-14, 6.597839662205184e-15,
        -4.350993887952003e-17, -1.3027182034266615e-16, 1.579657419179506e-17, 1.1541935056711828e-18,
        -3.587395423599312e-19, -1.1870989829990384e-21, 3.392241537338645e-21,
    ),
    "erfinv_tail": (
        3.0838856104922208, 1.0052589676941652, 0.0053709145535247825, -0.003751208508221429, 0.0024914420996921607,
        -0.0016882755354326751, 0.0009532893029494111, -0.0003550378156605542, 2.4031949745884427e-05,
        6.828714408459029e-05, -4.7323519292017916e-05, 1.2464853958352431e-05, 2.9438094053923776e-06,
        -3.985088273681874e-06, 1.4540902480129312e-06, -2.88420925294189e-08, -2.0477514851167155e-07,
        1.328647072991705e-07, -5.4299592585428806e-08, -1.585196216493928e-08, 1.931485658523471e-08,
    ),
    "erfinv_far": (
        4.849906401408584, 1.010300464864545, -0.00013871931839231301, -0.00021503011980824138,
        7.599527840027299e-05, -1.9681771000891227e-05, 4.526049609790452e-06, -9.930273758899544e-07,
        2.2906687577772839e-07, -6.756316151921994e-08, 2.8980508748583802e-08, -1.52415740987105e-08,
        7.882340883243991e-09, -3.486066084006082e-09, 1.259207922946406e-09, -4.290805201148689e-10,
        9.816228595860697e-11, 4.086800874526825e-11, -2.63983360872536e-11,
    ),
    "lgamma": (
        0.42278433509846713, 0.3224670334241132, -0.06735230105319523, 0.02058080842778854, -0.007385551028947674,
        0.0028905103304887724, -0.001192753901631973, 0.0005096695310008672, -0.00022315494405374394,
        9.945744438713478e-05, -4.492432078593633e-05, 2.050746317936956e-05, -9.451017138815152e-06,
        4.376116697644999e-06, -1.9995483937800896e-06, 9.407302875712593e-07, -5.189141607168273e-07,
        2.584055504617082e-07, -6.199944790660197e-08,
    ),
    "lgamma_large": (
        0.08333333333333333, -0.0027777777777547906, 0.0007936507750386741, -0.0005952324852251691,
        0.0008409560287215723, -0.001860761284844129, 0.004427252202515861,
    ),
    "digamma": (
        0.951055876031833, -0.4236274212814605, 0.24054248424072905, -0.1484049230538909, 0.09498872446108407,
        -0.06192213327553597, 0.04076083348964153, -0.026975796624730593, 0.017907261024255793,
        -0.011908221534010959, 0.007926813861207648, -0.005279910540358287, 0.0035202165797856367,
        -0.0023457747289081956, 0.0015497145706409863, -0.001034716402451096, 0.0007471801246527348,
        -0.0004923426066247057, 0.00018175603735769242, -0.00013202427585828232, 0.00029648945673458406,
        -0.00018896367900168935,
    ),
    "digamma_large": (
        0.08333333333333333, -0.008333333333298122, 0.003968253924621568, -0.004166646615478423,
        0.0075714603741553485, -0.020635934928396427, 0.060428015097349616,
    ),
    "log_precise": (
        0.1999999999999999, 0.14285714285721926, 0.11111111108893133, 0.09090909422273431, 0.07692279191948995,
        0.06668133215888981, 0.05837868904840293, 0.05991068426920233,
    ),
    "log_short": (
        0.666666656437311, 0.4000033562713439, 0.28537278373733094, 0.2358276414158679,
    ),
    "exp_short": (
        0.5000000067732312, 0.16666665869358568, 0.041666294797362266, 0.00833349700526378, 0.0013944669914402168,
        0.00019790379959055363,
    ),
}  # fmt: skip
_DIGAMMA_ROOT = (1.4616321449683622, 9.549995429965697e-17)  # where digamma is zero, in two parts
_ERFCX_LOW = -8.807445678337799e-17  # what the first coefficient of erfcx lacks in float64


class _Format:
    """What there is to know about a floating-point format, and constants split for it."""

    def __init__(self, kind: str) -> None:
        single = kind == "f32"
        self.kind = kind
        self.table = _F32 if single else _F64
        self.int = "i32" if single else "i64"
        self.bits = 32 if single else 64
        self.fraction = 23 if single else 52
        self.bias = 127 if single else 1023
        self.tiny = 2.0**-126 if single else 2.0**-1022
        # x + magic has the integer nearest to x in its low bits, if |x| is below 2**(fraction - 1).
        self.magic = 1.5 * 2.0**self.fraction
        # The high part of ln 2 times any exponent is exact; likewise that of log10(2).
        self.ln2 = (0.693145751953125, 1.428606765330187e-06) if single else (0.6931471805592082, 7.371002565167799e-13)
        self.lg2 = (0.301025390625, 4.605039066518657e-06) if single else (0.30102999566361177, 3.694239077158931e-13)
        # Full precision, two parts: 1 / ln 2, 1 / ln 10.
        self.log2e = (1.4426950408889634, 2.0355273740931033e-17)
        self.log10e = (0.4342944819032518, 1.098319650216765e-17)
        if single:
            self.log2e = (1.4426950216293335, 1.925963033500011e-08)
            self.log10e = (0.4342944920063019, -1.0103049952192578e-08)
        self.exp_high = 89.0 if single else 710.0
        self.exp_low = -104.0 if single else -746.0
        # pi / 2 in three parts, each as long as the format allows.
        self.half_pi = (
            (1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15)
            if single
            else (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33)
        )
        # Beyond this, where the quotient gets too coarse, angles take the long way.
        self.huge_angle = 2.0**17 if single else 2.0**30
        self.huge_angle_unfused = 2.0**16 if single else 2.0**30
        self.root_half = 0x3F3504F3 if single else 0x3FE6A09E667F3BCD  # the bits of sqrt(1/2)


_FORMATS: dict[str, _Format] = {}


def _format(kind: str) -> _Format:
    if not _FORMATS:
        _FORMATS.update(f32=_Format("f32"), f64=_Format("f64"))
    return _FORMATS[kind]


class _V:
    """A register with operators, so that formulas read as such.  Floats and integers beside it become constants."""

    __slots__ = ("b", "r")

    def __init__(self, b: Builder, r: Reg) -> None:
        self.b = b
        self.r = r

    @property
    def f(self) -> _Format:
        return _format(self.r.kind)

    def const(self, value: float) -> _V:
        return _V(self.b, self.b.const(self.r.kind, value, self.r.width))

    def _reg(self, other: Any) -> Reg:
        return other.r if isinstance(other, _V) else self.b.const(self.r.kind, other, self.r.width)

    def _do(self, name: str, other: Any) -> _V:
        prefix = "f" if self.r.kind[0] == "f" else ""
        return _V(self.b, getattr(self.b, prefix + name)(self.r, self._reg(other)))

    def __add__(self, other: Any) -> _V:
        return self._do("add", other)

    def __radd__(self, other: Any) -> _V:
        return self.const(other)._do("add", self)

    def __sub__(self, other: Any) -> _V:
        return self._do("sub", other)

    def __rsub__(self, other: Any) -> _V:
        return self.const(other)._do("sub", self)

    def __mul__(self, other: Any) -> _V:
        return self._do("mul", other)

    def __rmul__(self, other: Any) -> _V:
        return self.const(other)._do("mul", self)

    def __truediv__(self, other: Any) -> _V:
        return self._do("div", other)

    def __rtruediv__(self, other: Any) -> _V:
        return self.const(other)._do("div", self)

    def __neg__(self) -> _V:
        return _V(self.b, self.b.fneg(self.r))

    def __abs__(self) -> _V:
        return _V(self.b, self.b.fabs(self.r))

    def __and__(self, other: Any) -> _V:
        return _V(self.b, self.b.and_(self.r, self._reg(other)))

    def __or__(self, other: Any) -> _V:
        return _V(self.b, self.b.or_(self.r, self._reg(other)))

    def __xor__(self, other: Any) -> _V:
        return _V(self.b, self.b.xor(self.r, self._reg(other)))

    def __invert__(self) -> _V:
        return _V(self.b, self.b.not_(self.r))

    def __lshift__(self, other: Any) -> _V:
        return _V(self.b, self.b.shl(self.r, self._reg(other)))

    def __rshift__(self, other: Any) -> _V:
        """Zeros are shifted in."""
        return _V(self.b, self.b.lshr(self.r, self._reg(other)))

    def _compare(self, ordered: str, integer: str, other: Any) -> _V:
        if self.r.kind[0] == "f":
            return _V(self.b, self.b.fcmp(ordered, self.r, self._reg(other)))
        return _V(self.b, self.b.icmp(integer, self.r, self._reg(other)))

    def __lt__(self, other: Any) -> _V:
        return self._compare("olt", "slt", other)

    def __le__(self, other: Any) -> _V:
        return self._compare("ole", "sle", other)

    def __gt__(self, other: Any) -> _V:
        return self._compare("ogt", "sgt", other)

    def __ge__(self, other: Any) -> _V:
        return self._compare("oge", "sge", other)

    def eq(self, other: Any) -> _V:
        return self._compare("oeq", "eq", other)

    def ne(self, other: Any) -> _V:
        """Different; true for a NaN."""
        return self._compare("une", "ne", other)

    def isnan(self) -> _V:
        return _V(self.b, self.b.fcmp("uno", self.r, self.r))

    def at_most(self, limit: float) -> _V:
        """The smaller of this and the limit; a NaN stays."""
        return _V(self.b, self.b.fmin(self._reg(limit), self.r))

    def at_least(self, limit: float) -> _V:
        """The larger of this and the limit; a NaN stays."""
        return _V(self.b, self.b.fmax(self._reg(limit), self.r))

    def bits(self) -> _V:
        """The bit pattern, as an integer."""
        return _V(self.b, self.b.bitcast(self.r, self.f.int))

    def float(self) -> _V:
        """The float with this bit pattern."""
        return _V(self.b, self.b.bitcast(self.r, "f32" if self.r.kind == "i32" else "f64"))

    def to(self, kind: str, signed: bool = True) -> _V:
        return _V(self.b, self.b.convert(self.r, kind, signed))

    def sqrt(self) -> _V:
        return _V(self.b, self.b.sqrt(self.r))

    def scaled(self, n: _V) -> _V:
        """This times 2**n, for a whole float n; with AVX-512 only."""
        return _V(self.b, self.b.scaled(self.r, n.r))

    def floor(self) -> _V:
        return _V(self.b, self.b.floor(self.r))

    def rint(self) -> _V:
        return _V(self.b, self.b.rint(self.r))

    def trunc(self) -> _V:
        return _V(self.b, self.b.trunc(self.r))

    def signed(self, other: _V) -> _V:
        """This size with the sign of another number."""
        return _V(self.b, self.b.copysign(self.r, other.r))


def _where(condition: _V, x: Any, y: Any) -> _V:
    """condition ? x : y; one of the two may be a number."""
    if not isinstance(x, _V):
        x = y.const(x)
    b = condition.b
    return _V(b, b.select(condition.r, x.r, x._reg(y)))


def _choose(condition: _V, kind: str, x: float, y: float) -> _V:
    """condition ? x : y for two constants."""
    b, width = condition.b, condition.r.width
    return _V(b, b.select(condition.r, b.const(kind, x, width), b.const(kind, y, width)))


def _fma(x: _V, y: Any, z: Any) -> _V:
    """x * y + z, rounded once where the machine can do it."""
    return _V(x.b, x.b.fma(x.r, x._reg(y), x._reg(z)))


def _exact_fma(x: _V, y: Any, z: Any) -> _V:
    """x * y + z with (nearly) one rounding on every machine, by double-length arithmetic if need be."""
    if x.b.has_fma:
        return _fma(x, y, z)
    y, z = (v if isinstance(v, _V) else x.const(v) for v in (y, z))
    split = 4097.0 if x.r.kind == "f32" else 134217729.0

    def parts(v: _V) -> tuple[_V, _V]:
        big = v * split
        high = big - (big - v)
        return high, v - high

    product = x * y
    (xh, xl), (yh, yl) = parts(x), parts(y)
    low = ((xh * yh - product) + xh * yl + xl * yh) + xl * yl
    total, error = _two_sum(product, z)
    return total + (error + low)


def _reciprocal(x: _V) -> _V:
    """1 / x to within an ulp, for normal x whose reciprocal is normal.

    Where there is an instruction for a first guess, Newton's steps from there take a fraction of a division's time.
    """
    if not x.b.has_avx512:
        return 1.0 / x
    y = _V(x.b, x.b.about_reciprocal(x.r))
    for _ in range(1 if x.f.bits == 32 else 2):
        y = _fma(_fma(-x, y, 1.0), y, y)
    return y


def _two_sum(x: _V, y: _V) -> tuple[_V, _V]:
    """x + y and the error of that sum."""
    total = x + y
    part = total - x
    return total, (x - (total - part)) + (y - part)


def _quick_two_sum(x: _V, y: _V) -> tuple[_V, _V]:
    """x + y and the error of that sum, for |x| >= |y|."""
    total = x + y
    return total, (x - total) + y


def _poly(x: _V, coefficients: Sequence[float]) -> _V:
    """A polynomial, lowest power first.

    Neighbouring terms are joined first, then pairs and so on (Estrin's scheme), except for the last two levels: a chain
    of dependent operations as long as Horner's, not the number of operations, would limit the speed.
    """
    terms: list[Any] = list(coefficients)
    power = x
    while len(terms) > 3:
        pairs = [_fma(power, terms[i + 1], terms[i]) for i in range(0, len(terms) - 1, 2)]
        terms = pairs + terms[len(pairs) * 2 :]
        power = power * power
    total = terms[-1]
    for term in reversed(terms[:-1]):
        total = _fma(power, total, term)
    return total


def _horner(x: _V, coefficients: Sequence[float]) -> _V:
    """A polynomial by Horner's rule: a longer chain than that of :func:`_poly`, but smaller errors."""
    total = _fma(x, coefficients[-1], coefficients[-2])
    for c in reversed(coefficients[:-2]):
        total = _fma(total, x, c)
    return total


def _function(body: Callable[..., _V]) -> Callable[..., Reg]:
    """Make a function of registers of one that is written with :class:`_V`."""

    @functools.wraps(body)
    def wrapped(b: Builder, *args: Reg) -> Reg:
        kind, width = args[0].kind, args[0].width
        if kind not in ("f32", "f64") or any(a.kind != kind or a.width != width for a in args):
            raise TypeError(f"{body.__name__} takes f32 or f64 of one width, not {', '.join(map(repr, args))}")
        return body(*(_V(b, a) for a in args)).r

    wrapped.body = body  # type: ignore[attr-defined]
    return wrapped


def _in_double(body: Callable[..., _V]) -> Callable[..., _V]:
    """Compute float32 in float64."""

    @functools.wraps(body)
    def wrapped(*args: _V) -> _V:
        if args[0].r.kind == "f64":
            return body(*args)
        return body(*(a.to("f64") for a in args)).to("f32")

    return wrapped


def _each_lane(
    b: Builder, flag: Reg, state: Sequence[Reg], inputs: Sequence[Reg], compute: Callable[[list[Reg]], Sequence[Reg]]
) -> list[Reg]:
    """``state`` with the lanes where ``flag`` is set replaced by ``compute`` of the scalars of ``inputs``."""

    def one(i: Reg | int, old: list[Reg]) -> list[Reg]:
        scalars = [b.extract(v, i) for v in inputs]
        with b.at_width(1):
            found = compute(scalars)
        chosen = [b.select(b.extract(flag, i), new, b.extract(v, i)) for new, v in zip(found, old, strict=True)]
        return [b.insert(v, s, i) for v, s in zip(old, chosen, strict=True)]

    def slow() -> list[Reg]:
        if flag.width == 1:
            return one(0, list(state))
        with b.loop(0, flag.width, 1, list(state)) as loop:
            loop.next(*one(loop.i, loop.values))
        return loop.values

    return b.rarely(flag, state, slow)


# ------------------------------------------------------------------------------------------------ exponentials


def _exp_shift(x: _V, shift: int) -> tuple[_V, _V, _V]:
    """n with shift added in the low bits of an integer, ``x - n * ln 2`` (the high part, exact), and n as a float."""
    f = x.f
    magic = f.magic + shift
    shifted = _fma(x, f.log2e[0], magic)
    n = shifted - magic
    return shifted.bits(), _fma(n, -f.ln2[0], x), n


def _exp_parts(x: _V, shift: int, tail: _V) -> tuple[_V, _V, _V]:
    """``exp(x + tail) = (high + low) * 2**n``; the third result has n + shift in its low bits."""
    word, r, n = _exp_shift(x, shift)
    r, rest = _quick_two_sum(r, _fma(n, -x.f.ln2[1], tail))
    curve = _fma(r * r, _poly(r, x.f.table["exp"]), rest)
    high, rest = _quick_two_sum(r.const(1.0), r)
    return high, rest + curve, word


def _exp_mantissa(x: _V, shift: int) -> tuple[_V, _V, _V]:
    """``exp(x) = p * 2**n``; the second result has n + shift in its low bits, the third is n - shift as a float."""
    word, r, n = _exp_shift(x, shift)
    r = _fma(n, -x.f.ln2[1], r)
    return _fma(r, _fma(r, _poly(r, x.f.table["exp"]), 1.0), 1.0), word, n


def _scale(p: _V, n: _V, f: _Format) -> _V:
    """``p * 2**n`` for any n, given ``n + 2 * bias`` in the low bits: two steps, so only the last one rounds."""
    half = n >> 1
    return p * (half << f.fraction).float() * ((n - half) << f.fraction).float()


def _zero_below(x: _V, limit: float, function: Callable[[_V], _V]) -> _V:
    """function(x), and 0 below a limit, where that rounds to 0: a processor takes hundreds of cycles to find out."""
    below = x < limit
    return _where(below, 0.0, function(_where(below, 0.0, x)))


def _exp(x: _V, shift: int = 0) -> _V:
    """``exp(x) * 2**shift``"""
    f = x.f

    def above(x: _V) -> _V:
        limited = x.at_most(f.exp_high - shift)
        if x.b.has_avx512:
            p, _, power = _exp_mantissa(limited, 0)
            return p.scaled(power + shift if shift else power)
        # The constant is the amount by which the scale is to exceed n, so a shift enters there.
        p, n, _ = _exp_mantissa(limited, 2 * f.bias + shift)
        return _scale(p, n, f)

    return _zero_below(x, f.exp_low - max(shift, 0), above)


def _exp_near(x: _V) -> _V:
    """exp(x) where the result is known to be normal: half the scaling."""
    f = x.f
    if x.b.has_avx512:
        p, _, power = _exp_mantissa(x, 0)
        return p.scaled(power)
    p, n, _ = _exp_mantissa(x, f.bias)
    return p * (n << f.fraction).float()


def _exp_negative(x: _V) -> _V:
    """exp(x) for x <= 0, down to subnormals and zero."""
    f = x.f

    def above(x: _V) -> _V:
        if x.b.has_avx512:
            p, _, power = _exp_mantissa(x, 0)
            return p.scaled(power)
        up = 64
        p, n, _ = _exp_mantissa(x, f.bias + up)
        return p * (n << f.fraction).float() * 2.0**-up

    return _zero_below(x, f.exp_low, above)


@_function
def exp(x: _V) -> _V:
    """e**x: reduction by multiples of ln 2 and a polynomial."""
    return _exp(x)


@_function
def exp2(x: _V) -> _V:
    """2**x"""
    return _zero_below(x, -152.0 if x.f.bits == 32 else -1077.0, _exp2)


def _exp2(x: _V) -> _V:
    """2**x where it does not round to 0."""
    f = x.f
    x = x.at_most(130.0 if f.bits == 32 else 1026.0)
    magic = f.magic + 2 * f.bias
    shifted = x + magic
    r = x - (shifted - magic)
    # Multiply by ln 2 in two parts, the lower one entering after the leading 1.
    high, low = 0.6931471805599453, 2.3190468138462996e-17
    if f.bits == 32:
        high, low = 0.6931471824645996, -1.9046542121259336e-09
    t = r * high
    q = _fma(t * t, _poly(t, f.table["exp"]), r * low)
    return _scale((t + q) + 1.0, shifted.bits(), f)


def _expm1(x: _V) -> _V:
    f = x.f
    small = abs(x) < 2.0 ** -(f.fraction + 2)
    limited = x.at_least(-18.0 if f.bits == 32 else -38.0).at_most(f.exp_high)
    magic = f.magic + f.bias - 1
    shifted = _fma(limited, f.log2e[0], magic)
    n = shifted - magic
    r = _fma(n, -f.ln2[1], _fma(n, -f.ln2[0], limited))
    q = _fma(r * r, _poly(r, f.table["exp"]), r)
    half = (shifted.bits() << f.fraction).float()  # 2**(n - 1), so that n may be as large as it gets
    y = _fma(half, q, half - 0.5) * 2.0
    return _where(small, x, y)


@_function
def expm1(x: _V) -> _V:
    """e**x - 1 without cancellation: ``2**n * expm1(r) + (2**n - 1)``."""
    return _expm1(x)


@_function
def sigmoid(x: _V) -> _V:
    """1 / (1 + exp(-x)), from exp(-|x|), so that it neither overflows nor loses small results."""
    e = _exp_negative(-abs(x))
    d = e + 1.0
    # Where it counts for nothing, it is 0, so that no product with it is subnormal, which is slow.
    d_low = _where(e < 2.0**-64, 0.0, e - (d - 1.0))
    inverse = _reciprocal(d)
    num = _where(x < 0.0, e, 1.0)
    # A division that makes up for the rounding of the denominator.
    y = num * inverse
    return _fma(_fma(-y, d_low, _fma(-y, d, num)), inverse, y)


# -------------------------------------------------------------------------------------------------- logarithms


def _split(x: _V) -> tuple[_V, _V]:
    """``x = 2**e * m`` with m between sqrt(1/2) and sqrt(2), for positive finite x; e is a float."""
    f = x.f
    lift = f.fraction + 2
    tiny = x < f.tiny
    word = _where(tiny, x * 2.0**lift, x).bits() + ((f.bias << f.fraction) - f.root_half)
    m = ((word & ((1 << f.fraction) - 1)) + f.root_half).float()
    # An integer below 2**fraction becomes a float by or-ing the exponent of 2**fraction to it.
    power = 2.0**f.fraction
    lead = (f.bias + f.fraction) << f.fraction
    biased = ((word >> f.fraction) | lead).float()
    return biased - _choose(tiny, f.kind, power + f.bias + lift, power + f.bias), m


def _log_near_one(g: _V) -> tuple[_V, _V]:
    """log(1 + g) as a sum of two, the second one much smaller, for 1 + g between sqrt(1/2) and sqrt(2)."""
    f = g.f
    if f.bits == 32:
        return g, g * g * _poly(g, f.table["log"])
    s = g / (g + 2.0)
    z = s * s
    half = g * g * 0.5
    return g, s * _fma(z, _poly(z, f.table["log"]), half) - half


def _log_of(e: _V, g: _V) -> _V:
    """e * ln 2 + log(1 + g)"""
    f = e.f
    high, low = _log_near_one(g)
    return _fma(e, f.ln2[0], high + _fma(e, f.ln2[1], low))


def _log_edges(x: _V, y: _V) -> _V:
    """The logarithm y of x, with what belongs to zero, negative numbers, infinity and NaN."""
    y = _where(x < math.inf, y, x)
    return _where(x <= 0.0, _where(x.eq(0.0), x.const(-math.inf), math.nan), y)


def _log(x: _V) -> _V:
    e, m = _split(x)
    return _log_edges(x, _log_of(e, m - 1.0))


def _log_other(x: _V, scale: tuple[float, float], unit: tuple[float, float]) -> _V:
    """A logarithm to another base, given 1 / ln(base) and log_base(2), each in two parts."""
    e, m = _split(x)
    high, low = _log_near_one(m - 1.0)
    if x.f.bits == 64:
        high, low = _quick_two_sum(high, low)
    product = high * scale[0]
    rest = _fma(high, scale[0], -product) + _fma(high, scale[1], low * scale[0])
    total, error = _quick_two_sum(e * unit[0], product)
    # With e = 0 the first term is zero and the sum is exact all the same.
    total, error = (_where(e.eq(0.0), product, total), _where(e.eq(0.0), 0.0, error))
    return _log_edges(x, total + (error + (_fma(e, unit[1], rest) if unit[1] else rest)))


@_function
def log(x: _V) -> _V:
    """The natural logarithm."""
    return _log(x)


@_function
def log2(x: _V) -> _V:
    """The logarithm to base 2, exact for powers of two."""
    return _log_other(x, x.f.log2e, (1.0, 0.0))


@_function
def log10(x: _V) -> _V:
    """The logarithm to base 10."""
    return _log_other(x, x.f.log10e, x.f.lg2)


def _log1p(x: _V) -> _V:
    f = x.f
    u = x + 1.0
    e, m = _split(u)
    # 2**-e, and with it the fraction without the rounding of 1 + x; beyond 2**60 the 1 does not matter.
    biased = (f.bias - e) + (2.0**f.fraction)
    power = (biased.bits() << f.fraction).float()
    g = _where(x < 2.0**60, _fma(x, power, power - 1.0), m - 1.0)
    y = _where(u.eq(math.inf), u, _log_of(e, g))
    y = _where(x <= -1.0, _where(x.eq(-1.0), x.const(-math.inf), math.nan), y)
    # Tiny numbers, zeros with their sign, and NaN.
    return _where(abs(x) >= 2.0 ** -(f.fraction + 2), y, x)


@_function
def log1p(x: _V) -> _V:
    """log(1 + x) without rounding 1 + x."""
    return _log1p(x)


@_function
def log1pexp(x: _V) -> _V:
    """log(1 + exp(x)), the softplus function, without overflow."""
    return x.at_least(0.0) + _log1p(_exp_negative(-abs(x)))


@_function
def logaddexp(x: _V, y: _V) -> _V:
    """log(exp(x) + exp(y)) without overflow."""
    larger = _V(x.b, x.b.fmax_ieee(x.r, y.r))
    distance = _where(x.eq(y), 0.0, abs(x - y))
    return larger + _log1p(_exp_negative(-distance))


# -------------------------------------------------------------------------------------------------------- powers


def _pow_log(a: _V) -> tuple[_V, _V]:
    """log(a) in double length, for positive finite a in float64."""
    f = a.f
    e, m = _split(a)
    g = m - 1.0
    d = g + 2.0
    d_low = g - (d - 2.0)
    inverse = 1.0 / d
    s = g * inverse
    s_low = (_exact_fma(-s, d, g) - s * d_low) * inverse
    u = s * s
    u_low = _exact_fma(s, s, -u) + (s + s) * s_low
    uq = u * _poly(u, f.table["log_precise"])
    third = 0.3333333333333333
    t, t_low = _quick_two_sum(a.const(third), uq)
    t_low = t_low + 1.850371707708594e-17
    w = u * t
    w_low = _exact_fma(u, t, -w) + _fma(u, t_low, u_low * t)
    two_s, two_low = s + s, s_low + s_low
    v = two_s * w
    v_low = _exact_fma(two_s, w, -v) + _fma(two_s, w_low, two_low * w)
    high, low = _quick_two_sum(two_s, v)
    low = low + (two_low + v_low)
    total, error = _two_sum(e * f.ln2[0], high)
    return _quick_two_sum(total, error + _fma(e, f.ln2[1], low))


def _pow_log_short(a: _V) -> _V:
    """log(a) in float64 with some 36 correct bits: enough for a result in float32."""
    f = a.f
    e, m = _split(a)
    g = m - 1.0
    s = g / (g + 2.0)
    z = s * s
    return _fma(e, math.log(2.0), _fma(s * z, _poly(z, f.table["log_short"]), s + s))


def _pow(x: _V, y: _V, short: bool) -> _V:
    f = x.f
    a = abs(x)
    if short:
        product = (y * _pow_log_short(a)).at_least(-200.0).at_most(200.0)
        shifted = _fma(product, f.log2e[0], f.magic + f.bias)
        r = _fma(shifted - (f.magic + f.bias), -math.log(2.0), product)
        p = _poly(r, (1.0, 1.0, *f.table["exp_short"]))
        size = p * (shifted.bits() << f.fraction).float()
    else:
        high, low = _pow_log(a)
        product = y * high
        rest = _exact_fma(y, high, -product) + y * low
        inside = abs(product) < 800.0
        product = _where(inside, product, _choose(product > 0.0, f.kind, f.exp_high, f.exp_low))
        p, p_low, n = _exp_parts(product, 2 * f.bias, _where(inside, rest, 0.0))
        size = _scale(p + p_low, n, f)
    # Zeros and infinities, and 1 to an infinite power.
    grows = (a.eq(0.0) & (y < 0.0)) | (a.eq(math.inf) & (y > 0.0))
    size = _where(a.eq(0.0) | a.eq(math.inf), _choose(grows, f.kind, math.inf, 0.0), size)
    size = _where(a.eq(1.0), 1.0, size)
    # Negative bases.
    whole = y.rint().eq(y)
    half = y * 0.5
    odd = whole & half.rint().ne(half)
    size = _where(odd, size.signed(x), size)
    size = _where((x < 0.0) & (a < math.inf) & ~whole, math.nan, size)
    size = _where(x.isnan() | y.isnan(), math.nan, size)
    return _where(x.eq(1.0) | y.eq(0.0), 1.0, size)


@_function
def pow(x: _V, y: _V) -> _V:
    """x**y with C's rules for special values: exp(y log x), the logarithm in double length."""
    if x.r.kind == "f32":
        return _pow(x.to("f64"), y.to("f64"), short=True).to("f32")
    return _pow(x, y, short=False)


@_function
def rsqrt(x: _V) -> _V:
    """1 / sqrt(x)"""
    return 1.0 / x.sqrt()


@_function
def hypot(x: _V, y: _V) -> _V:
    """sqrt(x**2 + y**2) without overflow or underflow on the way."""
    f = x.f
    ax, ay = abs(x), abs(y)
    infinite = ax.eq(math.inf) | ay.eq(math.inf)
    swap = ax < ay
    large, small = _where(swap, ay, ax), _where(swap, ax, ay)
    reach, shift = (60, 90) if f.bits == 32 else (500, 600)
    big, little = large > 2.0**reach, large < 2.0**-reach
    down = _where(big, 2.0**-shift, _choose(little, f.kind, 2.0**shift, 1.0))
    up = _where(big, 2.0**shift, _choose(little, f.kind, 2.0**-shift, 1.0))
    large, small = large * down, small * down
    return _where(infinite, math.inf, _fma(large, large, small * small).sqrt() * up)


# --------------------------------------------------------------------------------------------------- trigonometry

_TWO_OVER_PI_WORDS = 40


@functools.cache
def _two_over_pi() -> tuple[int, ...]:
    """64 zero bits and then the bits of 2/pi, in words of 32, from Machin's formula in integer arithmetic."""
    guard = 64
    bits = 32 * _TWO_OVER_PI_WORDS + guard

    def arctan_inverse(n: int) -> int:
        term = (1 << bits) // n
        total, k, square = term, 1, n * n
        while term:
            term = -(abs(term) // square) if term > 0 else abs(term) // square
            k += 2
            total += term // k if term >= 0 else -(-term // k)
        return total

    pi = 4 * (4 * arctan_inverse(5) - arctan_inverse(239))
    digits = ((2 << (2 * bits)) // pi) >> guard
    whole = digits >> 64  # the leading zeros push the last bits out
    return tuple((whole >> (32 * i)) & 0xFFFFFFFF for i in reversed(range(_TWO_OVER_PI_WORDS)))


def _huge_angle_function(module: Module) -> str:
    """A function in the module that reduces one large float64 by multiples of pi/2 (Payne and Hanek).

    It returns the remainder in two parts, and which multiple it was, modulo 4.  The mantissa is multiplied with those
    192 bits of 2/pi that decide the result: bits before them contribute whole turns only.
    """
    name = "livegrad_huge_angle"
    if name in module.internal:
        return name
    module.internal.add(name)
    table = module.table("livegrad_two_over_pi", "i32", _two_over_pi())
    b = module.function(name, [("double", "%x")], ret="<4 x double>", kernel=False)
    x = _V(b, Reg("%x", "f64"))
    word = x.bits()
    m = (word & ((1 << 52) - 1)) | (1 << 52)
    exponent = ((word >> 52) & 0x7FF) - 1075
    start = exponent + 62
    start = _V(b, b.smin(b.smax(start.r, b.const("i64", 0)), b.const("i64", 32 * _TWO_OVER_PI_WORDS - 32 * 7 - 1)))
    first = start >> 5
    turn = start & 31

    def read(i: int) -> _V:
        item = b.load(b.gep(table, "i32", (first + i).r), "i32")
        return _V(b, b.convert(item, "i64", signed=False))

    mask = 0xFFFFFFFF
    words = [read(i) for i in range(7)]
    w = [(((words[i] << 32) | words[i + 1]) >> (32 - turn)) & mask for i in range(6)]
    m0, m1 = m & mask, m >> 32
    carry: _V | None = None
    columns: list[_V] = []
    for k in reversed(range(4)):
        total = ((m0 * w[k]) & mask) + ((m0 * w[k + 1]) >> 32) + ((m1 * w[k + 1]) & mask) + ((m1 * w[k + 2]) >> 32)
        if carry is not None:
            total = total + carry
        columns.append(total & mask)
        carry = total >> 32
    low, high = (columns[1] << 32) | columns[0], (columns[3] << 32) | columns[2]
    quadrant = (high + (1 << 61)) >> 62
    fraction = high - (quadrant << 62)
    lead = fraction.to("f64")
    rest = (fraction - lead.to("i64")).to("f64") + low.to("f64", signed=False) * 2.0**-64
    h, t = _quick_two_sum(lead * 2.0**-62, rest * 2.0**-62)
    half_pi = x.f.half_pi
    r = h * half_pi[0]
    r_low = _exact_fma(h, half_pi[0], -r) + _fma(h, half_pi[1], t * half_pi[0])
    r, r_low = _quick_two_sum(r, r_low)
    one = x.const(1.0).signed(x)
    out = Reg("zeroinitializer", "f64", 4)
    for lane, value in enumerate((r * one, r_low * one, quadrant.to("f64") * one)):
        out = b.insert(out, value.r, lane)
    b.ret(out)
    return name


def _reduce_angle(x: _V, precise: bool = True) -> tuple[_V, _V, _V]:
    """x minus the nearest multiple of pi/2, as a sum of two, and that multiple in the low bits of an integer.

    If not ``precise``, the first one is right to an ulp and the second one is zero.
    """
    b, f = x.b, x.f
    shifted = _fma(x, 2.0 / math.pi, f.magic)
    n = shifted - f.magic
    quadrant = shifted.bits()
    # The first difference is exact, as n is small enough; the second one is rounded, and the error may be recovered.
    first = _exact_fma(n, -f.half_pi[0], x)
    if precise:
        product = n * -f.half_pi[1]
        second, lost = _two_sum(first, product)
        lost = lost + _exact_fma(n, -f.half_pi[1], -product)
        high, low = _quick_two_sum(second, _fma(n, -f.half_pi[2], lost))
    else:
        high = _fma(n, -f.half_pi[2], _exact_fma(n, -f.half_pi[1], first))
        low = high.const(0.0)
    size = abs(x)
    huge = (size > (f.huge_angle if b.has_fma else f.huge_angle_unfused)) & (size < math.inf)

    def far(scalars: list[Reg]) -> list[Reg]:
        function = _huge_angle_function(b.module)
        found = b.call(function, "f64", ["double " + b.convert(scalars[0], "f64").name], width=4)
        assert found is not None
        parts = [_V(b, b.extract(found, lane)) for lane in range(3)]
        r, r_low = parts[0], parts[1]
        if f.bits == 32:
            single = r.to("f32")
            r, r_low = single, (r - single.to("f64")).to("f32")
        multiple = parts[2].to(f.int).r
        return [r.r, multiple, r_low.r] if precise else [r.r, multiple]

    out = _each_lane(b, huge.r, [high.r, quadrant.r, *([low.r] if precise else [])], [x.r], far)
    return _V(b, out[0]), _V(b, out[2]) if precise else low, _V(b, out[1])


def _sine_cosine(r: _V, low: _V) -> tuple[_V, _V]:
    """Sine and cosine of r + low (of r alone in float32), between -pi/4 and pi/4."""
    f = r.f
    z = r * r
    half = z * 0.5
    if f.bits == 32:
        return _fma(r * z, _poly(z, f.table["sin"]), r), _fma(z * z, _poly(z, f.table["cos"]), 1.0 - half)
    sine = r + _fma(r * z, _poly(z, f.table["sin"]), _fma(low, -half, low))
    lead = 1.0 - half
    cosine = lead + (((1.0 - lead) - half) + _fma(z * z, _poly(z, f.table["cos"]), -(r * low)))
    return sine, cosine


def _flip(y: _V, quadrant: _V) -> _V:
    """y, negated if bit 1 of the quadrant is set."""
    return (y.bits() ^ ((quadrant & 2) << (y.f.bits - 2))).float()


@_function
def sin(x: _V) -> _V:
    """The sine."""
    r, low, quadrant = _reduce_angle(x, precise=x.f.bits == 64)
    sine, cosine = _sine_cosine(r, low)
    y = _flip(_where((quadrant & 1).ne(0), cosine, sine), quadrant)
    return _where(x.eq(0.0), x, y)


@_function
def cos(x: _V) -> _V:
    """The cosine."""
    r, low, quadrant = _reduce_angle(x, precise=x.f.bits == 64)
    sine, cosine = _sine_cosine(r, low)
    return _flip(_where((quadrant & 1).ne(0), sine, cosine), quadrant + 1)


@_function
def tan(x: _V) -> _V:
    """The tangent: a polynomial, or minus its reciprocal."""
    r, low, quadrant = _reduce_angle(x)
    z = r * r
    # tan(r + low) = tan r + low (1 + tan(r)**2), with the correction's tangent taken from the polynomial's first terms.
    q = _poly(z, x.f.table["tan"]) * z
    first = _fma(r, q, r)
    tangent, rest = _quick_two_sum(r, _fma(r, q, _fma(low, first * first, low)))
    inverse = -1.0 / tangent
    # One Newton step takes care of the tangent's own rounding.
    error = _exact_fma(inverse, tangent, 1.0) + inverse * rest
    inverse_finite = _fma(inverse, error, inverse)
    y = _where((quadrant & 1).ne(0), inverse_finite, tangent)
    return _where(x.eq(0.0), x, y)


def _asin_parts(x: _V) -> tuple[_V, _V, _V, _V]:
    """For |x| <= 1/2, asin(x) = s + p; above, asin(|x|) = pi/2 - 2 (s + p + c)."""
    a = abs(x)
    big = a > 0.5
    z = _where(big, _fma(a, -0.5, 0.5), x * x)
    root = z.sqrt()
    s = _where(big, root, x)
    p = s * (z * _poly(z, x.f.table["asin"]))
    c = _exact_fma(-root, root, z) / (root + root + x.f.tiny)
    return big, s, p, c


@_function
def asin(x: _V) -> _V:
    """The inverse sine; above 1/2 through asin(x) = pi/2 - 2 asin(sqrt((1 - x) / 2))."""
    big, s, p, c = _asin_parts(x)
    high, low = x.f.half_pi[0], x.f.half_pi[1]
    outer = high - 2.0 * (s + (p + (c - 0.5 * low)))
    return _where(big, outer.signed(x), s + p)


@_function
def acos(x: _V) -> _V:
    """The inverse cosine."""
    big, s, p, c = _asin_parts(x)
    high, low = x.f.half_pi[0], x.f.half_pi[1]
    inner = high - (s + (p - low))
    right = 2.0 * (s + (p + c))
    left = 2.0 * (high - (s + (p + (c - low))))
    return _where(big, _where(x > 0.0, right, left), inner)


def _atan_ratio(num: _V, den: _V) -> _V:
    """atan(num / den) for 0 <= num <= den."""
    f = num.f
    if f.bits == 32:
        t = num / den
        z = t * t
        return _fma(t * z, _poly(z, f.table["atan"]), t)
    # Above tan(pi/8), turn by pi/4.
    middle = num > den * (math.sqrt(2.0) - 1.0)
    t = _where(middle, num - den, num) / _where(middle, num + den, den)
    z = t * t
    p = t * z * _poly(z, f.table["atan"])
    turned = f.half_pi[0] / 2 + (t + (p + f.half_pi[1] / 2))
    return _where(middle, turned, t + p)


def _turn(y: _V, swap: _V) -> _V:
    """pi/2 - y where the ratio was turned upside down."""
    high, low = y.f.half_pi[0], y.f.half_pi[1]
    return _where(swap, high - (y - low), y)


@_function
def atan(x: _V) -> _V:
    """The inverse tangent."""
    a = abs(x)
    swap = a > 1.0
    y = _turn(_atan_ratio(_where(swap, 1.0, a), _where(swap, a, 1.0)), swap)
    return y.signed(x)


@_function
def atan2(y: _V, x: _V) -> _V:
    """The angle of the point (x, y), in all four quadrants."""
    f = x.f
    ax, ay = abs(x), abs(y)
    swap = ay > ax
    num, den = _where(swap, ax, ay), _where(swap, ay, ax)
    both = num.eq(math.inf) & den.eq(math.inf)
    num, den = _where(both, 1.0, num), _where(both | den.eq(0.0), 1.0, den)
    if f.bits == 64:  # num + den must not overflow
        down = _choose(den > 2.0**1000, f.kind, 0.25, 1.0)
        num, den = num * down, den * down
    angle = _turn(_atan_ratio(num, den), swap)
    high, low = 2.0 * f.half_pi[0], 2.0 * f.half_pi[1]
    angle = _where(x.bits() < 0, high - (angle - low), angle)
    return angle.signed(y)


# -------------------------------------------------------------------------------------------- hyperbolic functions


def _odd(a: _V, name: str) -> _V:
    """a + a**3 P(a**2)"""
    z = a * a
    return _fma(a * z, _poly(z, a.f.table[name]), a)


@_function
def sinh(x: _V) -> _V:
    """The hyperbolic sine: a polynomial below 1, exponentials above."""
    a = abs(x)
    e = _exp(a, -1)
    return _where(a < 1.0, _odd(a, "sinh"), e - 0.25 / e).signed(x)


@_function
def cosh(x: _V) -> _V:
    """The hyperbolic cosine."""
    e = _exp(abs(x), -1)
    return e + 0.25 / e


@_function
def tanh(x: _V) -> _V:
    """The hyperbolic tangent: a polynomial below 0.5625, above it 1 - 2 / (exp(2 x) + 1)."""
    a = abs(x)
    e = _exp_near((a + a).at_most(20.0 if x.f.bits == 32 else 40.0))
    return _where(a < 0.5625, _odd(a, "tanh"), _fma(_reciprocal(e + 1.0), -2.0, 1.0)).signed(x)


def _log_sum(t: _V, w: _V, w_low: _V) -> _V:
    """log(1 + t + sqrt(w + w_low)), for t >= 0 in float64, with the roundings of root and sum made up for."""
    root = w.sqrt()
    root_low = (_exact_fma(-root, root, w) + w_low) / (root + root + w.f.tiny)
    v, v_low = _two_sum(t, root)
    return _log1p(v) + (v_low + root_low) / (v + 1.0)


@_function
@_in_double
def asinh(x: _V) -> _V:
    """The inverse hyperbolic sine: a polynomial below 1/2, log(x + sqrt(x**2 + 1)) above."""
    a = abs(x)
    square = a * a
    square_low = _exact_fma(a, a, -square)
    w, w_low = _two_sum(square, square.const(1.0))
    middle = _log_sum(a - 1.0, w, w_low + square_low)
    far = _log(a) + math.log(2.0)
    y = _where(a < 2.0**28, middle, far)
    return _where(a < 0.5, _odd(a, "asinh"), y).signed(x)


@_function
@_in_double
def acosh(x: _V) -> _V:
    """The inverse hyperbolic cosine, with t = x - 1 as log1p(t + sqrt(t (t + 2)))."""
    t = x - 1.0
    u = t + 2.0
    w = t * u
    w_low = _exact_fma(t, u, -w) + t * (t - (u - 2.0))
    y = _where(x < 2.0**28, _log_sum(t, w, w_low), _log(x) + math.log(2.0))
    return _where(x < 1.0, math.nan, y)


@_function
@_in_double
def atanh(x: _V) -> _V:
    """The inverse hyperbolic tangent: a polynomial below 1/2, log((1 + x) / (1 - x)) / 2 above."""
    a = abs(x)
    y = 0.5 * _log((a + 1.0) / (1.0 - a))
    return _where(a < 0.5, _odd(a, "atanh"), y).signed(x)


# ------------------------------------------------------------------------------------------------- error function


def _erf_near(x: _V) -> _V:
    """erf(x) for |x| < 1."""
    return _fma(x, _poly(x * x, x.f.table["erf"]), x)


def _erfc_far(a: _V) -> _V:
    """erfc(a) for a >= 1/2: exp(-a**2) times a polynomial in (a - 3) / (a + 3), divided by a + 3."""
    f = a.f
    a = a.at_most(11.0 if f.bits == 32 else 28.0)
    square = a * a
    square_low = _exact_fma(a, a, -square)
    p, p_low, n = _exp_parts(-square, 2 * f.bias, -square_low)
    d = a + 3.0
    d_low = a - (d - 3.0)
    w = 1.0 / d
    w_low = w * _fma(-w, d_low, _exact_fma(-w, d, 1.0))
    t = _fma(w_low, -6.0, _fma(w, -6.0, 1.0))
    constant, *others = f.table["erfcx"]
    if f.bits == 32:
        g = _fma(t, _horner(t, others), constant)
    else:  # the value falls below the constant term, whose rounding would be felt
        g = _fma(t, _horner(t, others), _ERFCX_LOW) + constant
    y = p * g
    y_low = _exact_fma(p, g, -y) + p_low * g
    return _scale(_fma(y, w, _fma(y, w_low, y_low * w)), n, f)


@_function
def erf(x: _V) -> _V:
    """The error function: a polynomial below 1, 1 - exp(-P(x)) (float32) or 1 - erfc(x) (float64) above."""
    a = abs(x)
    if x.f.bits == 32:
        far = 1.0 - _exp_near(-_poly(a.at_most(3.93), x.f.table["erf_large"]))
    else:
        far = 1.0 - _erfc_far(a)
    return _where(a < 1.0, _erf_near(a), far).signed(x)


@_function
def erfc(x: _V) -> _V:
    """1 - erf(x) without cancellation."""
    a = abs(x)
    far = _erfc_far(a)
    far = _where(x < 0.0, 2.0 - far, far)
    return _where(a < 0.5, 1.0 - _erf_near(x), far)


@_function
def erfinv(x: _V) -> _V:
    """The inverse of erf: x times a polynomial in w = -log(1 - x**2), or in sqrt(w) where w is large."""
    f = x.f
    w = -_log((1.0 - x) * (x + 1.0))
    root = w.sqrt()
    if f.bits == 32:
        y = _where(w < 5.0, _horner(w - 2.5, f.table["erfinv_centre"]), _horner(root - 3.0, f.table["erfinv_tail"]))
    else:
        far = _where(w < 16.0, _horner(root - 3.25, f.table["erfinv_tail"]), _horner(root - 5.0, f.table["erfinv_far"]))
        y = _where(w < 6.25, _horner(w - 3.125, f.table["erfinv_centre"]), far)
    return _where(abs(x).eq(1.0), math.inf, abs(x) * y).signed(x)


# ------------------------------------------------------------------------------------------------- gamma function


def _sine_cosine_pi(a: _V) -> tuple[_V, _V]:
    """sin(pi a) and cos(pi a) for a >= 0, up to sign: of the distance to the nearest integer."""
    f = a - a.floor()
    f = _where(f > 0.5, 1.0 - f, f)
    swap = f > 0.25
    r = _where(swap, 0.5 - f, f)
    sine, cosine = _sine_cosine(r * math.pi, r * 1.2246467991473532e-16)
    return _where(swap, cosine, sine), _where(swap, sine, cosine)


def _lgamma_positive(a: _V) -> _V:
    """For a >= 0: (y = z - 2) P(y) with 3/2 <= z < 5/2, log of the factors that lead there, or Stirling's series."""
    low, middle, large = a < 0.5, a < 1.5, a >= 8.0
    z, product = a, a.const(1.0)
    for _ in range(6):
        step = z >= 2.5
        z = _where(step, z - 1.0, z)
        product = _where(step, product * z, product)
    y = _where(low, a, _where(middle, a - 1.0, z - 2.0))
    product = _where(low, _fma(a, a, a), _where(middle, a, product))
    logarithm = _log(_where(large, a, product))
    near = _fma(y, _horner(y, a.f.table["lgamma"]), _where(middle, -logarithm, logarithm))
    inverse = 1.0 / a
    series = inverse * _poly(inverse * inverse, a.f.table["lgamma_large"])
    constant = 0.5 * math.log(2.0 * math.pi) - 0.5
    far = _fma(a - 0.5, logarithm - 1.0, series + constant)
    return _where(large, far, near)


@_function
@_in_double
def lgamma(x: _V) -> _V:
    """log |gamma(x)|, by reflection for negative x (near the zeros there, only the absolute error is small)."""
    a = abs(x)
    y = _lgamma_positive(a)
    sine, _ = _sine_cosine_pi(a)
    reflected = _log(math.pi / (a * sine)) - y
    y = _where((x < 0.0) & (a > 1e-300), reflected, y)
    y = _where(x < -(2.0**52), math.inf, y)  # an integer, so a pole
    return _where(a.eq(math.inf), math.inf, y)


@_function
@_in_double
def digamma(x: _V) -> _V:
    """The derivative of lgamma: a polynomial on [1, 2] around the zero, recurrence, asymptotic series, reflection."""
    f = x.f
    a = abs(x)
    below, large = a < 1.0, a >= 10.0
    z = _where(below, a + 1.0, a)
    num, den = a.const(0.0), a.const(1.0)
    for _ in range(8):
        step = z > 2.0
        z = _where(step, z - 1.0, z)
        num = _where(step, _fma(num, z, den), num)
        den = _where(step, den * z, den)
    root, root_low = _DIGAMMA_ROOT
    distance = _where(below, a - (root - 1.0), z - root) - root_low
    offset = _where(below, a - 0.5, z - 1.5)
    ratio = _where(below, -1.0, num) / _where(below, a, den)
    near = _fma(distance, _horner(offset, f.table["digamma"]), ratio)
    inverse = 1.0 / a
    square = inverse * inverse
    far = _log(a) - _fma(square, _poly(square, f.table["digamma_large"]), 0.5 * inverse)
    y = _where(large, far, near)
    sine, cosine = _sine_cosine_pi(a)
    fraction = a - a.floor()
    slope = math.pi * cosine / sine
    slope = _where(fraction > 0.5, -slope, slope)
    reflected = _where(fraction.eq(0.0), math.nan, (y + inverse) + slope)
    y = _where(x < 0.0, reflected, y)
    y = _where(a.eq(math.inf), _where(x > 0.0, x, math.nan), y)
    return _where(a < 1e-290, -1.0 / x, y)


# ------------------------------------------------------------------------------------------- division and rounding


def _long_remainder_function(module: Module) -> str:
    """A function in the module that computes fmod of two finite positive float64 by long division on the mantissas."""
    name = "livegrad_long_remainder"
    if name in module.internal:
        return name
    module.internal.add(name)
    b = module.function(name, [("double", "%x"), ("double", "%y")], ret="double", kernel=False)

    def parts(text: str) -> tuple[_V, _V]:
        word = _V(b, b.bitcast(Reg(text, "f64"), "i64"))
        exponent = word >> 52
        normal = exponent.ne(0)
        mantissa = (word & ((1 << 52) - 1)) | _where(normal, 1 << 52, exponent.const(0))
        return mantissa, _where(normal, exponent, 1)

    (mx, ex), (my, ey) = parts("%x"), parts("%y")
    difference = ex - ey
    rounds = _V(b, b.smax(difference.r, difference.const(0).r))
    begin = _V(b, b.urem(mx.r, my.r))
    with b.loop(0, rounds.r, 11, [begin.r]) as loop:
        left = rounds - _V(b, loop.i)
        step = _V(b, b.smin(left.r, left.const(11).r))
        loop.next(b.urem((_V(b, loop.values[0]) << step).r, my.r))
    rest = _V(b, loop.values[0])
    # rest * 2**(ey - 1075) in two steps, both of them exact.
    first = _V(b, b.smax((ey - 52).r, ey.const(1).r))
    second = ey - 52 - first + 1023
    b.ret((rest.to("f64") * (first << 52).float() * (second << 52).float()).r)
    return name


def _fmod(x: _V, y: _V) -> _V:
    b, f = x.b, x.f
    ax, ay = abs(x), abs(y)
    ratio = ax / ay
    quotient = ratio.trunc()
    rest = _exact_fma(-quotient, ay, ax)
    rest = _where(rest < 0.0, rest + ay, rest)
    rest = _where(ax < ay, ax, rest)

    def long(scalars: list[Reg]) -> list[Reg]:
        function = _long_remainder_function(b.module)
        wide = [b.convert(s, "f64") for s in scalars]
        found = b.call(function, "f64", wide)
        assert found is not None
        return [b.convert(found, f.kind)]

    far = ratio >= 2.0 ** (f.fraction - 1)
    if not b.has_fma:  # the emulation must neither overflow nor underflow
        reach = 2.0 ** (90 if f.bits == 32 else 900)
        far = far | (ax > reach) | (ay < 1.0 / reach)
    far = far & (ax < math.inf) & (ay > 0.0) & (ax >= ay)
    # Lanes that are not concerned must not divide by zero there.
    divisor = _where(far, ay, 1.0)
    rest = _V(b, _each_lane(b, far.r, [rest.r], [_where(far, ax, 1.0).r, divisor.r], long)[0])
    rest = _where(ax.eq(math.inf) | ay.eq(0.0) | ay.isnan(), math.nan, rest)
    return rest.signed(x)


@_function
def fmod(x: _V, y: _V) -> _V:
    """C's fmod: x minus the truncated quotient times y, exact, with the sign of x."""
    return _fmod(x, y)


@_function
def remainder(x: _V, y: _V) -> _V:
    """Python's ``%``: the remainder with the sign of y."""
    rest = _fmod(x, y)
    return _where(rest.ne(0.0) & ((y < 0.0) ^ (rest < 0.0)), rest + y, rest)


@_function
def floor_divide(x: _V, y: _V) -> _V:
    """Python's ``//``: the floor of the exact quotient; x / y where y is zero."""
    rest = _fmod(x, y)
    quotient = x / y
    whole = (x - rest) / y
    whole = _where(rest.ne(0.0) & ((y < 0.0) ^ (rest < 0.0)), whole - 1.0, whole)
    down = whole.floor()
    down = _where((whole - down) > 0.5, down + 1.0, down)
    down = _where(whole.eq(0.0), whole.const(0.0).signed(quotient), down)
    return _where(y.eq(0.0), quotient, down)


@_function
def round(x: _V) -> _V:
    """The nearest integer, ties to even."""
    return x.rint()


@_function
def sign(x: _V) -> _V:
    """-1, 0 or 1; 0 for NaN, as in PyTorch."""
    return _where(x > 0.0, 1.0, _choose(x < 0.0, x.r.kind, -1.0, 0.0))


@_function
def minimum(x: _V, y: _V) -> _V:
    """The smaller one; NaN if either is."""
    return _V(x.b, x.b.fmin_ieee(x.r, y.r))


@_function
def maximum(x: _V, y: _V) -> _V:
    """The larger one; NaN if either is."""
    return _V(x.b, x.b.fmax_ieee(x.r, y.r))

"""Functions generated as LLVM IR: accuracy in ulp, special values, every width, and PTX."""

import ctypes
import math

import numpy as np
import pytest

from livegrad.codegen import ir
from livegrad.codegen import math as functions
from livegrad.llvm import machine

try:
    import mpmath
except ImportError:
    mpmath = None

pytestmark = pytest.mark.skipif(not machine.compiler_available(), reason="llvmlite is not installed")

FLOAT = {"f32": np.float32, "f64": np.float64}
BINARY = {"atan2", "pow", "hypot", "logaddexp", "fmod", "remainder", "floor_divide", "minimum", "maximum"}
WIDTH = {"f32": 8, "f64": 4}


def _text(name, kind, width, target="cpu", fma=None):
    module = ir.Module(target, fma=fma)
    operands = ["%x", "%z"] if name in BINARY else ["%x"]
    params = [("ptr noalias", p) for p in (*operands, "%y")] + [("i64", "%n")]
    b = module.function("kernel", params, width=width)
    with b.loop(0, ir.Reg("%n", "i64"), width) as loop:
        args = [b.load(b.gep(p, kind, loop.i), kind) for p in operands]
        b.store(getattr(functions, name)(b, *args), b.gep("%y", kind, loop.i))
    return module.text()


def _run(name, *arrays, width=None, fma=None):
    kind = "f32" if arrays[0].dtype == np.float32 else "f64"
    width = WIDTH[kind] if width is None else width
    compiled = machine.compile_cpu(_text(name, kind, width, fma=fma))
    size = arrays[0].size
    padded = [np.concatenate([a, np.ones(-size % width, a.dtype)]) for a in arrays]
    out = np.empty_like(padded[0])
    pointers = [ctypes.c_void_p] * (len(padded) + 1)
    call = ctypes.CFUNCTYPE(None, *pointers, ctypes.c_int64)(compiled.address("kernel"))
    call(*[a.ctypes.data for a in padded], out.ctypes.data, out.size)
    return out[:size]


def _ulps(found, high, low=0.0):
    """The error in units of the last place of the reference high + low, inf where NaN, sign or infinity differ."""
    info = np.finfo(found.dtype)
    with np.errstate(all="ignore"):
        expected = np.asarray(high, dtype=found.dtype)
        size = np.abs(np.asarray(high, np.float64))
        exponent = np.maximum(np.frexp(size)[1] - 1, int(info.minexp)) - info.nmant
        scale = np.ldexp(1.0, -np.clip(exponent, -1000, 1000) // 2)
        rest = -np.clip(exponent, -1074, 1000) - (-np.clip(exponent, -1000, 1000) // 2)
        error = np.ldexp(((found.astype(np.float64) - high) - low) * scale, rest)
        error = np.abs(error)
    same = (np.isnan(found) & np.isnan(expected)) | (np.isinf(expected) & (found == expected))
    wrong = (np.isnan(found) != np.isnan(expected)) | (np.isinf(found) != np.isinf(expected))
    wrong |= (expected == 0) & (np.asarray(high) == 0) & (np.signbit(found) != np.signbit(expected))
    # Rounding at the edge of overflow may go either way.
    edge = np.isinf(found) != np.isinf(expected)
    edge &= np.isfinite(high) & (size > float(info.max) * (1 - 1e-6 if info.bits == 32 else 1 - 1e-15))
    return np.where(same | edge, 0.0, np.where(wrong, np.inf, error))


SPECIAL = [0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, 0.5, -0.5, 2.0, -2.0, 1e-45, -1e-45, 1e-38, -1e-38]
SPECIAL += [3.4e38, -3.4e38, 88.72, 88.73, 89.4, 89.42, -87.4, -103.9, -104.1, 0.70710678, 1.41421356, 2.0**24, 1e30]


def _random_bits(count, seed=0):
    """Half arbitrary bit patterns, half numbers of ordinary size, and special values."""
    rng = np.random.default_rng(seed)
    wild = rng.integers(0, 2**32, count // 2, dtype=np.uint32).view(np.float32)
    mild = rng.normal(size=count // 2) * rng.choice([0.01, 0.3, 1, 3, 30], count // 2)
    return np.concatenate([np.array(SPECIAL, np.float32), wild, mild.astype(np.float32)])


def _sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


NUMPY = {
    "exp": (np.exp, 1.1), "exp2": (np.exp2, 1.2), "expm1": (np.expm1, 1.7), "log": (np.log, 1.2),
    "log2": (np.log2, 1.3), "log10": (np.log10, 1.3), "log1p": (np.log1p, 1.8), "sin": (np.sin, 1.8),
    "cos": (np.cos, 1.8), "tan": (np.tan, 1.6), "asin": (np.arcsin, 1.5), "acos": (np.arccos, 1.2),
    "atan": (np.arctan, 1.7), "sinh": (np.sinh, 1.8), "cosh": (np.cosh, 1.6), "tanh": (np.tanh, 1.9),
    "asinh": (np.arcsinh, 0.6), "acosh": (np.arccosh, 0.6), "atanh": (np.arctanh, 0.6), "sigmoid": (_sigmoid, 1.8),
    "log1pexp": (lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))), 2.0),
    "rsqrt": (lambda x: 1 / np.sqrt(x), 1.6), "round": (np.rint, 0.0),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(NUMPY))
def test_float32_against_float64(name):
    reference, bound = NUMPY[name]
    x = _random_bits(1 << 18)
    with np.errstate(all="ignore"):
        expected = reference(x.astype(np.float64))
    assert _ulps(_run(name, x), expected).max() <= bound


@pytest.mark.parametrize("name", ["exp", "sin", "tan", "log", "tanh", "sigmoid", "sinh", "asin", "erfc", "lgamma"])
def test_without_fused_multiply_add(name):
    x = _random_bits(1 << 14)
    with_fma, without = _run(name, x, fma=True if machine.host_has_fma() else None), _run(name, x, fma=False)
    np.testing.assert_array_equal(np.isnan(with_fma), np.isnan(without))
    good = np.isfinite(with_fma)
    spacing = np.maximum(np.spacing(np.abs(with_fma[good])), np.finfo(np.float32).smallest_subnormal)
    assert (np.abs(with_fma[good].astype(np.float64) - without[good]) / spacing).max() <= 4


@pytest.mark.parametrize("kind", FLOAT)
def test_exponential_of_what_is_not_positive_has_the_same_bits(kind):
    x = _random_bits(1 << 14)
    x = -np.abs(np.concatenate([x, np.linspace(0, 110, 4001, dtype=np.float32)])).astype(FLOAT[kind])
    x = np.concatenate([x, np.linspace(-760, -700, 4001).astype(FLOAT[kind])])
    np.testing.assert_array_equal(_run("exp_below_one", x), _run("exp", x))


def test_huge_angles():
    rng = np.random.default_rng(0)
    x = (10.0 ** rng.uniform(4, 38, 4000)).astype(np.float32)
    for name, reference in (("sin", np.sin), ("cos", np.cos), ("tan", np.tan)):
        for width in (1, 4, 16):
            assert _ulps(_run(name, x, width=width), reference(x.astype(np.float64))).max() <= 1.8


# ------------------------------------------------------------------------------------------- against mpmath


def _mp_lgamma(x):
    if mpmath.isinf(x) or (x <= 0 and x == mpmath.floor(x)):
        return mpmath.inf
    return mpmath.re(mpmath.loggamma(x)) if x > 0 else mpmath.log(abs(mpmath.gamma(x)))


def _positive(function):
    return lambda x: function(x) if x > 0 else (-mpmath.inf if x == 0 else mpmath.nan)


def _on(limit, function):
    return lambda x: function(x) if limit(x) else mpmath.nan


def _mp_functions():
    m = mpmath
    unit = lambda x: abs(x) <= 1  # noqa: E731
    return {
        "exp": (m.exp, 1.1), "exp2": (lambda x: m.mpf(2) ** x, 1.2), "expm1": (m.expm1, 1.7),
        "log": (_positive(m.log), 1.2), "log2": (_positive(lambda x: m.log(x) / m.ln2), 1.2),
        "log10": (_positive(lambda x: m.log(x) / m.ln10), 1.2),
        "log1p": (lambda x: m.log1p(x) if x > -1 else (-m.inf if x == -1 else m.nan), 1.5),
        "sin": (m.sin, 1.2), "cos": (m.cos, 1.2), "tan": (m.tan, 1.5),
        "asin": (_on(unit, m.asin), 1.5), "acos": (_on(unit, m.acos), 1.3), "atan": (m.atan, 1.7),
        "sinh": (m.sinh, 1.8), "cosh": (m.cosh, 1.6), "tanh": (m.tanh, 1.8), "asinh": (m.asinh, 1.6),
        "acosh": (_on(lambda x: x >= 1, m.acosh), 1.6), "atanh": (_on(lambda x: abs(x) < 1, m.atanh), 1.6),
        "sigmoid": (lambda x: 1 / (1 + m.exp(-x)), 1.7), "erf": (m.erf, 1.5), "erfc": (m.erfc, 2.0),
        "log1pexp": (lambda x: m.log1p(m.exp(x)), 1.8), "lgamma": (_mp_lgamma, 4.0),
        "erfinv": (_on(lambda x: abs(x) < 1, m.erfinv), 3.5),
        "digamma": (lambda x: m.nan if x <= 0 and x == m.floor(x) else m.digamma(x), 4.0),
    }  # fmt: skip


def _points(name, count):
    rng = np.random.default_rng(5)
    if name in ("asin", "acos", "atanh", "erfinv"):
        groups = [rng.uniform(-1, 1, count), 1 - 10 ** rng.uniform(-15, -1, count), 10 ** rng.uniform(-200, 0, count)]
    elif name == "acosh":
        groups = [1 + 10 ** rng.uniform(-14, 3, count), 10 ** rng.uniform(0, 300, count)]
    elif name in ("lgamma", "digamma"):
        groups = [rng.uniform(0, 12, count), 10 ** rng.uniform(-20, 20, count), 1 + rng.normal(size=count) * 0.01]
    else:
        groups = [rng.normal(size=count) * scale for scale in (1e-5, 0.1, 1, 5, 200)]
        if name in ("sin", "cos", "tan"):
            groups += [rng.integers(1, 2**30, count) * (np.pi / 2), 10 ** rng.uniform(0, 300, count)]
            groups += [np.array([6381956970095103.0 * 2.0**797])]  # as close to a multiple of pi/2 as there is
        elif name.startswith("log"):
            groups += [10 ** rng.uniform(-320, 300, count), 1 + rng.normal(size=count) * 1e-3]
            if name == "log1pexp":
                groups = groups[:5]
    return np.concatenate(groups)


# In float32, only what has no reference in NumPy.
MP_CASES = [
    (name, kind) for name in (sorted(_mp_functions()) if mpmath else []) for kind in FLOAT
    if kind == "f64" or name not in NUMPY
]  # fmt: skip


@pytest.mark.parametrize("name, kind", MP_CASES)
def test_against_mpmath(name, kind):
    reference, bound = _mp_functions()[name]
    x = _points(name, 40 if name in ("erfinv", "digamma", "lgamma") else 120).astype(FLOAT[kind])
    if kind == "f32" and name == "erfinv":
        x = x[np.abs(x) < 1]
    high, low = np.empty(x.size), np.empty(x.size)
    for i, value in enumerate(x.tolist()):
        with mpmath.workdps(400 if abs(value) > 1e15 and name in ("sin", "cos", "tan") else 45):
            exact = mpmath.mpf(reference(mpmath.mpf(value)))
            high[i] = float(exact)
            low[i] = float(exact - high[i]) if math.isfinite(high[i]) else 0.0
    found = _run(name, x)
    errors = _ulps(found, high, low)
    assert errors.max() <= bound, (x[errors.argmax()], found[errors.argmax()], high[errors.argmax()])


def test_lgamma_and_digamma_of_negative_numbers():
    """Between the zeros the errors are small; near them, absolutely."""
    if mpmath is None:
        pytest.skip("needs mpmath")
    x = -np.random.default_rng(1).uniform(0.01, 30, 100)
    for name, reference in (("lgamma", _mp_lgamma), ("digamma", mpmath.digamma)):
        expected = np.array([float(reference(mpmath.mpf(v))) for v in x.tolist()])
        assert (np.abs(_run(name, x) - expected) / np.maximum(np.abs(expected), 1)).max() < 1e-13


# ------------------------------------------------------------------------------------------ functions of two numbers


def _pairs(kind, count=4000):
    rng = np.random.default_rng(2)
    spread = 60 if kind == "f32" else 500
    grid = np.array([0.0, -0.0, 1, -1, math.inf, -math.inf, math.nan, 2, -2, 3, -3, 0.5, -0.5, 1.5, 1e-44, 3e38, 2**53])
    sx, sy = (v.ravel() for v in np.meshgrid(grid, grid))
    scale = [rng.integers(-3, 4, count), rng.integers(-2 * spread, 2 * spread, count)]
    x = np.concatenate([sx, *(rng.normal(size=count) * 2.0**s for s in scale)])
    y = np.concatenate([sy, rng.normal(size=count) * 4, rng.normal(size=count) * 2.0 ** scale[1][::-1]])
    y[sx.size : sx.size + count // 2] = np.rint(y[sx.size : sx.size + count // 2])
    return x.astype(FLOAT[kind]), y.astype(FLOAT[kind])


def _floor_divide(x, y):
    rest = np.fmod(x, y)
    flip = (rest != 0) & ((y < 0) != (rest < 0))
    whole = np.where(flip, (x - rest) / y - 1, (x - rest) / y).astype(x.dtype)
    down = np.floor(whole)
    down = np.where(whole - down > 0.5, down + 1, down)
    down = np.where(whole != 0, down, np.copysign(0, x / y))
    return np.where(y == 0, x / y, down)


def _remainder(x, y):
    rest = np.fmod(x, y)
    return np.where((rest != 0) & ((y < 0) != (rest < 0)), rest + y, rest)


@pytest.mark.parametrize("fma", [None, False])
@pytest.mark.parametrize("kind", ["f32", "f64"])
@pytest.mark.parametrize(
    "name, reference", [("fmod", np.fmod), ("remainder", _remainder), ("floor_divide", _floor_divide)]
)
def test_remainders_are_exact(name, reference, kind, fma):
    x, y = _pairs(kind)
    with np.errstate(all="ignore"):
        expected = reference(x, y)
    found = _run(name, x, y, fma=fma)
    np.testing.assert_array_equal(found, expected)
    number = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found[number]), np.signbit(expected[number]))


@pytest.mark.parametrize("kind", ["f32", "f64"])
@pytest.mark.parametrize("name", ["atan2", "hypot", "pow"])
def test_two_numbers(name, kind):
    x, y = _pairs(kind)
    with np.errstate(all="ignore"):
        if kind == "f32":
            function = {"atan2": np.arctan2, "hypot": np.hypot, "pow": np.power}[name]
            expected = function(x.astype(np.float64), y.astype(np.float64))
        else:
            function = {"atan2": np.vectorize(math.atan2), "hypot": np.vectorize(math.hypot), "pow": np.power}[name]
            expected = function(x, y)
    # The reference in float64 is itself off by up to half a unit or so.
    assert _ulps(_run(name, x, y), expected).max() <= (1.6 if kind == "f32" else 2.6)


def test_minimum_maximum_sign():
    x, y = _pairs("f32")
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(_run("minimum", x, y), np.minimum(x, y))
        np.testing.assert_array_equal(_run("maximum", x, y), np.maximum(x, y))
        np.testing.assert_array_equal(_run("sign", x), np.nan_to_num(np.sign(x)))


def test_logaddexp():
    x, y = np.float32([0, 1, -1000, math.inf, -math.inf, math.inf, 3]), np.float32([0, 2, -1001, 1, -math.inf, -9, 90])
    np.testing.assert_allclose(_run("logaddexp", x, y), np.logaddexp(x.astype(float), y.astype(float)), rtol=2e-7)
    assert np.isnan(_run("logaddexp", np.float32([math.nan, 1]), np.float32([1, math.nan]))).all()


# ------------------------------------------------------------------------------------------------ special values

INF, NAN = math.inf, math.nan
EDGES = {
    "exp": [(INF, INF), (-INF, 0.0), (0.0, 1.0), (-0.0, 1.0), (1e9, INF), (-1e9, 0.0)],
    "expm1": [(INF, INF), (-INF, -1.0), (-0.0, -0.0), (0.0, 0.0), (1e-45, 1e-45)],
    "log": [(0.0, -INF), (-0.0, -INF), (-1.0, NAN), (INF, INF), (1.0, 0.0)],
    "log1p": [(-1.0, -INF), (-2.0, NAN), (INF, INF), (-0.0, -0.0), (-INF, NAN)],
    "sin": [(INF, NAN), (-0.0, -0.0), (0.0, 0.0)],
    "cos": [(INF, NAN), (0.0, 1.0)],
    "tan": [(-INF, NAN), (-0.0, -0.0)],
    "asin": [(1.1, NAN), (-0.0, -0.0), (1.0, math.pi / 2)],
    "atan": [(INF, math.pi / 2), (-INF, -math.pi / 2), (-0.0, -0.0)],
    "sinh": [(INF, INF), (-INF, -INF), (-0.0, -0.0), (1e9, INF)],
    "tanh": [(INF, 1.0), (-INF, -1.0), (-0.0, -0.0)],
    "atanh": [(1.0, INF), (-1.0, -INF), (1.5, NAN), (-0.0, -0.0)],
    "acosh": [(1.0, 0.0), (0.5, NAN), (INF, INF)],
    "asinh": [(-INF, -INF), (-0.0, -0.0)],
    "erf": [(INF, 1.0), (-INF, -1.0), (-0.0, -0.0)],
    "erfc": [(INF, 0.0), (-INF, 2.0), (0.0, 1.0)],
    "erfinv": [(1.0, INF), (-1.0, -INF), (2.0, NAN), (-0.0, -0.0)],
    "lgamma": [(0.0, INF), (-1.0, INF), (INF, INF), (-INF, INF), (1.0, 0.0), (2.0, 0.0)],
    "digamma": [(0.0, -INF), (-0.0, INF), (-1.0, NAN), (INF, INF), (-INF, NAN)],
    "sigmoid": [(INF, 1.0), (-INF, 0.0), (0.0, 0.5)],
    "log1pexp": [(INF, INF), (-INF, 0.0)],
    "rsqrt": [(0.0, INF), (-0.0, -INF), (INF, 0.0), (-1.0, NAN)],
    "sign": [(INF, 1.0), (-3.0, -1.0), (0.0, 0.0)],
}


@pytest.mark.parametrize("kind", ["f32", "f64"])
@pytest.mark.parametrize("name", sorted(EDGES))
def test_special_values(name, kind):
    x, expected = (np.array(column, FLOAT[kind]) for column in zip(*EDGES[name]))
    for width in (1, WIDTH[kind]):
        found = _run(name, x, width=width)
        np.testing.assert_allclose(found, expected, rtol=3e-7 if kind == "f32" else 1e-15, atol=0)
        number = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(found[number]), np.signbit(expected[number]))
        if name != "sign":
            assert np.isnan(_run(name, np.array([NAN], FLOAT[kind]), width=width)).all()


# ------------------------------------------------------------------------------------------------- every function


@pytest.mark.parametrize("name", functions.__all__)
def test_widths_agree(name):
    """A vector of any width computes the same bits as a scalar."""
    x = _random_bits(2000)
    args = (x, x[::-1].copy()) if name in BINARY else (x,)
    expected = _run(name, *args, width=1)
    for width in (2, 8, 16):
        np.testing.assert_array_equal(_run(name, *args, width=width), expected)


@pytest.mark.parametrize("kind", ["f32", "f64"])
@pytest.mark.parametrize("name", functions.__all__)
def test_ptx(name, kind):
    try:
        text = machine.compile_ptx(_text(name, kind, 1, "ptx"))
    except machine.CompilerMissing as error:
        pytest.skip(str(error))
    assert ".entry kernel" in text
    assert ".extern" not in text  # nothing is called that is not there


def test_kinds_are_checked():
    b = ir.Module("cpu").function("kernel", [])
    with pytest.raises(TypeError, match="f32 or f64"):
        functions.exp(b, b.const("i32", 1))


# ------------------------------------------------------------------------------------------------------- the builder


@pytest.mark.parametrize("native", [None, False])
@pytest.mark.parametrize("kind", ["f16", "bf16"])
def test_small_floats(kind, native):
    """Every 16-bit pattern to float32, and float32 rounded to 16 bits as ml_dtypes and NumPy do."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    dtype = np.float16 if kind == "f16" else ml_dtypes.bfloat16

    def convert(x, source, target, out):
        module = ir.Module("cpu", f16c=native)
        b = module.function("kernel", [("ptr", "%x"), ("ptr", "%y"), ("i64", "%n")], width=8)
        with b.loop(0, ir.Reg("%n", "i64"), 8) as loop:
            value = b.load(b.gep("%x", source, loop.i), source)
            b.store(b.convert(value, target), b.gep("%y", target, loop.i))
        compiled = machine.compile_cpu(module.text())
        call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(compiled.address("kernel"))
        call(x.ctypes.data, out.ctypes.data, x.size)
        return out

    every = np.arange(65536, dtype=np.uint16).view(dtype)
    wide = convert(every, kind, "f32", np.empty(65536, np.float32))
    np.testing.assert_array_equal(wide, every.astype(np.float32))
    x = _random_bits(1 << 16)
    with np.errstate(all="ignore"):
        x = np.concatenate([x, wide, np.nextafter(wide, np.float32(0)), wide * np.float32(1 + 2**-11)])
    x = x[: x.size // 8 * 8].copy()
    narrow = convert(x, "f32", kind, np.empty(x.size, dtype))
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(narrow.astype(np.float32), x.astype(dtype).astype(np.float32))


def test_objects_can_be_loaded_again():
    compiled = machine.compile_cpu(_text("exp", "f32", 8))
    again = machine.load_object(compiled.object_code)
    assert again.object_code == compiled.object_code
    x, y = np.zeros(8, np.float32), np.empty(8, np.float32)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(again.address("kernel"))(
        x.ctypes.data, y.ctypes.data, 8
    )
    assert (y == 1).all()
    with pytest.raises(KeyError):
        again.address("no_such_function")


def test_functions_of_one_name_are_kept_apart():
    def made(text):
        return ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(machine.compile_cpu(text).address("kernel"))

    def adds(n):
        inner = f"define internal i64 @inner(i64 %x) noinline {{ %y = add i64 %x, {n} ret i64 %y }}"
        return made(f"{inner} define i64 @kernel(i64 %x) {{ %y = call i64 @inner(i64 %x) ret i64 %y }}")

    functions = [adds(n) for n in range(40)]
    assert [f(100) for f in functions] == list(range(100, 140))
    # One that has the name of a function of the system is not taken for that.
    made("define i64 @labs(i64 %x) { ret i64 7 } define i64 @kernel(i64 %x) { ret i64 %x }")
    calls = made("declare i64 @labs(i64) define i64 @kernel(i64 %x) { %y = call i64 @labs(i64 %x) ret i64 %y }")
    assert calls(-3) == 3 and [f(0) for f in functions] == list(range(40))


def test_code_that_calls_what_is_not_there_is_refused():
    module = ir.Module("cpu")
    b = module.function("kernel", [("ptr", "%x")])
    b.declare("declare void @livegrad_no_such_function()")
    b.line("call void @livegrad_no_such_function()")
    with pytest.raises(RuntimeError, match="livegrad_no_such_function"):
        machine.compile_cpu(module.text())


@pytest.mark.parametrize("name", ["exp", "expm1", "sigmoid", "tanh", "log1pexp"])
@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_same_bits_at_every_width(name, kind):
    x = _random_bits(4096).astype(FLOAT[kind])
    made = [_run(name, x, width=width) for width in (1, 2, 4, 8, 16, 32)]
    for other in made[1:]:
        np.testing.assert_array_equal(other, made[0])

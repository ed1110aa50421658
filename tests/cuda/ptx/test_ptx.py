"""The interpreter against snippets whose results are known."""

import re
import struct
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ptx
from ptx import floats

HEAD = ".version 7.8\n.target sm_90\n.address_size 64\n"
SETS = {"p": "pred", "h": "b16", "r": "b32", "d": "b64"}


def place(array):
    return array.__array_interface__["data"][0]


def run(body, *arrays, threads=32, blocks=1, numbers=(), top="", inside=""):
    """Run a kernel whose registers %dN hold the addresses of arrays, and then numbers. %r0 is the thread in its block,
    %d9N the address of the thread's word in array N (words of the array's size); predicates are %p, 16 bits %h."""
    words = [*map(place, arrays), *numbers]
    given = "".join(f"ld.param.b64 %d{k}, [k_param_0+{8 * k}];\n" for k in range(len(words)))
    for k, a in enumerate(arrays):
        given += f"mul.wide.u32 %d80, %r0, {a.itemsize};\nadd.s64 %d9{k}, %d{k}, %d80;\n"
    registers = "".join(f".reg .{kind} %{letter}<100>;\n" for letter, kind in SETS.items())
    text = (
        f"{HEAD}{top}\n.visible .entry k(\n.param .align 8 .b8 k_param_0[{8 * max(len(words), 1)}]\n)\n.maxntid {threads}\n{{\n"
        f"{registers}{inside}mov.u32 %r0, %tid.x;\n{given}{body}\nret;\n}}\n"
    )
    buffers = [(place(a), a.view(np.uint8), f"array {k}") for k, a in enumerate(arrays)]
    ptx.launch(text, "k", blocks, threads, struct.pack(f"={max(len(words), 1)}Q", *words or [0]), buffers)


def one(instruction, out, *inputs):
    """What an instruction makes of inputs: its operands are %x, %y, %z and its target is %o."""
    n = len(inputs[0])
    made = np.zeros(n, out)
    letters = {1: "h", 2: "h", 4: "r", 8: "d"}
    body = ""
    for k, (name, a) in enumerate(zip("xyz", inputs)):
        register = f"%{letters[a.itemsize]}5{k}"
        body += f"ld.global.b{8 * a.itemsize} {register}, [%d9{k + 1}];\n"
        instruction = instruction.replace(f"%{name}", register)
    target = f"%{letters[made.itemsize]}60"
    body += instruction.replace("%o", target) + f"\nst.global.b{8 * made.itemsize} [%d90], {target};"
    run(body, made, *inputs, threads=n)
    return made


# --- arithmetic -------------------------------------------------------------------------------------------------


def test_integers_wrap_and_divide_towards_zero():
    x, y = np.array([7, -7, 2**31 - 1, -(2**31), 5, -9], np.int32), np.array([2, 2, 1, 1, -3, -4], np.int32)
    assert one("add.s32 %o, %x, %y;", np.int32, x, y).tolist() == [9, -5, -(2**31), -(2**31) + 1, 2, -13]
    assert one("div.s32 %o, %x, %y;", np.int32, x, y).tolist() == [3, -3, 2**31 - 1, -(2**31), -1, 2]
    assert one("rem.s32 %o, %x, %y;", np.int32, x, y).tolist() == [1, -1, 0, 0, 2, -1]
    assert one("mul.hi.s32 %o, %x, %y;", np.int32, x, y).tolist() == [(int(a) * int(b)) >> 32 for a, b in zip(x, y)]
    assert one("mul.wide.s32 %o, %x, %y;", np.int64, x, y).tolist() == [int(a) * int(b) for a, b in zip(x, y)]
    assert one("mad.lo.s32 %o, %x, %y, 3;", np.int32, x, y).tolist() == [17, -11, -(2**31) + 2, -(2**31) + 3, -12, 39]


@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=9))
@settings(max_examples=20, deadline=None)
def test_high_products(pairs):
    x, y = (np.array(v, np.int64) for v in zip(*pairs))
    expected = [(a * b) >> 64 for a, b in pairs]
    assert one("mul.hi.s64 %o, %x, %y;", np.int64, x, y).tolist() == expected
    u, v = x.view(np.uint64), y.view(np.uint64)
    assert one("mul.hi.u64 %o, %x, %y;", np.uint64, u, v).tolist() == [(int(a) * int(b)) >> 64 for a, b in zip(u, v)]


def test_shifts_and_fields():
    x = np.array([0x80000001, 0x0000F0F0, 0x12345678], np.uint32)
    assert one("shl.b32 %o, %x, 33;", np.uint32, x).tolist() == [0, 0, 0]
    assert one("shr.s32 %o, %x, 40;", np.int32, x).tolist() == [-1, 0, 0]
    assert one("shr.u32 %o, %x, 4;", np.uint32, x).tolist() == [0x8000000, 0xF0F, 0x1234567]
    assert one("bfe.u32 %o, %x, 4, 8;", np.uint32, x).tolist() == [0, 0xF, 0x67]
    assert one("bfe.s32 %o, %x, 12, 4;", np.int32, x).tolist() == [0, -1, 5]
    assert one("bfi.b32 %o, %x, 0, 8, 16;", np.uint32, x).tolist() == [0x100, 0xF0F000, 0x567800]
    assert one("prmt.b32 %o, %x, 0, 0x0123U;", np.uint32, x).tolist() == [0x01000080, 0xF0F00000, 0x78563412]
    assert one("prmt.b32 %o, %x, 0, 0x777BU;", np.uint32, x).tolist() == [0xFF, 0, 0]
    assert one("shf.l.wrap.b32 %o, %x, %x, 8;", np.uint32, x).tolist() == [0x00000180, 0x00F0F000, 0x34567812]
    assert one("lop3.b32 %o, %x, 0xFF, 0, 0x30;", np.uint32, x).tolist() == [0x80000000, 0xF000, 0x12345600]
    assert one("popc.b32 %o, %x;", np.uint32, x).tolist() == [2, 8, 13]
    assert one("clz.b32 %o, %x;", np.uint32, x).tolist() == [0, 16, 3]
    assert one("brev.b32 %o, %x;", np.uint32, x).tolist() == [0x80000001, 0x0F0F0000, 0x1E6A2C48]
    assert one("bfind.u32 %o, %x;", np.uint32, x).tolist() == [31, 15, 28]


ANY16, ANY32, ANY64 = (st.integers(0, 2**n - 1).map(lambda v, n=n: float(np.array(v, f"u{n // 8}").view(f"f{n // 8}")))
                       for n in (16, 32, 64))  # fmt: skip


def exact(x, y, z, dtype):
    """x * y + z rounded once, by fractions."""
    x, y, z = (float(v) for v in (x, y, z))
    if not all(map(np.isfinite, (x, y, z))):
        with np.errstate(all="ignore"):
            return dtype(np.float64(x) * y + z)
    total = Fraction(x) * Fraction(y) + Fraction(z)
    if total == 0:
        return dtype(x * y + z) if x * y == 0 else dtype(0)
    bits = {np.float16: 11, np.float32: 24, np.float64: 53}[dtype]
    least = {np.float16: -24, np.float32: -149, np.float64: -1074}[dtype]
    size = abs(total)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    if size < Fraction(2) ** exponent:
        exponent -= 1
    unit = Fraction(2) ** max(exponent - bits + 1, least)
    rounded = round(total / unit) * unit  # Python's round takes ties to even
    try:
        with np.errstate(all="ignore"):
            return dtype(float(rounded))
    except OverflowError:
        return dtype(np.inf if total > 0 else -np.inf)


@pytest.mark.parametrize(("t", "dtype", "numbers"), [("f32", np.float32, ANY32), ("f64", np.float64, ANY64),
                                                     ("f16", np.float16, ANY16)])  # fmt: skip
def test_fused_multiply_add_rounds_once(t, dtype, numbers):
    @given(st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=30))
    @settings(max_examples=40, deadline=None)
    def check(triples):
        with np.errstate(all="ignore"):
            # and products that nearly cancel, where rounding twice shows
            triples = triples + [(x, y, -float(dtype(x) * dtype(y))) for x, y, _ in triples]
            x, y, z = (np.array(v, dtype) for v in zip(*triples))
            found = one(f"fma.rn.{t} %o, %x, %y, %z;", dtype, x, y, z)
            expected = np.array([exact(*v, dtype) for v in zip(x, y, z)])
        np.testing.assert_array_equal(found, expected)

    check()


def test_double_fma_near_the_ends_of_its_range():
    rng = np.random.default_rng(0)
    with np.errstate(all="ignore"):
        x, y, z = (rng.standard_normal(900) * 2.0 ** rng.integers(-600, 600, 900) for _ in range(3))
        z[::2] = -(x * y)[::2]
        z[~np.isfinite(z)] = 1.0
        assert floats.fma64(x, y, z).tolist() == [exact(*v, np.float64) for v in zip(x, y, z)]


def test_arithmetic_of_floats():
    x, y = np.array([1.0, -2.0, np.inf, 0.0, 3.0], np.float32), np.array([3.0, 0.0, -np.inf, 0.0, np.nan], np.float32)
    with np.errstate(all="ignore"):
        for name, expected in (("add", x + y), ("sub", x - y), ("mul", x * y), ("div", x / y)):
            found = one(f"{name}.rn.f32 %o, %x, %y;", np.float32, x, y)
            np.testing.assert_array_equal(found, expected)
            assert set(found[np.isnan(found)].view(np.uint32)) <= {0x7FFFFFFF}
        np.testing.assert_array_equal(one("sqrt.rn.f32 %o, %x;", np.float32, x), np.sqrt(x))
    assert one("max.f32 %o, %x, %y;", np.float32, x, y).tolist() == [3.0, 0.0, np.inf, 0.0, 3.0]
    assert np.isnan(one("max.NaN.f32 %o, %x, %y;", np.float32, x, y)[4])
    zeros = np.array([-0.0, 0.0], np.float32)
    assert np.signbit(one("min.f32 %o, %x, %y;", np.float32, zeros, zeros[::-1].copy())).tolist() == [True, True]
    signs, sizes = np.array([-1.0, 0.0], np.float32), np.array([2.0, -3.0], np.float32)
    assert one("copysign.f32 %o, %x, %y;", np.float32, signs, sizes).tolist() == [-2.0, 3.0]


def test_comparisons():
    x = np.array([1.0, 2.0, np.nan, np.nan], np.float32)
    y = np.array([1.0, 1.0, 1.0, np.nan], np.float32)
    for name, expected in (
        ("eq", [1, 0, 0, 0]), ("ne", [0, 1, 0, 0]), ("lt", [0, 0, 0, 0]), ("gt", [0, 1, 0, 0]), ("ge", [1, 1, 0, 0]),
        ("equ", [1, 0, 1, 1]), ("neu", [0, 1, 1, 1]), ("ltu", [0, 0, 1, 1]), ("geu", [1, 1, 1, 1]), ("leu", [1, 0, 1, 1]),
        ("num", [1, 1, 0, 0]), ("nan", [0, 0, 1, 1]),
    ):  # fmt: skip
        assert one(f"setp.{name}.f32 %p1, %x, %y;\nselp.b32 %o, 1, 0, %p1;", np.uint32, x, y).tolist() == expected, name
    i = np.array([1, -1], np.int32)
    assert one("setp.lt.s32 %p1, %x, 0;\nselp.b32 %o, 1, 0, %p1;", np.uint32, i).tolist() == [0, 1]
    assert one("setp.lt.u32 %p1, %x, 5;\nselp.b32 %o, 1, 0, %p1;", np.uint32, i).tolist() == [1, 0]
    both = "setp.gt.s32 %p2, %x, 5;\nsetp.lt.or.s32 %p1|%p3, %x, 0, %p2;\nselp.b32 %r1, 2, 0, %p3;\nselp.b32 %o, 1, %r1, %p1;"
    assert one(both, np.uint32, i).tolist() == [2, 1]


def test_conversions():
    x = np.array([2.5, -2.5, 1e30, -1e30, np.nan, 300.7], np.float32)
    assert one("cvt.rni.s32.f32 %o, %x;", np.int32, x).tolist() == [2, -2, 2**31 - 1, -(2**31), 0, 301]
    assert one("cvt.rzi.u32.f32 %o, %x;", np.uint32, x).tolist() == [2, 0, 2**32 - 1, 0, 0, 300]
    assert one("cvt.rzi.s64.f32 %o, %x;", np.int64, x).tolist() == [2, -2, 2**63 - 1, -(2**63), -(2**63), 300]
    assert one("cvt.rmi.f32.f32 %o, %x;", np.float32, x)[:2].tolist() == [2.0, -3.0]
    assert one("cvt.rpi.f32.f32 %o, %x;", np.float32, x)[:2].tolist() == [3.0, -2.0]
    halves = one(
        "cvt.rn.f16.f32 %o, %x;", np.float16, np.array([65519.0, 65520.0, 2.0**-25, 1.0 + 2.0**-11], np.float32)
    )
    assert halves.tolist() == [65504.0, np.inf, 0.0, 1.0]
    assert one("cvt.f32.f16 %o, %x;", np.float32, halves).tolist() == halves.tolist()
    brains = one("cvt.rn.bf16.f32 %o, %x;", np.uint16, np.array([1.0, 1.00390625, 1.01171875, np.nan], np.float32))
    assert brains.tolist() == [0x3F80, 0x3F80, 0x3F82, 0x7FFF]
    big = np.array([2**53 + 1, -1, 2**63 - 1], np.int64)
    assert one("cvt.rn.f64.s64 %o, %x;", np.float64, big).tolist() == [2.0**53, -1.0, 2.0**63]
    assert one("cvt.rn.f32.u64 %o, %x;", np.float32, big)[1] == np.float32(2.0**64)
    small = np.array([200, 127, 0x1FF], np.uint32)
    assert one("cvt.s8.s32 %h1, %x;\ncvt.s32.s16 %o, %h1;", np.int32, small).tolist() == [-56, 127, -1]
    wide = np.array([1.0 + 2.0**-24 + 2.0**-50, 1e-50], np.float64)
    assert one("cvt.rn.f32.f64 %o, %x;", np.float32, wide).tolist() == [1.0 + 2.0**-23, 0.0]
    assert one("cvt.rz.f32.f64 %o, %x;", np.float32, wide).tolist() == [1.0, 0.0]
    assert one("cvt.rp.f32.f64 %o, %x;", np.float32, wide).tolist() == [1.0 + 2.0**-23, 2.0**-149]


def test_pairs_of_halves():
    x = np.array([1.5, 2.0, -3.0, 65504.0], np.float16)
    made = np.zeros(2, np.uint32)
    body = "ld.global.b32 %r1, [%d91];\nadd.rn.f16x2 %r2, %r1, %r1;\nmov.b32 {%h1, %h2}, %r2;\nmov.b32 %r3, {%h2, %h1};\nst.global.b32 [%d90], %r3;"
    run(body, made, x.view(np.uint32), threads=2)
    assert made.view(np.float16).tolist() == [4.0, 3.0, np.inf, -6.0]
    body = "ld.global.b32 %r1, [%d91];\ncvt.rn.f16x2.f32 %r2, %r1, 0f3F800000;\nst.global.b32 [%d90], %r2;"
    run(body, made, np.array([2.0, 3.0], np.float32).view(np.uint32), threads=2)
    assert made.view(np.float16).tolist() == [1.0, 2.0, 1.0, 3.0]


# --- control ----------------------------------------------------------------------------------------------------


def test_divergence_and_loops():
    """Each thread adds as many numbers as its index says, odd ones twice; then all go on together."""
    made = np.zeros(64, np.uint32)
    body = (
        """
    mov.u32 %r1, 0; mov.u32 %r2, 0;
    """.replace("; ", ";\n")
        + """
    $L1:
    setp.ge.u32 %p1, %r1, %r0;
    @%p1 bra $L3;
    and.b32 %r3, %r0, 1;
    setp.eq.b32 %p2, %r3, 0;
    @%p2 bra $L2;
    add.u32 %r2, %r2, %r1;
    $L2:
    add.u32 %r2, %r2, %r1;
    add.u32 %r1, %r1, 1;
    bra.uni $L1;
    $L3:
    add.u32 %r2, %r2, 1000;
    @!%p2 add.u32 %r2, %r2, 5;
    st.global.b32 [%d90], %r2;
    """
    )
    run(
        body.replace("setp.eq.b32 %p2", "setp.eq.u32 %p2").replace(
            "mov.u32 %r2, 0;", "mov.u32 %r2, 0;\nsetp.eq.u32 %p2, %r2, 0;"
        ),
        made,
        threads=64,
    )
    totals = [n * (n - 1) // 2 for n in range(64)]
    assert made.tolist() == [t * (1 + n % 2) + 1000 + 5 * (n % 2) for n, t in enumerate(totals)]


def test_functions():
    top = """
    .func (.param .b64 func_retval0) triple(
    .param .b64 triple_param_0
    )
    {
    .reg .b64 %rd<4>;
    ld.param.b64 %rd1, [triple_param_0];
    mul.lo.s64 %rd2, %rd1, 3;
    st.param.b64 [func_retval0], %rd2;
    ret;
    }
    """
    made = np.zeros(32, np.int64)
    body = """
    cvt.u64.u32 %d50, %r0;
    setp.lt.u32 %p1, %r0, 8;
    @%p1 bra $L1;
    { // callseq 0
    .param .b64 param0;
    .param .b64 retval0;
    st.param.b64 [param0], %d50;
    call.uni (retval0), triple, (param0);
    ld.param.b64 %d50, [retval0];
    } // callseq 0
    $L1:
    st.global.b64 [%d90], %d50;
    """
    run(body, made, top=top)
    assert made.tolist() == [n if n < 8 else 3 * n for n in range(32)]


def test_local_memory():
    made = np.zeros(32, np.uint32)
    body = """
    mov.b64 %d50, depot;
    cvta.local.u64 %d51, %d50;
    st.local.b32 [%d50+4], %r0;
    ld.b32 %r1, [%d51+4];
    st.b32 [%d51+8], %r1;
    ld.local.b32 %r2, [%d50+8];
    st.global.b32 [%d90], %r2;
    """
    run(body, made, inside=".local .align 8 .b8 depot[16];\n")
    assert made.tolist() == list(range(32))


SHARED = ".shared .align 16 .b8 mine[512];\n"


def test_shared_memory_and_barriers():
    made = np.zeros(256, np.uint32)
    body = """
    shl.b32 %r1, %r0, 2;
    cvt.u64.u32 %d50, %r1;
    mov.b64 %d51, mine;
    add.s64 %d52, %d51, %d50;
    mov.u32 %r2, %ctaid.x;
    mad.lo.u32 %r3, %r2, 1000, %r0;
    st.shared.b32 [%d52], %r3;
    bar.sync 0;
    sub.u64 %d53, %d51, %d50;
    ld.shared.b32 %r4, [%d53+508];
    shl.b32 %r5, %r2, 9;
    cvt.u64.u32 %d54, %r5;
    add.s64 %d55, %d90, %d54;
    st.global.b32 [%d55], %r4;
    """
    run(body, made, threads=128, blocks=2, top=SHARED)
    assert made.tolist() == [*range(127, -1, -1), *range(1127, 999, -1)]
    with pytest.raises(
        ptx.Fault, match=r"thread 0 of block 0, line \d+, `ld.shared.b32 %r4, \[%d53\+508\];`: reads .* no barrier"
    ):
        run(body.replace("bar.sync 0;", ""), made, threads=128, blocks=2, top=SHARED)


def test_barriers_that_not_all_reach():
    with pytest.raises(ptx.Fault, match="wait for each other"):
        run("setp.lt.u32 %p1, %r0, 8;\n@%p1 bra $L1;\nbar.sync 0;\n$L1:\nbar.sync 0;", threads=64)


@pytest.mark.parametrize(
    ("mode", "b", "c", "expected"),
    [("bfly", 1, 31, [n ^ 1 for n in range(32)]), ("down", 4, 31, [n + 4 if n + 4 < 32 else n for n in range(32)]),
     ("up", 3, 0, [n - 3 if n >= 3 else n for n in range(32)]), ("idx", 7, 31, [7] * 32),
     ("idx", 1, (24 << 8) | 31, [n // 8 * 8 + 1 for n in range(32)]),
     ("down", 4, (24 << 8) | 31, [n + 4 if n % 8 < 4 else n for n in range(32)]),
     ("up", 4, 24 << 8, [n - 4 if n % 8 >= 4 else n for n in range(32)])],
)  # fmt: skip
def test_shuffles(mode, b, c, expected):
    made = np.zeros(64, np.uint32)
    body = f"shfl.sync.{mode}.b32 %r1|%p1, %r0, {b}, {c}, -1;\nselp.b32 %r2, 0, 1000, %p1;\nadd.u32 %r3, %r1, %r2;\nst.global.b32 [%d90], %r3;"
    run(body, made, threads=64)
    first = [e + (0 if e != n or mode in ("bfly", "idx") else 1000) for n, e in enumerate(expected)]
    assert made.tolist() == first + [e + 32 for e in first]


def test_lanes_meet_at_a_shuffle():
    """Half of a warp comes later."""
    made = np.zeros(32, np.uint32)
    body = """
    mov.u32 %r1, %r0;
    setp.lt.u32 %p1, %r0, 16;
    @%p1 bra $L1;
    add.u32 %r1, %r1, 100;
    $L1:
    shfl.sync.bfly.b32 %r2, %r1, 16, 31, -1;
    st.global.b32 [%d90], %r2;
    """
    run(body, made)
    assert made.tolist() == [*range(116, 132), *range(16)]
    with pytest.raises(ptx.Fault, match="for ever"):
        run(body.replace("bra $L1", "bra $L2").replace("st.global.b32 [%d90], %r2", "$L2:\nbar.sync 0"), made)
    with pytest.raises(ptx.Fault, match="lane that does not take part"):
        run("setp.lt.u32 %p1, %r0, 16;\n@!%p1 bra $L1;\nshfl.sync.bfly.b32 %r2, %r0, 16, 31, 65535;\n$L1:", made)


def test_votes():
    made = np.zeros(32, np.uint32)
    run("setp.lt.u32 %p1, %r0, 3;\nvote.sync.ballot.b32 %r1, %p1, -1;\nst.global.b32 [%d90], %r1;", made)
    assert made.tolist() == [7] * 32


def test_atomics():
    total, order = np.zeros(1, np.uint32), np.zeros(64, np.uint32)
    run(
        "atom.global.add.u32 %r1, [%d0], %r0;\nst.global.b32 [%d91], 1;\nred.global.max.s32 [%d0], 3;",
        total,
        order,
        threads=64,
    )
    assert total.tolist() == [64 * 63 // 2]
    with pytest.raises(NotImplementedError, match="order of threads"):
        run("red.global.add.f32 [%d0], 0f3F800000;", total)


# --- what is wrong ----------------------------------------------------------------------------------------------


def test_outside_of_memory():
    made = np.zeros(20, np.uint32)
    with pytest.raises(
        ptx.Fault, match=re.escape("thread 20 of block 0") + r".*st.global.b32.*no live buffer \(array 0 \["
    ):
        run("st.global.b32 [%d90], %r0;", made)
    with pytest.raises(ptx.Fault, match="thread 0 of block 0.*ld.global.b32.*no live buffer"):
        run("ld.global.b32 %r1, [%d0+-4];", made)
    with pytest.raises(ptx.Fault, match="not a multiple of 8"):
        run("ld.global.v2.b32 {%r1, %r2}, [%d90];", np.zeros(64, np.uint32))
    with pytest.raises(ptx.Fault, match="no live buffer"):
        run("mov.b64 %d50, mine;\nld.shared.b32 %r1, [%d50+512];", top=SHARED)


def test_races():
    made = np.zeros(32, np.uint32)
    with pytest.raises(ptx.Fault, match="as another thread does, something else"):
        run("st.global.b32 [%d0], %r0;", made)
    run("st.global.b32 [%d0], 5;", made)  # the same by all is none
    one_thread = "setp.ne.u32 %p1, %r0, 3;\n@%p1 bra $L1;\nst.global.b32 [%d0], %r0;\n$L1:\n"
    with pytest.raises(ptx.Fault, match="thread 0 of block 0.*reads .* no barrier"):
        run(one_thread + "ld.global.b32 %r1, [%d0];", made)
    run(one_thread + "bar.sync 0;\nld.global.b32 %r1, [%d0];", made)
    with pytest.raises(ptx.Fault, match="of block 1.*reads"):  # a barrier orders no threads of other blocks
        late = "mov.u32 %r9, %ctaid.x;\nsetp.ne.u32 %p2, %r9, 0;\n@%p2 bra $L2;\n" + one_thread + "$L2:\nbar.sync 0;\n"
        run(late + "ld.global.b32 %r1, [%d0];", made, blocks=2)
    with pytest.raises(
        ptx.Fault, match="thread 1 of block 0.*writes .* written or read|thread 1 of block 0.*writes .* read or written"
    ):
        run("ld.global.b32 %r1, [%d0];\n" + one_thread.replace("ne.u32 %p1, %r0, 3", "ne.u32 %p1, %r0, 1"), made)


def test_what_is_not_known_is_an_error():
    with pytest.raises(NotImplementedError, match="add.f32"):  # an assembler may fuse it with a product
        run("add.f32 %r1, %r0, %r0;")
    with pytest.raises(NotImplementedError, match="frobnicate"):
        run("frobnicate.b32 %r1, %r0;")
    with pytest.raises(ptx.Fault, match="never been written"):
        run("add.u32 %r1, %r5, 1;")
    with pytest.raises(ptx.Fault, match="at most 32"):
        text = HEAD + ".visible .entry k()\n.maxntid 32\n{\nret;\n}\n"
        ptx.launch(text, "k", 1, 64, b"", [])


def test_constants_of_the_module():
    made = np.zeros(32, np.uint32)
    body = "mov.b64 %d50, table;\nand.b32 %r1, %r0, 3;\nmul.wide.u32 %d51, %r1, 4;\nadd.s64 %d52, %d50, %d51;\nld.global.nc.b32 %r2, [%d52];\nst.global.b32 [%d90], %r2;"
    run(body, made, top=".global .align 64 .b32 table[4] = {7, 0x10, -1, 9};\n")
    assert made.tolist() == [7, 16, 2**32 - 1, 9] * 8

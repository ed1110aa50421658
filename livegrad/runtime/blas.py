"""Matrix products: OpenBLAS through a handle of our own, split over our own threads.

The library (`openblas`) works on one thread. Parallel work is ours: a product is cut into tiles, and `pool.launch` runs
an IR kernel that calls `cblas_?gemm` for each. So there is one pool of threads, and its number is ours.

Matrices are given as addresses and strides in elements. Nothing is copied: a layout that BLAS cannot express is
refused.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import re
import struct
from typing import NamedTuple

from livegrad.llvm import cache, machine
from livegrad.native import hot
from livegrad.runtime import gemm as gemm_kernel
from livegrad.runtime import openblas, pool

__all__ = ["available", "batched", "gemm", "info"]  # noqa: F822  (`available` is worked out when asked for)

# Below this many multiply-adds of real numbers (some ten microseconds) the calling thread works alone and keeps the
# interpreter's lock.
_SERIAL_WORK = 300_000
# The library goes through a result in blocks, of 12 rows by 24 columns for instance, and adds up what is left at the
# ends in another order. So that an element's sum does not depend on the number of threads, columns are cut at places
# that follow from the sizes alone, and rows at multiples of a block.
_STRIP_UNIT = 48  # columns of a strip are a multiple of this
_FEW_ROWS, _NARROW, _WIDE = 96, 240, 960  # columns of a strip at most: where there are hardly any rows to cut, and else
# Products of up to so many multiplications, with plain A and transposed B also of so few results, go through other
# kernels of the library on processors with AVX-512: the tiles of a strip all do, or none.
_SMALL_WORK, _SMALL_RESULT = 100**3, 1200
# Results of a product with a vector are cut where sizes say: chunks of so much work, a multiple of so many results, and
# not more than about so many chunks.
_CHUNK_WORK, _CHUNK_UNIT, _MOST_CHUNKS = 20_000, 48, 64
_PLAIN, _TRANSPOSED = 111, 112  # CblasNoTrans, CblasTrans; CblasRowMajor is 101


# What there is


def _available():
    return openblas.library() is not None and importlib.util.find_spec("llvmlite") is not None


def __getattr__(name):
    """`available`: whether products can be computed here. Asking loads the library, so nobody does before the first."""
    if name != "available":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found = _available()
    return found


def info() -> str:
    """The version and the kernel set in use, in words."""
    library = openblas.library()
    if library is None:
        return "OpenBLAS: not found, matrix products go through NumPy"
    words = library.scipy_openblas_get_config().decode().split()
    text = f"{' '.join(words[:2])}, {library.scipy_openblas_get_corename().decode()} kernels"
    return text if _available() else text + ", unused because llvmlite is missing"


# The kernel: item number t is tile (i, j) of product b, with t = (b * tiles down + i) * tiles across + j.

_KERNEL = """
define void @gemm_KIND(ptr %args, i64 %begin, i64 %end) {
entry:
LOADS
  %alpha = fptrunc double %alpha.d to TYPE
  %beta = fptrunc double %beta.d to TYPE
  %m.w = zext i32 %m to i64
  %n.w = zext i32 %n to i64
  br label %loop
loop:
  %t = phi i64 [ %begin, %entry ], [ %t.next, %loop ]
  %row.of.tiles = udiv i64 %t, %across
  %j = urem i64 %t, %across
  %product = udiv i64 %row.of.tiles, %down
  %i = urem i64 %row.of.tiles, %down
  %row = mul i64 %i, %rows
  %column = mul i64 %j, %columns
  %rows.left = sub i64 %m.w, %row
  %columns.left = sub i64 %n.w, %column
  %rows.now = call i64 @llvm.smin.i64(i64 %rows.left, i64 %rows)
  %columns.now = call i64 @llvm.smin.i64(i64 %columns.left, i64 %columns)
  %m.now = trunc i64 %rows.now to i32
  %n.now = trunc i64 %columns.now to i32
  %a1 = mul i64 %product, %a.batch
  %a2 = mul i64 %row, %a.row
  %a3 = add i64 %a1, %a2
  %a4 = add i64 %a, %a3
  %a.p = inttoptr i64 %a4 to ptr
  %b1 = mul i64 %product, %b.batch
  %b2 = mul i64 %column, %b.column
  %b3 = add i64 %b1, %b2
  %b4 = add i64 %b, %b3
  %b.p = inttoptr i64 %b4 to ptr
  %c1 = mul i64 %product, %c.batch
  %c2 = mul i64 %row, %c.row
  %c3 = mul i64 %column, SIZE
  %c4 = add i64 %c1, %c2
  %c5 = add i64 %c4, %c3
  %c6 = add i64 %c, %c5
  %c.p = inttoptr i64 %c6 to ptr
  call void %gemm(i32 101, i32 %ta, i32 %tb, i32 %m.now, i32 %n.now, i32 %k, TYPE %alpha, ptr %a.p, i32 %lda,
                  ptr %b.p, i32 %ldb, TYPE %beta, ptr %c.p, i32 %ldc)
  %t.next = add i64 %t, 1
  %more = icmp slt i64 %t.next, %end
  br i1 %more, label %loop, label %done
done:
  ret void
}

define void @one_KIND(ptr %args, i64 %begin, i64 %end) {
entry:
ONE
  %alpha = fptrunc double %alpha.d to TYPE
  %beta = fptrunc double %beta.d to TYPE
  call void %gemm(i32 101, i32 %ta, i32 %tb, i32 %m, i32 %n, i32 %k, TYPE %alpha, ptr %a.p, i32 %lda,
                  ptr %b.p, i32 %ldb, TYPE %beta, ptr %c.p, i32 %ldc)
  ret void
}

; Items are chunks of the results, counted through all products.
define void @vector_KIND(ptr %args, i64 %begin, i64 %end) {
entry:
VECTOR
  %alpha = fptrunc double %alpha.d to TYPE
  %beta = fptrunc double %beta.d to TYPE
  %is.plain = icmp eq i32 %trans, 111
  %chunk.w = zext i32 %chunk to i64
  %rounded = add i64 %outputs, %chunk.w
  %rounded.less = sub i64 %rounded, 1
  %chunks = udiv i64 %rounded.less, %chunk.w
  br label %loop
loop:
  %t = phi i64 [ %begin, %entry ], [ %t.next, %loop ]
  %product = udiv i64 %t, %chunks
  %number = urem i64 %t, %chunks
  %start = mul i64 %number, %chunk.w
  %left = sub i64 %outputs, %start
  %count = call i64 @llvm.smin.i64(i64 %left, i64 %chunk.w)
  %count.now = trunc i64 %count to i32
  %rows.now = select i1 %is.plain, i32 %count.now, i32 %k
  %columns.now = select i1 %is.plain, i32 %k, i32 %count.now
  %a1 = mul i64 %product, %a.batch
  %a2 = mul i64 %start, %a.step
  %a3 = add i64 %a1, %a2
  %a4 = add i64 %a, %a3
  %a.p = inttoptr i64 %a4 to ptr
  %x1 = mul i64 %product, %x.batch
  %x2 = add i64 %x, %x1
  %x.p = inttoptr i64 %x2 to ptr
  %y1 = mul i64 %product, %y.batch
  %y2 = mul i64 %start, %y.step
  %y3 = add i64 %y1, %y2
  %y4 = add i64 %y, %y3
  %y.p = inttoptr i64 %y4 to ptr
  call void %gemv(i32 101, i32 %trans, i32 %rows.now, i32 %columns.now, TYPE %alpha, ptr %a.p, i32 %lda,
                  ptr %x.p, i32 %incx, TYPE %beta, ptr %y.p, i32 %incy)
  %t.next = add i64 %t, 1
  %more = icmp slt i64 %t.next, %end
  br i1 %more, label %loop, label %done
done:
  ret void
}
"""

_PACK_ONE = struct.Struct("=8i2d4q").pack
_PACK_TILES = struct.Struct("=8i2d4q10q").pack
_PACK_VECTOR = struct.Struct("=6i2d4q6q").pack


def _loads(fields):
    """IR that loads the fields of the packed arguments; `fields` are pairs of type and name, in order."""
    lines, offset = [], 0
    for index, (type_, name) in enumerate(fields):
        lines.append(f"  %p{index} = getelementptr i8, ptr %args, i64 {offset}")
        lines.append(f"  %{name} = load {type_}, ptr %p{index}")
        offset += 4 if type_ == "i32" else 8
    return "\n".join(lines)


def _fields(type_, names):
    return [(type_, name) for name in names.split()]


_REAL = (("f32", "float", "s", 4), ("f64", "double", "d", 8))  # kind, its type in IR, BLAS's letter, bytes
_COMPLEX = (("c64", "float", "c", 8), ("c128", "double", "z", 16))

# Complex factors are passed by address.
_BY_ADDRESS = """  %NAME.r = fptrunc double %NAME.d to TYPE
  %NAME = alloca [2 x TYPE], align 16
  %NAME.i = getelementptr TYPE, ptr %NAME, i64 1
  store TYPE %NAME.r, ptr %NAME
  store TYPE 0.0, ptr %NAME.i
"""


def _kernel_text(kinds):
    """The IR: per kind, `one` for a whole product, `gemm` over its tiles, and `vector` for matrix times vector."""
    head = _fields("i32", "m n k ta tb lda ldb ldc") + _fields("double", "alpha.d beta.d")
    single = head + _fields("ptr", "a.p b.p c.p gemm")
    # Tile sizes and numbers of tiles; bytes from one product to the next; from a row of A,
    # column of B, row of C to the next.
    tiles = "rows columns down across a.batch b.batch c.batch a.row b.column c.row"
    many = head + _fields("i64", "a b c") + _fields("ptr", "gemm") + _fields("i64", tiles)
    # Elements of the result in a chunk, and per product; bytes from one product to the next; from an element of the
    # result to the next.
    outputs = "outputs a.batch x.batch y.batch a.step y.step"
    vector = _fields("i32", "trans k lda incx incy chunk") + _fields("double", "alpha.d beta.d")
    vector += _fields("i64", "a x y") + _fields("ptr", "gemv") + _fields("i64", outputs)
    kernels = _KERNEL.replace("LOADS", _loads(many)).replace("ONE", _loads(single)).replace("VECTOR", _loads(vector))
    text = "declare i64 @llvm.smin.i64(i64, i64)\n"
    for kind, type_, _, size in kinds:
        part = kernels
        if kinds is _COMPLEX:
            part = re.sub(
                r"  %(\w+) = fptrunc double \S+ to TYPE\n", lambda found: _BY_ADDRESS.replace("NAME", found[1]), part
            )
            part = re.sub(r"TYPE (%alpha|%beta),", r"ptr \1,", part)
        if type_ == "double":
            part = re.sub(r"fptrunc (double \S+) to TYPE", r"bitcast \1 to double", part)
        text += part.replace("KIND", kind).replace("TYPE", type_).replace("SIZE", str(size))
    return text


class _Kernels(NamedTuple):
    """Addresses for one kind, its bytes per element, and of how many multiply-adds of real numbers it makes one."""

    one: int
    gemm: int
    cblas_gemm: int
    vector: int
    cblas_gemv: int
    size: int
    weight: int


_kernels: dict[str, _Kernels] = {}


def _kernel(kind):
    """The entry of `_kernels`, compiled when first asked for."""
    kinds = next((group for group in (_REAL, _COMPLEX) if any(kind == entry[0] for entry in group)), None)
    if kinds is None:
        raise ValueError(f"kind must be 'f32', 'f64', 'c64' or 'c128', not {kind!r}")
    if kind not in _kernels:
        if not _available():
            raise RuntimeError(f"matrix products need llvmlite and scipy-openblas32 ({info()})")
        address = cache.functions(
            _kernel_text(kinds), [form + name for form in ("one_", "gemm_", "vector_") for name, *_ in kinds]
        )
        entries = {}
        for name, _, letter, size in kinds:
            gemm, gemv = (
                ctypes.cast(getattr(openblas.library(), f"scipy_cblas_{letter}{operation}"), ctypes.c_void_p).value
                for operation in ("gemm", "gemv")
            )
            one, tiles, vector = (address[form + name] for form in ("one_", "gemm_", "vector_"))
            entries[name] = _Kernels(one, tiles, gemm, vector, gemv, size, 4 if kinds is _COMPLEX else 1)
        _kernels.update(entries)  # at once: other threads look here
    return _kernels[kind]


# Layouts and tiles


@hot
def _leading(rows, columns, row_stride, column_stride):
    """(transposed or not, leading dimension) of a matrix with unusual strides, None if BLAS cannot express it."""
    if not rows or not columns:
        return _PLAIN, max(1, columns)
    if rows == 1:
        row_stride = columns if column_stride == 1 else 1
    if columns == 1:
        column_stride = 1 if row_stride != 1 or rows == 1 else rows
    if column_stride == 1 and row_stride >= columns:
        return _PLAIN, row_stride
    if row_stride == 1 and column_stride >= rows:
        return _TRANSPOSED, column_stride
    return None


@functools.cache
def _row_unit():
    """Tiles have a multiple of so many rows: the blocks of the library's kernels do."""
    return 12 if machine.is_x86() and machine.host_vector_bytes() == 32 else 48


_plans: dict[tuple[int, int, int, int, int, bool], tuple[int, int, int, int]] = {}


def _is_small(rows, columns, k, turned):
    """Whether the library may take a product for a small one."""
    return rows * columns * k <= _SMALL_WORK and (not turned or rows * columns <= _SMALL_RESULT)


def _plan(m, n, k, batch, threads, turned):
    """How to cut each of `batch` products: (tile's rows, its columns, tiles down, tiles across).

    Every tile packs its own rows of A and columns of B, so of the grids that share the work evenly the one with the
    fewest tiles wins. turned: A is plain, and B transposed.
    """
    key = (m, n, k, batch, threads, turned)
    plan = _plans.get(key)
    if plan is None:
        unit = _row_unit()
        strips = -(-n // (_NARROW if m < _FEW_ROWS else _WIDE))
        columns = -(-n // (strips * _STRIP_UNIT)) * _STRIP_UNIT
        across = -(-n // columns)
        widths = (min(columns, n), n - (across - 1) * columns)
        best = None
        for pieces in range(1, (1 if batch >= 4 * threads else threads) + 1):
            rows = -(-m // (pieces * unit)) * unit
            down = -(-m // rows)
            shortest = m - (down - 1) * rows
            if any(_is_small(shortest, w, k, turned) != _is_small(m, w, k, turned) for w in widths):
                continue
            rounds = -(-batch * down * across // threads)
            longest = rounds * min(rows, m) * min(columns, n)  # what the busiest thread computes
            cost = (longest * 16 // (batch * m * n // threads + 1), down)  # to a sixteenth
            if best is None or cost < best[0]:
                best = (cost, (rows, columns, down, across))
        if len(_plans) > 10_000:
            _plans.clear()
        plan = _plans[key] = best[1]
    return plan


# What others use


@hot
def gemm(
    kind: str, m: int, n: int, k: int,
    a: int, a_rs: int, a_cs: int,
    b: int, b_rs: int, b_cs: int,
    c: int, c_rs: int,
    *, alpha: float = 1.0, beta: float = 0.0,
) -> bool:  # fmt: skip
    """C = alpha·A·B + beta·C for A of m×k, B of k×n and C of m×n elements; False, with nothing done, if it cannot.

    `kind` is 'f32', 'f64', 'c64' or 'c128'; `a`, `b`, `c` are addresses; `_rs` and `_cs` are strides in elements from
    row to row and from column to column, and C's columns are adjacent. A and B may be plain or transposed, with rows of
    any distance. False means a layout that BLAS cannot express, or a size beyond 32 bits: copy or split first. With
    `beta` 0, C is not read. Raises RuntimeError where the library or llvmlite is missing (see `available`).
    """
    least = gemm_kernel.SIZES.least if b_cs == 1 else gemm_kernel.SIZES.least_turned
    if m * n * k >= least and alpha == 1.0 and gemm_kernel.product(
        kind, 1, m, n, k, a, 0, a_rs, a_cs, b, 0, b_rs, b_cs, c, 0, c_rs, beta
    ):  # fmt: skip
        return True
    kernels = _kernels.get(kind) or _kernel(kind)
    if (m == 1 or n == 1) and k:
        return _vector(kernels, 1, m, n, k, a, 0, a_rs, a_cs, b, 0, b_rs, b_cs, c, 0, c_rs, alpha, beta)
    if a_cs == 1 and a_rs >= k > 0:
        ta, lda = 111, a_rs
    elif a_rs == 1 and a_cs >= m:
        ta, lda = 112, a_cs
    else:
        layout = _leading(m, k, a_rs, a_cs)
        if layout is None:
            return False
        ta, lda = layout
    if b_cs == 1 and b_rs >= n:
        tb, ldb = 111, b_rs
    elif b_rs == 1 and b_cs >= k > 0:
        tb, ldb = 112, b_cs
    else:
        layout = _leading(k, n, b_rs, b_cs)
        if layout is None:
            return False
        tb, ldb = layout
    if c_rs < n:
        if m > 1:
            return False
        c_rs = n
    if m * n * k * kernels.weight > _SERIAL_WORK:
        return _large(kernels, 1, m, n, k, ta, tb, lda, ldb, c_rs, alpha, beta, a, b, c, 0, 0, 0)
    if not m or not n:
        return True
    try:
        args = _PACK_ONE(m, n, k, ta, tb, lda, ldb, c_rs, alpha, beta, a, b, c, kernels[2])
    except struct.error:
        return False
    pool.enqueue(kernels[0], args, 1, 1)
    return True


@hot
def batched(
    kind: str, batch: int, m: int, n: int, k: int,
    a: int, a_bs: int, a_rs: int, a_cs: int,
    b: int, b_bs: int, b_rs: int, b_cs: int,
    c: int, c_bs: int, c_rs: int,
    *, alpha: float = 1.0, beta: float = 0.0,
) -> bool:  # fmt: skip
    """`batch` products as in `gemm`, each `_bs` elements after the one before; 0 there uses one matrix for all."""
    if batch * m * n * k >= gemm_kernel.SIZES.least and alpha == 1.0 and gemm_kernel.product(
        kind, batch, m, n, k, a, a_bs, a_rs, a_cs, b, b_bs, b_rs, b_cs, c, c_bs, c_rs, beta
    ):  # fmt: skip
        return True
    kernels = _kernels.get(kind) or _kernel(kind)
    if (m == 1 or n == 1) and k:
        return _vector(kernels, batch, m, n, k, a, a_bs, a_rs, a_cs, b, b_bs, b_rs, b_cs, c, c_bs, c_rs, alpha, beta)
    if not batch or not m or not n:
        return True
    left, right = _leading(m, k, a_rs, a_cs), _leading(k, n, b_rs, b_cs)
    if left is None or right is None or (c_rs < n and m > 1):
        return False
    ldc = max(c_rs, n)
    return _large(
        kernels, batch, m, n, k, left[0], right[0], left[1], right[1], ldc, alpha, beta, a, b, c, a_bs, b_bs, c_bs
    )


@hot
def _large(kernels, batch, m, n, k, ta, tb, lda, ldb, ldc, alpha, beta, a, b, c, a_bs, b_bs, c_bs):
    _, kernel, function, _, _, size, weight = kernels
    work = m * n * k * weight
    threads = pool.get_num_threads()
    if work <= _SERIAL_WORK:
        rows, columns, down, across = m, n, 1, 1
    else:
        turned = ta == _PLAIN and tb == _TRANSPOSED
        rows, columns, down, across = _plan(m, n, k, batch, threads, turned)
    a_row = lda if ta == _PLAIN else 1
    b_column = 1 if tb == _PLAIN else ldb
    try:
        args = _PACK_TILES(
            m, n, k, ta, tb, lda, ldb, ldc, alpha, beta, a, b, c, function, rows, columns, down, across,
            a_bs * size, b_bs * size, c_bs * size, a_row * size, b_column * size, ldc * size,
        )  # fmt: skip
    except struct.error:
        return False
    total = batch * down * across
    tile = max(1, work // (down * across))
    if work * batch <= _SERIAL_WORK:
        pool.enqueue(kernel, args, total, total)
    elif total == 1:
        pool.enqueue_long(kernel, args, 1, 1)
    else:
        # Several small products make a chunk, as long as every thread gets a few chunks.
        grain = max(1, min(_SERIAL_WORK // tile, total // (4 * threads)))
        pool.enqueue(kernel, args, total, grain)
    return True


@hot
def _vector(kernels, batch, m, n, k, a, a_bs, a_rs, a_cs, b, b_bs, b_rs, b_cs, c, c_bs, c_rs, alpha, beta):
    """Matrix times vector, several times faster than as a matrix product. `m` or `n` is 1 and `k` is not 0."""
    if n == 1:
        outputs, layout = m, _leading(m, k, a_rs, a_cs)
        incx, incy, turn = b_rs, c_rs, False
    else:
        outputs, layout = n, _leading(k, n, b_rs, b_cs)
        a, a_bs, b, b_bs = b, b_bs, a, a_bs
        incx, incy, turn = a_cs, 1, True
    if not outputs or not batch:
        return True
    incx = 1 if k == 1 else incx
    incy = 1 if outputs == 1 else incy
    if layout is None or incx < 1 or incy < 1:
        return False
    trans, lda = layout
    if turn:
        trans = _PLAIN if trans == _TRANSPOSED else _TRANSPOSED
    size = kernels.size
    chunk = -(-max(_CHUNK_WORK // k, outputs // _MOST_CHUNKS, 1) // _CHUNK_UNIT) * _CHUNK_UNIT
    try:
        args = _PACK_VECTOR(
            trans, k, lda, incx, incy, chunk, alpha, beta, a, b, c, kernels.cblas_gemv, outputs,
            a_bs * size, b_bs * size, c_bs * size, (lda if trans == _PLAIN else 1) * size, incy * size,
        )  # fmt: skip
    except struct.error:
        return False
    total = batch * -(-outputs // chunk)
    if batch * outputs * k * kernels.weight <= _SERIAL_WORK // 4:
        pool.enqueue(kernels.vector, args, total, total)
    elif total == 1:
        pool.enqueue_long(kernels.vector, args, 1, 1)
    else:
        each = min(chunk, outputs) * k
        grain = max(1, min(_CHUNK_WORK // each, total // (4 * pool.get_num_threads())))
        pool.enqueue(kernels.vector, args, total, grain)
    return True

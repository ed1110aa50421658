"""Small linear algebra: routines of LAPACK, from our own OpenBLAS, that kernels call for one matrix after another.

A kernel copies a matrix from where it lies, in any strides, into the order that the routine wants, calls it, and copies
the result into its place. Matrices are row-major; LAPACK's are column-major, so what it sees of one in place is the
transpose. Real numbers only; large matrices are left to NumPy where there are several threads, which its library uses.
"""

from __future__ import annotations

import ctypes
import functools
import struct
from typing import Any

from .. import dtypes
from ..llvm import cache
from ..native import hot, slotted
from . import blas, openblas, pool
from .array import Array, copied, empty, numel
from .raw import peek

__all__ = ["cholesky", "inverse", "solution", "triangular", "usable"]

_LARGE = 256  # rows of a matrix that several threads are faster with
# Cubes of rows: matrices of so many together are not worth a second thread; one of so many is worth to be computed
# without the interpreter's lock.
_SHORT, _LONG = 200_000, 1_000_000

_TEXT = """
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)

; Copies a matrix from elements with one pair of strides to elements with another.
define internal void @move_KIND(i64 %to, i64 %to.row, i64 %to.column, i64 %of, i64 %of.row, i64 %of.column, i64 %rows,
                                i64 %columns) alwaysinline {
entry:
  %to.p = inttoptr i64 %to to ptr
  %of.p = inttoptr i64 %of to ptr
  %some = mul i64 %rows, %columns
  %any = icmp sgt i64 %some, 0
  br i1 %any, label %row, label %done
row:
  %i = phi i64 [ 0, %entry ], [ %i.next, %row.end ]
  %ti = mul i64 %i, %to.row
  %si = mul i64 %i, %of.row
  br label %column
column:
  %j = phi i64 [ 0, %row ], [ %j.next, %column ]
  %tj = mul i64 %j, %to.column
  %sj = mul i64 %j, %of.column
  %t = add i64 %ti, %tj
  %s = add i64 %si, %sj
  %s.p = getelementptr TYPE, ptr %of.p, i64 %s
  %t.p = getelementptr TYPE, ptr %to.p, i64 %t
  %x = load TYPE, ptr %s.p
  store TYPE %x, ptr %t.p
  %j.next = add i64 %j, 1
  %more = icmp slt i64 %j.next, %columns
  br i1 %more, label %column, label %row.end
row.end:
  %i.next = add i64 %i, 1
  %again = icmp slt i64 %i.next, %rows
  br i1 %again, label %row, label %done
done:
  ret void
}

; The lower factor L of A = L L^T; zeros above it. What LAPACK sees is the upper one.
define void @cholesky_KIND(ptr %args, i64 %begin, i64 %end) {
entry:
CHOLESKY
  %size = alloca i32
  %n.short = trunc i64 %n to i32
  store i32 %n.short, ptr %size
  %which = alloca i8
  store i8 85, ptr %which ; U
  %nn = mul i64 %n, %n
  br label %loop
loop:
  %t = phi i64 [ %begin, %entry ], [ %t.next, %next ]
  %o1 = mul i64 %t, %nn
  %o2 = mul i64 %o1, SIZE
  %o = add i64 %out, %o2
  %a1 = mul i64 %t, %a.batch
  %a2 = mul i64 %a1, SIZE
  %a.t = add i64 %a, %a2
  call void @move_KIND(i64 %o, i64 %n, i64 1, i64 %a.t, i64 %a.row, i64 %a.column, i64 %n, i64 %n)
  %o.p = inttoptr i64 %o to ptr
  %info.p = getelementptr i32, ptr %info, i64 %t
  call void %potrf(ptr %which, ptr %size, ptr %o.p, ptr %size, ptr %info.p, i64 1)
  br label %row
row:
  %i = phi i64 [ 0, %loop ], [ %i.next, %row.end ]
  %i.next = add i64 %i, 1
  %last = icmp sge i64 %i.next, %n
  br i1 %last, label %next, label %row.end
row.end:
  %r1 = mul i64 %i, %n
  %r2 = add i64 %r1, %i.next
  %r.p = getelementptr TYPE, ptr %o.p, i64 %r2
  %left = sub i64 %n, %i.next
  %bytes = mul i64 %left, SIZE
  call void @llvm.memset.p0.i64(ptr %r.p, i8 0, i64 %bytes, i1 false)
  br label %row
next:
  %t.next = add i64 %t, 1
  %more = icmp slt i64 %t.next, %end
  br i1 %more, label %loop, label %done
done:
  ret void
}

; The inverse, in the place of a copy. What LAPACK sees, and inverts, is the transpose.
define void @inverse_KIND(ptr %args, i64 %begin, i64 %end) {
entry:
INVERSE
  %size = alloca i32
  %n.short = trunc i64 %n to i32
  store i32 %n.short, ptr %size
  %most = alloca i32
  %room.short = trunc i64 %room to i32
  store i32 %room.short, ptr %most
  %nn = mul i64 %n, %n
  br label %loop
loop:
  %t = phi i64 [ %begin, %entry ], [ %t.next, %next ]
  %o1 = mul i64 %t, %nn
  %o2 = mul i64 %o1, SIZE
  %o = add i64 %out, %o2
  %a1 = mul i64 %t, %a.batch
  %a2 = mul i64 %a1, SIZE
  %a.t = add i64 %a, %a2
  call void @move_KIND(i64 %o, i64 %n, i64 1, i64 %a.t, i64 %a.row, i64 %a.column, i64 %n, i64 %n)
  %o.p = inttoptr i64 %o to ptr
  %w1 = mul i64 %t, %room
  %work.p = getelementptr TYPE, ptr %work, i64 %w1
  %p1 = mul i64 %t, %n
  %pivots.p = getelementptr i32, ptr %pivots, i64 %p1
  %info.p = getelementptr i32, ptr %info, i64 %t
  call void %getrf(ptr %size, ptr %size, ptr %o.p, ptr %size, ptr %pivots.p, ptr %info.p)
  %failed = load i32, ptr %info.p
  %singular = icmp ne i32 %failed, 0
  br i1 %singular, label %next, label %invert
invert:
  call void %getri(ptr %size, ptr %o.p, ptr %size, ptr %pivots.p, ptr %work.p, ptr %most, ptr %info.p)
  br label %next
next:
  %t.next = add i64 %t, 1
  %more = icmp slt i64 %t.next, %end
  br i1 %more, label %loop, label %done
done:
  ret void
}

; X of A X = B by elimination, in the place of a copy of B. What LAPACK sees, and makes L and U of, is the transpose of
; A: so A = U^T L^T P, with what P exchanges last. For each product there is room for a copy of A.
define void @solution_KIND(ptr %args, i64 %begin, i64 %end) {
entry:
SOLUTION
  %size = alloca i32
  %n.short = trunc i64 %n to i32
  store i32 %n.short, ptr %size
  %k.short = trunc i64 %k to i32
  %nn = mul i64 %n, %n
  %nk = mul i64 %n, %k
  br label %loop
loop:
  %t = phi i64 [ %begin, %entry ], [ %t.next, %next ]
  %w1 = mul i64 %t, %nn
  %w2 = mul i64 %w1, SIZE
  %w = add i64 %work, %w2
  %a1 = mul i64 %t, %a.batch
  %a2 = mul i64 %a1, SIZE
  %a.t = add i64 %a, %a2
  %b1 = mul i64 %t, %b.batch
  %b2 = mul i64 %b1, SIZE
  %b.t = add i64 %b, %b2
  %o1 = mul i64 %t, %nk
  %o2 = mul i64 %o1, SIZE
  %o = add i64 %out, %o2
  call void @move_KIND(i64 %w, i64 %n, i64 1, i64 %a.t, i64 %a.row, i64 %a.column, i64 %n, i64 %n)
  call void @move_KIND(i64 %o, i64 %k, i64 1, i64 %b.t, i64 %b.row, i64 %b.column, i64 %n, i64 %k)
  %w.p = inttoptr i64 %w to ptr
  %o.p = inttoptr i64 %o to ptr
  %p1 = mul i64 %t, %n
  %pivots.p = getelementptr i32, ptr %pivots, i64 %p1
  %info.p = getelementptr i32, ptr %info, i64 %t
  call void %getrf(ptr %size, ptr %size, ptr %w.p, ptr %size, ptr %pivots.p, ptr %info.p)
  %failed = load i32, ptr %info.p
  %singular = icmp ne i32 %failed, 0
  br i1 %singular, label %next, label %solve
solve:
  call void %trsm(i32 101, i32 141, i32 LOWER, i32 PLAIN, i32 GIVEN, i32 %n.short, i32 %k.short, TYPE 1.0,
                  ptr %w.p, i32 %n.short, ptr %o.p, i32 %k.short)
  call void %trsm(i32 101, i32 141, i32 UPPER, i32 PLAIN, i32 ONES, i32 %n.short, i32 %k.short, TYPE 1.0,
                  ptr %w.p, i32 %n.short, ptr %o.p, i32 %k.short)
  br label %row
row:
  %left = phi i64 [ %n, %solve ], [ %i, %row.end ]
  %i = sub i64 %left, 1
  %pivot.p = getelementptr i32, ptr %pivots.p, i64 %i
  %pivot = load i32, ptr %pivot.p
  %counted = sext i32 %pivot to i64
  %other = sub i64 %counted, 1
  %stays = icmp eq i64 %other, %i
  br i1 %stays, label %row.end, label %exchange
exchange:
  %r1 = mul i64 %i, %k
  %r2 = mul i64 %other, %k
  %one.p = getelementptr TYPE, ptr %o.p, i64 %r1
  %two.p = getelementptr TYPE, ptr %o.p, i64 %r2
  br label %column
column:
  %j = phi i64 [ 0, %exchange ], [ %j.next, %column ]
  %x.p = getelementptr TYPE, ptr %one.p, i64 %j
  %y.p = getelementptr TYPE, ptr %two.p, i64 %j
  %x = load TYPE, ptr %x.p
  %y = load TYPE, ptr %y.p
  store TYPE %y, ptr %x.p
  store TYPE %x, ptr %y.p
  %j.next = add i64 %j, 1
  %j.more = icmp slt i64 %j.next, %k
  br i1 %j.more, label %column, label %row.end
row.end:
  %again = icmp sgt i64 %i, 0
  br i1 %again, label %row, label %next
next:
  %t.next = add i64 %t, 1
  %more = icmp slt i64 %t.next, %end
  br i1 %more, label %loop, label %done
done:
  ret void
}

; X of A X = B for a triangle A, of which X takes the place of a copy of B.
define void @triangular_KIND(ptr %args, i64 %begin, i64 %end) {
entry:
TRIANGULAR
  %n.short = trunc i64 %n to i32
  %k.short = trunc i64 %k to i32
  %lda.short = trunc i64 %lda to i32
  %uplo.short = trunc i64 %uplo to i32
  %turned.short = trunc i64 %turned to i32
  %diagonal.short = trunc i64 %diagonal to i32
  %nk = mul i64 %n, %k
  br label %loop
loop:
  %t = phi i64 [ %begin, %entry ], [ %t.next, %loop ]
  %a1 = mul i64 %t, %a.batch
  %a2 = mul i64 %a1, SIZE
  %a.t = add i64 %a, %a2
  %b1 = mul i64 %t, %b.batch
  %b2 = mul i64 %b1, SIZE
  %b.t = add i64 %b, %b2
  %o1 = mul i64 %t, %nk
  %o2 = mul i64 %o1, SIZE
  %o = add i64 %out, %o2
  call void @move_KIND(i64 %o, i64 %k, i64 1, i64 %b.t, i64 %b.row, i64 %b.column, i64 %n, i64 %k)
  %a.p = inttoptr i64 %a.t to ptr
  %o.p = inttoptr i64 %o to ptr
  call void %trsm(i32 101, i32 141, i32 %uplo.short, i32 %turned.short, i32 %diagonal.short, i32 %n.short,
                  i32 %k.short, TYPE 1.0, ptr %a.p, i32 %lda.short, ptr %o.p, i32 %k.short)
  %t.next = add i64 %t, 1
  %more = icmp slt i64 %t.next, %end
  br i1 %more, label %loop, label %done
done:
  ret void
}
"""
# What a kernel is given: names that begin with ^ are pointers, the others whole numbers (an address that is computed
# with is one).
_ARGUMENTS = {
    "cholesky": "out a ^info ^potrf n a.batch a.row a.column",
    "inverse": "out a ^work ^pivots ^info ^getrf ^getri n room a.batch a.row a.column",
    "solution": "out a b work ^pivots ^info ^getrf ^trsm n k a.batch a.row a.column b.batch b.row b.column",
    "triangular": "out a b ^trsm n k a.batch lda uplo turned diagonal b.batch b.row b.column",
}
_LOWER, _UPPER, _PLAIN, _TURNED, _GIVEN, _ONES = 122, 121, 111, 112, 131, 132  # as CBLAS has them
_CBLAS = {"LOWER": _LOWER, "UPPER": _UPPER, "PLAIN": _PLAIN, "GIVEN": _GIVEN, "ONES": _ONES}
_ROUTINES = ("potrf", "getrf", "getri")
_BLOCK = 64  # columns that LAPACK works on together
_TYPES = {"f32": ("float", 4, "s"), "f64": ("double", 8, "d")}


@slotted
class _Kernels:
    """For one kind of numbers the addresses of the kernels, and of the routines that they call."""

    __slots__ = ("cholesky", "getrf", "getri", "inverse", "potrf", "solution", "triangular", "trsm")

    def __init__(self, kind: str) -> None:
        from ..codegen.along import loads

        type_, size, letter = _TYPES[kind]
        text = _TEXT
        for name, arguments in _ARGUMENTS.items():
            text = text.replace(name.upper() + "\n", loads(arguments) + "\n")
        for name, number in _CBLAS.items():
            text = text.replace(f"i32 {name}", f"i32 {number}")
        text = text.replace("KIND", kind).replace("TYPE", type_).replace("SIZE", str(size))
        found = cache.functions(text, [f"{name}_{kind}" for name in _ARGUMENTS])
        self.cholesky, self.inverse, self.solution, self.triangular = (found[f"{name}_{kind}"] for name in _ARGUMENTS)
        library = openblas.library()
        self.potrf, self.getrf, self.getri, self.trsm = (
            ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
            for name in (*[f"scipy_{letter}{name}_" for name in _ROUTINES], f"scipy_cblas_{letter}trsm")
        )


@functools.cache
def _kernels(kind: str) -> Any:
    """What there is for a kind of numbers; None where there is no such library, or no compiler."""
    try:
        return _Kernels(kind) if blas.available else None
    except AttributeError:  # a library without LAPACK
        return None


@hot
def usable(a: Array) -> bool:
    """Whether the functions below are for matrices of such numbers, and of so many rows."""
    kind = a.dtype.kind
    if kind != "f32" and kind != "f64":
        return False
    if a.shape[-1] > _LARGE and pool.get_num_threads() > 1:
        return False
    return _kernels(kind) is not None


@hot
def _step(a: Array) -> int:
    """The one stride from matrix to matrix over all leading dimensions; -1 where there is none."""
    step = span = -1
    for n, s in zip(a.shape[-3::-1], a.strides[-3::-1]):
        if n == 1:
            continue
        if step < 0:
            step = s
        elif s != span:
            return -1
        span = s * n
    return 0 if step < 0 else step


@hot
def _stepped(a: Array) -> Array:
    """The same elements with one stride from matrix to matrix: a copy, where there is none."""
    return copied(a) if len(a.shape) > 3 and _step(a) < 0 else a


@hot
def _run(kernel: int, args: bytes, batch: int, n: int) -> None:
    """Call a kernel for a batch of matrices of n rows, by all threads where there is enough to do."""
    work = n * n * n
    if batch == 1 and work > _LONG:
        pool.run_serial(kernel, args, 1)
    else:
        pool.launch(kernel, args, batch, max(1, _SHORT // work))


@hot
def _none_failed(info: Array, batch: int) -> bool:
    return peek(info.ptr, 4 * batch) == bytes(4 * batch)


@hot
def cholesky(a: Array) -> Array | None:
    """The lower factors of matrices; None if one is not positive definite."""
    kernels = _kernels(a.dtype.kind)
    a = _stepped(a)
    n = a.shape[-1]
    batch = numel(a.shape[:-2])
    out = empty(a.shape, a.dtype)
    if not n or not batch:
        return out
    info = empty((batch,), dtypes.int32)
    rows, columns = a.strides[-2:]
    args = _PACK_CHOLESKY(out.ptr, a.ptr, info.ptr, kernels.potrf, n, _step(a), rows, columns)
    _run(kernels.cholesky, args, batch, n)
    return out if _none_failed(info, batch) else None


@hot
def inverse(a: Array) -> Array | None:
    """The inverses of matrices; None if one has none."""
    kernels = _kernels(a.dtype.kind)
    a = _stepped(a)
    n = a.shape[-1]
    batch = numel(a.shape[:-2])
    out = empty(a.shape, a.dtype)
    if not n or not batch:
        return out
    room = n * _BLOCK if n > _BLOCK else n
    work = empty((batch, room), a.dtype)
    pivots = empty((batch, n), dtypes.int32)
    info = empty((batch,), dtypes.int32)
    rows, columns = a.strides[-2:]
    args = _PACK_INVERSE(
        out.ptr, a.ptr, work.ptr, pivots.ptr, info.ptr, kernels.getrf, kernels.getri, n, room, _step(a), rows, columns
    )
    _run(kernels.inverse, args, batch, n)
    return out if _none_failed(info, batch) else None


@hot
def solution(a: Array, b: Array) -> Array | None:
    """X of A X = B, with the same leading dimensions; None if a matrix is singular."""
    kernels = _kernels(a.dtype.kind)
    a = _stepped(a)
    b = _stepped(b)
    n, k = b.shape[-2:]
    batch = numel(b.shape[:-2])
    out = empty(b.shape, b.dtype)
    if not n or not batch:
        return out
    work = empty((batch, n, n), a.dtype)
    pivots = empty((batch, n), dtypes.int32)
    info = empty((batch,), dtypes.int32)
    rows, columns = a.strides[-2:]
    b_rows, b_columns = b.strides[-2:]
    args = _PACK_SOLUTION(
        out.ptr, a.ptr, b.ptr, work.ptr, pivots.ptr, info.ptr, kernels.getrf, kernels.trsm, n, k,
        _step(a), rows, columns, _step(b), b_rows, b_columns,
    )  # fmt: skip
    _run(kernels.solution, args, batch, n)
    return out if _none_failed(info, batch) else None


@hot
def triangular(a: Array, b: Array, upper: bool, ones: bool) -> Array:
    """X of A X = B, with the same leading dimensions, for one triangle of A. ones: its diagonal counts as ones."""
    kernels = _kernels(a.dtype.kind)
    a = _stepped(a)
    b = _stepped(b)
    n, k = b.shape[-2:]
    batch = numel(b.shape[:-2])
    out = empty(b.shape, b.dtype)
    if not n or not k or not batch:
        return out
    rows, columns = a.strides[-2:]
    turned = False
    if n == 1:
        lda = 1
    elif columns == 1 and rows >= n:
        lda = rows
    elif rows == 1 and columns >= n:
        lda = columns
        turned = True
    else:
        a = copied(a)
        lda = n
    args = _PACK_TRIANGULAR(
        out.ptr, a.ptr, b.ptr, kernels.trsm, n, k, _step(a), lda, _UPPER if upper != turned else _LOWER,
        _TURNED if turned else _PLAIN, _ONES if ones else _GIVEN, _step(b), *b.strides[-2:],
    )  # fmt: skip
    _run(kernels.triangular, args, batch, n)
    return out


_PACK_CHOLESKY, _PACK_INVERSE, _PACK_SOLUTION, _PACK_TRIANGULAR = (
    struct.Struct(f"={len(names.split())}q").pack for names in _ARGUMENTS.values()
)

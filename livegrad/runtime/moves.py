"""Filling and copying large memory with all threads: kernels that know bytes only."""

from __future__ import annotations

import functools
import struct
from typing import Any

import numpy as np

from ..llvm import cache, machine
from ..native import hot
from . import pool

__all__ = ["LARGE", "assign", "copy", "fill"]

LARGE = 1 << 19  # bytes that are worth more than one thread
_ITEM = 1 << 17  # bytes of a work item

# Items are parts of _ITEM bytes. Arguments: what is written, how many bytes, and what from: an address, or eight bytes
# that are repeated.
_TEXT = """
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare i64 @llvm.smin.i64(i64, i64)

define void @copy(ptr noalias readonly %args, i64 %begin, i64 %end) {
  %bytes.p = getelementptr i64, ptr %args, i64 1
  %source.p = getelementptr i64, ptr %args, i64 2
  %target = load ptr, ptr %args
  %bytes = load i64, ptr %bytes.p
  %source = load ptr, ptr %source.p
  %first = mul i64 %begin, ITEM
  %whole = mul i64 %end, ITEM
  %last = call i64 @llvm.smin.i64(i64 %whole, i64 %bytes)
  %count = sub i64 %last, %first
  %to = getelementptr i8, ptr %target, i64 %first
  %of = getelementptr i8, ptr %source, i64 %first
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %of, i64 %count, i1 false)
  ret void
}

define void @fill(ptr noalias readonly %args, i64 %begin, i64 %end) {
entry:
  %bytes.p = getelementptr i64, ptr %args, i64 1
  %word.p = getelementptr i64, ptr %args, i64 2
  %target = load ptr, ptr %args
  %bytes = load i64, ptr %bytes.p
  %word = load i64, ptr %word.p
  %one = insertelement <8 x i64> poison, i64 %word, i64 0
  %line = shufflevector <8 x i64> %one, <8 x i64> poison, <8 x i32> zeroinitializer
  %first = mul i64 %begin, ITEM
  %whole = mul i64 %end, ITEM
  %last = call i64 @llvm.smin.i64(i64 %whole, i64 %bytes)
  %lines.end = sub i64 %last, 63
  br label %lines
lines:
  %at = phi i64 [ %first, %entry ], [ %next, %write ]
  %more = icmp slt i64 %at, %lines.end
  br i1 %more, label %write, label %rest
write:
  %to = getelementptr i8, ptr %target, i64 %at
  store <8 x i64> %line, ptr %to, align 1
  %next = add i64 %at, 64
  br label %lines
rest:
  %buffer = alloca <8 x i64>, align 64
  store <8 x i64> %line, ptr %buffer, align 64
  %end.p = getelementptr i8, ptr %target, i64 %at
  %count = sub i64 %last, %at
  call void @llvm.memcpy.p0.p0.i64(ptr %end.p, ptr %buffer, i64 %count, i1 false)
  ret void
}

; Items are rows of so many bytes, in up to three dimensions whose strides are given, in bytes.
define void @rows(ptr noalias readonly %args, i64 %begin, i64 %end) {
entry:
LOADS
  br label %loop
loop:
  %r = phi i64 [ %begin, %entry ], [ %r.next, %loop ]
  %k = urem i64 %r, %n2
  %ij = udiv i64 %r, %n2
  %j = urem i64 %ij, %n1
  %i = udiv i64 %ij, %n1
  %ti = mul i64 %i, %t0
  %tj = mul i64 %j, %t1
  %tk = mul i64 %k, %t2
  %tij = add i64 %ti, %tj
  %t = add i64 %tij, %tk
  %si = mul i64 %i, %s0
  %sj = mul i64 %j, %s1
  %sk = mul i64 %k, %s2
  %sij = add i64 %si, %sj
  %s = add i64 %sij, %sk
  %to.n = add i64 %target, %t
  %of.n = add i64 %source, %s
  %to = inttoptr i64 %to.n to ptr
  %of = inttoptr i64 %of.n to ptr
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %of, i64 %bytes, i1 false)
  %r.next = add i64 %r, 1
  %more = icmp slt i64 %r.next, %end
  br i1 %more, label %loop, label %done
done:
  ret void
}
"""
_ROWS = "target source bytes n1 n2 t0 t1 t2 s0 s1 s2"
_PACK = struct.Struct("=3q").pack
_PACK_WORD = struct.Struct("=2q8s").pack
_PACK_ROWS = struct.Struct("=11q").pack


@functools.cache
def _kernel(name: str) -> int:
    """The address of a kernel; 0 where there is no compiler."""
    if not machine.compiler_available():
        return 0
    loads = []
    for k, word in enumerate(_ROWS.split()):
        loads += [f"  %{word}.p = getelementptr i64, ptr %args, i64 {k}", f"  %{word} = load i64, ptr %{word}.p"]
    text = _TEXT.replace("ITEM", str(_ITEM)).replace("LOADS", "\n".join(loads))
    return cache.functions(text, ["copy", "fill", "rows"])[name]


@hot
def copy(target: int, source: int, nbytes: int) -> bool:
    """Copy bytes to an address from another, without overlap; False, with nothing done, if it cannot.

    It may be put off, see `pool.enqueue`.
    """
    kernel = _kernel("copy")
    if kernel == 0:
        return False
    pool.enqueue(kernel, _PACK(target, nbytes, source), -(-nbytes // _ITEM), 2)
    return True


@hot
def fill(target: int, number: bytes, nbytes: int) -> bool:
    """Repeat the bytes of a number (1, 2, 4 or 8); False, with nothing done, if it cannot. It may be put off.

    Of 16 bytes it takes those whose halves are the same, as the parts of a complex 0 are.
    """
    if len(number) == 16 and number[:8] == number[8:]:
        number = number[:8]
    size = len(number)
    kernel = _kernel("fill")
    if kernel == 0 or size > 8:
        return False
    pool.enqueue(kernel, _PACK_WORD(target, nbytes, number * (8 // size)), -(-nbytes // _ITEM), 2)
    return True


_LEAST_ROW = 64  # bytes of a row that is worth a call


@hot
def assign(target: Any, source: Any) -> None:
    """target[...] = source, by all threads where both are large and lie in rows of the CPU's memory; done on return."""
    if (
        target.__class__ is not np.ndarray
        or source.__class__ is not np.ndarray
        or target.nbytes < LARGE
        or target.dtype != source.dtype
        or target.shape != source.shape
        or target.dtype.hasobject
        or np.may_share_memory(target, source)
        or not _by_rows(target, source)
    ):
        target[...] = source


def _by_rows(target: np.ndarray, source: np.ndarray) -> bool:
    size = target.itemsize
    outer: list[tuple[int, int, int]] = []  # size, strides in target and source: dimensions that cannot be one
    row = size
    for n, t, s in zip(target.shape[::-1], target.strides[::-1], source.strides[::-1]):
        if n == 1:
            continue
        if not outer and t == s == row:
            row *= n
        elif outer and t == outer[-1][0] * outer[-1][1] and s == outer[-1][0] * outer[-1][2]:
            outer[-1] = (outer[-1][0] * n, outer[-1][1], outer[-1][2])
        else:
            outer.append((n, t, s))
    kernel = _kernel("rows")
    if row < _LEAST_ROW or len(outer) > 3 or kernel == 0:
        return False
    if not outer:
        copy(target.ctypes.data, source.ctypes.data, row)
        pool.finish()
        return True
    (n2, t2, s2), (n1, t1, s1), (n0, t0, s0) = [*outer, (1, 0, 0), (1, 0, 0)][:3]
    args = _PACK_ROWS(target.ctypes.data, source.ctypes.data, row, n1, n2, t0, t1, t2, s0, s1, s2)
    pool.launch(kernel, args, n0 * n1 * n2, max(1, 2 * _ITEM // row))
    return True

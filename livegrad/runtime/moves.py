"""Filling and copying large memory with all threads: kernels that know bytes only."""

from __future__ import annotations

import functools
import struct

from ..llvm import cache, machine
from ..native import hot
from . import pool

__all__ = ["LARGE", "copy", "fill"]

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
"""
_PACK = struct.Struct("=3q").pack
_PACK_WORD = struct.Struct("=2q8s").pack


@functools.cache
def _kernel(name: str) -> int:
    """The address of a kernel; 0 where there is no compiler."""
    if not machine.compiler_available():
        return 0
    return cache.functions(_TEXT.replace("ITEM", str(_ITEM)), ["copy", "fill"])[name]


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
    """Repeat the bytes of a number (1, 2, 4 or 8); False, with nothing done, if it cannot. It may be put off."""
    size = len(number)
    kernel = _kernel("fill")
    if kernel == 0 or size > 8:
        return False
    pool.enqueue(kernel, _PACK_WORD(target, nbytes, number * (8 // size)), -(-nbytes // _ITEM), 2)
    return True

"""cuBLAS's products as its documentation defines them, over the addresses that a stand-in for a device gives.

Matrices are column-major: element (i, j) of one with leading dimension ld lies at i + j * ld.
"""

from __future__ import annotations

import ctypes

import ml_dtypes
import numpy as np

TYPES = {0: np.float32, 1: np.float64, 2: np.float16, 14: ml_dtypes.bfloat16}
calls: list = []  # (name, operations, m, n, k, dtype, compute)


def _matrix(address, kind, rows, columns, leading):
    """The matrix at an address, as NumPy sees it."""
    assert leading >= max(rows, 1)
    dtype = np.dtype(TYPES[kind])
    count = leading * (columns - 1) + rows
    raw = np.frombuffer((ctypes.c_char * (count * dtype.itemsize)).from_address(address), np.uint8).view(dtype)
    return np.lib.stride_tricks.as_strided(raw, (rows, columns), (dtype.itemsize, leading * dtype.itemsize))


def _number(address, compute):
    return (ctypes.c_double if compute == 70 else ctypes.c_float).from_address(address).value


def _multiply(op1, op2, m, n, k, alpha, a, a_kind, lda, b, b_kind, ldb, beta, c, c_kind, ldc, compute):
    assert _number(alpha, compute) == 1 and _number(beta, compute) == 0
    assert compute in ((70,) if c_kind == 1 else (68, 77)) and a_kind == b_kind == c_kind
    left = _matrix(a, a_kind, k, m, lda).T if op1 else _matrix(a, a_kind, m, k, lda)
    right = _matrix(b, b_kind, n, k, ldb).T if op2 else _matrix(b, b_kind, k, n, ldb)
    wide = np.float64 if compute == 70 else np.float32
    _matrix(c, c_kind, m, n, ldc)[...] = (left.astype(wide) @ right.astype(wide)).astype(TYPES[c_kind])


def gemmEx(
    handle, op1, op2, m, n, k, alpha, a, a_kind, lda, b, b_kind, ldb, beta, c, c_kind, ldc, compute, algorithm
):  # fmt: skip
    calls.append(("gemmEx", op1, op2, m, n, k, a_kind, compute))
    _multiply(op1, op2, m, n, k, alpha, a, a_kind, lda, b, b_kind, ldb, beta, c, c_kind, ldc, compute)


def gemmStridedBatchedEx(
    handle, op1, op2, m, n, k, alpha, a, a_kind, lda, a_step, b, b_kind, ldb, b_step, beta, c, c_kind, ldc, c_step,
    batch, compute, algorithm,
):  # fmt: skip
    calls.append(("gemmStridedBatchedEx", op1, op2, m, n, k, a_kind, compute))
    size = np.dtype(TYPES[a_kind]).itemsize
    for i in range(batch):
        _multiply(
            op1, op2, m, n, k, alpha, a + i * a_step * size, a_kind, lda, b + i * b_step * size, b_kind, ldb, beta,
            c + i * c_step * size, c_kind, ldc, compute,
        )  # fmt: skip

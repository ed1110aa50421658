"""Decompositions of matrices that are not small: LAPACK's routines, from our own OpenBLAS, one matrix at a time.

NumPy calls the same routines in a library of its own, which takes some CPUs for older ones, at half the speed. What is
called here is one thread's work: matrices that several threads are faster with are left to NumPy, and so are small
ones, for which it costs less to call. A matrix is copied into the order of columns, which LAPACK works on in place.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from . import openblas, pool

SMALL, LARGE = 48, 256  # rows or columns up to which NumPy is as fast; from which on several threads are

_LETTERS = {"float32": "s", "float64": "d", "complex64": "c", "complex128": "z"}
_REAL = {"float32": np.float32, "float64": np.float64, "complex64": np.float32, "complex128": np.float64}


class Failed(Exception):
    """A routine has not found what it is for."""


@functools.cache
def _routine(name: str) -> Any:
    library = openblas.library()
    return None if library is None else getattr(library, f"scipy_{name}_", None)


def usable(a: np.ndarray) -> bool:
    """Whether the functions below are for an array of matrices."""
    if a.dtype.name not in _LETTERS or a.ndim < 2 or not a.size:
        return False
    least, most = min(a.shape[-2:]), max(a.shape[-2:])
    if least <= SMALL or (most > LARGE and pool.get_num_threads() > 1):
        return False
    return _routine("sgeqrf") is not None


def _pointer(a: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(a.ctypes.data)


def _call(letter: str, name: str, *args: Any) -> int:
    """Call a routine; arrays and numbers go by their addresses. Returns what it says of itself."""
    info = ctypes.c_int(0)
    given: list[Any] = []
    letters = 0
    for x in args:
        if isinstance(x, np.ndarray):
            given.append(_pointer(x))
        elif isinstance(x, bytes):
            given.append(ctypes.c_char_p(x))
            letters += 1
        else:
            given.append(ctypes.byref(x if isinstance(x, ctypes._SimpleCData) else ctypes.c_int(x)))
    _routine(letter + name)(*given, ctypes.byref(info), *[ctypes.c_size_t(1)] * letters)
    return info.value


def _worked(letter: str, name: str, dtype: Any, before: tuple, after: tuple = ()) -> int:
    """Call a routine with as much room for its work as it asks for."""
    room = np.empty(1, dtype)
    info = _call(letter, name, *before, room, -1, *after)
    if info:
        return info
    size = int(room[0].real)
    return _call(letter, name, *before, np.empty(size, dtype), size, *after)


def qr(a: np.ndarray) -> tuple:
    """(Q, R) of a matrix, of as many columns and rows as the smaller of its sizes."""
    letter = _LETTERS[a.dtype.name]
    m, n = a.shape
    k = min(m, n)
    work = np.array(a, order="F")
    tau = np.empty(k, a.dtype)
    _worked(letter, "geqrf", a.dtype, (m, n, work, m, tau))
    r = np.triu(work[:k])
    q = work[:, :k]  # in the order of columns its first columns are one piece of memory
    _worked(letter, "ungqr" if letter in "cz" else "orgqr", a.dtype, (m, k, k, q, m, tau))
    return q, r


def eigh(a: np.ndarray, lower: bool) -> tuple:
    """(eigenvalues, vectors as columns) of a symmetric or Hermitian matrix, of which one triangle is read."""
    letter, real = _LETTERS[a.dtype.name], _REAL[a.dtype.name]
    n = a.shape[0]
    vectors, values = np.array(a, order="F"), np.empty(n, real)
    start = (b"V", b"L" if lower else b"U", n, vectors, n, values)
    if letter in "cz":
        room, reals, wholes = np.empty(1, a.dtype), np.empty(1, real), np.empty(1, np.int32)
        _call(letter, "heevd", *start, room, -1, reals, -1, wholes, -1)
        sizes = int(room[0].real), int(reals[0]), int(wholes[0])
        made = np.empty(sizes[0], a.dtype), np.empty(sizes[1], real), np.empty(sizes[2], np.int32)
        info = _call(letter, "heevd", *start, made[0], sizes[0], made[1], sizes[1], made[2], sizes[2])
    else:
        room, wholes = np.empty(1, real), np.empty(1, np.int32)
        _call(letter, "syevd", *start, room, -1, wholes, -1)
        size, count = int(room[0]), int(wholes[0])
        info = _call(letter, "syevd", *start, np.empty(size, real), size, np.empty(count, np.int32), count)
    if info:
        raise Failed("Eigenvalues did not converge")
    return values, vectors


def svd(a: np.ndarray, whole: bool) -> tuple:
    """(U, singular values, Vh) of a matrix; whole: U and Vh are square."""
    letter, real = _LETTERS[a.dtype.name], _REAL[a.dtype.name]
    m, n = a.shape
    k = min(m, n)
    work, values = np.array(a, order="F"), np.empty(k, real)
    u = np.empty((m, m if whole else k), a.dtype, order="F")
    vh = np.empty((n if whole else k, n), a.dtype, order="F")
    before = (b"A" if whole else b"S", m, n, work, m, values, u, m, vh, vh.shape[0])
    wholes = np.empty(8 * k, np.int32)
    if letter in "cz":
        reals = np.empty(max(5 * k * k + 7 * k, 2 * max(m, n) * k + 2 * k * k + k), real)
        info = _worked(letter, "gesdd", a.dtype, before, (reals, wholes))
    else:
        info = _worked(letter, "gesdd", a.dtype, before, (wholes,))
    if info:
        raise Failed("SVD did not converge")
    return u, values, vh


def _solved(a: np.ndarray, b: np.ndarray, tolerance: float) -> tuple:
    """(X, rank) by a QR factorisation with pivots."""
    letter, real = _LETTERS[a.dtype.name], _REAL[a.dtype.name]
    (m, n), k = a.shape, b.shape[1]
    work, rows = np.array(a, order="F"), max(m, n)
    found = np.zeros((rows, k), a.dtype, order="F")
    found[:m] = b
    rank, bound = np.zeros(1, np.int32), np.full(1, tolerance, real)
    before = (m, n, k, work, m, found, rows, np.zeros(n, np.int32), bound, rank)
    after = (np.empty(2 * n, real),) if letter in "cz" else ()
    if _worked(letter, "gelsy", a.dtype, before, after):
        raise Failed("The least-squares solution was not found")
    return found[:n], rank.astype(np.int64).reshape(())


def eig(a: np.ndarray) -> tuple:
    """(eigenvalues, vectors as columns), complex, of a square matrix."""
    letter, n = _LETTERS[a.dtype.name], a.shape[0]
    work, vectors, none = np.array(a, order="F"), np.empty((n, n), a.dtype, order="F"), np.empty((1, 1), a.dtype)
    if letter in "cz":
        values = np.empty(n, a.dtype)
        before: tuple = (b"N", b"V", n, work, n, values, none, 1, vectors, n)
        info = _worked(letter, "geev", a.dtype, before, (np.empty(2 * n, _REAL[a.dtype.name]),))
    else:
        parts = np.empty((2, n), a.dtype)
        before = (b"N", b"V", n, work, n, parts[0], parts[1], none, 1, vectors, n)
        info = _worked(letter, "geev", a.dtype, before)
    if info:
        raise Failed
    if letter in "cz":
        return values, vectors
    made = vectors.astype(np.complex64 if letter == "s" else np.complex128)
    for first in np.flatnonzero(parts[1] > 0):  # of a pair the real and the imaginary part stand side by side
        made[:, first].imag = vectors[:, first + 1]
        made[:, first + 1] = made[:, first].conj()
    return parts[0] + 1j * parts[1], made


def _each(function: Callable, arrays: list) -> tuple | None:
    """The results of a function of matrices, for each of a batch; None where it fails for one."""
    lead = arrays[0].shape[:-2]
    try:
        if not lead:
            return function(*arrays)  # type: ignore[no-any-return]
        flat = [x.reshape(-1, *x.shape[-2:]) for x in arrays]
        found = [function(*matrices) for matrices in zip(*flat, strict=True)]
    except Failed:
        return None
    return tuple(np.stack(parts).reshape(*lead, *parts[0].shape) for parts in zip(*found, strict=True))


def decomposition(name: str, a: np.ndarray, options: dict) -> tuple | None:
    """What `numpy.linalg` has under this name; None where that is to be called: see `usable`, and for its errors."""
    if name not in ("eig", "eigh", "qr", "svd") or not usable(a):
        return None
    if name == "svd":
        return _each(lambda x: svd(x, options["full_matrices"]), [a])
    if name == "qr":
        return _each(qr, [a]) if options["mode"] == "reduced" else None
    if a.shape[-1] != a.shape[-2]:
        return None
    return _each(eig, [a]) if name == "eig" else _each(lambda x: eigh(x, options["UPLO"] == "L"), [a])


def least_squares(a: np.ndarray, b: np.ndarray, tolerance: float) -> tuple | None:
    """(X, ranks) with the smallest A X - B and, of those, the smallest X; None where there is no routine for it."""
    if not usable(a) or not b.size:
        return None
    return _each(lambda x, y: _solved(x, y, tolerance), [a, b])

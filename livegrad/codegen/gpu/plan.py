"""Which kernel an elementwise program takes, and how it is launched."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from ..kernels import code_cost, describe_code
from ..layout import CONTIGUOUS, SCALAR, STRIDED, leaf_dtypes, node_dtypes, param_formats
from . import maps
from .kernels import Kernel, Launch, of_reals
from .target import THREADS

VECTOR_BYTES = 16  # that a thread reads or writes at a time
WIDEST = 8  # elements of a thread at most
# A thread holds so many registers' worth of operands at most, and so much work; beyond it is less wide.
OPERAND_WORDS = 96
WORK = 400
# Blocks for each multiprocessor at most: four times what is there at a time; beyond that a thread goes on to others.
BLOCKS = 32

_kernels: dict[tuple, Kernel] = {}


def blocks(items: int, multiprocessors: int, threads: int = THREADS) -> int:
    """How many blocks share `items`."""
    return max(1, min(-(-items // threads), BLOCKS * multiprocessors))


def _width(code: tuple, outputs: tuple, classes: Sequence[int], alignment: int) -> int:
    """How many elements a thread takes at a time, as far as pointers and registers allow."""
    kinds = leaf_dtypes(code, len(classes))
    read = [d for d, c in zip(kinds, classes) if c not in (SCALAR, maps.NUMBER)]
    written = [node_dtypes(code)[j] for j in outputs]
    width = min(WIDEST, max(1, min(VECTOR_BYTES, alignment) // max(d.itemsize for d in [*read, *written])))
    words = sum(max(1, d.itemsize // 4) for d in [*read, *written])
    cost = code_cost(code)
    while width > 1 and (width * words > OPERAND_WORDS or width * cost > WORK):
        width //= 2
    return width


def plan_map(
    code: tuple,
    outputs: tuple,
    sizes: Sequence[int],
    strides: Sequence[Sequence[int] | None],
    alignment: int,
    multiprocessors: int,
) -> Launch:
    """The launch of an elementwise program.

    sizes: the dimensions of its index space, merged (see `lazy.program.merged_dims`); the outputs are row-major.
    strides: of each leaf over these dimensions, in elements; None for one that is passed as its bits.
    alignment: the largest power of two that divides the addresses of the outputs and of all leaves that are not
    read as one element; 16 is as good as any above.
    multiprocessors: how many the device has.
    """
    count = 1
    for n in sizes:
        count *= n
    flat = []
    step = 1
    for n in reversed(sizes):
        flat.append(step)
        step *= n
    flat.reverse()
    classes = []
    for s in strides:
        if s is None:
            classes.append(maps.NUMBER)
        elif not any(s) and count > 1:
            classes.append(SCALAR)
        else:
            # A single element is read by its own thread alone: it may be overwritten.
            classes.append(CONTIGUOUS if count <= 1 or list(s) == flat else STRIDED)
    width = _width(code, outputs, classes, alignment)
    if STRIDED not in classes:
        kernel = _kernel(code, outputs, tuple(classes), width, 0, False)
        return Launch(kernel, blocks(-(-count // width), multiprocessors), struct.pack("=q", count))
    odd = [s for s, c in zip(strides, classes) if c == STRIDED]
    while width > 1 and not _fits(width, sizes, odd):
        width //= 2
    if width > 1:
        for k, s in enumerate(strides):
            if classes[k] == STRIDED:
                classes[k] = maps.ROW if s[-1] else maps.SAME  # type: ignore[index]
    items = count // width
    inner_first = [sizes[-1] // width, *sizes[-2::-1]]
    reach = max(sum(abs(m) * (n - 1) for m, n in zip(s, sizes)) for s in odd)  # type: ignore[arg-type]
    wide = count >= 1 << 31 or reach >= 1 << 31
    kernel = _kernel(code, outputs, tuple(classes), width, len(sizes), wide)
    words = [items]
    for n in inner_first[:-1]:
        words += maps.divider_words(max(n, 1), wide)
    for s in odd:
        words += [s[-1] * width, *s[-2::-1]]  # type: ignore[index]
    return Launch(kernel, blocks(items, multiprocessors), struct.pack(f"={len(words)}q", *words))


def _fits(width: int, sizes: Sequence[int], strides: Sequence) -> bool:
    """Whether items of `width` elements along the innermost dimension are whole and aligned in all these leaves."""
    if sizes[-1] % width:
        return False
    return all(s[-1] == 0 or (s[-1] == 1 and not any(m % width for m in s[:-1])) for s in strides)


def _kernel(code: tuple, outputs: tuple, classes: tuple, width: int, rank: int, wide: bool) -> Kernel:
    """The kernel of an elementwise program; rank 0 is the flat form."""
    key = (code, outputs, classes, width, rank, wide)
    found = _kernels.get(key)
    if found is None:
        numbers = param_formats(code)
        formats = "q" * (len(outputs) + len(classes)) + numbers
        if rank:
            words = maps.strided_words(code, outputs, classes, len(numbers), rank, wide)
        else:
            words = maps.flat_words(code, outputs, classes, len(numbers))

        def describe() -> tuple:
            return ("map", describe_code(code), outputs, classes, width, rank, wide)

        def source() -> str:
            if rank:
                return maps.strided_source(code, outputs, classes, width, words, rank, wide)
            return maps.flat_source(code, outputs, classes, width, words)

        found = _kernels[key] = of_reals(Kernel(describe, source, formats, words), code)
        jobs = 0 if rank else maps.jobs_of(words)
        if jobs > 1:
            found.together = Kernel(
                lambda: ("maps", *describe()[1:]),
                lambda: maps.batch_source(code, outputs, classes, width, words),
                f"{jobs + 1}q",
                jobs * (words + 1) + 1,
            )
    return found


def join(jobs: Sequence[tuple[Launch, bytes]]) -> list[tuple[Launch, bytes]]:
    """The same launches in as few as can be; all are of one kernel that has one for several of them.

    A launch comes with its arguments, tail included, and the result does, too.
    """
    single = jobs[0][0].kernel
    kernel = single.together
    most = maps.jobs_of(single.words)
    joined = []
    for at in range(0, len(jobs), most):
        part = jobs[at : at + most]
        if len(part) == 1:
            joined.append(part[0])
            continue
        starts = [0]
        for launch, _ in part:
            starts.append(starts[-1] + launch.blocks)
        total = starts[-1]
        starts += [total] * (most - len(part))
        packed = b"".join([kernel.pack(*starts), *(args for _, args in part)])  # type: ignore[union-attr]
        missing = bytes(8 * single.words * (most - len(part)))
        joined.append((Launch(kernel, total, b""), packed + missing))  # type: ignore[arg-type]
    return joined


def count() -> int:
    """How many elementwise kernels this process knows."""
    return len(_kernels)

"""Running several launches as one: a kernel that calls kernels.

An optimizer updates every parameter by the same few programs. Their launches are laid end to end in one index space, so
that they cost one dispatch, and threads share all parameters rather than each one in turn.

Arguments, packed: the number of jobs n, then for each job the kernel's address, the place of its arguments (in bytes
from the start), and the number of work items in all jobs before it; then the number of all work items, and the
arguments of the jobs.
"""

from __future__ import annotations

from struct import Struct

from .kernels import LARGE, Kernel
from .layout import NAME


def _source() -> str:
    from .ir import Module, Reg

    module = Module("cpu")
    b = module.function(NAME, [("ptr readonly", "%args"), ("i64", "%begin"), ("i64", "%end")])
    begin, end = Reg("%begin", "i64"), Reg("%end", "i64")
    count = b.load("%args", "i64", align=8, width=1)
    with b.loop(0, count) as jobs:
        first = b.add(b.mul(jobs.i, b.const("i64", 3, 1)), b.const("i64", 1, 1))

        def word(k: int) -> Reg:
            return b.load(b.gep("%args", "i64", b.add(first, b.const("i64", k, 1))), "i64", align=8, width=1)

        start, stop = word(2), word(5)
        low = b.select(b.icmp("sgt", begin, start), begin, start)
        high = b.select(b.icmp("slt", end, stop), end, stop)
        run, skip = b.fresh("run"), b.fresh("skip")
        b.cond_br(b.icmp("slt", low, high), run, skip)
        b.label(run)
        kernel, arguments = b.fresh("kernel"), b.fresh("arguments")
        b.line(f"%{kernel} = inttoptr {word(0).operand} to ptr")
        b.line(f"%{arguments} = getelementptr i8, ptr %args, {word(1).operand}")
        b.line(f"call void %{kernel}(ptr %{arguments}, {b.sub(low, start).operand}, {b.sub(high, start).operand})")
        b.label(skip)
    return module.text()


_STEP = 16  # where a job's arguments may begin
_kernel = Kernel(lambda: ("batch",), _source, "q", 1)


def address() -> int:
    """The address of the batch kernel, or 0 where it cannot be had."""
    if not _kernel.address:
        _kernel.available(LARGE)
    return _kernel.address


def pack(jobs: list[tuple[int, bytes, int]]) -> tuple[bytes, int]:
    """Arguments for jobs (kernel address, arguments, work items), packed, and the items in all."""
    words = [len(jobs)]
    parts = [b""]
    before = 0
    place = -(-8 * (3 * len(jobs) + 4) // _STEP) * _STEP
    for kernel, args, items in jobs:
        words += [kernel, place, before]
        length = -(-len(args) // _STEP) * _STEP
        parts.append(args.ljust(length, b"\0"))
        place += length
        before += items
    # `stop` of job k is read three words after its start: that of job k + 1, or the total behind the last job.
    words += [0, 0, before]
    parts[0] = Struct(f"={len(words)}q").pack(*words)
    parts[0] = parts[0].ljust(-(-len(parts[0]) // _STEP) * _STEP, b"\0")
    return b"".join(parts), before

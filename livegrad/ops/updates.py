"""Updates: tensors changed in place by a formula of several results. An optimizer's step is one for each parameter.

An `Update` is applied to the tensors of a parameter by a `Changes`, in one of two ways that give the same numbers:

* Recorded: the formula makes pending values, the tensors take them in place, and `Changes.finish` computes all of them
  together. That is what the library does with any in-place operator, and it is right whoever else holds the memory.
* Direct: where the tensors hold memory that nobody else has captured, the formula's kernel is called on it, and
  nothing is recorded.
"""

from __future__ import annotations

from collections.abc import Callable

from .. import dtypes, native
from ..autograd.engine import RUNNING
from ..codegen import kernels
from ..codegen.layout import CONTIGUOUS
from ..devices import cpu
from ..lazy.evaluate import evaluate_all, launch_together
from ..lazy.plans import GRAIN, STREAM_BYTES
from ..lazy.program import encode
from ..lazy.value import DEFAULT_LIMIT, Bound, Value, from_array, pending
from ..native import hot, slotted
from ..observe import WATCH
from ..runtime import array as arrays
from ..runtime import pool
from ..runtime.array import numel
from ..tensor import Tensor
from . import writes
from .parts import view_as_real


@slotted
class Update:
    """A formula that changes tensors.

    formula: a Python function of tensors and then numbers, which it hands to elementwise operators (`ElementwiseOp` is
    called with them) and to nothing else. It returns a tuple: the new values of its first tensors.

    >>> import livegrad
    >>> from livegrad.ops.registry import ELEMENTWISE
    >>> from livegrad.ops.updates import Changes, Update
    >>> add = ELEMENTWISE["_add_scaled"]
    >>> fall = Update(lambda height, speed, time, pull: (add(height, speed, time), add(speed, speed, pull)))
    >>> height, speed = livegrad.tensor([10.0]), livegrad.tensor([1.0])
    >>> changes = Changes()
    >>> changes.apply(fall, (height, speed), (0.5, 1.0))
    >>> changes.finish()
    >>> height.item(), speed.item()
    (10.5, 2.0)
    """

    __slots__ = ("formula", "forms")

    def __init__(self, formula: Callable):
        self.formula = formula
        self.forms: dict[dtypes.dtype, Form] = {}

    def form(self, dtype: dtypes.dtype, tensors: int, numbers: int) -> Form:
        """What follows from the formula for tensors of one dtype; made when first needed."""
        made = self.forms[dtype] = Form(self.formula, dtype, tensors, numbers)
        return made


@slotted
class Form:
    """An update for tensors of one dtype, as instructions and as a kernel.

    steps: for each instruction (it, its operands, its numbers): operand k is a tensor, operand tensors + j the result
    of step j; numbers are places among those given. results: for each tensor that changes, the step that makes it.
    pointers, places: the tensors and the numbers in the order of the kernel's arguments.
    alone: with so few elements it is not worth waiting for other launches.
    """

    __slots__ = ("steps", "results", "changes", "pointers", "places", "alone", "grain", "kernel", "large", "itemsize")

    def __init__(self, formula: Callable, dtype: dtypes.dtype, tensors: int, numbers: int):
        given = [from_array(arrays.empty((2,), dtype)) for _ in range(tensors)]
        stand_ins = [k + 0.5 for k in range(numbers)]  # told apart by their value
        before, Bound.limit = Bound.limit, DEFAULT_LIMIT  # nothing is to be computed here, not even in eager mode
        try:
            made = formula(*given, *stand_ins)
        finally:
            Bound.limit = before
        cone = list(dict.fromkeys(made))
        for v in cone:
            cone += [o for o in v.operands if o.array is None and o not in cone]
        cone.sort(key=lambda v: v.weight)
        slots: dict[Value, int] = {v: k for k, v in enumerate([*given, *cone])}
        self.steps = tuple(
            (v.instr, tuple(slots[o] for o in v.operands), tuple(stand_ins.index(p) for p in v.params)) for v in cone
        )
        self.results = tuple(slots[v] for v in made)
        self.changes = len(made)
        written = sorted(self.results)
        outputs = tuple(s - tensors for s in written)
        piece = encode(cone, dict.fromkeys(cone, 0), True)
        self.pointers = (*(self.results.index(s) for s in written), *(slots[leaf] for leaf in piece.leaves))
        self.places = tuple(stand_ins.index(p) for p in piece.params)
        classes = (CONTIGUOUS,) * len(piece.leaves)
        self.kernel, self.large = (kernels.map_kernel(piece.code, outputs, classes, 0, past) for past in (False, True))
        self.grain = (GRAIN // self.kernel.cost + 1024) & -1024
        self.alone = self.grain >> 3
        self.itemsize = cone[-1].dtype.itemsize


@hot
def _own(t: Tensor, v: Value) -> bool:
    """Whether nobody but this tensor, its aliases and its views holds the memory of its value."""
    if v.kept:
        return False
    # The count may be too high. Where there is a lease, it tells of pending values and windows; others are `shared`, or
    # gradients on their way.
    if v.uses and (v.shared or v.lease is None or RUNNING.passes):
        return False
    a = t._s
    if a is None:
        return v.lease is None
    s = a.storage
    if a.layout is not None or a.silent or s.value is not v or s.pinned or s.unnoticed:
        return False
    lease = v.lease
    return lease is not None and s.lease is not None and s.lease() is lease and not lease.read()


@slotted
class Changes:
    """What one step of an optimizer changes. `finish` has to be called in the end: until then work may be put off.

    jobs: launches put off, as `codegen.batch` takes them. busy: the memory that they read (False) and write (True).
    outside: whether some of it is visible from outside.
    recorded: tensors whose new values are pending. inner: the steps between, which nobody else has.
    """

    __slots__ = ("jobs", "grain", "busy", "outside", "recorded", "inner")

    @hot
    def __init__(self) -> None:
        self.jobs: list[tuple] = []
        self.grain = 0
        self.busy: dict[int, bool] = {}
        self.outside = False
        self.recorded: list[Tensor] = []
        self.inner: list[Value] = []

    @hot
    def apply(self, update: Update, tensors: tuple, numbers: tuple) -> None:
        """Change the first of these tensors by the formula. Without recording: gradients have to be off."""
        values = []
        for t in tensors:
            v = t._v
            if v is None:
                v = t._s.storage.value if t._s.layout is None else None
                if v is None:
                    v = t._read()
            values.append(v)
        dtype = values[0].dtype
        form = update.forms.get(dtype)
        if form is None:
            if dtype.is_complex:  # as pairs of real numbers, each of which is changed by itself
                self.apply(update, tuple([view_as_real(t) for t in tensors]), numbers)
                return
            form = update.form(dtype, len(tensors), len(numbers))
        if WATCH.observer is not None or not self._direct(form, tensors, values, numbers):
            self.run()
            self._record(update, form, tensors, values, numbers)

    @hot
    def _direct(self, form: Form, tensors: tuple, values: list, numbers: tuple) -> bool:
        """Change the tensors' memory itself, if it is theirs alone."""
        first = values[0]
        shape, dtype = first.shape, first.dtype
        n = numel(shape)
        kernel = form.large if n * form.itemsize >= STREAM_BYTES else form.kernel
        if n == 0 or first.device is not cpu or kernels.Policy.mode == "never":
            return False
        changes = form.changes
        addresses: list = []
        outside = False
        for v in values:
            a = v.array
            if a is None or a.dtype is not dtype or not a.contiguous or v.shape != shape or a.device is not cpu:
                return False
            k = len(addresses)
            if k < changes and not _own(tensors[k], v):
                return False
            p = a.ptr
            if p in addresses:
                return False
            if a.block.outside:
                outside = True
            addresses.append(p)
        if not kernel.address and not kernel.available(n):
            return False
        args = [addresses[k] for k in form.pointers]
        for k in form.places:
            args.append(numbers[k])
        packed = kernel.pack(*args)
        if n <= form.alone:
            if self.busy and self._in_the_way(addresses, changes):
                self.run()
            pool.enqueue(kernel.address, packed, n, form.grain)
            if outside:
                pool.finish()
        else:
            if self._in_the_way(addresses, changes):
                self.run()
            for k, p in enumerate(addresses):
                self.busy[p] = k < changes
            self.jobs.append((kernel.address, packed, n, values))
            if outside:
                self.outside = True
            self.grain = min(self.grain, form.grain) if self.grain else form.grain
        for k in range(changes):
            t = tensors[k]
            a = t._s
            if a is None:
                t._ver += 1
            else:
                a.counter.n += 1
        return True

    @hot
    def _in_the_way(self, addresses: list, changes: int) -> bool:
        """Whether a launch that was put off writes what this reads, or has to do with what this writes."""
        for k, p in enumerate(addresses):
            writes = self.busy.get(p)
            if writes is not None and (writes or k < changes):
                return True
        return False

    @hot
    def _record(self, update: Update, form: Form, tensors: tuple, values: list, numbers: tuple) -> None:
        """Let the tensors take pending values."""
        first = values[0]
        shape, dtype = first.shape, first.dtype
        plain = True
        for v in values:
            plain = plain and v.dtype is dtype and v.shape == shape
        for t in tensors[: form.changes]:
            plain = plain and (t._s is None or t._s.layout is None)
            self.recorded.append(t)
        if not plain:
            made = update.formula(*tensors, *numbers)
            for t, new in zip(tensors, made):
                writes.assign_result(t, new)
            return
        nodes = values
        given = len(values)
        for instr, slots, places in form.steps:
            nodes.append(pending(instr, tuple([nodes[k] for k in slots]), tuple([numbers[k] for k in places]), shape))
        for t, k in zip(tensors, form.results):
            t._assign(nodes[k])
        self.inner += nodes[given:]

    @hot
    def run(self) -> None:
        """Launch what was put off."""
        jobs = self.jobs
        if jobs:
            launch_together([job[:3] for job in jobs], self.grain)
            if self.outside:
                pool.finish()
                self.outside = False
            self.jobs = []
            self.grain = 0
            self.busy.clear()

    @hot
    def finish(self) -> None:
        """Compute everything that was changed, together: as few launches as possible."""
        if native.Start.left:
            native.launched()
        self.run()
        if self.recorded:
            values = [t._value() for t in self.recorded]
            self.recorded = []
            evaluate_all(values, "livegrad.eval")
            for v in self.inner:
                if v.array is None:  # computed without being written, and gone now: it reads nothing any more
                    for o in v.operands:
                        o.uses -= 1
                    v.operands = ()
            self.inner = []

"""Value: what a tensor holds. An immutable node that is either pending (an instruction and operands) or ready."""

from __future__ import annotations

from typing import Any

from ..devices import cpu
from ..native import hot, hottest, slotted
from ..ops.instruction import RELABELS
from ..runtime.array import Array, contiguous_strides, numel
from ..runtime.refusal import no_copy

# Bounds on the pending graph, in one currency, MiB. Each recorded operator weighs OPERATOR, each array that it holds
# on to weighs its memory up to LEAF_CAP, and a value that would weigh more than the limit is evaluated at once. So
# about 64 operators, or 16 large arrays, are pending at most, and a graph never grows from step to step.
OPERATOR = 4
LEAF_CAP = 16
DEFAULT_LIMIT = 64 * OPERATOR
# A value over memory that the outside can see (NumPy's) weighs more than any limit: what reads it runs at once.
UNDEFERRED = 1 << 48
# A value that stands for a batch whose dimension is hidden (see `ops.batching`) weighs just this, more than any others
# together. What is made of it weighs more, and so comes to `batch_hook` before anything else is done with it.
BATCHED = 1 << 61


@slotted
class Value:
    """An immutable node with shape, dtype and device.

    array: the concrete memory, or None while pending.
    instr, operands, params: the elementwise instruction that makes it, its operand values and its Python numbers.
    uses: pending values that hold it as an operand. kept: recorded nodes that hold it for the backward pass.
    Both are explicit counts and may be too high (a consumer that died unevaluated is not subtracted), never too low.
    owner: weak reference to the tensor or storage whose present content it is: somebody who can still ask for it.
    stale: set when an in-place operator has replaced the content that this value was (see autograd's version check).
    lease: token that keeps a storage's memory from being overwritten while this value reads it.
    shared: whether others than a pending value or a node may have it: two tensors, a window that takes no lease.
    window: what tells storages that their memory is read, by a window onto it or by a pending value; see `Lease`.
    passed: whether a reduction has computed it without writing it.
    """

    __slots__ = (
        "instr", "operands", "params", "shape", "dtype", "device", "array", "weight",
        "uses", "kept", "owner", "stale", "lease", "window", "shared", "passed", "__weakref__",
    )  # fmt: skip
    instr: Any
    operands: tuple
    params: tuple
    shape: tuple
    dtype: Any
    device: Any
    array: Array | None

    __reduce_ex__ = no_copy

    @hot
    def ready(self) -> Array:
        """The memory, computed now if it is pending."""
        if self.array is None:
            evaluate_hook(self, "data read")
        return self.array  # type: ignore[return-value]

    @hot
    def native(self) -> Any:
        """The content as an array of the backend (NumPy on the CPU)."""
        return self.ready().native()

    @property
    @hot
    def ndim(self) -> int:
        return len(self.shape)

    def numel(self) -> int:
        return numel(self.shape)

    @hot
    def dim(self) -> int:
        return len(self.shape)

    def __repr__(self) -> str:
        state = "ready" if self.array is not None else f"pending {self.instr!r}"
        return f"<Value {self.dtype.name}{list(self.shape)} {state}>"


def evaluate_hook(value: Value, reason: str) -> None:
    """Replaced by `lazy.evaluate` when it is imported (it depends on this module, not the reverse)."""
    raise RuntimeError("the evaluator is not loaded")


class Unbatched(RuntimeError):
    """Somebody reads the elements of a batch as if they were those of one example."""

    def __init__(
        self,
        text: str = "vmap: It looks like you're calling .item() on a Tensor. We don't support vmap over calling "
        ".item() on a Tensor, please try to rewrite what you're doing with other operations. If error is occurring "
        "somewhere inside PyTorch internals, please file a bug report.",
    ):
        super().__init__(text)


def batch_hook(value: Value) -> None:
    """Replaced by `ops.batching`: make a pending value of batches a batch itself, or refuse to read one's elements."""
    raise RuntimeError("batches are not loaded")


class MixedDevices(RuntimeError):
    """Operands are on different devices, and not just numbers of the CPU beside one other."""


def common_device(operands: tuple) -> Any:
    """The device of operands that are not all on one: zero-dimensional ones on the CPU go with any other.

    Raises MixedDevices where there is none.
    """
    found = None
    for o in operands:
        if o.device is cpu and not o.shape:
            o.ready()  # a number, when the others are evaluated
        elif found is None:
            found = o.device
        elif o.device is not found:
            raise MixedDevices(
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"{found} and {o.device}!"
            )
    return cpu if found is None else found


@hottest
def from_array(array: Array) -> Value:
    """A ready value over an array."""
    v = Value()
    v.instr = None
    v.operands = ()
    v.params = ()
    v.shape = array.shape
    v.dtype = array.dtype
    v.device = array.device
    v.array = array
    weight = array.block.nbytes >> 20
    v.weight = weight if weight < LEAF_CAP else LEAF_CAP
    v.uses = 0
    v.kept = 0
    v.owner = None
    v.stale = None
    v.lease = None
    v.window = None
    v.shared = False
    v.passed = False
    return v


@hot
def renamed(v: Value, shape: tuple) -> Value:
    """A value that was just made, is in memory, row-major, and that nobody else has, in another shape."""
    a: Any = v.array
    return from_array(a.view(a.offset, shape, contiguous_strides(shape)))


@hot
def reshaped(v: Value, offset: int, shape: tuple, strides: tuple) -> Value:
    """Another window onto the memory of `v`, evaluated if it is pending."""
    made = from_array(v.ready().view(offset, shape, strides))
    lease = v.lease
    made.lease = lease
    if v.weight >= UNDEFERRED:
        made.weight = v.weight
    # Its memory has a second reader from now on, so no kernel may write into it.
    if lease is None:
        v.uses += 1
        v.shared = True
    else:
        made.window = lease.reader()
    made.uses = 1
    return made


@slotted
class _Bound:
    __slots__ = ("limit",)

    def __init__(self) -> None:
        self.limit = DEFAULT_LIMIT


# The bound on pending work that is in force; eager mode sets it below every weight.
Bound = _Bound()
# The blocks of eager mode that are open: what tells when one is over, and the bound before it.
EAGER: list = []


def end_eager_blocks() -> None:
    """Replaced by `lazy.control`: notice which of those are over."""


@hottest
def pending(instr: Any, operands: tuple, params: tuple, shape: tuple) -> Value:
    """A value that `instr` will make of `operands`; evaluated at once where a bound is reached."""
    v = Value()
    v.instr = instr
    v.operands = operands
    v.params = params
    v.shape = shape
    v.dtype = instr.dtype
    device = operands[0].device
    v.array = None
    v.uses = 0
    v.kept = 0
    v.owner = None
    v.stale = None
    v.lease = None
    v.window = None
    v.shared = False
    v.passed = False
    weight = OPERATOR
    for o in operands:
        o.uses += 1
        if o.device is not device:
            device = common_device(operands)
        if o.lease is not None:
            v.window = o.lease.reader() if v.window is None else (v.window, o.lease.reader())
        if o.array is not None:
            weight += o.weight
        elif o.weight >= weight:
            weight = o.weight + OPERATOR
    v.device = device
    v.weight = weight
    if weight > Bound.limit:
        evaluate_hook(v, "bound reached")
    return v


@hot
def relabelled(v: Value, shape: tuple) -> Value:
    """A pending value in another shape of as many elements, pending too."""
    source = v.operands[0] if v.instr.relabels else v
    lease = v.lease
    if source.shape == shape and source.lease is lease:
        return source
    made = pending(RELABELS[v.dtype], (source,), (), shape)
    if lease is not None:
        made.lease = lease
        made.window = lease.reader()
    return made


@hot
def settle(v: Value, a: Array) -> None:
    """A pending value has become ready."""
    if a.shape is not v.shape and a.shape != v.shape:
        a = a.view(a.offset, v.shape, contiguous_strides(v.shape))  # it was computed under other names of its places
    operands = v.operands
    v.array = a
    v.instr = None
    v.operands = ()
    v.params = ()
    v.window = None
    weight = a.block.nbytes >> 20
    v.weight = weight if weight < LEAF_CAP else LEAF_CAP
    for o in operands:
        o.uses -= 1


@hot
def take_memory(v: Value) -> None:
    """A value that relabels a ready one becomes a window onto its memory."""
    if v.array is not None:
        return
    source = v.operands[0]
    window = v.window
    settle(v, source.array)  # type: ignore[arg-type]
    if v.lease is not None and v.lease is source.lease:
        v.window = window
        return
    # As in `reshaped`: no kernel may write into what has two readers that know of no lease in common.
    source.uses += 1
    source.shared = True
    v.uses += 1
    v.shared = True

"""Gradients averaged over processes, bucket by bucket, while the backward pass goes on.

The parameters are dealt into buckets in reverse order, which is about the order in which a backward pass reaches them.
When the last gradient of a bucket is there, the bucket is summed over all processes in a thread of its own; buckets go
in one order everywhere. The gradients of the pass are replaced by the averages before `backward` returns. After S. Li
et al., "PyTorch Distributed: Experiences on Accelerating Data Parallel Training", VLDB 2020.
"""

import numpy as np

import livegrad
from livegrad.autograd import engine
from livegrad.distributed import ReduceOp, exchanges
from livegrad.distributed.reduction import as_real, combiner
from livegrad.lazy.value import from_array
from livegrad.runtime import array as arrays
from livegrad.tensor import wrap

__all__ = ["Reducer"]

FIRST_BYTES = 1 << 20  # the first bucket is small, so that sending begins soon


class Bucket:
    """Some parameters of one dtype, and memory for their gradients one after the other."""

    def __init__(self, dtype):
        self.dtype = dtype
        self.members = []  # numbers of parameters
        self.bounds = [0]
        self.memory = None
        self.left = 0
        self.work = None

    def add(self, index, size):
        self.members.append(index)
        self.bounds.append(self.bounds[-1] + size)

    def windows(self):
        """(number of a parameter, its place in the memory) of each."""
        if self.memory is None:
            self.memory = np.empty(self.bounds[-1], self.dtype.np)
        for index, begin, end in zip(self.members, self.bounds, self.bounds[1:]):
            yield index, self.memory[begin:end]


def deal(parameters, first_bytes, most_bytes):
    """Buckets of parameters, the last parameter first, of up to so many bytes each; one dtype in each."""
    made, filling = [], {}
    for index in reversed(range(len(parameters))):
        p = parameters[index]
        bucket = filling.get(p.dtype)
        if bucket is None:
            bucket = filling[p.dtype] = Bucket(p.dtype)
            made.append(bucket)
        bucket.add(index, p.numel())
        limit = first_bytes if bucket is made[0] else most_bytes
        if bucket.bounds[-1] * p.dtype.itemsize >= limit:
            del filling[p.dtype]
    return made


class Reducer:
    """See the module's description.

    names, parameters: those that require gradients. find_unused: some may get no gradient in a pass, in this process
    or in others; late: nothing is sent before the pass is over, so gradients may arrive in any number of steps.
    """

    def __init__(self, names, parameters, group, most_bytes, find_unused, late):
        self.names, self.parameters, self.group = names, parameters, group
        self.find_unused, self.late = find_unused, late
        self.buckets = deal(parameters, min(FIRST_BYTES, most_bytes), most_bytes)
        self.bucket_of = {index: b for b in self.buckets for index in b.members}
        self.expecting = False  # the last forward pass was one whose gradients are to be averaged
        self.started = False  # gradients have come since
        self.unused = ()
        self.used = np.zeros(len(parameters), np.uint8)  # got gradients since the last reduction, in `no_sync` as well
        self.ready = [False] * len(parameters)
        self.handles = [p.register_post_accumulate_grad_hook(self._hook(i)) for i, p in enumerate(parameters)]
        for p in parameters:
            p._edge.soon = not late

    def _hook(self, index):
        def hook(_):
            self.used[index] = 1
            if self.expecting:
                self._arrived(index)

        return hook

    # --- before a backward pass ---------------------------------------------------------------------------------

    def prepare(self, outputs):
        """Expect gradients from what a forward pass gave."""
        self.check_finished()
        self.expecting = True
        self.unused = ()
        if self.find_unused and not self.late:
            reached = leaves_behind(outputs)
            self.unused = [i for i, p in enumerate(self.parameters) if p._edge not in reached]
        self._begin()
        engine.RUNNING.hurried.add(id(self))

    def _begin(self):
        self.ready = [False] * len(self.parameters)
        self.next = 0
        for bucket in self.buckets:
            bucket.left, bucket.work = len(bucket.members), None

    def check_finished(self):
        """Raises RuntimeError where the last backward pass did not give all gradients."""
        if not self.started:
            return
        missing = [name for name, ready in zip(self.names, self.ready) if not ready]
        raise RuntimeError(
            "Expected to have finished reduction in the prior iteration before starting a new one. Rank "
            f"{self.group.rank()} got no gradients of {', '.join(missing)}: these parameters were not used in "
            "producing the loss. Pass `find_unused_parameters=True` to DistributedDataParallel if that is intended; "
            "let all outputs of `forward` take part in the loss."
        )

    # --- in a backward pass -------------------------------------------------------------------------------------

    def _arrived(self, index):
        if not self.started:
            self.started = True
            if self.late:
                engine.after_pass(self._reduce_late)
            for i in self.unused:
                self._mark(i)
        if self.late:
            self.ready[index] = True
            return
        if self.ready[index]:
            raise RuntimeError(
                f"Expected to mark a variable ready only once, but parameter {self.names[index]} got a second "
                "gradient: it is used outside of `forward`, or in several reentrant backward passes (checkpoints); "
                "static_graph=True allows that."
            )
        self._mark(index)
        self._launch_full()

    def _mark(self, index):
        self.ready[index] = True
        self.bucket_of[index].left -= 1

    def _reduce_late(self):
        """Reduce what a whole pass, and earlier ones in `no_sync`, have given; where that is nothing it is zeros."""
        for bucket in self.buckets:
            bucket.left = 0
        self._launch_full()

    def _launch_full(self):
        while self.next < len(self.buckets) and not self.buckets[self.next].left:
            self._launch(self.buckets[self.next])
            self.next += 1
        if self.next == len(self.buckets):
            self._finish()

    def _launch(self, bucket):
        scale = 1.0 / self.group.size()
        for index, window in bucket.windows():
            grad = self.parameters[index].grad
            if grad is None:  # what earlier passes gave counts also where this one gave nothing
                window[...] = 0
                continue
            found = grad._to_numpy()
            parts = as_real(window)
            with np.errstate(all="ignore"):
                if parts is window:
                    np.multiply(found, window.dtype.type(scale), out=window.reshape(found.shape))
                else:  # complex: their parts are scaled
                    window[...] = found.reshape(-1)
                    np.multiply(parts, parts.dtype.type(scale), out=parts)
        memory = bucket.memory
        bucket.work = self.group.call(
            f"gradients, bucket {self.next} of {len(self.buckets)}|{bucket.dtype}|{memory.size}|{memory.size} elements",
            lambda call: exchanges.all_reduce(call, memory, combiner(ReduceOp.SUM)), _nothing, [], True,
        )  # fmt: skip

    def _finish(self):
        """Wait for the buckets, and put the averages into the gradients."""
        used = self._used_anywhere() if self.find_unused or self.late else None
        for bucket in self.buckets:
            bucket.work.wait()
            for index, window in bucket.windows():
                if used is None or used[index]:
                    self._put(self.parameters[index], window)
        self.started = self.expecting = False
        self.used[...] = 0
        engine.RUNNING.hurried.discard(id(self))

    def _used_anywhere(self):
        """Which parameters got gradients in any process since the last reduction: the others keep what they have."""
        used = self.used.copy()
        text = f"parameters in use|{used.size}|"
        self.group.call(
            text, lambda call: exchanges.all_reduce(call, used, combiner(ReduceOp.MAX)), _nothing, [], False
        )
        return used

    @staticmethod
    def _put(p, window):
        average = wrap(from_array(arrays.copy_of(window.reshape(tuple(p.shape)), p.dtype)))
        if p.grad is None:
            p.grad = average
        else:
            with livegrad.no_grad():
                p.grad.copy_(average)

    def __del__(self):
        engine.RUNNING.hurried.discard(id(self))


def _nothing():
    pass


def tensors_in(x):
    """The tensors in nested containers, and in the attributes of data classes."""
    stack, seen = [x], set()
    while stack:
        x = stack.pop()
        if isinstance(x, livegrad.Tensor):
            yield x
        elif isinstance(x, (list, tuple, set)):
            stack.extend(x)
        elif isinstance(x, dict):
            stack.extend(x.values())
        elif hasattr(x, "__dataclass_fields__") and id(x) not in seen:
            seen.add(id(x))
            stack.extend(getattr(x, name) for name in x.__dataclass_fields__)


def leaves_behind(outputs):
    """The graph's ends that gradients of these tensors reach."""
    stack = [t._edge for t in tensors_in(outputs) if t._edge is not None]
    seen = set(stack)
    while stack:
        for edge in stack.pop().next:
            if edge is not None and edge not in seen:
                seen.add(edge)
                stack.append(edge)
    return seen

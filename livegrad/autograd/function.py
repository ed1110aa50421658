"""Function: operators with a gradient written by the user."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ops.dispatch import record_site
from ..tensor import Tensor, wrap
from .mode import MODE, enable_grad, no_grad
from .node import FREED, Node, check_fresh, next_seq, saved_tensor


class FunctionNode(Node):
    """The node of a user's `Function`; it is also the `ctx` that forward and backward receive."""

    __slots__ = ("cls", "metas", "saved", "non_differentiable", "dirty", "materialize", "needs_input_grad",
                 "n_outputs", "released", "out_metas", "positions")  # fmt: skip

    def name(self) -> str:
        return self.cls.__name__ + "Backward"

    @property
    def op_name(self) -> str:
        return self.cls.__name__

    @property
    def outputs(self) -> int:  # type: ignore[override]
        return self.n_outputs

    # --- what the user's code calls -----------------------------------------------------------------------------

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep tensors for `backward`, which finds them in `ctx.saved_tensors`."""
        self.saved = [
            None if t is None else (t, t._value(), t._edge, t._nr) if isinstance(t, Tensor) else t for t in tensors
        ]

    save_for_forward = save_for_backward

    @property
    def saved_tensors(self) -> tuple:
        """The tensors kept by `save_for_backward`. Raises RuntimeError once the graph has been freed."""
        if self.released:
            raise RuntimeError(FREED)
        out: list = []
        for item in self.saved or ():
            if item is None:
                out.append(None)
                continue
            t, v, edge, nr = item
            check_fresh(v, self)
            if isinstance(edge, Node) or t is None:
                out.append(saved_tensor(v, edge, nr))
            else:
                out.append(wrap(v))
        return tuple(out)

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Say which inputs forward changed in place."""
        self.dirty = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Say which outputs have no gradient."""
        self.non_differentiable = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether backward gets zeros (the default) or None for outputs that were not used."""
        self.materialize = value

    # --- what the engine calls ----------------------------------------------------------------------------------

    def run(self, g: Any, recording: bool) -> tuple:
        given = list(g) if isinstance(g, list) else [g]
        for i, part in enumerate(given):
            if part is None:
                if self.materialize and self.out_metas[i] is not None:
                    from ..creation import zeros

                    shape, dtype = self.out_metas[i]
                    given[i] = zeros(shape, dtype=dtype)
            elif not recording:
                given[i] = wrap(part)
        with enable_grad() if recording else no_grad():
            grads = self.cls.backward(self, *given)
        if not isinstance(grads, tuple):
            grads = (grads,)
        n = len(self.needs_input_grad)
        if len(grads) != n:
            if len(grads) > n and all(x is None for x in grads[n:]):
                grads = grads[:n]
            else:
                raise RuntimeError(
                    f"function {self.name()} returned an incorrect number of gradients (expected {n}, got {len(grads)})"
                )
        out: list = []
        for place, position in enumerate(self.positions):
            part = grads[position]
            if part is None or self.next[place] is None:
                out.append(None)
                continue
            if not isinstance(part, Tensor):
                raise TypeError(f"{self.name()}: expected a Tensor or None as gradient, got {type(part).__name__}")
            shape, dtype = self.metas[place]
            if part._shape != shape:
                try:
                    part = part.sum_to_size(shape)
                except RuntimeError:
                    raise RuntimeError(
                        f"Function {self.name()} returned an invalid gradient at index {position} - got "
                        f"{list(part._shape)} but expected shape compatible with {list(shape)}"
                    ) from None
            if part.dtype is not dtype:
                part = part.to(dtype)
            out.append(part if recording else part._value())
        return tuple(out)

    def release(self) -> None:
        if self.saved:
            self.released = True
        self.saved = None


class Function:
    """Base of operators with a gradient of their own.

    Subclasses define static methods ``forward(ctx, *inputs)`` and ``backward(ctx, *grad_outputs)`` and are called by
    ``apply``. Or ``forward(*inputs)`` together with ``setup_context(ctx, inputs, output)``.

    >>> import livegrad
    >>> class Double(livegrad.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         return x * 2
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         return g * 2
    >>> x = livegrad.ones(2, requires_grad=True)
    >>> Double.apply(x).sum().backward()
    >>> x.grad
    tensor([2., 2.])
    """

    forward: Callable
    backward: Callable

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Any) -> None:
        """Keep what backward needs; for a forward that takes no ctx."""

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run forward, recording this function as one node."""
        ctx = object.__new__(FunctionNode)
        ctx.cls = cls
        ctx.saved = None
        ctx.non_differentiable = ()
        ctx.dirty = ()
        ctx.materialize = True
        ctx.released = False
        ctx.hooks = None
        ctx.needs_input_grad = tuple(isinstance(a, Tensor) and a._edge is not None for a in args)
        recording = MODE.grad and any(ctx.needs_input_grad)
        separate = cls.setup_context is not Function.setup_context
        with no_grad():
            made = cls.forward(*args) if separate else cls.forward(ctx, *args)
            if separate:
                cls.setup_context(ctx, args, made)
        outs = made if isinstance(made, tuple) else (made,)
        if not recording:
            return made
        places = [i for i, a in enumerate(args) if isinstance(a, Tensor)]
        ctx.positions = tuple(places)
        ctx.next = tuple([args[i]._edge for i in places])
        ctx.nrs = tuple([args[i]._nr for i in places])
        ctx.metas = tuple([(args[i]._shape, args[i].dtype) for i in places])
        ctx.seq = next_seq()
        ctx.n_outputs = len(outs)
        first = next((t for t in outs if isinstance(t, Tensor)), None)
        ctx.shape = first._shape if first is not None else ()
        ctx.dtype = first.dtype if first is not None else None
        ctx.out_metas = tuple([(t._shape, t.dtype) if isinstance(t, Tensor) else None for t in outs])
        record_site(ctx)
        results = []
        for nr, t in enumerate(outs):
            if isinstance(t, Tensor) and t.dtype.is_floating_point and not any(t is x for x in ctx.non_differentiable):
                if any(t is a for a in args) and not any(t is d for d in ctx.dirty):
                    t = t._alias(silent=False)  # an input returned as it is
                t._edge = ctx
                t._nr = nr
                if ctx.saved:
                    ctx.saved = [
                        (s[0], s[1], ctx, nr) if s is not None and s[0] is outs[nr] else s for s in ctx.saved
                    ]
            results.append(t)
        if ctx.saved:
            # The node must not hold the tensors themselves: an output would hold its own node.
            ctx.saved = [s if s is None else (None, s[1], s[2], s[3]) for s in ctx.saved]
        return tuple(results) if isinstance(made, tuple) else results[0]


def once_differentiable(function: Callable) -> Callable:
    """Decorator of `backward`: its result cannot be differentiated again."""
    import functools

    @functools.wraps(function)
    def wrapped(ctx: Any, *grads: Any) -> Any:
        with no_grad():
            return function(ctx, *grads)

    return wrapped

"""Function: operators with a gradient written by the user."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from ..lazy.value import Value
from ..observe import WATCH
from ..ops.batch_loops import loop
from ..ops.batching import level_of
from ..ops.dispatch import record_site
from ..ops.writes import check_in_place, check_view, rebase_base, rebase_views
from ..tensor import Tensor, wrap
from .mode import MODE, enable_grad, no_grad
from .node import FREED, Node, check_fresh, next_seq, saved_tensor
from .saving import Packed, pack


class _Own:
    """Stands for the node itself among what it has saved; a reference would be a cycle."""


class FunctionCtx:
    """What forward tells about itself: the `ctx` that it receives. One that is made by hand keeps what it is told."""

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep tensors for `backward`, which finds them in `ctx.saved_tensors`."""
        for i, t in enumerate(tensors):
            if t is not None and not isinstance(t, Tensor):
                raise TypeError(
                    f"save_for_backward can only save variables, but argument {i} is of type {type(t).__name__}"
                )
        self.to_save = tensors

    save_for_forward = save_for_backward

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Say which inputs forward changed in place."""
        self.dirty = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Say which outputs have no gradient."""
        self.non_differentiable = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether backward gets zeros (the default) or None for outputs that were not used."""
        self.materialize = value


class FunctionNode(FunctionCtx, Node):
    """The node of a user's `Function`; it is also the `ctx` that forward and backward receive.

    to_save: what forward handed to `save_for_backward`. saved: made of it when forward is done, (value, edge, output
    number) or None for each; the edge is `_Own` for what this node made.
    """

    __slots__ = ("cls", "metas", "to_save", "saved", "non_differentiable", "dirty", "materialize", "needs_input_grad",
                 "n_outputs", "released", "out_metas", "positions")  # fmt: skip

    def name(self) -> str:
        return self.cls.__name__ + "Backward"

    @property
    def op_name(self) -> str:
        return self.cls.__name__

    @property
    def outputs(self) -> int:  # type: ignore[override]
        return self.n_outputs

    def inputs_info(self) -> tuple:
        return tuple(
            ("node", i) if edge is not None else ("const", shape, dtype.name)
            for i, (edge, (shape, dtype)) in enumerate(zip(self.next, self.metas))
        )

    def held(self) -> list[tuple[str, Value]]:
        found = [item[0] for item in self.saved or () if item is not None and item[0].__class__ is Value]
        return [(f"saved {i}", v) for i, v in enumerate(found)]

    # --- what the user's code calls -----------------------------------------------------------------------------

    def _save(self, outputs: tuple) -> None:
        """Keep the values of what forward saved, as they are now."""
        self.saved = []
        for t in self.to_save or ():
            if t is None:
                self.saved.append(None)
                continue
            own = next((nr for nr, out in enumerate(outputs) if out is t and t._edge is self), None)
            v = pack(t._value())
            if v.__class__ is Value:
                v.kept += 1
            self.saved.append((v, t._edge, t._nr) if own is None else (v, _Own, own))
        self.to_save = None

    @property
    def saved_tensors(self) -> tuple:
        """The tensors kept by `save_for_backward`. Raises RuntimeError once the graph has been freed."""
        if self.released:
            raise RuntimeError(FREED)
        if self.saved is None:  # forward still runs
            return tuple(self.to_save or ())
        out: list = []
        for item in self.saved:
            if item is None:
                out.append(None)
                continue
            v, edge, nr = item
            if v.__class__ is Packed:
                v = v.value()
            elif v.stale is not None or v.lease is not None:
                check_fresh(v, self)
            out.append(saved_tensor(v, self if edge is _Own else edge, nr))
        return tuple(out)

    def source_of(self, v: Any) -> tuple:
        for item in self.saved or ():
            if item is not None and item[0] is v:
                edge = self if item[1] is _Own else item[1]
                return (None, 0) if edge is None or edge.is_leaf else (edge, item[2])
        return None, 0

    # --- what the engine calls ----------------------------------------------------------------------------------

    def run(self, g: Any, recording: bool, edges: tuple) -> tuple:
        given = list(g) if isinstance(g, list) else [g]
        for i, part in enumerate(given):
            if part is None:
                if self.materialize and self.out_metas[i] is not None:
                    from ..creation import zeros

                    shape, dtype, device = self.out_metas[i]
                    given[i] = zeros(shape, dtype=dtype, device=device)
            elif not recording:
                given[i] = wrap(part)
        with enable_grad() if recording else no_grad():
            grads = self.cls._gradient()(self, *given)
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
            if part is None or edges[place] is None:
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

    def _record(self, args: tuple, results: list) -> None:
        """Become the node of these results, in place."""
        places = [i for i, a in enumerate(args) if isinstance(a, Tensor)]
        self.positions = tuple(places)
        self.next = tuple([args[i]._edge for i in places])
        self.nrs = tuple([args[i]._nr for i in places])
        self.metas = tuple([(args[i]._shape, args[i].dtype) for i in places])
        self.seq = next_seq()
        self.n_outputs = len(results)
        self.out_metas = tuple([(t._shape, t.dtype, t.device) if isinstance(t, Tensor) else None for t in results])
        self.shape, self.dtype = next((meta[:2] for meta in self.out_metas if meta is not None), ((), None))
        record_site(self)
        given = list(results)
        if any(not any(d is t for t in given) for d in self.dirty):
            raise RuntimeError(
                "Some elements marked as dirty during the forward method were not returned as output. The inputs that "
                "are modified inplace must all be outputs of the Function."
            )
        for nr, t in enumerate(given):
            if not isinstance(t, Tensor):
                continue
            dirty = any(t is d for d in self.dirty)
            if dirty:
                check_in_place(t, True, repeated=True)
            if not t.dtype.is_floating_point or any(t is x for x in self.non_differentiable):
                continue
            if dirty and t._s is not None:
                self._rebase(nr, t)
                continue
            if not dirty and (any(t is a for a in args) or t._is_view()):
                t = results[nr] = t._alias(silent=False)  # an input returned as it is, or a window onto it
            t._edge = self
            t._nr = nr
        self._save(given)

    def _rebase(self, nr: int, t: Tensor) -> None:
        """An input that was changed in place has a new history, and so have its views, or what it is a view of."""
        a = t._s
        assert a is not None
        if a.base is None:
            t._edge, t._nr = self, nr
            rebase_views(t, a)
            return
        check_view(t)
        if self.n_outputs > 1:
            raise RuntimeError(
                "If your Function modifies inplace an input that is a view of another Tensor, your Function cannot "
                "return more than one Tensor. Make it return one, or change a copy, made with .clone()."
            )
        changed = t._alias(silent=False)
        changed._edge, changed._nr = self, nr
        rebase_base(t, a, changed)

    def release(self) -> None:
        for item in self.saved or ():
            if item is not None and item[0].__class__ is Value:
                item[0].kept -= 1
        if self.saved:
            self.released = True
            self.saved = []


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

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the result from the inputs."""
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Any) -> None:
        """Keep what backward needs; for a forward that takes no ctx."""

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Compute the gradients of the inputs from those of the outputs."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with "
            "backward mode AD."
        )

    vjp = backward

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        """Compute the tangents of the outputs from those of the inputs; taken where there is no `backward`."""
        raise NotImplementedError(
            "You must implement the jvp function for custom autograd.Function to use it with forward mode AD."
        )

    @classmethod
    def _gradient(cls) -> Callable:
        """`backward`, under whichever of its two names it was written, or what `jvp` tells of it."""
        if cls.backward is not Function.backward:
            return cls.backward
        return cls.vjp if cls.vjp is not Function.vjp or cls.jvp is Function.jvp else cls._transposed

    @classmethod
    def _transposed(cls, ctx: Any, *grad_outputs: Any) -> tuple:
        """Gradients by `jvp`, which is linear in its tangents: so they are its own gradients by these."""
        from ..creation import zeros
        from .functions import grad

        tangents: list = [None] * len(ctx.needs_input_grad)
        for (shape, dtype), position in zip(ctx.metas, ctx.positions):
            if ctx.needs_input_grad[position]:
                tangents[position] = zeros(shape, dtype=dtype, requires_grad=True)
        recording = MODE.grad
        with enable_grad():
            made = cls.jvp(ctx, *tangents)
        made = made if isinstance(made, tuple) else (made,)
        used = [(t, g) for t, g in zip(made, grad_outputs) if t is not None and t.requires_grad and g is not None]
        seeds = [t for t in tangents if t is not None]
        found = iter(
            grad([t for t, _ in used], seeds, [g for _, g in used], create_graph=recording, allow_unused=True)
            if used else [None] * len(seeds)
        )  # fmt: skip
        return tuple(None if t is None else next(found) for t in tangents)

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run forward, recording this function as one node."""
        separate = cls.setup_context is not Function.setup_context
        if separate or kwargs:
            bound = inspect.signature(cls.forward).bind(*(() if separate else (None,)), *args, **kwargs)
            bound.apply_defaults()
            args = bound.args if separate else bound.args[1:]
        if WATCH.batcher is not None and any(map(level_of, args)):
            return cls._of_batch(args)
        ctx = object.__new__(FunctionNode)
        ctx.cls = cls
        ctx.to_save = ctx.saved = None
        ctx.non_differentiable = ()
        ctx.dirty = ()
        ctx.materialize = True
        ctx.released = False
        ctx.hooks = None
        ctx.needs_input_grad = tuple([isinstance(a, Tensor) and a._edge is not None for a in args])
        recording = MODE.grad and any(ctx.needs_input_grad)
        with no_grad():
            made = cls.forward(*args) if separate else cls.forward(ctx, *args)
            if separate:
                cls.setup_context(ctx, args, made)
        if not recording:
            ctx.to_save = None
            return made
        several = isinstance(made, tuple)
        results = list(made) if several else [made]
        ctx._record(args, results)
        return tuple(results) if several else results[0]

    @classmethod
    def _of_batch(cls, args: tuple) -> Any:
        """Run for batches: by the static method ``vmap``, if there is one, else for one example after the other."""
        rule = getattr(cls, "vmap", None)
        if rule is None:
            return loop(cls.apply, args, {})
        from .batches import by_rule

        return by_rule(rule, args)


def once_differentiable(function: Callable) -> Callable:
    """Decorator of `backward`: its result cannot be differentiated again."""

    @functools.wraps(function)
    def wrapped(ctx: Any, *grads: Any) -> Any:
        with no_grad():
            made = function(ctx, *grads)
        if MODE.grad and any(isinstance(g, Tensor) and g._edge is not None for g in grads):
            for t in made if isinstance(made, tuple) else (made,):
                if isinstance(t, Tensor) and t.dtype.is_floating_point:
                    t._edge = NotTwice(t)
        return made

    return wrapped


class NotTwice(Node):
    """The node of a gradient that must not be differentiated."""

    def __init__(self, t: Tensor):
        self.next = ()
        self.nrs = None
        self.seq = next_seq()
        self.shape, self.dtype = t._shape, t.dtype
        self.hooks = None
        record_site(self)

    def name(self) -> str:
        return "NotDifferentiable"

    def run(self, g: Any, recording: bool, edges: tuple) -> tuple:
        raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")

"""Tensor: the user's handle. Its operators and methods come from the registry (`livegrad.ops`).

This file holds what a tensor is (a value or a window onto a storage, and its place in the recorded graph) and what is
not an operator: in-place assignment, gradients, hooks, copies. `described` and `readable` hold the rest of the class.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from . import dtypes
from .autograd import node as nodes
from .autograd.mode import MODE
from .autograd.node import AccumulateGrad, Hooks, Node, RemovableHandle, hooks_of, next_seq, shown
from .lazy import value as values
from .lazy.reuse import OVERWRITTEN
from .lazy.storage import Alias, Counter, Storage, adopt
from .lazy.value import BATCHED, UNDEFERRED, Value, from_array
from .llvm import service
from .native import hot, hottest, slotted
from .readable import Readable
from .runtime import array as arrays
from .runtime.array import contiguous_strides
from .site import Site, user_frame

_new = object.__new__
_ref = weakref.ref


@functools.cache
def _autograd() -> Any:
    service.load("livegrad.autograd.functions")  # it depends on this module
    from .autograd import functions

    return functions


@functools.cache
def _overriding() -> Any:
    from . import overriding  # it depends on this module

    return overriding


def batch_alias(t: Tensor, silent: bool) -> Tensor:
    """The same batch without history; replaced by `ops.batching`, which depends on this module."""
    raise RuntimeError("batches are not loaded")


def batch_assign(t: Tensor, v: Value, since: int | None) -> None:
    """Replace the content of a batch; replaced by `ops.batch_writes`, which depends on this module."""
    raise RuntimeError("batches are not loaded")


@hottest
def wrap(v: Value) -> Tensor:
    """A tensor that holds a value."""
    t = _new(Tensor)
    t._v = v
    t._s = None
    t._edge = None
    t._nr = 0
    t._ver = 0
    owner = v.owner
    if owner is not None and owner is not OVERWRITTEN and owner() is not None:
        v.uses += 1  # two tensors hold it: its memory is not to be written into
        v.shared = True
    else:
        v.owner = _ref(t)
    return t


def _refuse_batch() -> None:
    raise RuntimeError(
        "You are attempting to call Tensor.requires_grad_() (or perhaps using torch.autograd.functional.* APIs) inside "
        "of a function being transformed by a functorch transform. This is unsupported, please attempt to use the "
        "functorch transforms (e.g. grad, vjp, jacrev, jacfwd, hessian) or call requires_grad_() outside of a function "
        "being transformed instead."
    )


def _refuse_backward() -> None:
    raise RuntimeError(
        "backward() called inside a functorch transform. This is not supported, please use functorch.grad or "
        "functorch.vjp instead or call backward() outside of functorch transforms."
    )


def _warn_of_no_grad() -> None:
    import sys
    import warnings

    frame, depth = sys._getframe(), 1
    while frame is not None and frame.f_code.co_filename == __file__:
        frame, depth = frame.f_back, depth + 1
    warnings.warn(
        "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad attribute "
        "won't be populated during autograd.backward(). If you indeed want the .grad field to be populated "
        "for a non-leaf Tensor, use .retain_grad() on the non-leaf Tensor.",
        UserWarning,
        stacklevel=depth,
    )


def _take_hooks(t: Tensor) -> None:
    """A tensor is about to lose its node: its hooks stay with it."""
    edge = t._edge
    on_gradient = None if edge.hooks is None else edge.hooks.pre.get(t._nr)
    after = edge.post_accumulate if edge.is_leaf else None
    if on_gradient or after:
        t.__dict__["_held_hooks"] = on_gradient or {}, after


def _hang_again(t: Tensor) -> None:
    """Hooks of a time before, on the leaf that a tensor is now."""
    on_gradient, t._edge.post_accumulate = t.__dict__.pop("_held_hooks")
    if on_gradient:
        hooks_of(t._edge).pre[t._nr] = on_gradient


@slotted
class Tensor(Readable):
    """A multi-dimensional array that records how it was computed.

    Made by `livegrad.tensor`, `livegrad.zeros` and the like. ``Tensor(2, 3)`` is uninitialised float32 memory of that
    shape and ``Tensor([1, 2])`` holds float32 numbers, as in PyTorch.

    >>> import livegrad
    >>> x = livegrad.arange(1., 4., requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4., 6.])
    """

    # _v: the value, or None when the tensor shares a storage. _s: its window onto that storage.
    # _edge: the node that made it, the AccumulateGrad of a leaf that requires gradients, or None.
    # _nr: which output of that node. _ver: count of in-place changes (a storage keeps its own).
    __slots__ = ("_v", "_s", "_edge", "_nr", "_ver", "__dict__", "__weakref__")
    __array_priority__ = 1000

    def __new__(cls, *data: Any, device: Any = None) -> Tensor:
        from .creation import legacy_tensor

        return legacy_tensor(data, device)._as_class(cls)

    def __init__(self, *data: Any, **options: Any) -> None:
        pass

    def _as_class(self, cls: type) -> Any:
        if type(self) is cls:
            return self
        return Tensor._from(self, cls)

    @staticmethod
    def _from(other: Tensor, cls: type) -> Any:
        """An instance of a subclass that shares the data of `other` and has no history."""
        _overriding().prepare(cls)
        t = _new(cls)
        t._edge = None
        t._nr = 0
        t._ver = 0
        alias = other._storage()
        t._v = None
        t._s = Alias(alias.storage, alias.layout, alias.counter)
        return t

    def as_subclass(self, cls: type) -> Any:
        """This tensor, with the same data and history, as one of a subclass of Tensor.

        >>> import livegrad
        >>> class Named(livegrad.Tensor):
        ...     pass
        >>> livegrad.ones(2).as_subclass(Named) * 2
        Named([2., 2.])
        """
        if not (isinstance(cls, type) and issubclass(cls, Tensor)):
            raise TypeError(f"as_subclass(): argument 'cls' must be a subclass of Tensor, not {cls!r}")
        overriding = _overriding()
        with overriding.DisableTorchFunction():
            same = self._alias(silent=False) if self._edge is None else self.view(self._shape)
        return overriding.turn_into(same, cls)

    @staticmethod
    def _make_subclass(cls: type, data: Tensor, require_grad: bool = False) -> Any:  # noqa: PLW0211 (it is called as one)
        """A tensor of a subclass with the data of another, without its history."""
        made = Tensor._from(data, cls)
        if require_grad:
            Tensor.requires_grad_(made)
        return made

    @staticmethod
    def _make_wrapper_subclass(  # noqa: PLW0211
        cls: type, size: Any, strides: Any = None, storage_offset: Any = None, memory_format: Any = None,
        dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: bool = False,
        requires_grad: bool = False, **options: Any,
    ) -> Any:  # fmt: skip
        """A tensor of a subclass that has a shape, a dtype and a device, and no data worth reading: for subclasses that
        hold other tensors and answer every function in their `__torch_function__`."""
        from .creation import zeros

        overriding = _overriding()
        with overriding.DisableTorchFunction():
            made = zeros((), dtype=dtype, device=device).expand(tuple(size))
        made = Tensor._from(made, cls)
        if requires_grad:
            Tensor.requires_grad_(made)
        return made

    @classmethod
    def __torch_function__(cls, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """What a function called with a tensor of this subclass gives: its own result, as tensors of this class.

        func: what was called. types: the classes among its arguments that define this method. Return NotImplemented to
        leave the answer to the others.
        """
        return _overriding().by_default(cls, func, types, args, kwargs)

    # --- value and storage --------------------------------------------------------------------------------------

    @hot
    def _read(self) -> Value:
        """The value of a tensor that shares a storage."""
        a = self._s
        if a is None:
            return self._v
        return a.storage.read(a)

    @hot
    def _value(self) -> Value:
        v = self._v
        return self._read() if v is None else v

    @hot
    def _storage(self) -> Alias:
        """This tensor's window onto a storage; made now if it had a value of its own."""
        a = self._s
        if a is None:
            v = self._v
            if v.weight >= BATCHED:
                values.batch_hook(v)
            if v.owner is not None and v.owner is not OVERWRITTEN and v.owner() is self:
                v.owner = None
            a = self._s = Alias(Storage(v), None, Counter(self._ver))
            self._v = None
        return a

    @hot
    def _window(self, offset: int, shape: tuple, strides: tuple) -> Tensor:
        """A view: another tensor over the same storage."""
        a = self._storage()
        t = _new(Tensor)
        t._v = None
        t._edge = None
        t._nr = 0
        t._ver = 0
        base = a.base if a.base is not None else self
        made = a.made
        if made is None:
            made = None if MODE.grad else "no_grad"
        elif made != "no_grad":
            made = 0
        t._s = Alias(a.storage, (offset, shape, strides), a.counter, base, a.silent, made)
        a.storage.register(t)
        return t

    @hot
    def _geometry(self) -> tuple:
        """(offset, shape, strides) within the storage."""
        a = self._s
        if a is None:
            shape = self._v.shape
            return 0, shape, contiguous_strides(shape)
        return a.geometry()

    @hot
    def _assign(self, v: Value, since: int | None = None) -> None:
        """Replace the content, in place, by a value of the same shape and dtype.

        since: nodes recorded before this number must not read what is replaced; later ones belong to the in-place
        operator itself and keep the old value.
        """
        a = self._s
        if a is None:
            old = self._v
            if old.weight >= BATCHED or v.weight >= BATCHED:
                batch_assign(self, v, since)
                return
            if old is v:
                self._ver += 1
                return
            if old.kept:
                old.stale = (self._ver, _version_of(_ref(self), self._ver + 1), _site(), since or next_seq())
            if old.owner is not None and old.owner() is self:
                old.owner = OVERWRITTEN
            self._v = v
            self._ver += 1
            owner = v.owner
            if owner is not None and owner is not OVERWRITTEN and owner() is not None:
                v.uses += 1
                v.shared = True
            else:
                v.owner = _ref(self)
            return
        a.storage.write(a, v, self._stale(a, since))
        a.counter.n += 1

    @hot
    def _stale(self, a: Alias, since: int | None) -> tuple | None:
        """What to tell those who have kept the present content: which version it was, and what changes it where."""
        if not a.storage.noticed(a):
            return None
        return a.counter.n, a.counter.now, _site(), since or next_seq()

    @hot
    def _written(self, since: int | None = None) -> Any:
        """The memory as the backend's array, for changing it in place now; this counts as one change."""
        a = self._storage()
        memory = a.storage.window(a, self._stale(a, since))
        a.counter.n += 1
        return memory

    def _touch(self) -> None:
        """Count a change in place that leaves everything as it was."""
        a = self._s
        if a is None:
            if not self._v.kept:
                self._ver += 1
                return
            a = self._storage()  # which leaves those who have kept the content the old memory
        a.storage.changed(a, self._stale(a, None))
        a.counter.n += 1

    @hot
    def _accumulate(self, g: Value) -> None:
        """Add a gradient in place, without recording."""
        self._assign(self._value() + g)

    # --- the recorded graph -------------------------------------------------------------------------------------

    @property
    @hot
    def requires_grad(self) -> bool:
        return self._edge is not None

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        self.requires_grad_(wanted)

    @hot
    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Record what is done with this tensor from now on.

        Raises RuntimeError for an integer or bool tensor, or when turning recording off for a result of an operator.
        """
        if requires_grad:
            if self._edge is None:
                require_floating(self.dtype)
                if self._v is not None and self._v.weight >= BATCHED:
                    _refuse_batch()
                held = self.__dict__.pop("_held_grad", None)
                self._edge = AccumulateGrad(self)
                self._edge.grad = held
                if "_held_hooks" in self.__dict__:
                    _hang_again(self)
        elif self._edge is not None:
            if not self._edge.is_leaf:
                raise RuntimeError(
                    "you can only change requires_grad flags of leaf variables. If you want to use a computed variable "
                    "in a subgraph that doesn't require differentiation use var_no_grad = var.detach()."
                )
            self.__dict__["_held_grad"] = self._edge.grad
            _take_hooks(self)
            self._edge = None
        return self

    @property
    def grad_fn(self) -> Node | None:
        edge = self._edge
        return None if edge is None or edge.is_leaf else shown(edge)

    @property
    def is_leaf(self) -> bool:
        edge = self._edge
        return edge is None or edge.is_leaf

    @property
    def output_nr(self) -> int:
        return self._nr

    @property
    @hot
    def grad(self) -> Tensor | None:
        """The gradient that `backward` has accumulated, or None."""
        edge = self._edge
        if edge is not None and edge.is_leaf:
            return edge.grad
        held = self.__dict__.get("_held_grad")
        if held is None and edge is not None and not self.__dict__.get("_retains"):
            _warn_of_no_grad()
        return held

    @grad.setter
    @hot
    def grad(self, g: Tensor | None) -> None:
        if g is not None:
            if not isinstance(g, Tensor):
                if getattr(g, "is_sparse", False) and tuple(g.shape) == self._shape and self._edge is not None:
                    self._edge.grad = g
                    return
                raise TypeError(
                    f"assigned grad expected to be a Tensor or None but got grad of type {type(g).__name__}"
                )
            if g is self:
                raise RuntimeError("can't assign Variable as its own grad")
            if g._shape != self._shape:
                raise RuntimeError(
                    f"attempting to assign a gradient of size '{list(g._shape)}' to a tensor of size "
                    f"'{list(self._shape)}'. Please ensure that the gradient and the tensor are the same size"
                )
            if g.dtype is not self.dtype:
                raise RuntimeError(
                    f"attempting to assign a gradient with dtype '{g.dtype}' to a tensor with grad_dtype "
                    f"'{self.dtype}'. "
                    "The gradient must match the tensor's dtype."
                )
        edge = self._edge
        if edge is not None and edge.is_leaf:
            edge.grad = g
        else:
            self.__dict__["_held_grad"] = g

    @grad.deleter
    @hot
    def grad(self) -> None:
        self.grad = None

    def _retained_grad(self) -> Tensor | None:
        return self.__dict__.get("_held_grad")

    def _set_retained_grad(self, g: Tensor) -> None:
        self.__dict__["_held_grad"] = g

    def retain_grad(self) -> None:
        """Keep this result's gradient in `.grad` when `backward` runs. Nothing changes for a leaf."""
        if self._edge is None:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if not self._edge.is_leaf:
            self.__dict__["_retains"] = True
            hooks_of(self._edge).retain[self._nr] = _ref(self)

    @property
    def retains_grad(self) -> bool:
        return bool(self.__dict__.get("_retains"))

    @hot
    def backward(
        self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False, inputs: Any = None
    ) -> None:
        """Add the gradient of this tensor to `.grad` of the leaves that it was computed from.

        gradient: of the same shape; may be left out for a tensor of one element.
        Raises RuntimeError if nothing was recorded, or the graph's kept values have been freed by an earlier backward.
        """
        functions = _autograd()
        if self._v is not None and self._v.weight >= BATCHED:
            _refuse_backward()
        if gradient is None and inputs is None and not create_graph:
            functions.backward_from(self, bool(retain_graph))
        else:
            functions.backward((self,), (gradient,), retain_graph, create_graph, inputs=inputs)

    def register_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(grad)`` when this tensor's gradient has been computed; what it returns replaces it.

        Raises RuntimeError for a tensor that does not require gradients.
        """
        if self._edge is None:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        hooks: Hooks = hooks_of(self._edge)
        return RemovableHandle(hooks.pre.setdefault(self._nr, {}), hook)

    def register_post_accumulate_grad_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(tensor)`` after this leaf's gradient has been accumulated."""
        edge = self._edge
        if edge is None or not edge.is_leaf:
            raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
        if edge.post_accumulate is None:
            edge.post_accumulate = {}
        return RemovableHandle(edge.post_accumulate, hook)

    @hot
    def detach(self) -> Tensor:
        """The same data without history. Changes in place are seen by both."""
        return self._alias(silent=False)

    @hot
    def _alias(self, silent: bool) -> Tensor:
        if self._v is not None and self._v.weight >= BATCHED:
            return batch_alias(self, silent)
        a = self._storage()
        t = _new(Tensor)
        t._v = None
        t._edge = None
        t._nr = 0
        t._ver = 0
        t._s = Alias(a.storage, a.layout, Counter() if silent else a.counter, None, silent or a.silent)
        return t

    def detach_(self) -> Tensor:
        """Drop this tensor's history."""
        if self._s is not None and self._s.base is not None:
            raise RuntimeError("Can't detach views in-place. Use detach() instead.")
        if self._edge is not None and self._edge.is_leaf:
            return self.requires_grad_(False)
        if self._edge is not None:
            _take_hooks(self)
        self._edge, self._nr = None, 0
        return self

    @property
    def data(self) -> Tensor:
        """The same data without history; changes made through it are not noticed by autograd."""
        return self._alias(silent=True)

    @data.setter
    def data(self, other: Tensor) -> None:
        if not isinstance(other, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(other).__name__}")
        a = other._storage()
        self._s, self._v = Alias(a.storage, a.layout, Counter(self._version)), None
        edge = self._edge
        if edge is not None and edge.is_leaf:
            edge.shape, edge.dtype = other._shape, other.dtype

    @property
    def _version(self) -> int:
        a = self._s
        return self._ver if a is None else a.counter.n

    @property
    def _base(self) -> Tensor | None:
        a = self._s
        return None if a is None else a.base

    def _is_view(self) -> bool:
        return self._base is not None

    def is_inference(self) -> bool:
        return False

    def __array_wrap__(self, array: np.ndarray, context: Any = None, return_scalar: bool = False) -> Any:
        """What NumPy's functions make of a tensor is a tensor too, truth values as bytes, as in PyTorch."""
        if array.dtype == np.bool_:
            array = array.astype(np.uint8)
        return array if dtypes.known_numpy_dtype(array.dtype) is None else adopt_numpy(array)

    # --- copying ------------------------------------------------------------------------------------------------

    def __deepcopy__(self, memo: dict) -> Tensor:
        if not self.is_leaf:
            raise RuntimeError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the "
                "moment. Call .detach() first."
            )
        if id(self) in memo:
            return memo[id(self)]
        from .copying import deep_copy

        return deep_copy(self, memo)

    def __copy__(self) -> Tensor:
        made = Tensor._from(self, type(self))
        made._edge = self._edge
        made._nr = self._nr
        made.__dict__.update({name: x for name, x in self.__dict__.items() if not name.startswith("_held")})
        return made

    def __reduce_ex__(self, protocol: int) -> tuple:
        if not self.is_leaf:
            raise RuntimeError("only leaf tensors can be pickled; call .detach() first")
        data = np.ascontiguousarray(self._to_numpy())
        extra = {k: v for k, v in self.__dict__.items() if not k.startswith("_held")}
        state = (type(self), data.tobytes(), self.dtype.name, self._shape, self.requires_grad, extra)
        return _rebuild, state


def _rebuild(cls: type, data: bytes, dtype: str, shape: tuple, requires_grad: bool, extra: dict) -> Tensor:
    d = dtypes.BY_NAME[dtype]
    array = arrays.empty(shape, d)
    array.native()[...] = np.frombuffer(data, d.np).reshape(shape)
    t = wrap(from_array(array))._as_class(cls)
    t.requires_grad_(requires_grad)
    t.__dict__.update(extra)
    return t


def _version_of(ref: Any, default: int) -> Callable[[], int]:
    """A function that gives the version of a tensor, as far as it is still known."""

    def version() -> int:
        tensor = ref()
        return tensor._version if tensor is not None else default

    return version


def _site() -> Site | None:
    frame = user_frame(2)
    return Site(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_qualname) if frame else None


nodes.wrap = wrap


@hot
def require_floating(d: dtypes.dtype) -> None:
    """Raise unless tensors of this dtype can require gradients."""
    if d.category < dtypes.FLOATING:
        raise RuntimeError("only Tensors of floating point and complex dtype can require gradients")


def from_native(a: np.ndarray) -> Tensor:
    """A tensor over a fresh backend array that nobody else holds."""
    return wrap(from_array(arrays.from_native(a)))


@hot
def adopt_numpy(a: np.ndarray) -> Tensor:
    """A tensor that shares memory with a NumPy array of the outside."""
    t = _new(Tensor)
    t._v = None
    t._edge = None
    t._nr = 0
    t._ver = 0
    array = arrays.from_native(a)
    if array.strides != contiguous_strides(a.shape):
        # The storage is the array's whole extent; the tensor is a window onto it.
        storage = adopt(arrays.Array(array.block, array.offset, a.shape, array.strides, array.dtype, True))
        t._s = Alias(storage, (0, array.shape, array.strides), Counter())
        return t
    t._s = Alias(adopt(array), None, Counter())
    return t


__all__ = ["UNDEFERRED", "Tensor", "adopt_numpy", "from_native", "require_floating", "wrap"]

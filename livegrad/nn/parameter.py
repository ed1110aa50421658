"""Parameter and Buffer: the two kinds of tensor that a module registers when they are assigned to it."""

from collections import OrderedDict

import livegrad
from livegrad.native import slotted
from livegrad.overriding import disabled_torch_function_impl, overrides
from livegrad.tensor import Tensor

__all__ = ["Buffer", "Parameter", "UninitializedBuffer", "UninitializedParameter", "is_lazy"]


class _Kind(type):
    """Tensors of subclasses that override functions stay what they are: a mark makes them parameters or buffers."""

    def __instancecheck__(cls, instance):
        if type.__instancecheck__(cls, instance):
            return True
        return cls in _MARKS and isinstance(instance, Tensor) and _MARKS[cls] in instance.__dict__


def _marked(data, mark, requires_grad):
    """`data`, of a class that overrides functions, as a leaf with a mark."""
    made = data.detach().requires_grad_(requires_grad)
    if type(made) is not type(data):
        raise RuntimeError(
            f"Creating a Parameter from an instance of type {type(data).__name__} requires that detach() returns an "
            f"instance of the same type, but return type {type(made).__name__} was found instead. To use the type as a "
            "Parameter, please correct the detach() semantics defined by its __torch_dispatch__() implementation."
        )
    made.__dict__[mark] = True
    return made


@slotted
class Parameter(Tensor, metaclass=_Kind):
    """A tensor that a `Module` trains: assigning one as an attribute lists it in ``module.parameters()``.

    ``data`` is shared with the new parameter, not copied. Without it the parameter is an empty tensor.
    ``requires_grad`` is true unless stated otherwise.

    >>> from livegrad import nn
    >>> import livegrad
    >>> p = nn.Parameter(livegrad.ones(2))
    >>> p.requires_grad, p.is_leaf
    (True, True)
    """

    def __new__(cls, data=None, requires_grad=True):
        if data is None:
            data = livegrad.empty(0)
        elif not isinstance(data, Tensor):
            raise RuntimeError(f"a Parameter is made from a Tensor, not from {type(data).__name__!r}")
        if data.__class__ is not Tensor and overrides(data):
            return _marked(data, "_is_param", requires_grad)
        parameter = Tensor._from(data, cls)
        if requires_grad:
            parameter.requires_grad = True
        return parameter

    def __init__(self, data=None, requires_grad=True):
        """Everything happens in ``__new__``."""

    __torch_function__ = disabled_torch_function_impl  # type: ignore[assignment]

    def __deepcopy__(self, memo):
        known = memo.get(id(self))
        if known is None:
            known = memo[id(self)] = type(self)(self.data.clone(), self.requires_grad)
        return known

    def __repr__(self):
        return "Parameter containing:\n" + super().__repr__()

    def __reduce_ex__(self, protocol):
        return _rebuild_parameter, (self.data, self.requires_grad, OrderedDict())


class UninitializedTensorMixin:
    """What parameters and buffers without a shape have in common."""

    @property
    def shape(self):
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. This error usually happens in "
            "`load_state_dict` when trying to load an uninitialized parameter into an initialized one. Call "
            "`forward` to initialize the parameters before accessing their attributes."
        )

    def materialize(self, shape, device=None, dtype=None):
        """Gives it a shape, and memory whose numbers are any: initialise them."""
        device, dtype = self.device if device is None else device, self.dtype if dtype is None else dtype
        self.data = livegrad.empty(shape, device=device, dtype=dtype)
        self.__class__ = self.cls_to_become

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.requires_grad, self.device, self.dtype)
        return memo[id(self)]

    def __repr__(self):
        return f"<{type(self).__name__}>"

    def __reduce_ex__(self, protocol):
        return type(self), (self.requires_grad, self.device, self.dtype)


class UninitializedParameter(UninitializedTensorMixin, Parameter):  # type: ignore[misc]
    """A parameter that has no shape yet: `materialize` gives it one, and makes it an ordinary `Parameter`.

    For modules that learn their sizes from the first input. Asked for its shape before, it raises RuntimeError.

    >>> from livegrad.nn.parameter import UninitializedParameter
    >>> p = UninitializedParameter()
    >>> p.materialize((2, 3))
    >>> type(p).__name__, p.shape
    ('Parameter', torch.Size([2, 3]))
    """

    cls_to_become = Parameter

    def __new__(cls, requires_grad=True, device=None, dtype=None):
        return Parameter.__new__(cls, livegrad.empty(0, device=device, dtype=dtype), requires_grad)

    def __init__(self, requires_grad=True, device=None, dtype=None):
        """Everything happens in ``__new__``."""


class Buffer(Tensor, metaclass=_Kind):
    """A tensor that a `Module` keeps but does not train, such as a running mean.

    Assigning one as an attribute is the same as calling ``register_buffer``. With ``persistent=False`` it stays out of
    the module's ``state_dict``.
    """

    def __new__(cls, data=None, *, persistent=True):
        if data is None:
            data = livegrad.empty(0)
        if data.__class__ is not Tensor and overrides(data):
            buffer = _marked(data, "_is_buffer", data.requires_grad)
            buffer.persistent = persistent
            return buffer
        buffer = Tensor._from(data, cls)
        if data.requires_grad:
            buffer.requires_grad = True
        buffer.persistent = persistent
        return buffer

    def __init__(self, data=None, *, persistent=True):
        """Everything happens in ``__new__``."""

    __torch_function__ = disabled_torch_function_impl  # type: ignore[assignment]

    def __deepcopy__(self, memo):
        known = memo.get(id(self))
        if known is None:
            known = memo[id(self)] = type(self)(self.data.clone(), persistent=self.persistent)
        return known

    def __reduce_ex__(self, protocol):
        return _rebuild_buffer, (self.data, self.persistent)


class UninitializedBuffer(UninitializedTensorMixin, Buffer):  # type: ignore[misc]
    """A buffer that has no shape yet: `materialize` gives it one, and makes it an ordinary `Buffer`.

    >>> from livegrad.nn.parameter import UninitializedBuffer
    >>> b = UninitializedBuffer()
    >>> b.materialize((2, 3))
    >>> type(b).__name__, b.shape
    ('Buffer', torch.Size([2, 3]))
    """

    cls_to_become = Buffer

    def __new__(cls, requires_grad=False, device=None, dtype=None, persistent=True):
        data = livegrad.empty(0, device=device, dtype=dtype, requires_grad=requires_grad)
        return Buffer.__new__(cls, data, persistent=persistent)

    def __init__(self, requires_grad=False, device=None, dtype=None, persistent=True):
        """Everything happens in ``__new__``."""


def _rebuild_parameter(data, requires_grad, backward_hooks):
    """What a pickled parameter calls. The third argument is always empty: hooks are not saved."""
    return Parameter(data, requires_grad)


def _rebuild_buffer(data, persistent):
    return Buffer(data, persistent=persistent)


_MARKS: dict[type, str] = {Parameter: "_is_param", Buffer: "_is_buffer"}


def is_lazy(parameter):
    """Whether a parameter or a buffer still waits for its shape."""
    return isinstance(parameter, UninitializedTensorMixin)

"""What functions make of nested tensors: most of them the same function of the values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import livegrad
from livegrad.tensor import Tensor

from .tensor import NestedTensor, joined, nest, parts, shape_of

HANDLED: dict[str, Callable] = {}
# Functions of each element alone: of several tensors of one shape, or that broadcast to it.
ELEMENTWISE = frozenset(
    """
    abs neg exp exp2 expm1 log log1p log2 log10 sin cos tan tanh sigmoid relu relu6 gelu silu elu selu celu mish
    leaky_relu softplus hardtanh hardswish hardsigmoid logsigmoid sqrt rsqrt square reciprocal round floor ceil trunc
    sign erf isnan isinf isfinite clamp clip add sub mul div true_divide pow remainder floor_divide fmod maximum minimum
    atan2 eq ne lt le gt ge logical_and logical_or logical_not logical_xor bitwise_and bitwise_or bitwise_not where
    lerp addcmul addcdiv nan_to_num masked_fill zeros_like ones_like full_like empty_like rand_like randn_like
    dropout alpha_dropout clone detach to type float double half bfloat16 int long bool cpu cuda contiguous rsub
    __rsub__ __rtruediv__ __pow__ __rpow__ __floordiv__ __mod__ __eq__ __ne__ __and__ __or__ __xor__ __invert__
    positive requires_grad_ add_ sub_ mul_ div_ relu_ zero_ fill_ clamp_ exp_ threshold hardshrink softshrink
    """.split()  # noqa: SIM905
)
# Functions of the last dimension, given by what stands first.
OF_LAST = frozenset(("linear", "layer_norm", "rms_norm", "embedding", "normalize", "glu"))
# Functions along a dimension, whose results have all dimensions.
ALONG = frozenset(("softmax", "log_softmax", "cumsum", "flip", "softmin"))
REDUCTIONS = frozenset(("sum", "mean", "amax", "amin", "max", "min", "any", "all", "prod", "var", "std", "logsumexp"))


def handles(*names: str) -> Callable:
    """Decorator: this is what functions of these names do."""

    def enter(f: Callable) -> Callable:
        HANDLED.update(dict.fromkeys(names, f))
        return f

    return enter


def answer(func: Any, args: tuple, kwargs: dict) -> Any:
    """The result of a function with a nested tensor among its arguments; NotImplementedError where there is none."""
    owner = getattr(func, "__self__", None)
    name = owner.fget.__name__ if isinstance(owner, property) else func.__name__  # type: ignore[union-attr]
    if name in HANDLED:
        return HANDLED[name](func, args, kwargs)
    if name in ELEMENTWISE:
        return _elementwise(func, args, kwargs)
    if name in OF_LAST:
        return _of_last(func, args, kwargs)
    if name in ALONG:
        return _along(func, args, kwargs)
    if name in REDUCTIONS:
        return _reduced(func, args, kwargs)
    raise NotImplementedError(f"{name} is not there for nested tensors; it can be done with each of .unbind()")


def _first(args: tuple, kwargs: dict) -> NestedTensor:
    return next(x for x in (*args, *kwargs.values()) if isinstance(x, NestedTensor))


def _same_sizes(a: NestedTensor, b: NestedTensor) -> bool:
    return a._ragged_ == b._ragged_ and (a._size_ is b._size_ or a._layout_ is livegrad.strided is b._layout_
                                         and a._size_.bounds == b._size_.bounds)  # fmt: skip


def _value_of(x: Any, like: NestedTensor, name: str) -> Any:
    """What stands for an argument where the values stand for the nested tensor."""
    if isinstance(x, NestedTensor):
        if not _same_sizes(x, like):
            raise _unequal(name, like, _tuple(x))
        return x._values_
    n, place = like._values_.dim() + 1, like._ragged_
    if not isinstance(x, Tensor) or x.dim() <= n - 1 - place:
        return x
    if x.dim() < n or x.shape[place] != 1:
        if x.dim() == n - place and x.shape[0] == 1:
            return x
        raise _unequal(name, like, tuple(x.shape))
    if x.shape[0] == 1:
        return x.squeeze(0)  # type: ignore[attr-defined]
    times = livegrad.tensor(like._size_.lengths(), device=x.device)
    return x.squeeze(place).repeat_interleave(times, 0).movedim(0, place - 1)  # type: ignore[attr-defined]


def _unequal(name: str, like: NestedTensor, other: tuple) -> RuntimeError:
    shapes = f"{_tuple(like)} and {other}"
    return RuntimeError(f"cannot call binary pointwise function {name}.Tensor with inputs of shapes {shapes}")


def _tuple(t: NestedTensor) -> tuple:
    return tuple(shape_of(t))


def _elementwise(func: Any, args: tuple, kwargs: dict) -> Any:
    like = _first(args, kwargs)
    name = func.__name__
    made = func(*[_value_of(x, like, name) for x in args], **{k: _value_of(x, like, name) for k, x in kwargs.items()})
    if made is like._values_:
        return like
    return nest(made, like._size_, like._ragged_, like._layout_)


def _of_last(func: Any, args: tuple, kwargs: dict) -> Any:
    t = _first(args, kwargs)
    own = [x._values_ if isinstance(x, NestedTensor) else x for x in args]
    named = {k: x._values_ if isinstance(x, NestedTensor) else x for k, x in kwargs.items()}
    if func.__name__ != "embedding" and t._ragged_ == t._values_.dim():
        raise RuntimeError(f"{func.__name__}(): the last dimension of a nested tensor is the one that differs")
    return nest(func(*own, **named), t._size_, t._ragged_, t._layout_)


def _dims(t: NestedTensor, dim: Any) -> list[int]:
    n = t._values_.dim() + 1
    given = [dim] if isinstance(dim, int) else list(dim)
    for d in given:
        if not -n <= d < n:
            raise IndexError(f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {d})")
    return [d % n for d in given]


def _argument(args: tuple, kwargs: dict, name: str, place: int) -> tuple[Any, tuple, dict]:
    """An argument, and the others without it."""
    if name in kwargs:
        return kwargs[name], args, {k: x for k, x in kwargs.items() if k != name}
    if len(args) > place:
        return args[place], args[:place] + args[place + 1 :], kwargs
    return None, args, kwargs


def _along(func: Any, args: tuple, kwargs: dict) -> Any:
    t = args[0]
    dim, rest, options = _argument(args[1:], kwargs, "dim", 0)
    (d,) = _dims(t, dim)
    if d == 0:
        raise RuntimeError(f"{func.__name__}(): not supported for NestedTensor on dim=0")
    if d == t._ragged_:
        return joined([func(x, d - 1, *rest, **options) for x in parts(t)], t)
    return nest(func(t._values_, d - 1, *rest, **options), t._size_, t._ragged_, t._layout_)


def _reduced(func: Any, args: tuple, kwargs: dict) -> Any:
    t = args[0]
    dim, rest, options = _argument(args[1:], kwargs, "dim", 0)
    if isinstance(dim, Tensor):  # the larger of two
        return _elementwise(func, args, kwargs)
    if dim is None:
        return func(t._values_, *rest, **options)
    dims = _dims(t, dim)
    keeps = bool(options.get("keepdim", rest[0] if rest else False))
    if 0 in dims:
        if t._ragged_ not in dims:
            raise RuntimeError(
                f"{func.__name__}(): not supported for NestedTensor on dim=0 without the ragged dimension"
            )
        inner = [d - 1 for d in dims if d]
        made = func(t._values_, inner, *rest, **options)
        return made.unsqueeze(0) if keeps else made
    inner = [d - 1 for d in dims]
    inner = inner[0] if isinstance(dim, int) else inner  # type: ignore[assignment]
    if t._ragged_ in dims:
        each = [func(x, inner, *rest, **options) for x in parts(t)]
        if isinstance(each[0], tuple):
            return type(each[0])(*(livegrad.stack(column) for column in zip(*each)))
        return livegrad.stack(each)
    made = func(t._values_, inner, *rest, **options)
    ragged = t._ragged_ if keeps else t._ragged_ - sum(d < t._ragged_ for d in dims)
    if isinstance(made, tuple):
        return type(made)(*(nest(x, t._size_, ragged, t._layout_) for x in made))
    return nest(made, t._size_, ragged, t._layout_)


# --- what it is ---------------------------------------------------------------------------------------------------


@handles("shape")
def _shape(func: Any, args: tuple, kwargs: dict) -> Any:
    (t,) = args
    if t._layout_ is livegrad.strided:
        raise RuntimeError("Internal error: NestedTensorImpl doesn't support sizes. Please file an issue.")
    return shape_of(t)


@handles("size")
def _size(func: Any, args: tuple, kwargs: dict) -> Any:
    t = args[0]
    dim, _, _ = _argument(args[1:], kwargs, "dim", 0)
    if dim is None:
        return _shape(func, (t,), {})
    found = shape_of(t)[_dims(t, dim)[0]]
    if t._layout_ is livegrad.strided and found is t._size_:
        raise RuntimeError(f"Given dimension {dim} is irregular and does not have a size.")
    return found


@handles("dtype", "device", "requires_grad", "is_leaf", "grad_fn", "is_floating_point", "is_complex", "numel",
         "is_cuda", "is_cpu", "data_ptr", "element_size", "get_device", "is_meta", "nelement", "itemsize")  # fmt: skip
def _of_values(func: Any, args: tuple, kwargs: dict) -> Any:
    (t,) = args
    owner = getattr(func, "__self__", None)
    return owner.__get__(t._values_) if isinstance(owner, property) else func(t._values_)


@handles("grad")
def _grad(func: Any, args: tuple, kwargs: dict) -> Any:
    t = args[0]
    g = t._values_.grad
    return None if g is None else nest(g, t._size_, t._ragged_, t._layout_)


@handles("ndim", "dim", "ndimension")
def _dim(func: Any, args: tuple, kwargs: dict) -> int:
    return args[0]._values_.dim() + 1


@handles("layout")
def _layout(func: Any, args: tuple, kwargs: dict) -> Any:
    return args[0]._layout_


@handles("__len__")
def _len(func: Any, args: tuple, kwargs: dict) -> int:
    return len(args[0]._size_.bounds) - 1


@handles("is_contiguous")
def _is_contiguous(func: Any, args: tuple, kwargs: dict) -> bool:
    return args[0]._ragged_ == 1 and args[0]._values_.is_contiguous()


@handles("__repr__", "__format__")
def _repr(func: Any, args: tuple, kwargs: dict) -> str:
    t = args[0]
    if t._layout_ is livegrad.strided:
        lines = ",\n".join("\n".join("  " + line for line in repr(x.detach()).split("\n")) for x in parts(t))
        return f"nested_tensor([\n{lines}\n])"
    history = ""
    if t._values_.grad_fn is not None:
        history = f", grad_fn={t._values_.grad_fn}"
    elif t._values_.requires_grad:
        history = ", requires_grad=True"
    contiguous = _is_contiguous(func, (t,), {})
    return f"NestedTensor(size={_tuple(t)}, offsets={t._size_.offsets}{history}, contiguous={contiguous})"


@handles("numpy", "__array__")
def _numpy(func: Any, args: tuple, kwargs: dict) -> Any:
    raise RuntimeError(".numpy() is not supported for tensor subclasses.")


@handles("tolist")
def _tolist(func: Any, args: tuple, kwargs: dict) -> list:
    return [x.tolist() for x in parts(args[0])]


# --- parts and shapes ---------------------------------------------------------------------------------------------


@handles("unbind")
def _unbind(func: Any, args: tuple, kwargs: dict) -> tuple:
    t = args[0]
    dim, _, _ = _argument(args[1:], kwargs, "dim", 0)
    if dim not in (None, 0) and _dims(t, dim) != [0]:
        raise RuntimeError("unbind(): only supported for NestedTensor on dim=0")
    return tuple(parts(t))


@handles("__getitem__")
def _getitem(func: Any, args: tuple, kwargs: dict) -> Any:
    t, index = args
    if isinstance(index, tuple):
        return _getitem(func, (t, index[0]), {})[index[1:]]
    if isinstance(index, Tensor) and index.dim() == 0:
        index = int(index)
    if not isinstance(index, int):
        raise NotImplementedError("a nested tensor is indexed by the number of a tensor, and what is wanted of that")
    found = parts(t)
    if not -len(found) <= index < len(found):
        raise IndexError(f"index {index} is out of bounds for dimension 0 with size {len(found)}")
    return found[index]


def padded(t: NestedTensor, padding: float, output_size: Any = None) -> Tensor:
    """The whole batch as one tensor, with `padding` after the end of each."""
    d, lengths = t._ragged_ - 1, t._size_.lengths()
    size = list(t._values_.shape)
    size[d] = max(lengths, default=0)
    if output_size is not None:
        wanted = [n if n != -1 else own for n, own in zip(output_size, [len(lengths), *size])]
        if len(wanted) != len(size) + 1 or any(n < own for n, own in zip(wanted[1:], size)):
            raise RuntimeError(
                "Value in output_size is less than NestedTensor padded size. Truncation is not supported."
            )
        size = wanted[1:]
    rows = []
    for x in parts(t):
        widths: list[int] = []
        for n, own in zip(reversed(size), reversed(x.shape)):
            widths += [0, n - own]
        rows.append(livegrad.nn.functional.pad(x, widths, value=padding))
    return livegrad.stack(rows)


@handles("transpose", "swapaxes")
def _transpose(func: Any, args: tuple, kwargs: dict) -> Any:
    t = args[0]
    a, b = _dims(t, [kwargs.get("dim0", args[1] if len(args) > 1 else None), kwargs.get("dim1", args[-1])])
    if 0 in (a, b) and a != b:
        raise RuntimeError("transpose(): not supported for NestedTensor on dim=0")
    places = {a: b, b: a}
    return nest(func(t._values_, a - 1, b - 1), t._size_, places.get(t._ragged_, t._ragged_), t._layout_)


@handles("unsqueeze")
def _unsqueeze(func: Any, args: tuple, kwargs: dict) -> Any:
    t = args[0]
    dim, _, _ = _argument(args[1:], kwargs, "dim", 0)
    d = dim % (t._values_.dim() + 2)
    if d == 0:
        raise RuntimeError("unsqueeze(): not supported for NestedTensor on dim=0")
    return nest(func(t._values_, d - 1), t._size_, t._ragged_ + (d <= t._ragged_), t._layout_)


@handles("squeeze")
def _squeeze(func: Any, args: tuple, kwargs: dict) -> Any:
    t = args[0]
    dim, _, _ = _argument(args[1:], kwargs, "dim", 0)
    if dim is None:
        raise RuntimeError("squeeze(): a dimension of a nested tensor has to be named")
    (d,) = _dims(t, dim)
    if d in (0, t._ragged_):
        raise RuntimeError(f"squeeze(): not supported for NestedTensor on dim={d}")
    made = func(t._values_, d - 1)
    gone = made.dim() < t._values_.dim()
    return nest(made, t._size_, t._ragged_ - (gone and d < t._ragged_), t._layout_)


@handles("unflatten", "flatten")
def _folded(func: Any, args: tuple, kwargs: dict) -> Any:
    """Dimensions behind the ragged one become several, or one."""
    t = args[0]
    names = ("dim",) if func.__name__ == "unflatten" else ("start_dim", "end_dim")
    values = list(args[1:])
    defaults = [0, -1]
    for i, name in enumerate(names):
        given = values[i] if len(values) > i else kwargs.pop(name, defaults[i])
        (d,) = _dims(t, given)
        if d <= t._ragged_:
            raise RuntimeError(f"{func.__name__}(): only dimensions behind the one that differs, but got {given}")
        if len(values) > i:
            values[i] = d - 1
        else:
            kwargs[name] = d - 1
    return nest(func(t._values_, *values, **kwargs), t._size_, t._ragged_, t._layout_)


@handles("view", "reshape")
def _view(func: Any, args: tuple, kwargs: dict) -> Any:
    t, *sizes = args
    wanted = list(sizes[0]) if len(sizes) == 1 and not isinstance(sizes[0], int) else list(sizes)
    place, own = t._ragged_, shape_of(t)
    same = (
        len(wanted) > place
        and wanted[place] in (-1, t._size_)
        and all(w in (-1, n) for w, n in zip(wanted[:place], own))
    )
    if not same:
        raise RuntimeError(
            f"{func.__name__}(): cannot view shape {_tuple(t)} as {wanted}: dimensions up to the one that differs stay"
        )
    return nest(func(t._values_, [*t._values_.shape[:place], *wanted[place + 1 :]]), t._size_, place, t._layout_)


@handles("chunk", "split", "narrow", "select")
def _cut(func: Any, args: tuple, kwargs: dict) -> Any:
    """Along a dimension behind the ragged one."""
    t = args[0]
    place = 0 if func.__name__ in ("narrow", "select") else 1
    dim, rest, options = _argument(args[1:], kwargs, "dim", place)
    (d,) = _dims(t, 0 if dim is None else dim)
    if d <= t._ragged_:
        raise RuntimeError(f"{func.__name__}(): only dimensions behind the one that differs, but got {dim}")
    made = func(t._values_, d - 1, *rest, **options) if place == 0 else func(t._values_, *rest, dim=d - 1, **options)
    if isinstance(made, Tensor):
        return nest(made, t._size_, t._ragged_, t._layout_)
    return tuple(nest(x, t._size_, t._ragged_, t._layout_) for x in made)


@handles("cat", "concat", "stack")
def _cat(func: Any, args: tuple, kwargs: dict) -> Any:
    tensors = kwargs.get("tensors", args[0] if args else ())
    t = next(x for x in tensors if isinstance(x, NestedTensor))
    dim, _, _ = _argument(args[1:], kwargs, "dim", 0)
    n = t._values_.dim() + 1 + (func.__name__ == "stack")
    d = (0 if dim is None else dim) % n
    if d == 0 or (d == t._ragged_ and func.__name__ != "stack"):
        raise RuntimeError(f"{func.__name__}(): not supported for NestedTensor on dim={d}")
    values = [_value_of(x, t, func.__name__) for x in tensors]
    ragged = t._ragged_ + (func.__name__ == "stack" and d <= t._ragged_)
    return nest(func(values, dim=d - 1), t._size_, ragged, t._layout_)


# --- products and attention ---------------------------------------------------------------------------------------


@handles("matmul", "bmm")
def _matmul(func: Any, args: tuple, kwargs: dict) -> Any:
    a, b = args
    if (
        isinstance(a, NestedTensor)
        and not isinstance(b, NestedTensor)
        and b.dim() <= 2
        and a._ragged_ < a._values_.dim()
    ):
        made = livegrad.matmul(a._values_, b)
        return nest(made, a._size_, a._ragged_, a._layout_)
    like = _first(args, {})
    rows = [livegrad.matmul(x, y) for x, y in zip(a.unbind(), b.unbind())]
    place = next((d + 1 for d, n in enumerate(zip(*(r.shape for r in rows))) if len(set(n)) > 1), None)
    return livegrad.stack(rows) if place is None else joined(rows, like, place)


@handles("scaled_dot_product_attention")
def _attention(func: Any, args: tuple, kwargs: dict) -> Any:
    names = ("query", "key", "value")
    given = [kwargs.pop(name) if name in kwargs else args[i] for i, name in enumerate(names)]
    rest = args[3:]
    mask = kwargs.get("attn_mask", rest[0] if rest else None)
    if mask is not None:
        raise RuntimeError("scaled_dot_product_attention(): attn_mask is not supported for nested tensors")
    query = given[0]
    columns = [x.unbind() for x in given]
    rows = [func(*row, *rest, **kwargs) for row in zip(*columns)]
    return joined(rows, query) if isinstance(query, NestedTensor) else livegrad.stack(rows)


@handles("backward")
def _backward(func: Any, args: tuple, kwargs: dict) -> Any:
    t, *rest = args
    rest = [x._values_ if isinstance(x, NestedTensor) else x for x in rest]
    named = {k: x._values_ if isinstance(x, NestedTensor) else x for k, x in kwargs.items()}
    return func(t._values_, *rest, **named)


@handles("__deepcopy__", "__reduce_ex__")
def _copied(func: Any, args: tuple, kwargs: dict) -> Any:
    t = args[0]
    if func.__name__ == "__deepcopy__":
        leaf = t._values_.detach().clone().requires_grad_(t._values_.requires_grad)
        return nest(leaf, t._size_, t._ragged_, t._layout_)
    return _made_again, (t._values_, t._size_.offsets, t._ragged_, t._layout_ is livegrad.strided)


def _made_again(values: Tensor, offsets: Tensor, ragged: int, plain: bool) -> NestedTensor:
    from .tensor import Ragged

    return nest(values, Ragged(offsets), ragged, livegrad.strided if plain else None)


__all__ = ["answer", "padded"]

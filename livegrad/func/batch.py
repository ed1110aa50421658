"""vmap: a function of single examples as a function of batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import random
from ..autograd.mode import MODE
from ..ops.joining import stack
from ..ops.splitting import unbind
from ..tensor import Tensor
from ..utils._pytree import _broadcast_to_and_flatten, tree_flatten, tree_unflatten


def vmap(
    func: Callable, in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error", *, chunk_size: int | None = None
) -> Callable:
    """The function that applies `func` to every slice of its arguments along a dimension, and stacks the results.

    `func` is called once for each slice, so any Python may be in it, also what depends on numbers; it takes the time
    of a loop. chunk_size is accepted, and changes nothing.

    in_dims: the dimension of each positional argument, nested as the arguments are; None for what is the same for all,
    as keyword arguments are. out_dims:
    where the new dimension of each result is. randomness: "error" raises RuntimeError where `func` draws random
    numbers, "different" draws for each slice, "same" gives all slices the same numbers.

    >>> import livegrad
    >>> dot = livegrad.func.vmap(livegrad.dot)
    >>> dot(livegrad.tensor([[1.0, 2.0], [3.0, 4.0]]), livegrad.tensor([[1.0, 1.0], [0.0, 1.0]]))
    tensor([3., 4.])
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}")
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    def batched(*args: Any, **kwargs: Any) -> Any:
        name = getattr(func, "__name__", repr(func))
        leaves, spec = tree_flatten(args)
        dims = _in_dims(name, in_dims, args, leaves, spec)
        size = _size(name, leaves, dims)
        slices = [None if d is None else _slices(x, d) for x, d in zip(leaves, dims)]
        outputs: list = []
        for i in range(size):
            one = tree_unflatten([x if s is None else s(i) for x, s in zip(leaves, slices)], spec)
            outputs.append(_with_randomness(randomness, i, size, func, one, kwargs))
        return _stacked(name, outputs, out_dims)

    return batched


def _in_dims(name: str, in_dims: Any, args: tuple, leaves: list, spec: Any) -> list:
    """The mapped dimension of each leaf, or None."""
    if not isinstance(in_dims, (int, tuple)):
        raise ValueError(
            f"vmap({name}, in_dims={in_dims}, ...)(<inputs>): expected `in_dims` to be int or a (potentially nested) "
            f"tuple matching the structure of inputs, got: {type(in_dims)}."
        )
    if not args:
        raise ValueError(
            f"vmap({name})(<inputs>): got no inputs. Maybe you forgot to add inputs, or you are trying to vmap over a "
            f"function with no inputs. The latter is unsupported."
        )
    per_leaf = _broadcast_to_and_flatten(in_dims, spec)
    if per_leaf is None:
        raise ValueError(
            f"vmap({name}, in_dims={in_dims}, ...)(<inputs>): in_dims is not compatible with the structure of inputs. "
            f"in_dims has structure {tree_flatten(in_dims)[1]} but inputs has structure {spec}."
        )
    found: list = []
    for x, d in zip(leaves, per_leaf):
        if d is None:
            found.append(None)
            continue
        if not isinstance(x, Tensor):
            raise ValueError(
                f"vmap({name}, in_dims={in_dims}, ...)(<inputs>): Got in_dim={d} for an input but the input is of type "
                f"{type(x)}. We cannot vmap over non-Tensor arguments, please use None as the respective in_dim"
            )
        if not -x.dim() <= d < x.dim():
            raise ValueError(
                f"vmap({name}, in_dims={in_dims}, ...)(<inputs>): Got in_dim={d} for some input, but that input is a "
                f"Tensor of dimensionality {x.dim()} so expected in_dim to satisfy -{x.dim()} <= in_dim < {x.dim()}."
            )
        found.append(d % x.dim())
    return found


def _size(name: str, leaves: list, dims: list) -> int:
    sizes = [x.shape[d] for x, d in zip(leaves, dims) if d is not None]
    if not sizes:
        raise ValueError(f"vmap({name}, in_dims=None, ...)(<inputs>): at least one input must have a mapped dimension.")
    if any(n != sizes[0] for n in sizes):
        raise ValueError(
            f"vmap: Expected all tensors to have the same size in the mapped dimension, got sizes {sizes} for the "
            "mapped dimension"
        )
    if not sizes[0]:
        raise ValueError("vmap: the mapped dimension has size 0, so there is nothing to call the function with")
    return sizes[0]


def _slices(x: Tensor, d: int) -> Callable:
    """What gives slice i along a dimension.

    Those of a leaf are outputs of one node, so that their gradients become one by a single copy. Others may be changed
    in place, as outputs of one node may not.
    """
    if MODE.grad and x.requires_grad and x.is_leaf:
        return unbind(x, d).__getitem__
    return lambda i: x.select(d, i)


def _with_randomness(randomness: str, i: int, size: int, func: Callable, args: tuple, kwargs: dict) -> Any:
    """The call for slice i. What is the same for all slices is drawn anew from the same state each time."""
    if randomness == "different" or (randomness == "error" and i):
        return func(*args, **kwargs)
    before = random.get_rng_state()
    made = func(*args, **kwargs)
    if randomness == "same":
        if i < size - 1:
            random.set_rng_state(before)
    elif not random.get_rng_state().equal(before):
        raise RuntimeError(
            "vmap: called random operation while in randomness error mode. Please either use the 'same' or 'different' "
            "randomness flags on vmap or perform the randomness operation out of vmap"
        )
    return made


def _stacked(name: str, outputs: list, out_dims: Any) -> Any:
    flat = [tree_flatten(o) for o in outputs]
    spec = flat[0][1]
    for leaves, _ in flat:
        for x in leaves:
            if not isinstance(x, Tensor):
                raise ValueError(
                    f"vmap({name}, ...): `{name}` must only return Tensors, got type {type(x)}. Did you mean to set "
                    "out_dims= to None for output?"
                )
    where = _broadcast_to_and_flatten(out_dims, spec)
    if where is None:
        raise ValueError(
            f"vmap({name}, ..., out_dims={out_dims})(<inputs>): out_dims is not compatible with the structure of "
            f"outputs. out_dims has structure {tree_flatten(out_dims)[1]} but outputs has structure {spec}."
        )
    made = [flat[0][0][k] if d is None else stack([leaves[k] for leaves, _ in flat], d) for k, d in enumerate(where)]
    return tree_unflatten(made, spec)


__all__ = ["vmap"]

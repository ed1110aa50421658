"""The steps of `func.vmap`: which dimensions of its arguments are batches, hiding them, and showing them in results.

They are a module's functions, under PyTorch's private names, because libraries that have containers of tensors put
their own in the place of these: so `func.vmap` looks each of them up here when it comes to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ops.batching import hide, level_of, show, shown
from ..tensor import Tensor
from ..utils._pytree import _broadcast_to_and_flatten, tree_flatten, tree_unflatten


def _get_name(func: Callable) -> str:
    return getattr(func, "__name__", repr(func))


def _process_batched_inputs(in_dims: Any, args: tuple, func: Callable) -> tuple[int, list, list, Any]:
    """(size of the batch, the mapped dimension of each leaf or None, the leaves of the arguments, their structure)."""
    name = _get_name(func)
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
    leaves, spec = tree_flatten(args)
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
    return _validate_and_get_batch_size(found, leaves), found, leaves, spec


def _validate_and_get_batch_size(flat_in_dims: list, flat_args: list) -> int:
    sizes = [x.shape[d] for x, d in zip(flat_args, flat_in_dims) if d is not None]
    if not sizes:
        raise ValueError("vmap: Expected at least one Tensor to vmap over")
    if any(n != sizes[0] for n in sizes):
        raise ValueError(
            f"vmap: Expected all tensors to have the same size in the mapped dimension, got sizes {sizes} for the "
            "mapped dimension"
        )
    return sizes[0]


def _create_batched_inputs(flat_in_dims: list, flat_args: list, vmap_level: int, args_spec: Any) -> Any:
    """The arguments, in their structure, with what is a batch hidden at a level."""
    given = [x if d is None else _add_batch_dim(x, d, vmap_level) for x, d in zip(flat_args, flat_in_dims)]
    return tree_unflatten(given, args_spec)


def _unwrap_batched(batched_outputs: Any, out_dims: Any, vmap_level: int, batch_size: int, func: Callable) -> Any:
    """Results, in their structure, with the dimensions of the batch that are hidden at a level."""
    name = _get_name(func)
    made, structure = tree_flatten(batched_outputs)
    where = _broadcast_to_and_flatten(out_dims, structure)
    if where is None:
        raise ValueError(
            f"vmap({name}, ..., out_dims={out_dims})(<inputs>): out_dims is not compatible with the structure of "
            f"outputs. out_dims has structure {tree_flatten(out_dims)[1]} but outputs has structure {structure}."
        )
    whole = [_maybe_remove_batch_dim(name, x, vmap_level, batch_size, d) for x, d in zip(made, where)]
    return tree_unflatten(whole, structure)


def _maybe_remove_batch_dim(name: str, batched_output: Any, vmap_level: int, batch_size: int, out_dim: Any) -> Any:
    """A result with the dimension of the batch; out_dim: where, or None for what has no batch."""
    if out_dim is None:
        if isinstance(batched_output, Tensor) and show(batched_output, vmap_level) is not None:
            raise ValueError(f"vmap({name}, ...): `{name}` can not return a BatchedTensor when out_dim is None")
        return batched_output
    if not isinstance(batched_output, Tensor):
        raise ValueError(
            f"vmap({name}, ...): `{name}` must only return Tensors, got type {type(batched_output)}. Did you mean to "
            "set out_dims= to None for output?"
        )
    return _remove_batch_dim(batched_output, vmap_level, batch_size, out_dim)


def _add_batch_dim(self: Tensor, batch_dim: int, level: int) -> Tensor:
    """The tensor with a dimension hidden, which is the batch's at a level."""
    return hide(self, level, batch_dim)


def _remove_batch_dim(self: Tensor, level: int, batch_size: int, out_dim: int) -> Tensor:
    """The tensor with the dimension that is hidden at a level, as `out_dim`; equal examples if it has none."""
    found = shown(self, level, batch_size)
    return found.movedim(0, out_dim) if out_dim else found  # type: ignore[attr-defined]


def is_batchedtensor(tensor: Tensor) -> bool:
    """Whether a tensor stands for the examples of a batch."""
    return level_of(tensor) > 0

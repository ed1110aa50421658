"""`autograd.grad` within `func.vmap`: of batches, and with batches of gradients of what is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..lazy.value import Unbatched
from ..ops.batching import RUNNING, hide, hide_all, level_of, levels_of, lift, running, show, show_all, shown
from ..ops.joining import stack
from ..tensor import Tensor
from . import functions


def gradients(outputs: tuple, inputs: tuple, given: tuple, keep: bool, create_graph: bool, options: dict) -> tuple:
    """The gradients of outputs by inputs. Where these are batches, so are the gradients, example by example.

    What was recorded is the computation of whole batches, in which no example depends on another one: the gradient of
    all is that of each. Seeds that are batches where outputs and inputs are none are sent through the graph together.

    Raises RuntimeError for an input that is the same for all examples where others, or outputs, are not.
    """
    there = {n for t in (*outputs, *inputs) for n in levels_of(t)}
    open_levels = [level for level in RUNNING.levels if level.number in there]
    numbers = [level.number for level in open_levels]
    outputs = tuple([lift(t, open_levels) for t in outputs])
    for t in inputs:
        if t.requires_grad and len(levels_of(t)) < len(there):
            raise RuntimeError(
                "autograd.grad within vmap: some of these outputs and inputs are batched, and an input is the same for "
                "all examples. Use func.grad or func.vjp, which make inputs of their own for each example."
            )
    seeds = []
    for output, seed in zip(outputs, given):
        if seed is None:
            if output.numel() != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            seed = output.new_ones(output.shape)
        seeds.append(show_all(lift(seed, open_levels), numbers))
    outs = tuple([show_all(t, numbers) for t in outputs])
    ins = tuple([show_all(t, numbers) for t in inputs])
    try:
        made = functions.run(outs, ins, tuple(seeds), keep, create_graph, any(map(level_of, seeds)), **options)
    except Unbatched:  # some gradient reads elements
        made = _one_by_one(outs, ins, seeds, create_graph, options)
    return tuple([None if g is None else hide_all(g, numbers) for g in made])


def _one_by_one(outputs: tuple, inputs: tuple, seeds: list, create_graph: bool, options: dict) -> tuple:
    level = max(map(level_of, seeds))
    wholes = [show(s, level) for s in seeds]
    size = next(w._shape[0] for w in wholes if w is not None)
    rows = []
    for i in range(size):
        own = tuple([s if w is None else w.select(0, i) for s, w in zip(seeds, wholes)])  # type: ignore[attr-defined]
        rows.append(functions.grad(outputs, inputs, own, True, create_graph, **options))
    return tuple([None if c[0] is None else hide_all(stack(c), [level]) for c in zip(*rows)])


def of_each(outputs: tuple, inputs: tuple, given: tuple, create_graph: bool, options: dict) -> tuple:
    """The gradients for each of several seeds, which lie along the first dimension of those that are given."""
    size = next((len(g) for g in given if g is not None), 1)
    with running(size, "different") as level:
        seeds = tuple([None if g is None else hide(g, level.number) for g in given])
        made = functions.grad(outputs, inputs, seeds, True, create_graph, **options)
        return tuple([None if g is None else shown(g, level.number, size) for g in made])


class VmapInfo(NamedTuple):
    """What `Function.vmap` is told of the batch."""

    batch_size: int
    randomness: str


def by_rule(rule: Callable, args: tuple) -> Any:
    """What the static method ``vmap(info, in_dims, *args)`` of a function makes of batches at their highest level."""
    number = max(map(level_of, args))
    wholes = [show(x, number) if isinstance(x, Tensor) else None for x in args]
    size = next(w.shape[0] for w in wholes if w is not None)
    randomness = next((x.randomness for x in RUNNING.levels if x.number == number), "error")
    in_dims = tuple([None if w is None else 0 for w in wholes])
    made, out_dims = rule(VmapInfo(size, randomness), in_dims, *[x if w is None else w for x, w in zip(args, wholes)])
    results = made if isinstance(made, tuple) else (made,)
    dims = out_dims if isinstance(out_dims, tuple) else (out_dims,) * len(results)
    hidden = tuple([t if d is None else hide(t, number, d % t.dim()) for t, d in zip(results, dims)])
    return hidden if isinstance(made, tuple) else hidden[0]


def batched(tensors: tuple) -> bool:
    return any(isinstance(t, Tensor) and level_of(t) for t in tensors)

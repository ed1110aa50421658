"""What cannot be applied to whole batches: functions that read elements, one example after the other, and draws.

A function of the library that reads the elements of a batch comes upon `Unbatched`, and whoever calls it for the user
(see `arguments.checked`, `registry.with_out`) then calls `loop`. Drawing random numbers comes upon it in the same way,
unless the level says that all examples get the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from ..lazy.value import Unbatched
from ..tensor import Tensor
from .batching import RUNNING, Level, follow, hide, hide_all, level_of, show, stacked

# Functions that draw numbers of a size: name -> function (the function, sizes in front, arguments) -> the numbers.
DRAWS: dict[str, Callable] = {}


def loop(function: Callable, args: tuple, kwargs: dict) -> Any:
    """A function that reads elements of batches, or draws: called for one example after the other."""
    from ..utils._pytree import tree_flatten, tree_unflatten

    leaves, spec = tree_flatten((args, kwargs))
    drawing = _drawing()
    number = max(map(level_of, leaves), default=0)
    if not number:
        return _drawn(function, args, kwargs, drawing)
    wholes = [show(x, number) if level_of(x) == number else None for x in leaves]
    size = next(w._shape[0] for w in wholes if w is not None)
    level = next((x for x in RUNNING.levels if x.number == number), None)
    made: list = []
    for _ in _one_by_one(level, size):
        own = [x if w is None else w.select(0, len(made)) for x, w in zip(leaves, wholes)]  # type: ignore[attr-defined]
        given, named = tree_unflatten(own, spec)
        try:
            result = function(*given, **named)
        except Unbatched:
            result = loop(function, given, named)
        made.append(None if given and result is given[0] else result)  # None: it was changed in place
    if all(m is None for m in made):
        for x in leaves:
            if isinstance(x, Tensor):
                follow(x)
        return args[0] if args else None
    joined = [
        hide(stacked(parts), number) if isinstance(parts[0], Tensor) else _agreed(parts)  # type: ignore[arg-type]
        for parts in zip(*[tree_flatten(m)[0] for m in made])
    ]
    return tree_unflatten(joined, tree_flatten(made[0])[1])


def _agreed(parts: Iterable) -> Any:
    """What is no tensor has to be the same for all examples."""
    first, *others = parts
    if any(x != first for x in others):
        raise Unbatched
    return first


def _one_by_one(level: Level | None, size: int) -> Iterator[None]:
    """Steps for each example. What is drawn in them is as the level says."""
    from ..random import generators

    if level is None:
        yield from (None for _ in range(size))
        return
    before = level.alone, generators.get_rng_state() if level.randomness == "same" else None
    level.alone = True
    try:
        for i in range(size):
            if i and before[1] is not None:
                generators.set_rng_state(before[1])
            yield
    finally:
        level.alone = before[0]


# --- drawing ------------------------------------------------------------------------------------------------------


def _drawing() -> list[Level]:
    """The levels for each of whose examples a draw has to be another one."""
    return [x for x in RUNNING.levels if x.randomness == "different" and not x.alone]


def look_at_draw() -> None:
    """Called before numbers are drawn while a `vmap` runs. Raises where that may not be, or has to be for each."""
    if any(x.randomness == "error" for x in RUNNING.levels):
        raise RuntimeError(
            "vmap: called random operation while in randomness error mode. Please either use the 'same' or 'different' "
            "randomness flags on vmap or perform the randomness operation out of vmap"
        )
    if _drawing():
        raise Unbatched


@contextmanager
def _for_all(levels: list[Level]) -> Iterator[tuple]:
    """What is drawn is for all examples of these levels: gives their sizes."""
    for x in levels:
        x.alone = True
    try:
        yield tuple([x.size for x in levels])
    finally:
        for x in levels:
            x.alone = False


def _drawn(function: Callable, args: tuple, kwargs: dict, levels: list[Level]) -> Any:
    """The numbers that a function draws for each example of these levels, from arguments that are no batches."""
    if not levels:
        raise Unbatched
    whole = DRAWS.get(function.__name__)
    if whole is not None:
        with _for_all(levels) as sizes:
            made = whole(function, sizes, args, kwargs)
        return hide_all(made, [x.number for x in levels])
    level = levels[-1]
    made = [function(*args, **kwargs) for _ in _one_by_one(level, level.size)]
    return hide(stacked(made), level.number)


def drawn(draw: Callable, shape: tuple, *args: Any) -> Tensor:
    """The numbers that `draw` draws for a shape, and further arguments."""
    levels = _drawing()
    if not levels:
        return draw(shape, *args)
    with _for_all(levels) as sizes:
        made = draw((*sizes, *shape), *args)
    return hide_all(made, [x.number for x in levels])


def filled(fill: Callable, t: Tensor, args: tuple, kwargs: dict) -> Tensor:
    """Fill a tensor with numbers that are drawn, in place."""
    if not level_of(t) and not RUNNING.levels:
        return fill(t, *args, **kwargs)
    if any(show(t, x.number) is None for x in _drawing()):
        raise RuntimeError(
            "vmap: Cannot ask for different inplace randomness on an unbatched tensor. This will appear like same "
            "randomness. If this is necessary for your usage, please file an issue with functorch."
        )

    def draw(shape: tuple) -> Tensor:
        from ..creation import empty

        return fill(empty(shape, dtype=t.dtype, device=t.device), *args, **kwargs)

    try:
        return t.copy_(drawn(draw, t._shape))  # type: ignore[attr-defined]
    except Unbatched:
        return loop(fill, (t, *args), kwargs)

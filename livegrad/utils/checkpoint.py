"""Checkpointing: keep a part's inputs instead of its intermediate results, and compute it again in backward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..autograd.function import Function
from ..autograd.functions import backward as run_backward
from ..autograd.mode import enable_grad
from ..random import get_rng_state, set_rng_state
from ..tensor import Tensor


class CheckpointFunction(Function):
    """Runs a function without recording; the backward pass runs it again, recorded, and goes through it."""

    @staticmethod
    def forward(ctx: Any, function: Callable, preserve_rng_state: bool, *args: Any) -> Any:
        ctx.function = function
        ctx.rng = get_rng_state() if preserve_rng_state else None
        places = [i for i, a in enumerate(args) if isinstance(a, Tensor)]
        ctx.places = places
        ctx.others = [None if isinstance(a, Tensor) else a for a in args]
        ctx.save_for_backward(*[args[i] for i in places])
        return function(*args)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple:
        args = list(ctx.others)
        for place, t, needed in zip(ctx.places, ctx.saved_tensors, [ctx.needs_input_grad[2 + i] for i in ctx.places]):
            args[place] = t.detach().requires_grad_(needed)
        now = get_rng_state() if ctx.rng is not None else None
        if now is not None:
            set_rng_state(ctx.rng)
        try:
            with enable_grad():
                made = ctx.function(*args)
        finally:
            if now is not None:
                set_rng_state(now)
        outputs = made if isinstance(made, tuple) else (made,)
        pairs = [(o, g) for o, g in zip(outputs, grads) if isinstance(o, Tensor) and o.requires_grad]
        if not pairs:
            raise RuntimeError(
                "none of output has requires_grad=True, this checkpoint() is not necessary: its function's results do "
                "not depend on anything that requires gradients"
            )
        run_backward([o for o, _ in pairs], [g for _, g in pairs])
        return (None, None, *[a.grad if isinstance(a, Tensor) else None for a in args])


def checkpoint(
    function: Callable,
    *args: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    context_fn: Any = None,
    determinism_check: str = "default",
    debug: bool = False,
    **kwargs: Any,
) -> Any:
    """Call ``function(*args)`` so that the results inside it are not kept, but computed again by `backward`.

    Random numbers come out the same the second time, unless preserve_rng_state is False. Parameters that the function
    uses without taking them as arguments get their gradients too. `use_reentrant` and what follows it are accepted for
    compatibility.

    >>> import livegrad
    >>> from livegrad.utils.checkpoint import checkpoint
    >>> x = livegrad.ones(2, requires_grad=True)
    >>> checkpoint(lambda t: t.exp().sin(), x, use_reentrant=False).sum().backward()
    """
    if kwargs:
        plain = function
        names, given = list(kwargs), list(kwargs.values())
        n = len(args)

        def function(*all_args: Any) -> Any:
            return plain(*all_args[:n], **dict(zip(names, all_args[n:])))

        args = (*args, *given)
    if use_reentrant is not True and not any(isinstance(a, Tensor) and a.requires_grad for a in args):
        # What needs gradients may be inside the function: an input that asks for one makes the part be recorded.
        asking = Tensor(0).requires_grad_()
        inner = function

        def function(_: Any, *rest: Any) -> Any:
            return inner(*rest)

        args = (asking, *args)
    return CheckpointFunction.apply(function, preserve_rng_state, *args)


def checkpoint_sequential(
    functions: Any,
    segments: int,
    input: Any,
    use_reentrant: bool | None = None,
    **options: Any,  # noqa: A002
) -> Any:
    """Run a sequence of functions (or an `nn.Sequential`) in segments, each of them checkpointed but the last."""
    steps: Sequence = list(functions.children()) if hasattr(functions, "children") else list(functions)

    def run(start: int, end: int) -> Callable:
        def part(x: Any) -> Any:
            for step in steps[start:end]:
                x = step(x)
            return x

        return part

    size = max(1, len(steps) // segments)
    start = 0
    for _ in range(segments - 1):
        input = checkpoint(run(start, start + size), input, use_reentrant=use_reentrant, **options)  # noqa: A001
        start += size
    return run(start, len(steps))(input)


__all__ = ["CheckpointFunction", "checkpoint", "checkpoint_sequential"]

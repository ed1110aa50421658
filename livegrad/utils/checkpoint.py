"""Checkpointing: keep a part's inputs instead of its intermediate results, and compute it again in backward."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

from ..amp.autocast_mode import autocast, get_autocast_dtype, is_autocast_cache_enabled, is_autocast_enabled
from ..autograd.engine import after_pass
from ..autograd.function import Function
from ..autograd.functions import backward as run_backward
from ..autograd.functions import grad
from ..autograd.graph import saved_tensors_hooks
from ..autograd.mode import enable_grad, is_grad_enabled
from ..random import get_rng_state, set_rng_state
from ..site import warn
from ..tensor import Tensor
from ._pytree import tree_leaves


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
        if is_grad_enabled():
            return _recorded(ctx, grads)
        args = _arguments(ctx, lambda t, needed: t.detach().requires_grad_(needed))
        pairs = _again(ctx, args, grads)
        run_backward([o for o, _ in pairs], [g for _, g in pairs])
        return (None, None, *[a.grad if isinstance(a, Tensor) else None for a in args])


def _arguments(ctx: Any, taken: Callable) -> list:
    """The function's arguments; the tensors among them as `taken` gives them, told whether they need gradients."""
    args = list(ctx.others)
    for place, t in zip(ctx.places, ctx.saved_tensors):
        args[place] = taken(t, ctx.needs_input_grad[2 + place])
    return args


def _again(ctx: Any, args: list, grads: tuple) -> list:
    """Run the function again, recorded, with the random numbers of the first time: (result, its gradient) pairs."""
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
    return pairs


def _recorded(ctx: Any, grads: tuple) -> tuple:
    """The backward pass where it is recorded itself: its results hang on the inputs and on the gradients."""
    # Copies, at which the gradient stops, and through which that of the gradient goes on.
    args = _arguments(ctx, lambda t, needed: t.clone() if needed else t.detach())
    pairs = _again(ctx, args, grads)
    outputs, given = [o for o, _ in pairs], [g for _, g in pairs]
    places = [i for i in ctx.places if ctx.needs_input_grad[2 + i]]
    copies = [args[i] for i in places]
    found = grad(outputs, copies, given, create_graph=True, allow_unused=True)
    if _leaves_beside(outputs, copies):
        # Parameters that the function has by itself. (Their gradients hang on them and on what is given, here.)
        inner = _arguments(ctx, lambda t, needed: t.detach().requires_grad_(needed))
        pairs = _again(ctx, inner, grads)
        run_backward([o for o, _ in pairs], [g for _, g in pairs], create_graph=True)
    by_place = dict(zip(places, found))
    return (None, None, *[by_place.get(i) for i in range(len(args))])


def _leaves_beside(outputs: list, copies: list) -> bool:
    """Whether results depend on leaves otherwise than by these tensors."""
    seen = {t._edge for t in copies}
    stack = [o._edge for o in outputs]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        if node.is_leaf:
            return True
        seen.add(node)
        stack.extend(node.next)
    return False


class CheckpointError(RuntimeError):
    """The function did something else when it ran again."""


class _Enough(BaseException):
    """All that the graph kept is there: what the function would do after that is not needed."""


def _description(t: Tensor) -> dict:
    return {"shape": t.shape, "dtype": t.dtype, "device": t.device}


# What is compared of a tensor that is kept, and of the one that is computed again.
_CHECKS: dict[str, Callable] = {"default": _description, "none": lambda t: None}


class _Early:
    """Whether running a function again stops where all is there: as its call says, unless `always` says it."""

    always: bool | None = None


@contextlib.contextmanager
def set_checkpoint_early_stop(enable: bool) -> Iterator[None]:
    """Context manager: functions that are checkpointed within stop early when they run again, or run to their end,
    whatever their call says."""
    before, _Early.always = _Early.always, enable
    try:
        yield
    finally:
        _Early.always = before


class _Frame:
    """What the graph of one call keeps: places in a list, which is filled by running the function again.

    describe: what is compared. early: whether the function is stopped where all is there.
    """

    def __init__(self, run: Callable, describe: Callable, early: bool) -> None:
        self.run, self.describe, self.early = run, describe, early
        self.descriptions: list = []  # of the tensors that the graph has kept
        self.found: dict[int, Tensor] = {}

    def keep(self, t: Tensor) -> int:
        self.descriptions.append(self.describe(t))
        return len(self.descriptions) - 1

    def give(self, place: int) -> Tensor:
        if place not in self.found:
            self._fill()
        return self.found.pop(place)  # a pass asks once; another one runs the function again

    def _fill(self) -> None:
        found: dict[int, Tensor] = {}
        count = len(self.descriptions)

        def keep(t: Tensor) -> Tensor:
            found[len(found)] = t
            if self.early and len(found) == count:
                raise _Enough
            return t

        with contextlib.suppress(_Enough), saved_tensors_hooks(keep, _same), enable_grad():
            self.run()
        if len(found) != count:
            raise CheckpointError(
                "torch.utils.checkpoint: A different number of tensors was saved during the original forward and "
                f"recomputation.\nNumber of tensors saved during forward: {count}\nNumber of tensors saved during "
                f"recomputation: {len(found)}. The function must do the same each time it is called."
            )
        self._compare(found)
        self.found = found
        after_pass(found.clear)  # what this pass has no use for

    def _compare(self, found: dict[int, Tensor]) -> None:
        """Raise CheckpointError for tensors that are not what they were."""
        wrong = [
            f"tensor at position {i}:\nsaved metadata: {was}\nrecomputed metadata: {now}"
            for i, was in enumerate(self.descriptions) if was != (now := self.describe(found[i]))
        ]  # fmt: skip
        if wrong:
            raise CheckpointError(
                "torch.utils.checkpoint: Recomputed values for the following tensors have different metadata than "
                "during the forward pass.\n" + "\n".join(wrong)
            )


def _same(t: Tensor) -> Tensor:
    return t


def _casting() -> list:
    """Blocks of `autocast` like those that are open now."""
    kinds = [kind for kind in ("cpu", "cuda") if is_autocast_enabled(kind)]
    cached = is_autocast_cache_enabled()
    return [partial(autocast, kind, dtype=get_autocast_dtype(kind), cache_enabled=cached) for kind in kinds]


def _check_unchanged(given: list) -> None:
    """Raise where an argument is not what it was: (its name, it, its version then)."""
    for name, t, version in given:
        if t._version != version:
            raise RuntimeError(
                "one of the variables needed for gradient computation has been modified by an inplace operation: "
                f"argument {name} of what checkpoint() ran, of shape {list(t.shape)}, is at version {t._version}; "
                f"expected version {version} instead. Change a copy of it, made with .clone()."
            )


def _without_reentry(
    function: Callable, args: tuple, kwargs: dict, preserve: bool, context_fn: Callable | None, check: str, early: bool
) -> Any:
    """Run a function so that its graph keeps places only; see `_Frame`."""
    if check not in _CHECKS:
        raise ValueError(f"determinism_check should be one of {list(_CHECKS)}, but got {check}")
    around, around_again = context_fn() if context_fn is not None else (nullcontext(), nullcontext())
    state = get_rng_state() if preserve else None
    casting = _casting()
    named = [*enumerate(args), *kwargs.items()]
    given = [(name, t, t._version) for name, t in named if isinstance(t, Tensor)]

    def again() -> None:
        _check_unchanged(given)
        now = get_rng_state() if state is not None else None
        if state is not None:
            set_rng_state(state)
        try:
            with contextlib.ExitStack() as blocks:
                for block in casting:
                    blocks.enter_context(block())
                blocks.enter_context(around_again)
                function(*args, **kwargs)
        finally:
            if now is not None:
                set_rng_state(now)

    frame = _Frame(again, _CHECKS[check], early if _Early.always is None else _Early.always)
    with saved_tensors_hooks(frame.keep, frame.give), around:
        return function(*args, **kwargs)


def checkpoint(
    function: Callable,
    *args: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    context_fn: Any = None,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    **kwargs: Any,
) -> Any:
    """Call ``function(*args)`` so that the results inside it are not kept, but computed again by `backward`.

    Random numbers come out the same the second time, unless preserve_rng_state is False, and so does what `autocast`
    makes of it. Parameters that the function uses without taking them as arguments get their gradients too.

    use_reentrant=False: the graph of the function is part of the graph, as it would be without this, and asks for what
    it needs to have kept; context_fn gives two context managers, for the first run and for the next. True: the graph
    has one node for all of it, whose backward pass runs the function, and a backward pass through that; no gradients
    by `autograd.grad` then for what is no argument. One of them has to be said; a warning tells who does not.
    determinism_check: "default" compares shape, dtype and device of what is kept with those of the second time; "none"
    does not. early_stop: the second run ends where all is there (see `set_checkpoint_early_stop`). Both are for
    use_reentrant=False. debug is accepted for compatibility.

    Raises CheckpointError where the function does something else the second time, and ValueError for another check.

    >>> import livegrad
    >>> from livegrad.utils.checkpoint import checkpoint
    >>> x = livegrad.ones(2, requires_grad=True)
    >>> checkpoint(lambda t: t.exp().sin(), x, use_reentrant=False).sum().backward()
    """
    if use_reentrant is False:
        return _without_reentry(function, args, kwargs, preserve_rng_state, context_fn, determinism_check, early_stop)
    if use_reentrant is None:
        warn(
            "torch.utils.checkpoint: the use_reentrant parameter should be passed explicitly. use_reentrant=False is "
            "recommended; without it, it is True.",
        )
    if kwargs:
        plain = function
        names, given = list(kwargs), list(kwargs.values())
        n = len(args)

        def function(*all_args: Any) -> Any:
            return plain(*all_args[:n], **dict(zip(names, all_args[n:])))

        args = (*args, *given)
    if use_reentrant is None and not any(isinstance(a, Tensor) and a.requires_grad for a in args):
        # What needs gradients may be inside the function: an input that asks for one makes the part be recorded.
        asking = Tensor(0).requires_grad_()
        inner = function

        def function(_: Any, *rest: Any) -> Any:
            return inner(*rest)

        args = (asking, *args)
    return CheckpointFunction.apply(function, preserve_rng_state, *args)


class CheckpointPolicy(enum.Enum):
    """What is to become of an operator's result in a part that is checkpointed selectively."""

    MUST_SAVE = 0
    PREFER_SAVE = 1
    MUST_RECOMPUTE = 2
    PREFER_RECOMPUTE = 3
    MUST_CPU_OFFLOAD = 4
    PREFER_CPU_OFFLOAD = 5


def create_selective_checkpoint_contexts(
    policy_fn_or_list: Any, allow_cache_entry_mutation: bool = False
) -> tuple[Any, Any]:
    """A context_fn for `checkpoint`, once what comes first is bound: two context managers, for both runs.

    policy_fn_or_list: a function that gives a `CheckpointPolicy` for an operator, or a list of operators to keep the
    results of. It is not asked: what is fused has no results of its own to keep, so everything is computed again, which
    gives the same gradients. Raises TypeError for anything else.
    """
    if not callable(policy_fn_or_list) and not isinstance(policy_fn_or_list, list):
        raise TypeError("policy_fn_or_list must be either a function or a list of ops.")
    return nullcontext(), nullcontext()


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


def get_device_states(*args: Any) -> tuple[list[int], list]:
    """Numbers of the devices, other than the CPU, that tensors among the arguments are on, and the states of their
    random streams."""
    from .. import cuda

    numbers = [
        t.get_device() for t in tree_leaves(args) if isinstance(t, Tensor) and t.device.type not in ("cpu", "meta")
    ]
    return numbers, [cuda.get_rng_state(f"cuda:{n}") for n in numbers]


def set_device_states(devices: Sequence[int], states: Sequence, *, device_type: str | None = None) -> None:
    """Give the random streams of devices states that `get_device_states` gave."""
    from .. import cuda

    if device_type != "meta":
        for n, state in zip(devices, states):
            cuda.set_rng_state(state, f"cuda:{n}")


def check_backward_validity(inputs: Any) -> None:
    """Warn where no tensor among some inputs requires a gradient."""
    if not any(x.requires_grad for x in inputs if isinstance(x, Tensor)):
        warn("None of the inputs have requires_grad=True. Gradients will be None")


def detach_variable(inputs: tuple) -> tuple:
    """The inputs without history, requiring gradients where they do. Raises RuntimeError unless they are a tuple."""
    if not isinstance(inputs, tuple):
        raise RuntimeError("Only tuple of tensors is supported. Got Unsupported input type: ", type(inputs).__name__)
    return tuple(x.detach().requires_grad_(x.requires_grad) if isinstance(x, Tensor) else x for x in inputs)


def noop_context_fn() -> tuple:
    """What `context_fn` gives where nothing is to be around the function."""
    return nullcontext(), nullcontext()


__all__ = [
    "CheckpointError", "CheckpointFunction", "check_backward_validity", "checkpoint", "checkpoint_sequential",
    "detach_variable", "get_device_states", "noop_context_fn", "set_checkpoint_early_stop", "set_device_states",
]  # fmt: skip

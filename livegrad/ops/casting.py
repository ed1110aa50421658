"""Autocast: which operators compute in what, and the casting of their arguments.

The lists are PyTorch's, for the CPU and for CUDA: products and convolutions in the region's dtype, sums and what needs
range or accuracy in float32, and what takes several tensors in the widest of their dtypes. float64 is left alone.
Elementwise operators promote by themselves.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from .. import dtypes
from ..autograd.mode import MODE
from ..native import hot
from ..precision import REGIONS, STATE
from ..tensor import Tensor
from . import dispatch

LOWER, FULL, WIDEST, BANNED = "lower", "float32", "widest", "banned"

_BOTH = {
    LOWER: """
        addbmm addmm baddbmm bmm conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d linear matmul
        mm prelu scaled_dot_product_attention
        """,
    FULL: """
        binary_cross_entropy_with_logits cdist cosine_embedding_loss cross_entropy hinge_embedding_loss huber_loss
        kl_div l1_loss margin_ranking_loss mse_loss multi_margin_loss multilabel_margin_loss nll_loss poisson_nll_loss
        prod smooth_l1_loss soft_margin_loss triplet_margin_loss
        """,
}
_CPU = {
    LOWER: "lstm",
    FULL: """
        adaptive_avg_pool3d adaptive_max_pool3d avg_pool3d binary_cross_entropy cholesky ctc_loss
        fractional_max_pool2d fractional_max_pool3d inverse max_pool3d max_unpool2d max_unpool3d
        nanquantile pinverse quantile trace
        """,
    WIDEST: "index_copy",
}
_CUDA = {
    LOWER: "addmv addr lstm mv recurrent",
    FULL: """
        acos asin cosh cosine_similarity cumprod cumsum dist erfinv exp expm1 group_norm interpolate layer_norm log
        log10 log1p log2 log_softmax logsumexp norm pdist pow reciprocal renorm rms_norm rsqrt sinh softmax softplus
        sum tan
        """,
    WIDEST: "bilinear cross dot index_put scatter_add tensordot vdot",
    BANNED: "binary_cross_entropy",
}


def _table(*lists: dict) -> dict[str, str]:
    return {name: policy for each in lists for policy, names in each.items() for name in names.split()}


# (einsum, chain_matmul and multi_dot are products themselves; cat and stack promote.)
# Kind of device -> name of an operator -> what happens to its floating-point arguments there.
POLICIES = {"cpu": _table(_BOTH, _CPU), "cuda": _table(_BOTH, _CUDA)}


def _tensors(arguments: Any) -> list[Tensor]:
    """The tensors among arguments, those in lists too."""
    found: list[Tensor] = []
    for a in arguments:
        if isinstance(a, Tensor):
            found.append(a)
        elif a.__class__ is list or a.__class__ is tuple:
            found += _tensors(a)
    return found


def _eligible(t: Tensor, kind: str) -> bool:
    d = t.dtype
    return d.category == dtypes.FLOATING and d is not dtypes.float64 and t.device.type == kind


def _wanted(policy: str, kind: str, tensors: list[Tensor]) -> dtypes.dtype:
    if policy == LOWER:
        return STATE.dtype[kind]
    if policy == FULL or any(t.dtype is dtypes.float32 for t in tensors):
        return dtypes.float32
    return STATE.dtype[kind]


def cast_arguments(name: str, arguments: tuple) -> tuple:
    """An operator's arguments, with its tensors (those in lists too) in the dtype that autocast computes it in."""
    if not STATE.enabled:
        return arguments
    tensors = _tensors(arguments)
    for kind in STATE.enabled:
        policy = POLICIES[kind].get(name)
        ours = [] if policy is None else [t for t in tensors if _eligible(t, kind)]
        if ours and policy is not None:
            if policy == BANNED:
                raise RuntimeError(
                    "torch.nn.functional.binary_cross_entropy and torch.nn.BCELoss are unsafe to autocast.\n"
                    "Many models use a sigmoid layer right before the binary cross entropy layer.\n"
                    "In this case, combine the two layers using torch.nn.functional.binary_cross_entropy_with_logits\n"
                    "or torch.nn.BCEWithLogitsLoss.  binary_cross_entropy_with_logits and BCEWithLogits are\n"
                    "safe to autocast."
                )
            arguments = _cast(arguments, kind, _wanted(policy, kind, ours))
    return arguments


def _cast(arguments: Any, kind: str, dtype: dtypes.dtype) -> Any:
    made = []
    for a in arguments:
        if isinstance(a, Tensor):
            made.append(_cast_one(a, dtype) if _eligible(a, kind) else a)
        elif a.__class__ is list or a.__class__ is tuple:
            made.append(_cast(a, kind, dtype))
        else:
            made.append(a)
    return tuple(made) if arguments.__class__ is tuple else made


def _cast_one(t: Tensor, dtype: dtypes.dtype) -> Tensor:
    """`t` in a dtype; the cast of a parameter is kept until the outermost region ends, or the parameter changes."""
    if t.dtype is dtype:
        return t
    edge = t._edge
    if not STATE.cache or t.dtype is not dtypes.float32 or edge is None or not edge.is_leaf or t._is_view():
        return dispatch.cast(t, dtype)
    key = id(t), dtype, MODE.grad
    found = STATE.casts.get(key)
    if found is not None and found[0]() is t and found[1] == t._version:
        return found[2]
    made = dispatch.cast(t, dtype)
    STATE.casts[key] = weakref.ref(t), t._version, made
    return made


REGIONS.cast = cast_arguments

F = TypeVar("F", bound=Callable)


def autocasts(function: F) -> F:
    """Decorator: autocast casts this function's arguments, by its name, and is off while it runs."""
    name = function.__name__

    def cast_call(args: tuple, kwargs: dict) -> Any:
        before = STATE.enabled
        listed = frozenset(kind for kind in before if name in POLICIES[kind])
        if not listed:
            return function(*args, **kwargs)
        given = cast_arguments(name, (*args, *kwargs.values()))
        STATE.set(before - listed)
        try:
            return function(*given[: len(args)], **dict(zip(kwargs, given[len(args) :])))
        finally:
            STATE.set(before)

    @functools.wraps(function)
    @hot
    def casting(*args: Any, **kwargs: Any) -> Any:
        return cast_call(args, kwargs) if REGIONS.open else function(*args, **kwargs)

    return casting  # type: ignore[return-value]

"""What the functions of linear algebra check of their operands, and of what came of them."""

from __future__ import annotations

from .. import dtypes
from ..native import hot
from ..ops.decompositions import LinAlgError
from ..ops.registry import write_out
from ..tensor import Tensor


@hot
def check_square(name: str, x: Tensor) -> None:
    if x.dim() < 2:
        raise RuntimeError(
            f"linalg.{name}: The input tensor A must have at least 2 dimensions, but its shape is {list(x.shape)}"
        )
    if x.shape[-1] != x.shape[-2]:
        raise RuntimeError(
            f"linalg.{name}: A must be batches of square matrices, but they are {x.shape[-2]} by {x.shape[-1]} matrices"
        )
    if x.dtype.category not in (dtypes.FLOATING, dtypes.COMPLEX):
        raise RuntimeError(f"linalg.{name}: Expected a floating point or complex tensor as input. Got {x.dtype}")
    if x.dtype.itemsize < 4:
        raise RuntimeError(f"linalg.{name}: Low precision dtypes not supported. Got {x.dtype}")


@hot
def check_matrix(name: str, x: Tensor) -> None:
    if x.dim() < 2:
        raise RuntimeError(f"linalg.{name}: The input tensor A must have at least 2 dimensions.")


@hot
def check_floating(name: str, x: Tensor) -> None:
    if x.dtype.category < dtypes.FLOATING:
        raise RuntimeError(f"linalg.{name}: Expected a floating point or complex tensor as input. Got {x.dtype}")


def raise_first(info: Tensor, text: str) -> None:
    """Raise for the first matrix that has failed; {k} in the text is the step, {at} where in a batch it is."""
    failed = info.reshape(-1).nonzero()  # type: ignore[attr-defined]
    if failed.numel():
        first = int(failed[0].item())
        at = f" (Batch element {first}):" if info.dim() else ""
        raise LinAlgError(text.format(k=info.reshape(-1)[first].item(), at=at))  # type: ignore[attr-defined]


def written(out: tuple | None, *results: Tensor) -> tuple:
    """Results, written into tensors that were given for them."""
    return results if out is None else tuple(write_out(o, r) for o, r in zip(out, results))

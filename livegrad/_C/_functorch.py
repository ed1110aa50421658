"""What libraries ask of the tensors that `func.vmap` hands to functions."""

from .._functorch.vmap import _add_batch_dim, _remove_batch_dim, is_batchedtensor
from ..ops.batching import batch_of, level_of
from ..tensor import Tensor

__all__ = [
    "_add_batch_dim", "_remove_batch_dim", "get_unwrapped", "is_batchedtensor", "is_functorch_wrapped_tensor",
    "is_gradtrackingtensor", "maybe_get_bdim", "maybe_get_level",
]  # fmt: skip


def get_unwrapped(tensor: Tensor) -> Tensor:
    """What a tensor stands for: the batch, of its highest level, with its dimension in front; or the tensor itself."""
    batch = batch_of(tensor)
    return tensor if batch is None else batch.tensor


def is_gradtrackingtensor(tensor: Tensor) -> bool:
    """False: `func.grad` works on tensors as they are."""
    return False


def is_functorch_wrapped_tensor(tensor: Tensor) -> bool:
    """Whether a tensor stands for the examples of a batch."""
    return is_batchedtensor(tensor)


def maybe_get_level(tensor: Tensor) -> int:
    """The highest level at which a tensor has a batch, or -1."""
    return level_of(tensor) or -1


def maybe_get_bdim(tensor: Tensor) -> int:
    """Where the dimension of the batch is in what a tensor stands for: 0, or -1 where it is no batch."""
    return 0 if is_batchedtensor(tensor) else -1

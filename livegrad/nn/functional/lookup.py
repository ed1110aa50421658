"""Looking up rows of a table, and the rows that say which."""

import numpy as np

import livegrad
from livegrad.devices import cpu
from livegrad.lazy import backend
from livegrad.native import hot
from livegrad.ops.gather import rows_at, rows_with_sparse_gradient
from livegrad.ops.indices import span
from livegrad.tensor import wrap

__all__ = ["embedding", "embedding_bag", "one_hot"]


@hot
def embedding(input, weight, padding_idx=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False, sparse=False):
    """The rows of ``weight`` at the indices ``input``: (*) gives (*, columns).

    The row ``padding_idx`` gets no gradient. With ``max_norm``, rows that are looked up and longer than that (in the
    ``norm_type`` norm) are first shortened in place. ``scale_grad_by_freq`` divides gradients by how often an index
    occurs. With ``sparse`` the gradient of a ``weight`` that is a leaf is a sparse tensor of the rows that were looked
    up: for `optim.SparseAdam`, `optim.SGD` and `optim.Adagrad`.
    """
    if input.dtype not in (livegrad.int64, livegrad.int32):
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but got "
            f"{input.type()} instead (while checking arguments for embedding)"
        )
    if weight.dim() != 2:
        raise RuntimeError(f"'weight' must be 2-D, but has shape {list(weight.shape)}")
    if padding_idx is not None:
        rows = weight.size(0)
        if not -rows <= padding_idx < rows:
            raise AssertionError("Padding_idx must be within num_embeddings")
        padding_idx %= rows
    if max_norm is not None:
        _shorten(weight, input.reshape(-1), max_norm, norm_type)
    if sparse and weight.requires_grad and weight.is_leaf and livegrad.is_grad_enabled():
        if scale_grad_by_freq:
            raise RuntimeError("embedding_backward: scale_grad_by_freq not supported with sparse gradients")
        return rows_with_sparse_gradient(weight, input, -1 if padding_idx is None else padding_idx)
    found = rows_at(weight, input)
    if scale_grad_by_freq:
        counts = input.reshape(-1).bincount(minlength=weight.size(0))
        share = 1 / counts[input].to(weight.dtype).unsqueeze(-1)
        found = found * share + (found * (1 - share)).detach()
    if padding_idx is not None and found.requires_grad:
        found = livegrad.where((input == padding_idx).unsqueeze(-1), found.detach(), found)
    return found


def embedding_bag(
    input, weight, offsets=None, max_norm=None, norm_type=2, scale_grad_by_freq=False, mode="mean", sparse=False,
    per_sample_weights=None, include_last_offset=False, padding_idx=None,
):  # fmt: skip
    """Sums, means or maxima of rows of ``weight`` over bags of indices: (B, columns).

    ``input`` is (B, N), a bag in each row, or (N) with ``offsets`` (B) that say where each bag begins. ``mode`` is sum,
    mean or max; ``per_sample_weights``, for sum only, multiply the rows. Indices ``padding_idx`` do not count. An empty
    bag gives zeros. Raises ValueError for arguments that do not go together.
    """
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if per_sample_weights is not None and input.size() != per_sample_weights.size():
        raise ValueError(
            f"embedding_bag: If per_sample_weights ({per_sample_weights.shape}) is not None, then it must have "
            f"the same shape as the input ({input.shape})"
        )
    if weight.dim() != 2:
        raise ValueError(f"weight has to be a 2D Tensor, but got Tensor of dimension {weight.dim()}")
    if input.dim() == 2:
        if offsets is not None:
            raise ValueError(
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed length "
                f"sequences. However, found offsets of type {type(offsets)}"
            )
        bags, length = input.shape
        bag = livegrad.arange(bags, device=input.device).repeat_interleave(length)
        input = input.reshape(-1)
        if per_sample_weights is not None:
            per_sample_weights = per_sample_weights.reshape(-1)
    elif input.dim() == 1:
        if offsets is None:
            raise ValueError("offsets has to be a 1D Tensor but got None")
        if offsets.dim() != 1:
            raise ValueError("offsets has to be a 1D Tensor")
        starts = offsets.tolist()
        if include_last_offset:
            *starts, stop = starts
        else:
            stop = input.size(0)
        if starts and starts[0] != 0:
            raise RuntimeError("offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from "
                               f"position 0. However, got {starts[0]}")  # fmt: skip
        bags = len(starts)
        counts = [b - a for a, b in zip(starts, [*starts[1:], stop])]
        bag = livegrad.arange(bags).repeat_interleave(livegrad.tensor(counts, dtype=livegrad.int64)).to(input.device)
        input = input[: bag.size(0)]
    else:
        raise ValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.dim()}")
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(
            "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for mode='sum' "
            f"(got mode='{mode}'). Please open a feature request on GitHub."
        )
    if padding_idx is not None:
        kept = (input != padding_idx % weight.size(0)).nonzero().reshape(-1)
        input, bag = input[kept], bag[kept]
        per_sample_weights = None if per_sample_weights is None else per_sample_weights[kept]
    rows = embedding(input, weight, None, max_norm, norm_type, scale_grad_by_freq, sparse)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(-1)
    out = livegrad.zeros((bags, weight.size(1)), dtype=weight.dtype, device=weight.device)
    if mode == "max":
        # The first of equal rows gets the gradient.
        return _largest_of_bags(rows, bag, out)
    total = out.index_add(0, bag, rows)
    if mode == "sum":
        return total
    count = livegrad.bincount(bag, minlength=bags).clamp(min=1).to(weight.dtype)
    return total / count.unsqueeze(-1)


def _largest_of_bags(rows, bag, out):
    pieces, start = [], 0
    for n in livegrad.bincount(bag, minlength=out.size(0)).tolist():
        pieces.append(rows[start : start + n].max(0)[0] if n else out[0])
        start += n
    return livegrad.stack(pieces) if pieces else out


def _shorten(weight, index, max_norm, norm_type):
    with livegrad.no_grad():
        rows = index.unique()
        values = weight[rows]
        norms = values.norm(norm_type, -1, keepdim=True)
        weight[rows] = livegrad.where(norms > max_norm, values * (max_norm / (norms + 1e-7)), values)


def one_hot(tensor, num_classes=-1):
    """Class indices (*) as rows of zeros with a single 1: (*, num_classes), int64.

    Without ``num_classes`` it is one more than the greatest index.
    """
    if tensor.dtype != livegrad.int64:
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    if tensor.numel() == 0:
        if num_classes <= 0:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
        return livegrad.zeros(*tensor.shape, num_classes, dtype=livegrad.int64, device=tensor.device)
    indices = tensor.detach().cpu()._to_numpy()
    least, greatest = span(indices)
    if least < 0:
        raise RuntimeError("Class values must be non-negative.")
    if num_classes == -1:
        num_classes = greatest + 1
    elif greatest >= num_classes:
        raise RuntimeError("Class values must be smaller than num_classes.")
    if tensor.device is cpu and tensor.numel() * num_classes < _MANY:
        made = np.zeros((*tensor._shape, num_classes), np.int64)
        made.reshape(-1)[indices.reshape(-1) + np.arange(0, made.size, num_classes)] = 1
        return wrap(backend.fresh(made))
    return (tensor.detach().unsqueeze(-1) == livegrad.arange(num_classes, device=tensor.device)).long()


_MANY = 1 << 16  # numbers that a kernel writes at once, in memory that is kept for the next ones

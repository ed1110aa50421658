"""Looking up rows of a table, and the rows that say which."""

import livegrad
from livegrad.ops.index import rows_at

__all__ = ["embedding", "one_hot"]


def embedding(input, weight, padding_idx=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False, sparse=False):
    """The rows of ``weight`` at the indices ``input``: (*) gives (*, columns).

    The row ``padding_idx`` gets no gradient. With ``max_norm``, rows that are looked up and longer than that (in the
    ``norm_type`` norm) are first shortened in place. ``scale_grad_by_freq`` divides gradients by how often an index
    occurs. ``sparse`` changes nothing: gradients are always dense.
    """
    if input.dtype not in (livegrad.int64, livegrad.int32):
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but got "
            f"{input.type()} instead (while checking arguments for embedding)"
        )
    if padding_idx is not None:
        rows = weight.size(0)
        if not -rows <= padding_idx < rows:
            raise AssertionError("Padding_idx must be within num_embeddings")
        padding_idx %= rows
    if max_norm is not None:
        _shorten(weight, input.reshape(-1), max_norm, norm_type)
    found = rows_at(weight, input)
    if scale_grad_by_freq:
        counts = input.reshape(-1).bincount(minlength=weight.size(0))
        share = 1 / counts[input].to(weight.dtype).unsqueeze(-1)
        found = found * share + (found * (1 - share)).detach()
    if padding_idx is not None and found.requires_grad:
        found = livegrad.where((input == padding_idx).unsqueeze(-1), found.detach(), found)
    return found


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
    if int(tensor.min()) < 0:
        raise RuntimeError("Class values must be non-negative.")
    greatest = int(tensor.max())
    if num_classes == -1:
        num_classes = greatest + 1
    elif greatest >= num_classes:
        raise RuntimeError("Class values must be smaller than num_classes.")
    result = livegrad.zeros(*tensor.shape, num_classes, dtype=livegrad.int64, device=tensor.device)
    return result.scatter_(-1, tensor.unsqueeze(-1), 1)

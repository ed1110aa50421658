"""The loss of connectionist temporal classification."""

import numpy as np

import livegrad
from livegrad.ops.casting import autocasts
from livegrad.ops.ctc import CTC

__all__ = ["ctc_loss"]


@autocasts
def ctc_loss(log_probs, targets, input_lengths, target_lengths, blank=0, reduction="mean", zero_infinity=False):
    """Minus the logarithm of the probability of label sequences, over all their alignments with the steps.

    ``log_probs`` (T, B, C), or (T, C), from `log_softmax`; ``targets`` (B, S), or all after each other; the lengths of
    both for each sequence. ``reduction`` is none, sum, or mean, which first divides each by its target's length.
    ``zero_infinity`` makes infinite losses, of targets longer than their input, zeros. Raises RuntimeError for lengths
    that do not fit.
    """
    if log_probs.dim() not in (2, 3):
        raise RuntimeError(f"ctc_loss: log_probs has to be 2D or 3D, but got {log_probs.dim()}D")
    batched = log_probs.dim() == 3
    logs = log_probs if batched else log_probs.unsqueeze(1)
    steps, batch, classes = logs.shape
    lengths, sizes = (
        np.atleast_1d(np.asarray(x.tolist() if isinstance(x, livegrad.Tensor) else x, np.int64))
        for x in (input_lengths, target_lengths)
    )
    if not 0 <= blank < classes:
        raise RuntimeError("blank must be in label range")
    for name, given in (("input_lengths", lengths), ("target_lengths", sizes)):
        if given.shape != (batch,):
            raise RuntimeError(f"{name} must be of size batch_size")
    if not logs.numel():
        raise RuntimeError("log_probs tensor must not be empty")
    if (lengths > steps).any() or (lengths < 0).any():
        raise RuntimeError(
            f"Expected input_lengths to have value at most {steps} and at least 0, but got {lengths.tolist()}"
        )
    if (sizes < 0).any():
        raise RuntimeError(f"Expected target_lengths to have value at least 0, but got {sizes.tolist()}")
    given = np.asarray(targets.tolist(), np.int64)
    if given.ndim == 1 and (batched or given.size):
        if sizes.sum() > given.size:
            raise RuntimeError(f"Expected targets of {sizes.sum()} labels, the sum of target_lengths, got {given.size}")
        starts = np.cumsum(sizes) - sizes
        rows = [given[a : a + n] for a, n in zip(starts, sizes)]
    else:
        if (sizes > given.reshape(batch, -1).shape[1]).any():
            raise RuntimeError(f"Expected targets of at least {sizes.max()} labels, got {list(given.shape)}")
        rows = [row[:n] for row, n in zip(given.reshape(batch, -1), sizes)]
    labels = np.full((batch, int(sizes.max(initial=0))), blank, np.int64)
    for k, row in enumerate(rows):
        labels[k, : len(row)] = row
    if labels.size and not 0 <= labels.min() <= labels.max() < classes:
        raise RuntimeError(
            f"Expected targets to be labels of {classes} classes, but got {labels.min()} to {labels.max()}"
        )
    loss = CTC.apply((logs,), labels=labels, lengths=lengths, sizes=sizes, blank=blank, zero_infinity=zero_infinity)
    if reduction == "mean":
        return (loss / livegrad.tensor(np.maximum(sizes, 1).astype(logs.dtype.np), device=loss.device)).mean()
    if reduction == "sum":
        return loss.sum()
    if reduction != "none":
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return loss if batched else loss.squeeze(0)

"""Connectionist temporal classification: the probability of a sequence of labels over all its alignments."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..lazy import backend
from ..lazy.value import Value
from ..runtime.alignments import alignments
from .registry import operator


def _forward(log_probs: Value, labels: Any, lengths: Any, sizes: Any, blank: int, zero_infinity: bool) -> Value:
    loss = alignments(log_probs.native(), labels, lengths, sizes, blank, False).loss
    if zero_infinity:
        loss = np.where(np.isinf(loss), 0.0, loss)
    return backend.copied(loss.astype(log_probs.dtype.np))


def _gradient(g: Any, log_probs: Any, labels: Any, lengths: Any, sizes: Any, blank: int, zero_infinity: bool) -> Any:
    """As PyTorch has it: by what the logarithms of a softmax are made of."""
    if g.__class__ is not Value:  # recorded, so that what depends on it can be differentiated by other inputs
        return _BACKWARD.apply(
            (g, log_probs), labels=labels, lengths=lengths, sizes=sizes, blank=blank, zero_infinity=zero_infinity
        )
    found = alignments(log_probs.native(), labels, lengths, sizes, blank, True).gradient(g.native(), zero_infinity)
    return backend.copied(found.astype(log_probs.dtype.np, copy=False))


def _refuse(**given: Any) -> Any:
    raise RuntimeError("derivative for aten::_ctc_loss_backward is not implemented")


_BACKWARD = operator(
    "_ctc_loss_backward",
    _gradient,
    tensors=("outer", "log_probs"),
    grads={"outer": lambda: _refuse(), "log_probs": lambda: _refuse()},
    node="CtcLossBackward",
)
CTC = operator("ctc_loss", _forward, tensors=("log_probs",), grads={"log_probs": _gradient})

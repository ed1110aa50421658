"""Connectionist temporal classification: the probability of a sequence of labels over all its alignments."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..lazy import backend
from ..lazy.value import Value
from .registry import operator


def _shifted(a: np.ndarray, by: int) -> np.ndarray:
    """Moved along the last dimension, minus infinity coming in."""
    out = np.full_like(a, -np.inf)
    if by > 0:
        out[:, by:] = a[:, :-by]
    else:
        out[:, :by] = a[:, -by:]
    return out


class _Alignments:
    """Logarithms of the probabilities of beginnings and ends of alignments, for each sequence of the batch.

    States are the labels with a blank before, between and after: (B, 2 * S + 1).
    """

    def __init__(self, logs: np.ndarray, labels: np.ndarray, lengths: np.ndarray, sizes: np.ndarray, blank: int):
        steps, batch, _ = logs.shape
        self.states = np.full((batch, 2 * labels.shape[1] + 1), blank, np.int64)
        self.states[:, 1::2] = labels
        same = np.zeros(self.states.shape, bool)
        same[:, 2:] = self.states[:, 2:] == self.states[:, :-2]
        self.skips = (self.states != blank) & ~same
        self.skips[:, :2] = False
        self.lengths, self.sizes = lengths, sizes
        self.emitted = np.take_along_axis(logs, np.broadcast_to(self.states, (steps, *self.states.shape)), 2)
        self.rows = np.arange(batch)
        begins = self.begins = np.full(self.emitted.shape, -np.inf)
        begins[0, :, 0] = self.emitted[0, :, 0]
        some = sizes > 0
        if labels.shape[1]:
            begins[0, some, 1] = self.emitted[0, some, 1]
        for t in range(1, steps):
            before = begins[t - 1]
            way = np.logaddexp(before, _shifted(before, 1)) if self.states.shape[1] > 1 else before
            if self.states.shape[1] > 2:
                way = np.where(self.skips, np.logaddexp(way, _shifted(before, 2)), way)
            begins[t] = way + self.emitted[t]
        last = begins[lengths - 1, self.rows]
        total = last[self.rows, 2 * sizes]
        self.loss = -np.where(some, np.logaddexp(total, last[self.rows, np.maximum(2 * sizes - 1, 0)]), total)

    def ends(self) -> np.ndarray:
        """What `begins` is, from the other end."""
        steps = self.emitted.shape[0]
        out = np.full(self.emitted.shape, -np.inf)
        final = np.zeros(self.states.shape, bool)
        final[self.rows, 2 * self.sizes] = True
        final[self.rows, np.maximum(2 * self.sizes - 1, 0)] = True
        skips = np.zeros_like(self.skips)
        if self.states.shape[1] > 2:
            skips[:, :-2] = self.skips[:, 2:]
        following = np.full(self.states.shape, -np.inf)
        for t in range(steps - 1, -1, -1):
            way = np.logaddexp(following, _shifted(following, -1)) if self.states.shape[1] > 1 else following
            if self.states.shape[1] > 2:
                way = np.where(skips, np.logaddexp(way, _shifted(following, -2)), way)
            at_end = (self.lengths - 1 == t)[:, None]
            way = np.where(at_end, np.where(final, 0.0, -np.inf), way)
            following = out[t] = np.where((t < self.lengths)[:, None], way + self.emitted[t], -np.inf)
        return out


def _alignments(logs: Value, labels: Any, lengths: Any, sizes: Any, blank: int) -> _Alignments:
    with np.errstate(all="ignore"):
        return _Alignments(logs.native().astype(np.float64), labels, lengths, sizes, blank)


def _forward(log_probs: Value, labels: Any, lengths: Any, sizes: Any, blank: int, zero_infinity: bool) -> Value:
    loss = _alignments(log_probs, labels, lengths, sizes, blank).loss
    if zero_infinity:
        loss = np.where(np.isinf(loss), 0.0, loss)
    return backend.copied(loss.astype(log_probs.dtype.np))


def _gradient(g: Any, log_probs: Any, labels: Any, lengths: Any, sizes: Any, blank: int, zero_infinity: bool) -> Any:
    """As PyTorch has it: by what the logarithms of a softmax are made of."""
    if g.__class__ is not Value:  # recorded, so that what depends on it can be differentiated by other inputs
        return _BACKWARD.apply(
            (g, log_probs), labels=labels, lengths=lengths, sizes=sizes, blank=blank, zero_infinity=zero_infinity
        )
    found = _alignments(log_probs, labels, lengths, sizes, blank)
    logs = log_probs.native().astype(np.float64)
    with np.errstate(all="ignore"):
        share = np.exp(found.begins + found.ends() - found.emitted + found.loss[:, None])
        out = np.exp(logs)
        steps, batch, states = share.shape
        place = np.arange(steps)[:, None, None], np.arange(batch)[None, :, None], found.states[None]
        np.subtract.at(out, place, share)
        out = out * g.native().astype(np.float64)[:, None]
    out[np.arange(steps)[:, None] >= found.lengths] = 0
    if zero_infinity:
        out[:, np.isinf(found.loss)] = 0
    return backend.copied(out.astype(log_probs.dtype.np))


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

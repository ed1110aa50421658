"""Alignments of label sequences with steps: what the loss of connectionist temporal classification adds up.

`Walked` does it by kernels (see `codegen.ctc`), `Alignments` with NumPy; both have `loss`, in double precision, of each
sequence, and `gradient`.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from . import pool
from .raw import address

# Linear work for a state and a step, in elements of a cheap formula.
COST = 40


def states_of(labels: np.ndarray, blank: int) -> tuple[np.ndarray, np.ndarray]:
    """(states, whether the blank before one may be left out), (B, 2 * S + 1): labels with blanks around each."""
    states = np.full((len(labels), 2 * labels.shape[1] + 1), blank, np.int64)
    states[:, 1::2] = labels
    skips = np.zeros(states.shape, bool)
    skips[:, 2:] = (states[:, 2:] != blank) & (states[:, 2:] != states[:, :-2])
    return states, skips


def _total(last: np.ndarray, counts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Minus the logarithm of the probability of all alignments, by the last step's states.

    With no steps at all there is one alignment of no labels, and none of others.
    """
    rows = np.arange(len(counts))
    total = last[rows, counts - 1]
    total = -np.where(counts > 1, np.logaddexp(total, last[rows, np.maximum(counts - 2, 0)]), total)
    return np.where(lengths == 0, np.where(counts == 1, 0.0, np.inf), total)


def alignments(logs: np.ndarray, labels: np.ndarray, lengths: np.ndarray, sizes: np.ndarray, blank: int, both: bool):
    """Of `logs` (T, B, C), labels (B, S) and how many steps and labels each has. both: `gradient` will be asked for."""
    kind = {"float32": "f32", "float64": "f64"}.get(logs.dtype.name)
    steps, batch, _ = logs.shape
    work = steps * batch * (2 * labels.shape[1] + 1) * COST
    if kind is not None and batch and _kernel(kind, "walk").available(work):
        if not both or _kernel(kind, "gradient").available(work):
            return Walked(kind, logs, labels, lengths, sizes, blank, both)
    with np.errstate(all="ignore"):
        return Alignments(logs.astype(np.float64), labels, lengths, sizes, blank)


# By kernels


@functools.cache
def _kernel(kind: str, name: str) -> Any:
    from ..codegen import ctc, kernels

    source, formats = {
        "walk": (ctc.walk_source, ctc.WALK_FORMATS), "gradient": (ctc.gradient_source, ctc.GRADIENT_FORMATS)
    }[name]  # fmt: skip
    return kernels.Kernel(lambda: ("ctc", name, kind), lambda: source(kind), formats, 1)


class Walked:
    """By kernels."""

    def __init__(
        self, kind: str, logs: np.ndarray, labels: np.ndarray, lengths: np.ndarray, sizes: np.ndarray, blank: int,
        both: bool,
    ):  # fmt: skip
        from ..codegen.product import lanes_of

        self.kind, self.lanes = kind, lanes_of("f64")
        aligned = logs.strides[2] == logs.itemsize and all(s % logs.itemsize == 0 and s >= 0 for s in logs.strides)
        self.logs = logs if aligned else np.ascontiguousarray(logs)
        self.lengths, self.counts = lengths, 2 * sizes + 1
        steps, batch, _ = logs.shape
        states, skips = states_of(labels, blank)
        width = -(-states.shape[1] // self.lanes) * self.lanes
        self.states = np.full((1 + both, batch, width), blank, np.int64)
        may_skip = np.zeros(self.states.shape, bool)
        self.states[0, :, : states.shape[1]] = states
        may_skip[0, :, : states.shape[1]] = skips
        if both:
            # Turned around, each about its own last state: what could be skipped to, can be skipped from.
            for b, count in enumerate(self.counts):
                self.states[1, b, :count] = states[b, :count][::-1]
                may_skip[1, b, 2:count] = skips[b, 2:count][::-1]
        addends = np.where(may_skip, 0.0, -np.inf)
        self.pitch = width + self.lanes
        self.walked = np.empty((1 + both, batch, steps, self.pitch))
        itemsize = logs.itemsize
        self.words = batch, width, steps, self.pitch, self.logs.strides[0] // itemsize, self.logs.strides[1] // itemsize
        kernel = _kernel(kind, "walk")
        walked = np.maximum(lengths, 1)
        arrays = self.logs, self.states, addends, self.counts, walked, self.walked
        args = kernel.pack(*map(address, arrays), *self.words)
        pool.launch(kernel.address, args, (1 + both) * batch, 1)
        last = self.walked[0, np.arange(batch), walked - 1, self.lanes :]
        with np.errstate(all="ignore"):
            self.loss = _total(last, self.counts, lengths)

    def gradient(self, g: np.ndarray, zero_infinity: bool) -> np.ndarray:
        """By `logs`, in their dtype, where `g` is that of the losses. Only once, as what was walked is overwritten."""
        steps, batch, classes = self.logs.shape
        lengths = np.where(np.isinf(self.loss), 0, self.lengths) if zero_infinity else self.lengths
        out, row = np.empty(self.logs.shape, self.logs.dtype), np.empty((batch, classes))
        kernel = _kernel(self.kind, "gradient")
        arrays = (
            self.logs, self.states, self.counts, lengths, self.walked, self.loss, np.ascontiguousarray(g, np.float64),
            row, out,
        )  # fmt: skip
        args = kernel.pack(*map(address, arrays), *self.words, classes)
        pool.launch(kernel.address, args, batch, 1)
        return out


# With NumPy


def _shifted(a: np.ndarray, by: int) -> np.ndarray:
    """Moved along the last dimension, minus infinity coming in."""
    out = np.full_like(a, -np.inf)
    if by > 0:
        out[:, by:] = a[:, :-by]
    else:
        out[:, :by] = a[:, -by:]
    return out


class Alignments:
    """With NumPy: logarithms of the probabilities of beginnings and ends of alignments, for each sequence."""

    def __init__(self, logs: np.ndarray, labels: np.ndarray, lengths: np.ndarray, sizes: np.ndarray, blank: int):
        steps, batch, _ = logs.shape
        self.states, self.skips = states_of(labels, blank)
        self.logs, self.lengths, self.sizes = logs, lengths, sizes
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
        self.loss = _total(begins[np.maximum(lengths, 1) - 1, self.rows], 2 * sizes + 1, lengths)

    def _ends(self) -> np.ndarray:
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

    def gradient(self, g: np.ndarray, zero_infinity: bool) -> np.ndarray:
        """By `logs`, where `g` is that of the losses."""
        with np.errstate(all="ignore"):
            share = np.exp(self.begins + self._ends() - self.emitted + self.loss[:, None])
            out = np.exp(self.logs)
            steps, batch, _ = share.shape
            place = np.arange(steps)[:, None, None], np.arange(batch)[None, :, None], self.states[None]
            np.subtract.at(out, place, share)
            out = out * g.astype(np.float64)[:, None]
        out[np.arange(steps)[:, None] >= self.lengths] = 0
        if zero_infinity:
            out[:, np.isinf(self.loss)] = 0
        return out

"""Sequences of different lengths: packed, padded, and back.

>>> import livegrad
>>> from livegrad.nn.utils.rnn import pack_sequence, pad_packed_sequence
>>> packed = pack_sequence([livegrad.tensor([1., 2., 3.]), livegrad.tensor([4., 5.])])
>>> packed.data.tolist(), packed.batch_sizes.tolist()
([1.0, 4.0, 2.0, 5.0, 3.0], [2, 2, 1])
>>> pad_packed_sequence(packed, batch_first=True)[0].tolist()
[[1.0, 2.0, 3.0], [4.0, 5.0, 0.0]]
"""

from collections import namedtuple

import numpy as np

import livegrad
from livegrad.devices import cpu
from livegrad.lazy.value import from_array
from livegrad.observe import WATCH
from livegrad.runtime import array as arrays
from livegrad.tensor import wrap

__all__ = [
    "PackedSequence", "invert_permutation", "pack_padded_sequence", "pack_sequence", "pad_packed_sequence",
    "pad_sequence", "unpack_sequence", "unpad_sequence",
]  # fmt: skip


class PackedSequence(
    namedtuple("PackedSequence", ("data", "batch_sizes", "sorted_indices", "unsorted_indices"))  # noqa: PYI024
):
    """Sequences of a batch, step by step without padding: made by the functions of this module.

    data: all steps one after the other, each with the sequences that are that long. batch_sizes: how many those are.
    sorted_indices: the order of the sequences, longest first, unless they came so; unsorted_indices undoes it.
    """

    __slots__ = ()

    def __new__(cls, data, batch_sizes=None, sorted_indices=None, unsorted_indices=None):
        if batch_sizes is None:
            if not isinstance(data, (list, tuple)) or len(data) != 2:
                raise ValueError("batch_sizes must be given")
            data, batch_sizes = data
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args, **kwargs):
        """With the data moved or converted as `Tensor.to` does."""
        data = self.data.to(*args, **kwargs)
        return self if data is self.data else type(self)(data, *self[1:])

    def cpu(self, *args, **kwargs):
        """On the CPU."""
        return self.to(*args, device="cpu", **kwargs)

    def cuda(self, *args, **kwargs):
        """On a CUDA device."""
        return self.to(*args, device="cuda", **kwargs)

    def double(self):
        """In float64."""
        return self.to(dtype=livegrad.float64)

    def float(self):
        """In float32."""
        return self.to(dtype=livegrad.float32)

    def half(self):
        """In float16."""
        return self.to(dtype=livegrad.float16)

    def pin_memory(self):
        """Itself: there is nothing to pin on the CPU."""
        return self

    @property
    def is_cuda(self):
        """Whether the data is on a CUDA device."""
        return self.data.is_cuda

    def is_pinned(self):
        """Whether the data is in pinned memory: never."""
        return False


def invert_permutation(permutation):
    """The permutation that undoes another one; None for None."""
    if permutation is None:
        return None
    out = livegrad.empty_like(permutation)
    out[permutation] = livegrad.arange(permutation.numel(), dtype=permutation.dtype, device=permutation.device)
    return out


def _batch_sizes(lengths):
    """How many of the sequences, longest first, reach each step."""
    sizes, left = [], len(lengths)
    for step in range(lengths[0]):
        while lengths[left - 1] <= step:
            left -= 1
        sizes.append(left)
    return sizes


def pack_padded_sequence(input, lengths, batch_first=False, enforce_sorted=True):
    """Pack padded sequences (T, B, *), or (B, T, *) with ``batch_first``, of the given lengths.

    ``enforce_sorted`` says that they come longest first; otherwise they are sorted here. Raises RuntimeError for a
    length of 0, lengths that are not sorted though they should be, or of another number than the batch.
    """
    lengths = livegrad.as_tensor(lengths, dtype=livegrad.int64)
    order = None
    if not enforce_sorted:
        lengths, order = livegrad.sort(lengths, descending=True)
        order = order.to(input.device)
        input = input.index_select(0 if batch_first else 1, order)
    counts = lengths.tolist()
    batch = input.size(0 if batch_first else 1)
    if len(counts) != batch:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(counts)} (batch_size={batch})"
        )
    if not counts:
        raise RuntimeError("Cannot pack empty tensors.")
    if counts[-1] <= 0 or min(counts) <= 0:
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0"
        )
    if any(a < b for a, b in zip(counts, counts[1:])):
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass "
            "`enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this requirement if you "
            "do not need ONNX exportability."
        )
    steps = input.size(1 if batch_first else 0)
    if counts[0] > steps:
        raise RuntimeError(f"Expected lengths of at most {steps}, the number of steps, but got {counts[0]}")
    sizes = _batch_sizes(counts)
    rows = input.transpose(0, 1) if batch_first else input
    if all(n == batch for n in sizes):
        data = rows[: len(sizes)].reshape(-1, *rows.shape[2:])
    else:
        places = livegrad.cat([livegrad.arange(n) + t * batch for t, n in enumerate(sizes)]).to(rows.device)
        data = rows.reshape(-1, *rows.shape[2:]).index_select(0, places)
    return PackedSequence(data, livegrad.tensor(sizes, dtype=livegrad.int64), order)


def pad_packed_sequence(sequence, batch_first=False, padding_value=0.0, total_length=None):
    """(padded, lengths) of packed sequences: (T, B, *), or (B, T, *) with ``batch_first``, in their original order.

    ``total_length`` is the number of steps to pad to; ValueError if that is less than the longest sequence.
    """
    sizes = sequence.batch_sizes.tolist()
    steps, batch = len(sizes), sizes[0]
    if total_length is not None:
        if total_length < steps:
            raise ValueError(
                "Expected total_length to be at least the length of the longest sequence in input, but got "
                f"total_length={total_length} and max sequence length being {steps}"
            )
        steps = total_length
    data = sequence.data
    lengths = livegrad.tensor([sum(n > b for n in sizes) for b in range(batch)], dtype=livegrad.int64)
    if all(n == batch for n in sizes) and steps == len(sizes):
        padded = data.reshape(steps, batch, *data.shape[1:])
    else:
        places = livegrad.cat([livegrad.arange(n) + t * batch for t, n in enumerate(sizes)]).to(data.device)
        padded = data.new_full((steps * batch, *data.shape[1:]), padding_value)
        padded = padded.index_copy(0, places, data).reshape(steps, batch, *data.shape[1:])
    if batch_first:
        padded = padded.transpose(0, 1)
    order = sequence.unsorted_indices
    if order is not None:
        return padded.index_select(0 if batch_first else 1, order), lengths[order.cpu()]
    return padded, lengths


def pad_sequence(sequences, batch_first=False, padding_value=0.0, padding_side="right"):
    """Tensors (L, *) of different L as one: (T, B, *), or (B, T, *) with ``batch_first``."""
    if padding_side not in ("right", "left"):
        raise RuntimeError(f"padding_side must be 'right' or 'left', not {padding_side!r}")
    if isinstance(sequences, livegrad.Tensor):
        sequences = sequences.unbind(0)
    sequences = list(sequences)
    if not sequences:
        raise RuntimeError("received an empty list of sequences")
    if _are_plain(sequences):
        return _copied(sequences, batch_first, padding_value, padding_side == "left")
    # One table of all steps and, last, what fills; then each place of the result is one of its rows.
    lengths = [s.size(0) for s in sequences]
    total, steps = sum(lengths), max(lengths)
    places = np.full((len(lengths), steps), total)
    start = 0
    for row, n in zip(places, lengths):
        row[slice(n) if padding_side == "right" else slice(steps - n, steps)] = range(start, start + n)
        start += n
    if not batch_first:
        places = np.ascontiguousarray(places.T)
    first = sequences[0]
    table = livegrad.cat([*sequences, first.new_full((1, *first.shape[1:]), padding_value)])
    return table[livegrad.from_numpy(places).to(first.device)]


def _are_plain(sequences):
    """Whether nobody asks how a padded batch is made of them, and they are alike."""
    first = sequences[0]
    if WATCH.observer is not None or WATCH.batcher is not None:
        return False
    return all(
        type(s) is livegrad.Tensor and s.device is cpu and s.dtype is first.dtype and s.shape[1:] == first.shape[1:]
        and s.dim() and not (s.requires_grad and livegrad.is_grad_enabled()) for s in sequences
    )  # fmt: skip


def _copied(sequences, batch_first, padding_value, at_end):
    """The padded batch, into which each sequence is copied."""
    steps, batch, rest = max(len(s) for s in sequences), len(sequences), sequences[0].shape[1:]
    first = (batch, steps) if batch_first else (steps, batch)
    made = arrays.full_on(cpu, (*first, *rest), sequences[0].dtype, padding_value)
    rows = made.native() if batch_first else made.native().swapaxes(0, 1)
    for row, s in zip(rows, sequences):
        n = len(s)
        row[steps - n if at_end else 0 : steps if at_end else n] = s.detach()._to_numpy()
    return wrap(from_array(made))


def unpad_sequence(padded_sequences, lengths, batch_first=False):
    """The sequences of a padded batch, each as long as it is."""
    if not batch_first:
        padded_sequences = padded_sequences.transpose(0, 1)
    return [s[:n] for s, n in zip(padded_sequences.unbind(0), lengths.tolist())]


def pack_sequence(sequences, enforce_sorted=True):
    """Pack a list of tensors (L, *) of different L."""
    lengths = livegrad.tensor([s.size(0) for s in sequences], dtype=livegrad.int64)
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences):
    """The sequences of a packed batch, as a list."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)

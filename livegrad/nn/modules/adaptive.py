"""AdaptiveLogSoftmaxWithLoss: log-probabilities of very many classes, of which few are frequent."""

from collections import namedtuple

import livegrad
from livegrad.nn import functional as F
from livegrad.nn.module import Module

from .container import ModuleList, Sequential
from .linear import Linear

__all__ = ["AdaptiveLogSoftmaxWithLoss"]

_ASMoutput = namedtuple("_ASMoutput", ("output", "loss"))


class AdaptiveLogSoftmaxWithLoss(Module):
    """The softmax of classes sorted by frequency, computed in two steps (Grave and others, 2017).

    Classes below ``cutoffs[0]`` are told apart at once, by the head; the others are in clusters, which begin at the
    cutoffs, and each of which is told apart from a smaller vector: ``div_value`` times smaller from one to the next.
    Called with ``(input, target)`` of shapes (N, in_features) and (N), or without N, it gives ``output``, the
    log-probability of each target, and ``loss``, minus their mean. Raises ValueError for cutoffs that do not ascend
    from 1 to n_classes - 1, and RuntimeError for targets that are no classes.

    >>> import livegrad
    >>> from livegrad import nn
    >>> layer = nn.AdaptiveLogSoftmaxWithLoss(8, 20, cutoffs=[4, 10])
    >>> output, loss = layer(livegrad.randn(3, 8), livegrad.tensor([0, 5, 19]))
    >>> output.shape
    torch.Size([3])
    >>> livegrad.allclose(layer.log_prob(livegrad.randn(3, 8)).exp().sum(1), livegrad.ones(3))
    True
    """

    def __init__(self, in_features, n_classes, cutoffs, div_value=4.0, head_bias=False, device=None, dtype=None):
        super().__init__()
        cutoffs = list(cutoffs)
        if not cutoffs:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        ascending = cutoffs == sorted(set(cutoffs)) and all(int(c) == c for c in cutoffs)
        if not ascending or min(cutoffs) <= 0 or max(cutoffs) > n_classes - 1:
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing order, where each "
                "value is between 1 and n_classes-1"
            )
        self.in_features, self.n_classes, self.div_value, self.head_bias = in_features, n_classes, div_value, head_bias
        self.cutoffs = [*cutoffs, n_classes]
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        made = {"device": device, "dtype": dtype}
        self.head = Linear(in_features, self.head_size, bias=head_bias, **made)
        self.tail = ModuleList()
        for i in range(self.n_clusters):
            size = int(in_features // div_value ** (i + 1))
            classes = self.cutoffs[i + 1] - self.cutoffs[i]
            self.tail.append(
                Sequential(Linear(in_features, size, bias=False, **made), Linear(size, classes, bias=False, **made))
            )

    def reset_parameters(self):
        """Draws all weights again."""
        self.head.reset_parameters()
        for smaller, classes in self.tail:
            smaller.reset_parameters()
            classes.reset_parameters()

    def _check(self, input, target):
        if target.dim() == 1:
            if input.size(0) != target.size(0):
                raise RuntimeError("Input and target should have the same size in the batch dimension.")
            if input.dim() != 2:
                raise RuntimeError(
                    f"1D target tensor expects 2D input tensors, but found inputs with size {input.size()}"
                )
        elif target.dim() == 0:
            if input.dim() != 1:
                raise RuntimeError(
                    f"0D target tensor expects 1D input tensors, but found inputs with size {input.size()}"
                )
        else:
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")

    def forward(self, input_, target_):
        self._check(input_, target_)
        batched = target_.dim() > 0
        input, target = (input_, target_) if batched else (input_.unsqueeze(0), target_.unsqueeze(0))
        low, high = (int(target.min()), int(target.max())) if target.numel() else (0, 0)
        if low < 0 or high >= self.n_classes:
            raise RuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in range [{low}, {high}] were "
                "found. "
            )
        output = input.new_zeros(target.size(0))
        in_head = target.clone()
        for i, cluster in enumerate(self.tail):
            start, end = self.cutoffs[i : i + 2]
            rows = ((target >= start) & (target < end)).nonzero().reshape(-1)
            if rows.numel() == 0:
                continue
            in_head.index_fill_(0, rows, self.shortlist_size + i)
            inside = F.log_softmax(cluster(input.index_select(0, rows)), dim=1)
            found = inside.gather(1, (target.index_select(0, rows) - start).unsqueeze(1)).squeeze(1)
            output = output.index_copy(0, rows, found)
        output = output + F.log_softmax(self.head(input), dim=1).gather(1, in_head.unsqueeze(1)).squeeze(1)
        loss = (-output).mean()
        return _ASMoutput(output if batched else output.squeeze(0), loss)

    def _all(self, input, head):
        """The log-probabilities of all classes, given what the head computes."""
        own = F.log_softmax(head, dim=1)
        parts = [own[:, : self.shortlist_size]]
        for i, cluster in enumerate(self.tail):
            parts.append(F.log_softmax(cluster(input), dim=1) + own[:, self.shortlist_size + i].unsqueeze(1))
        return livegrad.cat(parts, dim=1)

    def log_prob(self, input):
        """The log-probabilities of all classes: (N, in_features) gives (N, n_classes)."""
        return self._all(input, self.head(input))

    def predict(self, input):
        """The most probable class of each row; clusters are looked into only where the head prefers one."""
        head = self.head(input)
        output = head.argmax(dim=1)
        beyond = output >= self.shortlist_size
        if not beyond.any():
            return output
        rows = beyond.nonzero().reshape(-1)
        return output.index_copy(0, rows, self._all(input[rows], head[rows]).argmax(dim=1))

"""Averages of a model's parameters over training, and the schedule that goes with them."""

import copy
import itertools
import math

import livegrad

from ..nn.module import Module
from ..nn.modules.batchnorm import _BatchNorm
from .lr_scheduler import LRScheduler

__all__ = [
    "SWALR", "AveragedModel", "get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn", "get_swa_multi_avg_fn",
    "update_bn",
]  # fmt: skip


def _check_decay(decay):
    if not 0.0 <= decay <= 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")


def get_ema_avg_fn(decay=0.999):
    """The running average in which the past counts by `decay`, for `AveragedModel`'s avg_fn."""
    _check_decay(decay)

    @livegrad.no_grad()
    def update(averaged, current, num_averaged):
        return decay * averaged + (1 - decay) * current

    return update


def get_swa_avg_fn():
    """The equal average, for `AveragedModel`'s avg_fn."""

    @livegrad.no_grad()
    def update(averaged, current, num_averaged):
        return averaged + (current - averaged) / (num_averaged + 1)

    return update


def _each(update):
    """The form for lists of tensors of a function for one of them."""

    @livegrad.no_grad()
    def together(averaged, current, num_averaged):
        for a, c in zip(averaged, current):
            a.copy_(update(a, c, num_averaged))

    return together


def get_ema_multi_avg_fn(decay=0.999):
    """`get_ema_avg_fn` for all parameters at once, in place."""
    return _each(get_ema_avg_fn(decay))


def get_swa_multi_avg_fn():
    """`get_swa_avg_fn` for all parameters at once, in place."""
    return _each(get_swa_avg_fn())


class AveragedModel(Module):
    """A copy of a model whose parameters are averages of those that the model has at each `update_parameters`.

    avg_fn(average, present, how many so far) gives the new average of one parameter, multi_avg_fn takes lists and works
    in place; without either, all count the same. use_buffers: average the buffers as well; else they are copied.

    >>> import livegrad
    >>> from livegrad.optim.swa_utils import AveragedModel
    >>> model = livegrad.nn.Linear(1, 1)
    >>> average = AveragedModel(model)
    >>> for value in (1.0, 3.0):
    ...     _ = livegrad.nn.init.constant_(model.weight, value)
    ...     average.update_parameters(model)
    >>> average.module.weight.item()
    2.0
    """

    def __init__(self, model, device=None, avg_fn=None, multi_avg_fn=None, use_buffers=False):
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = copy.deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", livegrad.tensor(0, dtype=livegrad.long, device=device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args, **kwargs):
        return self.module(*args, **kwargs)

    @livegrad.no_grad()
    def update_parameters(self, model):
        """Takes the model's present parameters into the averages."""
        ours, theirs = self._averaged(self.module), self._averaged(model)
        count = self.n_averaged.item()
        if count == 0:
            for a, c in zip(ours, theirs):
                a.copy_(c)
        elif self.multi_avg_fn is not None:
            self.multi_avg_fn([a.detach() for a in ours], [c.detach() for c in theirs], self.n_averaged)
        else:
            update = self.avg_fn or get_swa_avg_fn()
            for a, c in zip(ours, theirs):
                a.copy_(update(a.detach(), c.detach(), self.n_averaged))
        if not self.use_buffers:
            for a, c in zip(self.module.buffers(), model.buffers()):
                a.copy_(c)
        self.n_averaged += 1

    def _averaged(self, model):
        return list(itertools.chain(model.parameters(), model.buffers() if self.use_buffers else ()))


@livegrad.no_grad()
def update_bn(loader, model, device=None):
    """Sets a model's batch norm statistics to the averages over what a loader gives: an average has none of its own.

    What the loader gives is the input, or a list or tuple that begins with it.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    if not norms:
        return
    momenta = [m.momentum for m in norms]
    training = model.training
    model.train()
    for m in norms:
        m.reset_running_stats()
        m.momentum = None  # the statistics are plain averages
    for given in loader:
        given = given[0] if isinstance(given, (list, tuple)) else given
        model(given if device is None else given.to(device))
    for m, momentum in zip(norms, momenta):
        m.momentum = momentum
    model.train(training)


class SWALR(LRScheduler):
    """Goes from the present learning rates to `swa_lr` in `anneal_epochs` steps, and stays there.

    swa_lr: a number, or one for each group. anneal_strategy: "cos" or "linear".
    """

    def __init__(self, optimizer, swa_lr, anneal_epochs=10, anneal_strategy="cos", last_epoch=-1):
        groups = optimizer.param_groups
        rates = list(swa_lr) if isinstance(swa_lr, (list, tuple)) else [swa_lr] * len(groups)
        if len(rates) != len(groups):
            raise ValueError(
                f"swa_lr must have the same length as optimizer.param_groups. swa_lr has {len(rates)} values, "
                f"param_groups has {len(groups)}."
            )
        for rate, group in zip(rates, groups):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self._strategy = anneal_strategy
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _share(self, step):
        """How far step is on the way to swa_lr, from 0 to 1."""
        t = max(0, min(1, step / max(1, self.anneal_epochs)))
        return t if self._strategy == "linear" else (1 - math.cos(math.pi * t)) / 2

    def get_lr(self):
        self._check_within_step()
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._share(step - 1), self._share(step)
        rates = []
        for group, present in zip(self.optimizer.param_groups, self._present()):
            target = group["swa_lr"]
            start = target if before == 1 else (present - before * target) / (1 - before)
            rates.append(target * now + start * (1 - now))
        return rates

"""What all schedules share: when the rates are written, and what is saved."""

from __future__ import annotations

from ...site import warn
from ...tensor import Tensor
from ..optimizer import Optimizer

EPOCH_WARNING = (
    "The epoch parameter in `scheduler.step()` was not necessary and is being deprecated where possible. Please use "
    "`scheduler.step()` to step the scheduler. During the deprecation, if epoch is different from None, the closed "
    "form is used instead of the new chainable form, where available. Please open an issue if you are unable to "
    "replicate your use case: https://github.com/pytorch/pytorch/issues/new/choose."
)
ORDER_WARNING = (
    "Detected call of `lr_scheduler.step()` before `optimizer.step()`. In PyTorch 1.1.0 and later, you should call "
    "them in the opposite order: `optimizer.step()` before `lr_scheduler.step()`.  Failure to do this will result in "
    "PyTorch skipping the first value of the learning rate schedule. See more details at "
    "https://pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate"
)


def check_optimizer(optimizer):
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
    return optimizer


def plain(value):
    return value.clone() if isinstance(value, Tensor) else value


def set_option(group, key, value):
    """Writes an option of a group; one that is a tensor is changed in place."""
    if isinstance(group[key], Tensor):
        group[key].fill_(value if not isinstance(value, Tensor) else value.item())
    else:
        group[key] = value


class LRScheduler:
    """The base class. A subclass defines ``get_lr``: the learning rates of the groups at ``self.last_epoch``.

    It may read the present ones in ``group["lr"]`` and the first ones in ``self.base_lrs``. ``last_epoch=-1`` starts
    anew; another value resumes, and then the groups must have an ``"initial_lr"``.
    """

    _get_lr_called_within_step = False

    def __init__(self, optimizer, last_epoch=-1):
        self.optimizer = check_optimizer(optimizer)
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", plain(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{i}] when resuming scheduler with "
                    "last_epoch >= 0.\nThis typically happens when:\n1. You're trying to resume training from a "
                    "checkpoint but haven't properly loaded the optimizer state\n2. You're using last_epoch >= 0 for "
                    "a fresh training run (not recommended)"
                )
        self.base_lrs = [plain(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._initial_step()

    def _initial_step(self):
        """Takes epoch 0's learning rates."""
        self._step_count = 0
        self._is_initial = True
        self.step()
        self._is_initial = False

    def state_dict(self):
        """Everything about the schedule except its optimizer."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict):
        """Takes back what `state_dict` gave."""
        self.__dict__.update(state_dict)

    def get_last_lr(self):
        """The learning rates that the last step set, one for each group."""
        return self._last_lr

    def get_lr(self):
        """The learning rates of the present epoch, one for each group; subclasses define it."""
        raise NotImplementedError

    def step(self, epoch=None):
        """Goes on to the next epoch (or to ``epoch``) and sets its learning rates."""
        if self._step_count == 1 and not self.optimizer._opt_called:
            warn(ORDER_WARNING)
        self._step_count += 1
        if epoch is not None:
            warn(EPOCH_WARNING)
        self._go_to(epoch)

    def _go_to(self, epoch):
        self._get_lr_called_within_step = True
        try:
            if epoch is None:
                self.last_epoch += 1
                rates = self.get_lr()
            else:
                self.last_epoch = epoch
                closed_form = getattr(self, "_get_closed_form_lr", self.get_lr)
                rates = closed_form()
        finally:
            self._get_lr_called_within_step = False
        self._write(rates)

    def _write(self, rates):
        for group, rate in zip(self.optimizer.param_groups, rates):
            set_option(group, "lr", rate)
        self._last_lr = [plain(group["lr"]) for group in self.optimizer.param_groups]

    def _check_within_step(self):
        if not self._get_lr_called_within_step:
            warn("To get the last learning rate computed by the scheduler, please use `get_last_lr()`.")

    def _present(self):
        """The learning rates as they are."""
        return [plain(group["lr"]) for group in self.optimizer.param_groups]


_LRScheduler = LRScheduler  # its old name

"""Warnings are about the user's line, through whatever part of the library they come."""

import warnings
from pathlib import Path

import pytest

import livegrad
from livegrad import nn
from livegrad.utils.checkpoint import checkpoint
from livegrad.utils.data import DataLoader

F = nn.functional
IMAGE = livegrad.rand(1, 2, 4, 4)


def scheduler_before_optimizer():
    optimizer = livegrad.optim.SGD([nn.Parameter(livegrad.ones(1))], lr=0.1)
    schedule = livegrad.optim.lr_scheduler.StepLR(optimizer, 1)
    schedule.step()


WARN = {
    "grid_sample": lambda: F.grid_sample(IMAGE, livegrad.zeros(1, 2, 2, 2)),
    "affine_grid": lambda: F.affine_grid(livegrad.eye(2, 3)[None], (1, 2, 4, 4)),
    "upsample": lambda: F.upsample(IMAGE, scale_factor=2),
    "Upsample": lambda: F.upsample_nearest(IMAGE, scale_factor=2),
    "dropout2d": lambda: F.dropout2d(livegrad.ones(2, 2)),
    "Dropout2d in a model": lambda: nn.Sequential(nn.Identity(), nn.Dropout2d())(livegrad.ones(2, 2)),
    "rnn": lambda: nn.LSTM(2, 2, dropout=0.5),
    "clip_grad_norm": lambda: nn.utils.clip_grad_norm([nn.Parameter(livegrad.ones(1))], 1.0),
    "init": lambda: nn.init.xavier_uniform(livegrad.ones(2, 2)),
    "nothing to initialise": lambda: nn.init.kaiming_uniform_(livegrad.ones(0, 2)),
    "checkpoint": lambda: checkpoint(lambda x: x, livegrad.ones(1)),
    "DataLoader": lambda: DataLoader([1, 2], num_workers=2000),
    "scheduler": scheduler_before_optimizer,
    "kl_div": lambda: F.kl_div(IMAGE.log(), IMAGE),
}


@pytest.mark.parametrize("name", WARN)
def test_the_line_is_the_users(name):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        WARN[name]()
    assert [w.filename for w in seen] == [__file__] * len(seen) and seen, seen


def test_one_function_finds_the_line():
    package = Path(livegrad.__file__).parent
    callers = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if "warnings.warn(" in path.read_text(encoding="utf-8")
    }
    assert callers == {"site.py", "tensor.py"}

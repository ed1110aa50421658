"""Learning-rate schedules: the same numbers as PyTorch's, to the last bit."""

import copy
import warnings

import pytest

import livegrad
import livegrad.nn
import livegrad.optim

torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")
BOTH = (livegrad, torch)

SCHEDULES = {
    "step": lambda s, o: s.StepLR(o, 3),
    "multi step": lambda s, o: s.MultiStepLR(o, [3, 7, 7, 9], 0.5),
    "exponential": lambda s, o: s.ExponentialLR(o, 0.9),
    "cosine": lambda s, o: s.CosineAnnealingLR(o, 7, 0.01),
    "lambda": lambda s, o: s.LambdaLR(o, lambda e: 0.95**e),
    "lambdas": lambda s, o: s.LambdaLR(o, [lambda e: 0.95**e, lambda e: 1 / (e + 1)]),
    "multiplicative": lambda s, o: s.MultiplicativeLR(o, lambda e: 0.95),
    "linear": lambda s, o: s.LinearLR(o, 0.2, 0.9, 6),
    "constant": lambda s, o: s.ConstantLR(o, 0.2, 6),
    "polynomial": lambda s, o: s.PolynomialLR(o, 9, 2.0),
    "one cycle": lambda s, o: s.OneCycleLR(o, 1.0, 41),
    "one cycle in three": lambda s, o: s.OneCycleLR(o, [1.0, 2.0], 41, three_phase=True, anneal_strategy="linear"),
    "one cycle by epochs": lambda s, o: s.OneCycleLR(o, 1.0, epochs=6, steps_per_epoch=7, cycle_momentum=False),
    "plateau": lambda s, o: s.ReduceLROnPlateau(o, patience=2, cooldown=1),
    "plateau of a maximum": lambda s, o: s.ReduceLROnPlateau(o, "max", patience=2, threshold_mode="abs", min_lr=1e-3),
    "restarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 3, 2, 0.001),
    "restarts of one length": lambda s, o: s.CosineAnnealingWarmRestarts(o, 3),
    "sequence": lambda s, o: s.SequentialLR(
        o, [s.ConstantLR(o, 0.1, 2), s.ExponentialLR(o, 0.9), s.CosineAnnealingLR(o, 10)], [4, 9]
    ),
    "warm-up": lambda s, o: s.SequentialLR(o, [s.LinearLR(o, 0.1, 1.0, 5), s.CosineAnnealingLR(o, 10)], [5]),
    "warm-up, then restarts": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.1, 1.0, 5), s.CosineAnnealingWarmRestarts(o, 4)], [5]
    ),
    "long sequence": lambda s, o: s.SequentialLR(
        o,
        [s.LinearLR(o, 0.1), s.StepLR(o, 4), s.LambdaLR(o, lambda e: 0.9**e), s.MultiplicativeLR(o, lambda e: 0.9)],
        [5, 12, 20],
    ),
    "chain": lambda s, o: s.ChainedScheduler([s.ConstantLR(o, 0.1, 2), s.ExponentialLR(o, 0.9)]),
    "cyclic": lambda s, o: s.CyclicLR(o, 0.1, 0.5, 4, mode="triangular2"),
    "cyclic by steps": lambda s, o: s.CyclicLR(o, 0.1, 0.5, 4, 5, mode="exp_range", gamma=0.9),
    "cyclic by a function": lambda s, o: s.CyclicLR(o, 0.1, 0.5, 4, scale_fn=lambda x: 0.5**x, cycle_momentum=False),
}


def optimizer_of(library, **options):
    a, b = (library.nn.Parameter(library.ones(1)) for _ in range(2))
    options = {"lr": 0.1, "momentum": 0.9, **options}
    return library.optim.SGD([{"params": [a]}, {"params": [b], "lr": 0.3}], **options)


def advance(schedule, i):
    if "ReduceLROnPlateau" in type(schedule).__name__:
        schedule.step(max(1.0, 5.0 - i))
    else:
        schedule.step()


def run(library, make, steps=40):
    optimizer = optimizer_of(library)
    schedule = make(library.optim.lr_scheduler, optimizer)
    rates = [list(schedule.get_last_lr())]
    for i in range(steps):
        optimizer.step()
        advance(schedule, i)
        rates.append([*schedule.get_last_lr(), *(g["lr"] for g in optimizer.param_groups)])
        rates[-1] += [g["momentum"] for g in optimizer.param_groups]
    return rates, schedule, optimizer


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name):
    mine, ours, _ = run(livegrad, SCHEDULES[name])
    theirs, reference, _ = run(torch, SCHEDULES[name])
    assert mine == theirs
    assert ours.state_dict().keys() == reference.state_dict().keys()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SCHEDULES)
def test_states_load_and_continue(name):
    full, _, _ = run(livegrad, SCHEDULES[name], 12)
    _, schedule, optimizer = run(livegrad, SCHEDULES[name], 6)
    saved = copy.deepcopy(schedule.state_dict()), copy.deepcopy(optimizer.state_dict())
    fresh = optimizer_of(livegrad)
    resumed = SCHEDULES[name](livegrad.optim.lr_scheduler, fresh)
    resumed.load_state_dict(saved[0])
    fresh.load_state_dict(saved[1])
    for i in range(6, 12):
        fresh.step()
        advance(resumed, i)
        assert list(resumed.get_last_lr()) == full[i + 1][:2]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["step", "cosine", "linear", "exponential", "multi step", "polynomial", "constant"])
def test_epochs_may_be_stated(name):
    for epoch in (0, 3, 8):
        rates = []
        for library in BOTH:
            optimizer = optimizer_of(library)
            schedule = SCHEDULES[name](library.optim.lr_scheduler, optimizer)
            schedule.step(epoch)
            schedule.step()
            rates.append(schedule.get_last_lr())
        assert rates[0] == rates[1]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["StepLR(o, 2, last_epoch=3)", "ExponentialLR(o, 0.9, last_epoch=3)",
                                  "CosineAnnealingLR(o, 5, last_epoch=3)", "LinearLR(o, last_epoch=3)",
                                  "LambdaLR(o, lambda e: 0.9**e, last_epoch=3)", "PolynomialLR(o, last_epoch=3)",
                                  "MultiplicativeLR(o, lambda e: 0.9, last_epoch=3)", "ConstantLR(o, last_epoch=3)",
                                  "MultiStepLR(o, [2, 5], last_epoch=3)"])  # fmt: skip
def test_schedules_may_start_later(name):
    rates = []
    for library in BOTH:
        optimizer = optimizer_of(library)
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        schedule = eval("s." + name, {"s": library.optim.lr_scheduler, "o": optimizer})
        rates.append([schedule.get_last_lr()])
        for _ in range(5):
            optimizer.step()
            schedule.step()
            rates[-1].append(schedule.get_last_lr())
    assert rates[0] == rates[1]


def test_a_learning_rate_that_is_a_tensor_is_changed_in_place():
    p = livegrad.nn.Parameter(livegrad.ones(1))
    rate = livegrad.tensor(0.5)
    optimizer = livegrad.optim.SGD([p], lr=rate)
    schedule = livegrad.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    optimizer.step()
    schedule.step()
    assert optimizer.param_groups[0]["lr"] is rate and float(rate) == 0.25


WRONG = [
    "S.StepLR(3, 2)", "S.StepLR(o(), 2, last_epoch=3)", "S.StepLR(o(), 2).step()", "S.StepLR(o(), 2).step(3)",
    "S.StepLR(o(), 2).get_lr()", "S.LinearLR(o(), 2)", "S.LinearLR(o(), 1, end_factor=2)", "S.ConstantLR(o(), 2)",
    "S.OneCycleLR(o(), 2)", "S.OneCycleLR(o(), 2, total_steps=-2)", "S.OneCycleLR(o(), 2, total_steps=5, pct_start=2)",
    "S.OneCycleLR(o(), 2, total_steps=5, anneal_strategy='x')", "S.OneCycleLR(o(), [2, 3, 4], total_steps=5)",
    "S.OneCycleLR(o(), 2, epochs=3)", "S.OneCycleLR(o(), 2, epochs=-3, steps_per_epoch=2)",
    "S.LambdaLR(o(), [lambda e: 1])", "S.ReduceLROnPlateau(o(), factor=2)", "S.ReduceLROnPlateau(o(), mode='x')",
    "S.ReduceLROnPlateau(o(), threshold_mode='x')", "S.ReduceLROnPlateau(o(), min_lr=[1])",
    "S.SequentialLR(o(), [], [])", "S.CosineAnnealingWarmRestarts(o(), -1)", "S.CosineAnnealingWarmRestarts(o(), 1, 0)",
    "S.CyclicLR(o(), 1, 2, mode='x')",
]  # fmt: skip


@pytest.mark.parametrize("code", WRONG)
def test_errors_and_warnings_read_as_pytorchs(code):
    seen = []
    for library in BOTH:
        space = {"S": library.optim.lr_scheduler, "o": lambda library=library: optimizer_of(library)}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                eval(code, space)
                error = None
            except Exception as raised:
                error = (type(raised).__name__, str(raised))
        seen.append((error, [str(w.message) for w in caught]))
    assert seen[0] == seen[1]


def test_one_cycle_ends():
    for library in BOTH:
        optimizer = optimizer_of(library)
        schedule = library.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, 3)
        with pytest.raises(ValueError, match="Tried to step 4 times. The specified number of total steps is 3"):
            for _ in range(5):
                optimizer.step()
                schedule.step()

"""swa_utils against PyTorch."""

import numpy as np
import pytest

import livegrad
import livegrad.optim.swa_utils

torch = pytest.importorskip("torch")
import torch.optim.swa_utils  # noqa: E402, F811

BOTH = (livegrad, torch)

AVERAGES = {
    "equal": lambda s: {},
    "equal, with buffers": lambda s: {"use_buffers": True},
    "ema": lambda s: {"avg_fn": s.get_ema_avg_fn(0.9)},
    "ema, together": lambda s: {"multi_avg_fn": s.get_ema_multi_avg_fn(0.9)},
    "equal, together": lambda s: {"multi_avg_fn": s.get_swa_multi_avg_fn()},
    "own": lambda s: {"avg_fn": lambda average, present, count: average * 0.5 + present / count},
}


@pytest.mark.parametrize("name", AVERAGES)
def test_averaged_model(name):
    states = []
    for m in BOTH:
        m.manual_seed(0)
        model = m.nn.Sequential(m.nn.Linear(3, 4), m.nn.BatchNorm1d(4))
        average = m.optim.swa_utils.AveragedModel(model, **AVERAGES[name](m.optim.swa_utils))
        optimizer = m.optim.SGD(model.parameters(), lr=0.1)
        x = m.randn(8, 3)
        for _ in range(4):
            optimizer.zero_grad()
            model(x).sin().sum().backward()
            optimizer.step()
            average.update_parameters(model)
        m.optim.swa_utils.update_bn([(x[:4], 0), [x[4:]]], average)
        assert average.training
        states.append(average.eval().state_dict() | {"result": average(x)})
    assert list(states[0]) == list(states[1])
    for key, value in states[1].items():
        np.testing.assert_allclose(states[0][key].detach().numpy(), value.detach().numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "options", [{}, {"anneal_epochs": 3, "anneal_strategy": "linear"}, {"anneal_epochs": 0}], ids=str
)
@pytest.mark.parametrize("rates", [0.05, [0.05, 0.2]], ids=str)
def test_swalr(options, rates):
    found = []
    for m in BOTH:
        w, v = m.nn.Parameter(m.ones(1)), m.nn.Parameter(m.ones(1))
        optimizer = m.optim.SGD([{"params": [w]}, {"params": [v], "lr": 1.0}], lr=0.1)
        schedule = m.optim.swa_utils.SWALR(optimizer, rates, **options)
        seen = [schedule.get_last_lr()]
        for _ in range(12):
            optimizer.step()
            schedule.step()
            seen.append(schedule.get_last_lr())
        found.append(seen)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


def test_wrong_arguments():
    errors = []
    for m in BOTH:
        optimizer = m.optim.SGD([m.nn.Parameter(m.ones(1))], lr=0.1)
        seen = []
        for options in (
            {"swa_lr": [0.1, 0.2]}, {"swa_lr": 0.1, "anneal_strategy": "x"}, {"swa_lr": 0.1, "anneal_epochs": -1},
        ):  # fmt: skip
            with pytest.raises(ValueError) as caught:
                m.optim.swa_utils.SWALR(optimizer, **options)
            seen.append(str(caught.value))
        with pytest.raises(ValueError) as caught:
            m.optim.swa_utils.get_ema_avg_fn(2.0)
        errors.append([*seen, str(caught.value)])
    assert errors[0] == errors[1]

"""A module class with a `__getattr__` of its own is asked for parameters, buffers and children each time."""

import pytest

import livegrad

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("module", [livegrad, torch], ids=["livegrad", "torch"])
def test_own_getattr_is_asked_each_time(module):
    asked = []

    class Watched(module.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = module.nn.Parameter(module.ones(2))
            self.register_buffer("count", module.zeros(1))
            self.child = module.nn.Linear(2, 1)
            self.plain = 3

        def __getattr__(self, name):
            asked.append(name)
            return super().__getattr__(name)

    class Below(Watched):
        pass

    for watched in (Watched(), Below()):
        asked.clear()
        for _ in range(2):
            _ = watched.weight, watched.count, watched.child, watched.plain
        assert asked == ["weight", "count", "child"] * 2
        watched.weight = module.nn.Parameter(module.zeros(2))
        watched.count = module.ones(1)
        assert watched.weight.sum() == 0 and watched.count.item() == 1
        del watched.weight
        with pytest.raises(AttributeError):
            _ = watched.weight
        watched.double()
        assert watched.child.weight.dtype == module.float64 and watched.count.dtype == module.float64


@pytest.mark.parametrize("module", [livegrad, torch], ids=["livegrad", "torch"])
def test_parameters_that_getattr_computes(module):
    class Scaled(module.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = module.nn.Parameter(module.ones(2))

        def __getattr__(self, name):
            found = super().__getattr__(name)
            return found * 2 if name == "weight" else found

        def forward(self, x):
            return x * self.weight

    scaled = Scaled()
    scaled(module.ones(2)).sum().backward()
    assert scaled(module.ones(2)).tolist() == [2.0, 2.0]
    assert next(scaled.parameters()).grad.tolist() == [2.0, 2.0]

"""`expand` of a program's own distributions, which fill an instance that they have made, as Pyro's do."""

import pytest

import livegrad

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("module", [livegrad, torch], ids=["livegrad", "torch"])
def test_a_subclass_fills_its_own_instance(module):
    class Shifted(module.distributions.Normal):
        def __init__(self, loc, scale, note):
            self.note = note
            super().__init__(loc, scale)

        def expand(self, batch_shape, _instance=None):
            new = self._get_checked_instance(Shifted, _instance)
            new.note = "expanded " + self.note
            return super().expand(batch_shape, _instance=new)

    wide = Shifted(module.zeros(2), module.ones(2), "note").expand((3, 2))
    assert type(wide) is Shifted and wide.note == "expanded note"
    assert wide.batch_shape == (3, 2) and wide.loc.shape == (3, 2) and wide.sample().shape == (3, 2)

    class Forgetful(module.distributions.Normal):
        def __init__(self, loc):
            super().__init__(loc, 1.0)

    with pytest.raises(NotImplementedError, match="custom __init__"):
        Forgetful(module.zeros(2))._get_checked_instance(module.distributions.Normal)


@pytest.mark.parametrize("module", [livegrad, torch], ids=["livegrad", "torch"])
def test_a_transformed_one_fills_an_instance(module):
    class Noted(module.distributions.TransformedDistribution):
        def expand(self, batch_shape, _instance=None):
            new = self._get_checked_instance(Noted, _instance)
            new.note = "here"
            return super().expand(batch_shape, _instance=new)

    transforms = [module.distributions.ExpTransform()]
    wide = Noted(module.distributions.Normal(module.zeros(2), module.ones(2)), transforms).expand((3, 2))
    assert type(wide) is Noted and wide.note == "here" and wide.batch_shape == (3, 2)
    assert wide.log_prob(module.ones(3, 2)).shape == (3, 2)

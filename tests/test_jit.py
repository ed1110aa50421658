"""Programs that mark what is to be compiled run as they are."""

import pytest

import livegrad
from livegrad import jit


def test_marked_functions_and_modules_run_as_they_are():
    @jit.script
    def scripted(x):
        return x + 1 if x.sum() > 0 else x - 1

    class Net(livegrad.nn.Module):
        @jit.export
        def doubled(self, x):
            return x * 2

        @jit.ignore
        def one(self):
            return 1

        @jit.ignore(drop=True)
        def two(self):
            return 2

        @jit.unused
        def forward(self, x):
            return self.doubled(x) * self.one() * self.two()

    net = Net()
    x = livegrad.tensor([1.0])
    assert scripted(x).item() == 2.0 and scripted(-x).item() == -2.0
    assert jit.script(net) is net and jit.trace(net, x) is net
    assert jit.trace(net, (x,))(x).item() == 4.0
    assert not jit.is_scripting() and not jit.is_tracing()


def test_compile_takes_a_function_or_makes_a_decorator():
    @livegrad.compile(mode="reduce-overhead", fullgraph=True)
    def f(x):
        return x * 2

    assert f(livegrad.tensor(1.0)).item() == 2.0
    assert livegrad.compile(f, backend="inductor") is f


def test_version():
    assert livegrad.version.__version__ == livegrad.__version__
    assert livegrad.version.cuda is None


class Saved(livegrad.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = livegrad.nn.Linear(2, 3)

    def forward(self, x):
        return self.layer(x).relu()


def test_modules_are_saved_and_loaded(tmp_path):
    model, x = Saved(), livegrad.ones(1, 2)
    livegrad.jit.save(livegrad.jit.script(model), tmp_path / "m.pt", _extra_files={"note": "text"})
    extra = {"note": None}
    loaded = livegrad.jit.load(tmp_path / "m.pt", _extra_files=extra)
    assert loaded(x).tolist() == model(x).tolist() and extra == {"note": b"text"}


def test_files_that_are_not_ours_are_refused(tmp_path):
    livegrad.save({"w": livegrad.ones(1)}, tmp_path / "w.pt")
    with pytest.raises(RuntimeError, match="was not written by jit.save"):
        livegrad.jit.load(tmp_path / "w.pt")
    torch = pytest.importorskip("torch")
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)), tmp_path / "t.pt")
    with pytest.raises(RuntimeError, match="a program compiled by PyTorch's jit"):
        livegrad.jit.load(str(tmp_path / "t.pt"))

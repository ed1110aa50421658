"""Programs that mark what is to be compiled run as they are."""

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

"""Sobol's sequence against PyTorch's."""

import pytest

import livegrad

torch = pytest.importorskip("torch")
pytest.importorskip("scipy")


def both(program):
    return [program(importing(m)) for m in (livegrad, torch)]


def importing(m):
    return __import__(f"{m.__name__}.quasirandom", fromlist=["SobolEngine"]).SobolEngine, m


@pytest.mark.parametrize("dimension", [1, 2, 7, 40, 300, 21201])
def test_directions(dimension):
    mine, theirs = both(lambda m: m[0](dimension).sobolstate.tolist())
    assert mine == theirs


@pytest.mark.parametrize("options", [{}, {"scramble": True, "seed": 3}, {"scramble": True}, {"seed": 1}], ids=str)
def test_points(options):
    def program(given):
        engine_of, m = given
        m.manual_seed(7)
        engine = engine_of(5, **options)
        found = [engine.draw(), engine.draw(6), engine.draw(3, dtype=m.float64)]
        engine.fast_forward(100)
        found += [engine.draw(2), engine.reset().draw(4), engine.reset().draw_base2(3)]
        out = m.empty(0)
        engine.draw(2, out=out)
        return [t.tolist() for t in found], out.tolist(), engine.num_generated, repr(engine), engine.shift.tolist()

    mine, theirs = both(program)
    assert mine == theirs


def test_fast_forward_from_the_beginning():
    mine, theirs = both(lambda m: m[0](3).fast_forward(5).draw(2).tolist())
    assert mine == theirs


@pytest.mark.parametrize("program", [
    lambda m: m[0](0), lambda m: m[0](21202), lambda m: (e := m[0](2), e.draw(3), e.draw_base2(2)),
])  # fmt: skip
def test_errors(program):
    for m in (livegrad, torch):
        with pytest.raises(ValueError):
            program(importing(m))

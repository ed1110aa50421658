"""The CPU random stream: equal to PyTorch's where PyTorch is installed, and to known values anywhere."""

import copy
import hashlib
import os
import pickle
import subprocess
import sys
import textwrap
import threading

import ml_dtypes
import numpy as np
import pytest

import livegrad
from livegrad.sampling import DEFAULT_SEED, Stream, boxmuller, compiled, stream, twister
from livegrad.sampling.fused import fma64

try:
    import torch
except ImportError:
    torch = None

needs_torch = pytest.mark.skipif(torch is None, reason="compares with PyTorch")

BF16 = np.dtype(ml_dtypes.bfloat16)
FLOATS = ["float32", "float64", "float16", "bfloat16"]
INTEGERS = ["int64", "int32", "int16", "int8", "uint8", "bool"]
SIZES = [0, 1, 2, 15, 16, 17, 31, 100, 1000, 20003]
SEEDS = [0, 42, -3, 2**40 + 5]


def np_dtype(name):
    return BF16 if name == "bfloat16" else np.dtype(name)


def to_numpy(t):
    t = t.contiguous()
    return t.view(torch.int16).numpy().view(BF16) if t.dtype == torch.bfloat16 else t.numpy()


class Both:
    """PyTorch's generator and ours, asked the same and compared after every answer: values and state, by the bit."""

    def __init__(self, seed):
        self.g = torch.Generator().manual_seed(seed)
        self.s = Stream(seed)
        self.same_state("seeding")

    def same_state(self, what):
        assert np.array_equal(self.g.get_state().numpy(), self.s.get_state()), f"{what}: the streams part"

    def same(self, what, theirs, ours):
        theirs = to_numpy(theirs)
        assert (theirs.shape, theirs.dtype) == (ours.shape, ours.dtype), what
        assert theirs.tobytes() == ours.tobytes(), f"{what}: values differ"
        self.same_state(what)


@pytest.fixture(params=["compiled", "uncompiled"])
def loops(request, monkeypatch):
    """Both ways to run the slow loops: whichever is in use, the numbers are the same."""
    if request.param == "uncompiled":
        monkeypatch.setattr(compiled, "_functions", {})
    else:
        monkeypatch.setattr(compiled, "_WORTH", 0)


@needs_torch
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("seed", SEEDS)
def test_continuous_distributions(seed, dtype, loops):
    both = Both(seed)
    g, s, d = both.g, both.s, np_dtype(dtype)
    for n in SIZES:
        empty = torch.empty(n, dtype=getattr(torch, dtype))
        for low, high in [(0, 1), (-0.3, 0.3), (2, 5.5), (-1 / 7, 1 / 3), (1, 1)]:
            both.same(f"uniform {n}", empty.uniform_(low, high, generator=g), s.uniform(n, d, low, high))
        for mean, std in [(0, 1), (0, 0.02), (1.5, 0.7), (3, 1), (0.1, 0)]:
            both.same(f"normal {n}", empty.normal_(mean, std, generator=g), s.normal(n, d, mean, std))
        strided = torch.empty(n, 2, dtype=empty.dtype)[:, 0]
        ours = s.normal(n, d, 0.3, 1.7, contiguous=strided.is_contiguous())
        both.same(f"strided normal {n}", strided.normal_(0.3, 1.7, generator=g), ours)
        both.same(f"exponential {n}", empty.exponential_(0.37, generator=g), s.exponential(n, d, 0.37))
        both.same(f"geometric {n}", empty.geometric_(0.3, generator=g), s.geometric(n, d, 0.3))
        both.same(f"cauchy {n}", empty.cauchy_(0.3, 1.7, generator=g), s.cauchy(n, d, 0.3, 1.7))
        both.same(f"log_normal {n}", empty.log_normal_(0.3, 0.7, generator=g), s.log_normal(n, d, 0.3, 0.7))


@needs_torch
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("seed", SEEDS)
def test_discrete_distributions(seed, dtype):
    both = Both(seed)
    g, s, d = both.g, both.s, np_dtype(dtype)
    for n in SIZES:
        empty = torch.empty(n, dtype=getattr(torch, dtype))
        p = torch.linspace(0, 1, n, dtype=torch.float64).to(empty.dtype)
        weights = p + 0.25
        both.same(f"bernoulli {n}", empty.bernoulli_(0.3, generator=g), s.bernoulli(0.3, n, d))
        both.same(f"bernoulli array {n}", torch.bernoulli(p, generator=g), s.bernoulli_array(to_numpy(p), d))
        if n <= 1000:
            both.same(f"poisson {n}", torch.poisson(40 * p, generator=g), s.poisson(to_numpy(40 * p)))
        if n < 2:
            continue
        drawn = torch.multinomial(weights, 50, True, generator=g)
        both.same(f"multinomial {n}", drawn, s.multinomial(to_numpy(weights), 50, True))
        both.same(f"one {n}", torch.multinomial(weights, 1, generator=g), s.multinomial(to_numpy(weights), 1))
        if n <= 1000 and dtype in ("float32", "float64"):  # half types have ties, which PyTorch leaves in any order
            rows = torch.stack([weights, 1.25 - p + 0.25, weights * 3])
            drawn = torch.multinomial(rows, n // 2, generator=g)
            both.same(f"rows {n}", drawn, s.multinomial(to_numpy(rows), n // 2))
            drawn = torch.multinomial(rows, 9, True, generator=g)
            both.same(f"rows, replaced {n}", drawn, s.multinomial(to_numpy(rows), 9, True))


BOUNDS = [
    *[(0, 2), (0, 10), (-7, 100), (0, 257), (-300, 700), (-10, None), (5, None), (-(2**63), None)],
    *[(0, 2**27), (0, 2**28 - 1), (0, 2**28), (-(2**29), 2**29), (-(2**40), 2**41 + 3), (-(2**62), 2**62)],
    *[(-(2**63), 2**63 - 1), (0, 65504), (-65000, 3)],
]


@needs_torch
@pytest.mark.filterwarnings("ignore:.*out of bounds")
@pytest.mark.parametrize("dtype", FLOATS + INTEGERS)
@pytest.mark.parametrize("seed", SEEDS)
def test_integers(seed, dtype):
    both = Both(seed)
    g, s, d = both.g, both.s, np_dtype(dtype)
    for n in SIZES:
        empty = torch.empty(n, dtype=getattr(torch, dtype))
        both.same(f"random_ {n}", empty.random_(generator=g), s.random_full(n, d))
        for low, high in BOUNDS:
            try:
                theirs = empty.random_(low, high, generator=g)
            except RuntimeError:  # bounds the dtype does not hold: checked before anything is drawn
                continue
            both.same(f"random_ {n} {low} {high}", theirs, s.random_int(low, high, n, d))


@needs_torch
@pytest.mark.parametrize("seed", SEEDS)
def test_permutations_and_seeds(seed, loops):
    both = Both(seed)
    for n in SIZES:
        both.same(f"randperm {n}", torch.randperm(n, generator=both.g), both.s.permutation(n))
        seed_tensor = torch.empty(1, dtype=torch.int64).random_(generator=both.g)
        both.same("seed", seed_tensor, np.array([both.s.draw_seed()]))


@needs_torch
def test_state_moves_both_ways():
    both = Both(7)
    for n in (0, 1, 5, 622, 1, 623, 624, 1, 2500):
        both.same(f"{n} words", torch.rand(n, generator=both.g), both.s.uniform(n))
        fresh = Stream(0)
        fresh.set_state(both.g.get_state().numpy())
        both.s = fresh
        both.same("after set_state", torch.randn(3, generator=both.g), both.s.normal(3))
        both.g = torch.Generator()
        both.g.set_state(torch.from_numpy(both.s.get_state()))
        both.same("after torch's set_state", torch.randn(4, generator=both.g), both.s.normal(4))
    assert both.s.initial_seed() == both.g.initial_seed() == 7


@needs_torch
def test_seeds():
    assert torch.Generator().initial_seed() == Stream().initial_seed() == DEFAULT_SEED
    for seed in (-1, -5, -(2**63), 2**63, 2**64 - 1):
        assert Both(seed).g.initial_seed() == Stream(seed).initial_seed()
    for seed in (2**64, -(2**63) - 1):
        with pytest.raises(ValueError):
            Stream(seed)
        with pytest.raises(ValueError):
            torch.Generator().manual_seed(seed)


@needs_torch
def test_shuffling_loader_as_the_table_says():
    torch.manual_seed(11)
    theirs = [[int(b) for b in torch.utils.data.DataLoader(range(50), shuffle=True)] for _ in range(2)]
    default = Stream(11)
    for epoch in theirs:
        default.draw_seed()  # the loader's base seed
        own = Stream(default.draw_seed())
        assert own.permutation(50).tolist() == epoch
    assert np.array_equal(torch.get_rng_state().numpy(), default.get_state())


@needs_torch
def test_layers_as_the_table_says():
    torch.manual_seed(11)
    s = Stream(11)
    linear, embedding = torch.nn.Linear(7, 5), torch.nn.Embedding(6, 4)
    kept = torch.nn.functional.dropout(torch.ones(100), 0.2)
    k = np.sqrt(3.0) * (np.sqrt(1 / 3) / np.sqrt(7))
    assert np.array_equal(linear.weight.detach().numpy().ravel(), s.uniform(35, np.float32, -k, k))
    assert np.array_equal(linear.bias.detach().numpy(), s.uniform(5, np.float32, -1 / np.sqrt(7), 1 / np.sqrt(7)))
    assert np.array_equal(embedding.weight.detach().numpy().ravel(), s.normal(24))
    assert np.array_equal(kept.numpy() != 0, s.bernoulli(0.8, 100))


KNOWN = {
    # what PyTorch 2.13 gives after manual_seed(42), one call after the other
    "rand": [0.8822692632675171, 0.9150039553642273, 0.38286375999450684],
    "rand64": [0.6744455013246242, 0.8071630471508437],
    "uniform": [0.34523099660873413, 0.45557859539985657, -0.15011055767536163],
    "half": [0.9345703125, 0.59375, 0.86962890625],
    "randn small": [-1.0324476957321167, -0.2770332098007202, -0.16713425517082214],
    "randn": [1.078317642211914, 1.573600172996521, 1.1789509057998657, -0.43445441126823425],
    "randn64": [-0.469460143084, 0.605841207779],
    "randint": [9, 8, 5, 3, 7, 7, 5, 9],
    "randint wide": [572123753013, -646101807357],
    "random": [793943861, 134489564],
    "randperm": [6, 2, 5, 3, 1, 4, 7, 0],
    "bernoulli": [0, 1, 0, 1, 0, 1, 0, 0],
    "bernoulli array": [0, 0, 1, 1, 1, 0, 1, 1],
    "exponential": [0.2827985882759094, 1.461626648902893],
    "geometric": [3, 11, 6, 1],
    "log_normal": [2.1906697750091553, 89.8923568725586, 11.9697265625],
    "cauchy": [-1.1397392749786377, 1.670621633529663],
    "multinomial": [1, 2, 3],
    "multinomial replaced": [4, 3, 2, 3],
    "poisson": [3.0, 2.0, 51.0],
    "seed": [4353153411703511806],
}
KNOWN_STATE = "b605d3281a33b154b9779614f8ed9c6c5cf3dc61e141646ab168b158963500e9"


def known_draws(s):
    """Calls of every kind, in a fixed order."""
    yield "rand", s.uniform(3)
    yield "rand64", s.uniform(2, np.float64)
    yield "uniform", s.uniform(3, np.float32, -0.25, 0.5)
    yield "half", s.uniform(3, np.float16).astype(np.float64)
    yield "randn small", s.normal(3)
    yield "randn", s.normal(17)[[0, 5, 15, 16]]
    yield "randn64", s.normal(16, np.float64)[[0, 15]].round(12)
    yield "randint", s.random_int(0, 10, 8)
    yield "randint wide", s.random_int(-(2**40), 2**40, 2)
    yield "random", s.random_full(2, np.int32)
    yield "randperm", s.permutation(8)
    yield "bernoulli", s.bernoulli(0.5, 8, np.uint8)
    yield "bernoulli array", s.bernoulli_array(np.linspace(0, 1, 8, dtype=np.float32), np.uint8)
    yield "exponential", s.exponential(2)
    yield "geometric", s.geometric(4, np.int64, 0.3)
    yield "log_normal", s.log_normal(3)
    yield "cauchy", s.cauchy(2)
    yield "multinomial", s.multinomial(np.arange(1, 6, dtype=np.float32), 3)
    yield "multinomial replaced", s.multinomial(np.arange(1, 6, dtype=np.float32), 4, True)
    yield "poisson", s.poisson(np.array([0.5, 5, 50], np.float32))
    yield "seed", np.array([s.draw_seed()])


def test_known_values(loops):
    s = Stream(42)
    assert {name: values.tolist() for name, values in known_draws(s)} == KNOWN
    assert hashlib.sha256(s.get_state()).hexdigest() == KNOWN_STATE


def test_block_functions_are_accurate_and_compile_to_the_same_bits(monkeypatch):
    unit = np.arange(0, 2**24, 997, dtype=np.float32) * np.float32(2**-24)
    sin, cos = boxmuller.sincos(unit * np.float32(2 * np.pi))
    angle = (unit * np.float32(2 * np.pi)).astype(np.float64)
    assert np.abs(sin - np.sin(angle)).max() < 1e-7
    assert np.abs(cos - np.cos(angle)).max() < 1e-7
    assert np.abs(boxmuller.log(1 - unit[1:]) / np.log1p(-unit[1:].astype(np.float64)) - 1).max() < 2e-7
    words = Stream(1)._engine.take(16 * 5000)
    plain, fast = np.empty(words.size, np.float32), np.empty(words.size, np.float32)
    with monkeypatch.context() as m:
        m.setattr(compiled, "_functions", {})
        boxmuller.fill32(words, plain, 0.3, 1.7)
    if not compiled.fill_normal(words, fast, 0.3, 1.7):
        pytest.skip("nothing to compile with")
    assert plain.tobytes() == fast.tobytes()


def test_fused_multiply_add_rounds_once():
    from fractions import Fraction

    rng = np.random.default_rng(0)
    a = rng.standard_normal(500)
    for b, c in [(0.1, 0.3), (1.7, -1.7), (1e-9, 1.0), (3.0, 0.0), (1.0, 0.1)]:
        exact = [float(Fraction(x) * Fraction(b) + Fraction(c)) for x in a.tolist()]
        assert fma64(a, b, c).tolist() == exact


def test_long_permutation_follows_its_algorithm():
    s, words = Stream(3), Stream(3).words64(50).tolist()
    expected: list[int] = []
    for i, word in enumerate(words):
        expected.append(i)
        j = word % (i + 1)
        expected[i], expected[j] = expected[j], i
    assert s._long_permutation(50, chunk=16).tolist() == expected


def test_copies_continue_the_stream():
    s = Stream(5)
    s.normal(3)
    copies = [s.clone(), copy.deepcopy(s), pickle.loads(pickle.dumps(s))]
    expected = s.normal(5).tolist()
    assert all(c.normal(5).tolist() == expected for c in copies)
    s.manual_seed(5)
    assert s.initial_seed() == 5 and s.normal(3).tolist() == Stream(5).normal(3).tolist()
    assert s.seed() == s.initial_seed() < 2**53


def test_wrong_arguments():
    s = Stream(1)
    before = s.get_state()
    for call in [
        lambda: s.uniform(3, np.float32, 1, 0),
        lambda: s.normal(3, std=-1),
        lambda: s.random_int(3, 3, 2),
        lambda: s.bernoulli(1.5, 2),
        lambda: s.exponential(2, lambd=0),
        lambda: s.geometric(2, p=1),
        lambda: s.permutation(-1),
        lambda: s.multinomial(np.zeros(3, np.float32), 1),
        lambda: s.multinomial(np.ones(3, np.float32), 4),
        lambda: s.multinomial(np.array([1, -1.0]), 1, True),
        lambda: s.set_state(np.zeros(5056, np.uint8)),
        lambda: s.set_state(np.zeros(10, np.uint8)),
    ]:
        with pytest.raises(RuntimeError):
            call()
    with pytest.raises(TypeError):
        s.set_state(np.zeros(5056))
    assert np.array_equal(s.get_state(), before)


def test_words_made_together_are_the_generators():
    """The compiled generator goes on from any place of NumPy's state, and leaves it where NumPy would."""
    one, other = Stream(5), Stream(5)
    for n in (40_000, 3, 50_001, 1, 623, 700_000):
        np.testing.assert_array_equal(one._engine.take(n), other._engine.take32(n))
        np.testing.assert_array_equal(one.get_state(), other.get_state())


@pytest.mark.parametrize("n", [17_000, 40_001])
def test_bernoulli_with_and_without_a_compiler(n, monkeypatch):
    made = Stream(7).bernoulli(0.3, n)
    monkeypatch.setattr(twister, "_functions", {})
    np.testing.assert_array_equal(Stream(7).bernoulli(0.3, n), made)
    assert abs(made.mean() - 0.3) < 0.02


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_forked_while_another_thread_draws_can_draw():
    """Locks of NumPy's generator, and of a stream that is being made, are not left locked in the child."""
    source = """
        import os, signal, threading, warnings
        import livegrad
        warnings.simplefilter("ignore")
        stop = []
        def draw():
            while not stop: livegrad.rand(400_000)
        threads = [threading.Thread(target=draw) for _ in range(2)]
        for t in threads: t.start()
        failed = 0
        for _ in range(40):
            pid = os.fork()
            if not pid:
                signal.alarm(20)
                livegrad.rand(5); livegrad.rand(100_000); livegrad.randperm(10)
                os._exit(0)
            failed += os.waitpid(pid, 0)[1] != 0
            if failed: break
        stop.append(1)
        for t in threads: t.join()
        assert not failed
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(source)], check=True, timeout=120)


def test_threads_that_share_a_stream_never_draw_the_same_number():
    stream, drawn = Stream(1), []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [
            threading.Thread(target=lambda: drawn.extend(float(stream.normal(1)[0]) for _ in range(300)))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert len(set(drawn)) == len(drawn) == 2400


@pytest.mark.parametrize("n", [1, 15, 16, 17, 31, 256, 257, 1000, 1249, 20_000])
def test_filling_memory_gives_what_the_passes_of_numpy_give(n, monkeypatch):
    from livegrad.sampling import direct

    monkeypatch.setattr(compiled, "worth_it", lambda n: True)
    if not direct.ready(n):
        pytest.skip("no compiler")

    def filled(fill):
        out = np.full(n + 1, 7, np.float32)
        done = fill(out.ctypes.data)
        assert out[n] == 7
        return out[:n] if done else None

    ways = {
        "uniform": (lambda s, p: s.fill_uniform(p, n), lambda s: s.uniform(n)),
        "placed": (lambda s, p: s.fill_uniform(p, n, -0.3, 1.7), lambda s: s.uniform(n, np.float32, -0.3, 1.7)),
        "narrow": (
            lambda s, p: s.fill_uniform(p, n, 1.0, 1.0000002),
            lambda s: s.uniform(n, np.float32, 1.0, 1.0000002),
        ),
        "normal": (lambda s, p: s.fill_normal(p, n, 0.3, 1.7), lambda s: s.normal(n, np.float32, 0.3, 1.7)),
        "mask": (lambda s, p: s.fill_mask(p, n, 0.3, 2.5), lambda s: s.bernoulli(0.3, n) * np.float32(2.5)),
    }
    for name, (fill, passes) in ways.items():
        ours, plain = Stream(5), Stream(5)
        ours.random_full(3), plain.random_full(3)
        made = filled(lambda p, fill=fill, s=ours: fill(s, p))
        if made is None:
            assert name == "normal" and n < 16
            continue
        monkeypatch.setattr(compiled, "worth_it", lambda n: False)
        np.testing.assert_array_equal(made, passes(plain))
        monkeypatch.setattr(compiled, "worth_it", lambda n: True)
        np.testing.assert_array_equal(ours.get_state(), plain.get_state())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1,), (7,), (1, 1), (4, 2), (16, 8)])
def test_few_samples_by_weight_are_those_of_many(shape, dtype):
    rng = np.random.default_rng(3)
    for seed in range(40):
        weights = rng.random(shape).astype(dtype) * rng.integers(0, 2, shape)
        weights[..., -1] += 0.25
        ours, plain = Stream(seed), Stream(seed)
        made = ours.few_places(weights.ravel().tolist(), shape[-1], dtype == "float32")
        assert made == plain.multinomial(weights, 1).ravel().tolist()
        np.testing.assert_array_equal(ours.get_state(), plain.get_state())


@pytest.mark.parametrize("zeros", [0, 4])
def test_few_without_replacement_are_the_first_of_the_whole_order(zeros):
    weights = np.random.default_rng(0).random((40, 7)).astype(np.float32)
    weights[:, :zeros] = 0
    found = []
    for few in (16, 0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(stream, "_FEW", few)
            livegrad.manual_seed(3)
            found.append(livegrad.multinomial(livegrad.tensor(weights), 5).tolist())
    assert found[0] == found[1]

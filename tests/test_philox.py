"""Random numbers by element index: the published generator, the distributions, and that they are the same everywhere."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import livegrad
from livegrad import devices, dtypes
from livegrad.ops import philox
from livegrad.tensor import wrap

nn = livegrad.nn

# Known answers that the authors publish with their library: counter, key, result.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.fixture(autouse=True)
def as_before():
    with livegrad.random.fork_rng():
        yield
    livegrad.random.portable(False)


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
@pytest.mark.parametrize("mode", ["never", "always"])
def test_known_answers(counter, key, words, mode):
    assert (
        tuple(int(w[0]) for w in philox.philox(*(tuple(np.array([x]) for x in xs) for xs in (counter, key)))) == words
    )
    draw = philox.Draw(key[0] | key[1] << 32, counter[2] | counter[3] << 32, (1,), devices.cpu)
    draw.index = livegrad.tensor([np.uint64(counter[0] | counter[1] << 32).astype(np.int64).item()])._value()
    with livegrad.compiling(mode):
        found = [wrap(draw.bits(half)).item() & (2**64 - 1) for half in (0, 1)]
    assert [w for x in found for w in (x & 0xFFFFFFFF, x >> 32)] == list(words)


DISTRIBUTIONS = {
    "rand": lambda d: livegrad.rand(40, 50, dtype=d),
    "uniform_": lambda d: livegrad.empty(40, 50, dtype=d).uniform_(-3, 0.7),
    "randn": lambda d: livegrad.randn(40, 50, dtype=d),
    "normal_": lambda d: livegrad.empty(40, 50, dtype=d).normal_(2.0, 0.3),
    "exponential_": lambda d: livegrad.empty(40, 50, dtype=d).exponential_(1.7),
    "cauchy_": lambda d: livegrad.empty(40, 50, dtype=d).cauchy_(0.5, 2.0),
    "geometric_": lambda d: livegrad.empty(40, 50, dtype=d).geometric_(0.2),
    "bernoulli_": lambda d: livegrad.empty(40, 50, dtype=d).bernoulli_(0.3),
    "random_": lambda d: livegrad.empty(40, 50, dtype=d).random_(-5, 7),
    "randint": lambda d: livegrad.randint(3, 100, (40, 50), dtype=d),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("dtype", [livegrad.float32, livegrad.float64, livegrad.bfloat16, livegrad.float16])
def test_the_same_bits_compiled_or_not_and_fused_or_not(name, dtype):
    def drawn():
        livegrad.manual_seed(3)
        return DISTRIBUTIONS[name](dtype).double()

    with livegrad.random.portable():
        with livegrad.compiling("never"):
            reference = drawn().numpy()
        with livegrad.compiling("always"):
            np.testing.assert_array_equal(drawn().numpy(), reference)
        with livegrad.compiling("always"), livegrad.eager():
            np.testing.assert_array_equal(drawn().numpy(), reference)
    assert np.isfinite(reference).all() and np.unique(reference).size > 1


@settings(max_examples=30, deadline=None)
@given(shape=st.lists(st.integers(1, 9), min_size=1, max_size=4), seed=st.integers(0, 2**64 - 1))
def test_numbers_go_by_the_elements_index(shape, seed):
    def draw(*shape):
        livegrad.manual_seed(seed)
        return livegrad.randn(*shape)

    with livegrad.random.portable():
        n = math.prod(shape)
        long = draw(n + 7)
        assert draw(*shape).reshape(-1).tolist() == long[:n].tolist()
        wide = livegrad.empty(n, 3)
        livegrad.manual_seed(seed)
        wide[:, 1].normal_()  # a view: where its memory is does not matter
        assert wide[:, 1].tolist() == long[:n].tolist()


def test_seeds_draws_and_elements_differ():
    with livegrad.random.portable():
        found = []
        for seed in (0, 1, 1 << 32, (1 << 64) - 1, -2):
            livegrad.manual_seed(seed)
            found += [livegrad.rand(1000, dtype=livegrad.float64) for _ in range(3)]
    everything = livegrad.cat(found).numpy()
    assert np.unique(everything).size == everything.size


def moments(x, mean, variance):
    """Mean and variance are as they should be, within six standard errors."""
    n = x.size
    assert abs(x.mean() - mean) < 6 * math.sqrt(variance / n)
    fourth = ((x - mean) ** 4).mean()
    assert abs(x.var() - variance) < 6 * math.sqrt((fourth - variance**2) / n)


@pytest.mark.parametrize("dtype", [livegrad.float32, livegrad.float64])
def test_distributions(dtype):
    n = 200_000
    empty = lambda: livegrad.empty(n, dtype=dtype)  # noqa: E731
    with livegrad.random.portable():
        livegrad.manual_seed(11)
        uniform, normal = (f(n, dtype=dtype).double().numpy() for f in (livegrad.rand, livegrad.randn))
        exponential, geometric = (t.double().numpy() for t in (empty().exponential_(2.0), empty().geometric_(0.25)))
        cauchy, bernoulli = (t.double().numpy() for t in (empty().cauchy_(1.0, 3.0), empty().bernoulli_(0.1)))
        log_normal = empty().log_normal_(0.0, 0.5).double().numpy()
    moments(uniform, 0.5, 1 / 12)
    moments(normal, 0, 1)
    moments(exponential, 0.5, 0.25)
    moments(geometric, 4, 12)
    moments(bernoulli, 0.1, 0.09)
    moments(np.log(log_normal), 0, 0.25)
    assert uniform.min() >= 0 and uniform.max() < 1 and exponential.min() >= 0 and geometric.min() == 1
    assert abs(np.median(cauchy) - 1) < 0.1 and abs(np.quantile(cauchy, 0.75) - 4) < 0.15
    # The whole of the distribution function (Kolmogorov's statistic; 2.5 / sqrt(n) has a probability of 1e-5).
    ordered = np.sort(normal)
    expected = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in ordered[::20]])
    assert np.abs(expected - np.arange(n)[::20] / n).max() < 2.5 / math.sqrt(n)
    grid = np.histogram(uniform, 100, (0, 1))[0]
    assert ((grid - n / 100) ** 2 / (n / 100)).sum() < 99 + 6 * math.sqrt(2 * 99)
    assert abs(np.corrcoef(normal[:-1], normal[1:])[0, 1]) < 6 / math.sqrt(n)


def test_logarithm_sine_and_cosine():
    rng = np.random.default_rng(0)
    u = np.concatenate([2.0 ** -rng.uniform(0, 53, 10000), [1.0, 0.5, 2.0**-53, math.nextafter(1, 0)]])
    np.testing.assert_allclose(philox._logarithm(u, 11), np.log(u), rtol=4e-16, atol=1e-18)
    with np.errstate(all="ignore"):
        narrow = u.astype(np.float32)
        np.testing.assert_allclose(philox._logarithm(narrow, 5), np.log(narrow.astype(float)), rtol=3e-7, atol=1e-9)
    angle, quadrant = rng.uniform(-math.pi / 4, math.pi / 4, (4, 1000)), np.arange(4.0)[:, None]
    sine, cosine = philox._sine_and_cosine(quadrant, angle, 9)
    whole = quadrant * math.pi / 2 + angle
    np.testing.assert_allclose(sine, np.sin(whole), atol=5e-16)
    np.testing.assert_allclose(cosine, np.cos(whole), atol=5e-16)


@settings(max_examples=60, deadline=None)
@given(low=st.integers(-(2**63), 2**63 - 2), span=st.integers(1, 2**64))
def test_integers_stay_inside(low, span):
    high = min(low + span, 2**63 - 1)
    with livegrad.random.portable():
        found = livegrad.randint(low, high, (64,)).tolist()
    assert all(low <= x < high for x in found)


@pytest.mark.parametrize("span", [2, 10, 1000, 3 << 30, 1 << 32, 3 << 40, 3 << 61, 3 << 62])
def test_integers_are_uniform(span):
    with livegrad.random.portable():
        livegrad.manual_seed(5)
        x = livegrad.randint(-(span // 2), span - span // 2, (20000,)).double().numpy()
    assert abs(x.mean() + 0.5) < 6 * span / math.sqrt(12 * 20000) + 1
    assert abs(x.var() / ((span**2 - 1) / 12) - 1) < 0.05


def test_whole_ranges_of_dtypes():
    with livegrad.random.portable():
        for dtype in (livegrad.int8, livegrad.uint8, livegrad.int16, livegrad.int32, livegrad.int64):
            x = livegrad.empty(2000, dtype=dtype).random_()
            top = livegrad.iinfo(dtype).max
            assert x.min().item() >= 0 and 0.9 * top < x.max().item() <= top
        assert set(livegrad.empty(50, dtype=livegrad.bool).random_().tolist()) == {False, True}
        assert livegrad.empty(500, dtype=livegrad.float16).random_().max().item() <= 2048


def test_permutations_and_choices():
    with livegrad.random.portable():
        livegrad.manual_seed(1)
        p = livegrad.randperm(1000)
        assert sorted(p.tolist()) == list(range(1000)) and p.tolist() != list(range(1000))
        assert (
            livegrad.randperm(0).tolist() == [] and livegrad.randperm(5, dtype=livegrad.int32).dtype is livegrad.int32
        )
        weights = livegrad.tensor([[0.0, 1.0, 3.0], [1.0, 0.0, 0.0]])
        picked = livegrad.multinomial(weights, 4000, replacement=True)
        assert abs((picked[0] == 2).float().mean().item() - 0.75) < 0.05 and picked[1].sum().item() == 0
        assert sorted(livegrad.multinomial(livegrad.ones(5), 5).tolist()) == [0, 1, 2, 3, 4]
        counts = livegrad.poisson(livegrad.full((5000,), 4.0)).numpy()
        moments(counts, 4, 4)
        p = livegrad.tensor([0.0, 0.5, 1.0]).expand(2000, 3)
        means = livegrad.bernoulli(p).mean(0).tolist()
        assert means[0] == 0 and means[2] == 1 and abs(means[1] - 0.5) < 0.06


def test_the_switch():
    livegrad.manual_seed(0)
    plain = livegrad.rand(4).tolist()
    livegrad.manual_seed(0)
    livegrad.random.portable()
    counted = livegrad.rand(4).tolist()
    with livegrad.random.portable(False):
        assert livegrad.rand(4).tolist() == plain != counted
    assert livegrad.get_rng_state().numel() == 16
    livegrad.random.portable(False)
    assert livegrad.get_rng_state().numel() == 5056


def test_states():
    with livegrad.random.portable():
        livegrad.manual_seed(9)
        livegrad.rand(3)
        state = livegrad.get_rng_state()
        first = livegrad.randn(5).tolist()
        livegrad.set_rng_state(state)
        assert livegrad.randn(5).tolist() == first
        with livegrad.random.fork_rng():
            livegrad.set_rng_state(state)
            assert livegrad.randn(5).tolist() == first
        g = livegrad.Generator().manual_seed(9)
        other = g.clone_state()
        assert livegrad.rand(3, generator=g).tolist() == livegrad.rand(3, generator=other).tolist()
        assert g.initial_seed() == 9 and g.seed() == g.initial_seed()
        with pytest.raises(RuntimeError):
            g.set_state(livegrad.zeros(17, dtype=livegrad.uint8))
        with pytest.raises(TypeError):
            g.set_state(livegrad.zeros(16))


def test_dropout_is_recomputed_in_backward():
    x = livegrad.randn(64, 128, requires_grad=True)
    with livegrad.random.portable():
        livegrad.manual_seed(0)
        y = nn.functional.dropout(x * 2, 0.25)
        y.sum().backward()
    kept = (y != 0).float()
    assert abs(kept.mean().item() - 0.75) < 0.03
    np.testing.assert_allclose(x.grad.numpy(), (kept * 2 / 0.75).numpy(), rtol=1e-6)


def test_checkpoints_draw_the_same_again():
    from livegrad.utils.checkpoint import checkpoint

    x = livegrad.randn(50, requires_grad=True)
    with livegrad.random.portable():
        y = checkpoint(lambda t: nn.functional.dropout(t, 0.5) * 3, x, use_reentrant=False)
        y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.where(y.detach().numpy() != 0, 6.0, 0.0))


@pytest.mark.parametrize(
    "wrong",
    [lambda x: x.exponential_(0), lambda x: x.cauchy_(0, 0), lambda x: x.log_normal_(0, 0), lambda x: x.geometric_(1.0),
     lambda x: x.bernoulli_(1.5), lambda x: x.uniform_(1, 0), lambda x: x.normal_(0, -1), lambda x: x.random_(3, 3)],
)  # fmt: skip
def test_what_is_refused(wrong):
    with livegrad.random.portable(), pytest.raises(RuntimeError):
        wrong(livegrad.empty(3))


def test_indices_come_from_small_tables():
    for shape in ((3,), (5, 7), (2, 3, 4), (64, 1, 32), (1,), (), (0, 3)):
        found = philox.indices(shape, devices.cpu)
        assert found.shape == shape and found.dtype is dtypes.int64
        assert wrap(found).reshape(-1).tolist() == list(range(math.prod(shape)))


def test_as_ptx():
    """For a GPU: one kernel, and nothing in it is fused or approximated, so that it rounds as the CPU does."""
    import re

    pytest.importorskip("llvmlite")
    from livegrad.codegen.gpu import plan
    from livegrad.lazy import evaluate
    from livegrad.lazy.program import broadcast_strides, linearize, merged_dims
    from livegrad.llvm import machine

    draw = philox.Draw(1, 2, (64, 128), devices.cpu)
    value = draw.normal(dtypes.float32)
    piece = linearize(value, evaluate.evaluate)
    strides = [broadcast_strides(leaf.array, value.shape) for leaf in piece.leaves]
    sizes, merged, _ = merged_dims(value.shape, strides)
    launch = plan.plan_map(piece.code, piece.outputs, sizes, merged, 16, 132)
    text = machine.compile_ptx(launch.kernel.source(), "sm_90")
    assert not re.search(r"\.ftz|\.approx|fma\.rn\.f32|call", text)

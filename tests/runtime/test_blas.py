"""Matrix products against NumPy: layouts, edges, threads, fork, and the way the library is loaded."""

import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

from livegrad.runtime import blas, openblas, pool

pytestmark = pytest.mark.skipif(not blas.available, reason="needs llvmlite and scipy-openblas32")

DTYPES = {"f32": np.float32, "f64": np.float64}
TOLERANCE = {"f32": 2e-5, "f64": 1e-13}


@pytest.fixture(autouse=True)
def _restore_threads():
    threads = pool.get_num_threads()
    yield
    pool.set_num_threads(threads)


def address(array):
    return array.__array_interface__["data"][0]


def strides(array):
    return [stride // array.itemsize for stride in array.strides]


def product(kind, a, b, c, **scalars):
    places = (address(a), *strides(a), address(b), *strides(b), address(c), strides(c)[0])
    done = blas.gemm(kind, *c.shape, a.shape[1], *places, **scalars)
    pool.finish()
    return done


def products(kind, a, b, c, **scalars):
    places = (address(a), *strides(a), address(b), *strides(b), address(c), *strides(c)[:2])
    done = blas.batched(kind, *c.shape, a.shape[2], *places, **scalars)
    pool.finish()
    return done


def random(kind, *shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(DTYPES[kind])


def laid_out(matrix, layout):
    """The same values in another layout."""
    rows, columns = matrix.shape
    if layout == "plain":
        return matrix.copy()
    if layout == "transposed":
        return np.asfortranarray(matrix)
    if layout == "padded":
        big = np.full((rows, columns + 5), np.nan, matrix.dtype)
        big[:, 2 : columns + 2] = matrix
        return big[:, 2 : columns + 2]
    big = np.full((columns, rows + 3), np.nan, matrix.dtype)
    big[:, :rows] = matrix.T
    return big[:, :rows].T


def close(kind, got, want):
    scale = max(1.0, float(np.abs(want).max(initial=0)))
    return np.allclose(got, want, rtol=0, atol=TOLERANCE[kind] * scale)


LAYOUTS = ["plain", "transposed", "padded", "padded transposed"]
SHAPES = [(3, 4, 5), (1, 7, 5), (6, 1, 5), (4, 5, 1), (1, 1, 9), (1, 6, 1), (5, 1, 1), (1, 1, 1), (128, 4, 2)]
SHAPES += [(70, 90, 130)]
LARGE = [(100, 101, 103), (257, 40, 90), (31, 700, 64), (2000, 3, 100), (3, 2000, 100), (1, 900, 1100), (900, 1, 1100)]
BATCHED = [(7, 3, 4, 5), (100, 8, 8, 8), (2, 100, 90, 80), (9, 60, 70, 80), (1, 100, 90, 80)]
BATCHED += [(40, 1, 30, 20), (40, 30, 1, 20), (9, 1, 300, 200)]


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("left", LAYOUTS)
@pytest.mark.parametrize("right", LAYOUTS)
def test_layouts(kind, left, right):
    for m, n, k in SHAPES:
        a, b = random(kind, m, k), random(kind, k, n)
        want = a.astype(np.float64) @ b.astype(np.float64)
        wide = np.full((m, n + 3), 7, DTYPES[kind])
        c = wide[:, 1 : n + 1]
        c[:] = np.nan
        assert product(kind, laid_out(a, left), laid_out(b, right), c), (m, n, k)
        assert close(kind, c, want), (m, n, k)
        assert (wide[:, 0] == 7).all() and (wide[:, n + 1 :] == 7).all()


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_large_products_in_tiles(kind, threads):
    pool.set_num_threads(threads)
    for m, n, k in LARGE:
        a, b = random(kind, m, k), random(kind, k, n)
        want = a.astype(np.float64) @ b.astype(np.float64)
        for left, right in [("plain", "plain"), ("transposed", "padded"), ("padded", "transposed")]:
            c = np.full((m, n), np.nan, DTYPES[kind])
            assert product(kind, laid_out(a, left), laid_out(b, right), c)
            assert close(kind, c, want), (m, n, k, left, right)


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("shape", [(5, 6, 7), (1, 6, 7), (5, 1, 7), (80, 90, 100), (1, 1000, 500)])
def test_alpha_and_beta(kind, shape):
    m, n, k = shape
    a, b, c = random(kind, m, k), random(kind, k, n), random(kind, m, n)
    want = 0.5 * (a.astype(np.float64) @ b) + 2.0 * c
    assert product(kind, a, b, c, alpha=0.5, beta=2.0)
    assert close(kind, c, want)


@pytest.mark.parametrize("kind", DTYPES)
def test_empty_dimensions(kind):
    for m, n in [(3, 4), (1, 4), (3, 1), (1, 1)]:
        for left in (np.empty((m, 0), DTYPES[kind]), np.empty((0, m), DTYPES[kind]).T):
            for right in (np.empty((0, n), DTYPES[kind]), np.empty((n, 0), DTYPES[kind]).T):
                c = np.full((m, n), np.nan, DTYPES[kind])
                assert product(kind, left, right, c) and (c == 0).all()
                c = np.full((m, n), 3, DTYPES[kind])
                assert product(kind, left, right, c, beta=2.0) and (c == 6).all()
    for m, n, k in [(0, 3, 4), (3, 0, 4), (0, 0, 4), (0, 1, 2), (1, 0, 2), (0, 0, 0)]:
        c = np.empty((m, n), DTYPES[kind])
        assert product(kind, random(kind, m, k), random(kind, k, n), c)
        assert products(kind, random(kind, 3, m, k), random(kind, 3, k, n), np.empty((3, m, n), DTYPES[kind]))
    assert products(kind, random(kind, 0, 2, 3), random(kind, 0, 3, 4), np.empty((0, 2, 4), DTYPES[kind]))
    c = np.full((2, 3, 4), np.nan, DTYPES[kind])
    assert products(kind, random(kind, 2, 3, 0), random(kind, 2, 0, 4), c) and (c == 0).all()


@pytest.mark.parametrize("shape", [(4, 5, 6), (1, 5, 6), (4, 1, 6), (90, 90, 90), (1, 900, 300), (900, 1, 300)])
def test_nan_and_infinity_pass_through(shape):
    m, n, k = shape
    a, b = np.zeros((m, k), np.float32), np.ones((k, n), np.float32)
    a[0, 2] = np.inf
    b[1, 0] = np.nan
    c = np.full((m, n), np.nan, np.float32)
    with np.errstate(invalid="ignore"):
        want = (a[:3, :, None] * b[None, :, :3]).sum(1)
    assert product("f32", a, b, c)
    assert np.array_equal(c[:3, :3], want, equal_nan=True)
    assert not np.isnan(c[:, 1:]).any()


def test_what_cannot_be_expressed_is_refused():
    base = np.arange(400, dtype=np.float32).reshape(20, 20)
    c = np.full((4, 4), 5, np.float32)
    good = base[:4, :4]
    bad = [
        base[:8:2, :8:2],
        base[3::-1, :4],
        base[:4, 3::-1],
        np.broadcast_to(base[0, :4], (4, 4)),
        np.broadcast_to(base[:4, :1], (4, 4)),
        np.lib.stride_tricks.sliding_window_view(base[0, :7], 4),
    ]
    for matrix in bad:
        assert not product("f32", matrix, good, c)
        assert not product("f32", good, matrix, c)
        assert not products("f32", matrix[None], good[None], c[None])
    assert not product("f32", good, base[3::-1, :1], np.empty((4, 1), np.float32))
    assert not product("f32", good[:1], base[3::-1, :4], np.empty((1, 4), np.float32))
    assert not blas.gemm("f32", 1 << 32, 2, 2, 0, 2, 1, 0, 2, 1, 0, 2)
    assert not blas.gemm("f32", 2, 2, 1 << 32, 0, 1 << 32, 1, 0, 2, 1, 0, 2)
    assert not blas.gemm("f32", 1, 1 << 32, 2, 0, 2, 1, 0, 1 << 32, 1, 0, 1 << 32)
    assert (c == 5).all()
    with pytest.raises(ValueError, match="f16"):
        blas.gemm("f16", 1, 1, 1, 0, 1, 1, 0, 1, 1, 0, 1)


def test_strides_of_dimensions_of_size_one_do_not_matter():
    a, b = random("f32", 5, 1), random("f32", 1, 6)
    c = np.empty((5, 6), np.float32)
    for junk in (0, 1, 3, -7, 1 << 20):
        assert blas.gemm("f32", 5, 6, 1, address(a), 1, junk, address(b), junk, 1, address(c), 6)
        pool.finish()
        assert close("f32", c, a @ b)
        assert blas.gemm("f32", 1, 6, 1, address(a), junk, junk, address(b), junk, 1, address(c), junk)
        pool.finish()
        assert close("f32", c[0], a[0] * b[0])
        assert blas.gemm("f32", 5, 1, 1, address(a), 1, junk, address(b), junk, junk, address(c), 1)
        pool.finish()
        assert close("f32", c.ravel()[:5], a[:, 0] * b[0, 0])


# Some of them are near the size up to which the library has kernels for small products.
SHAPES = [(1000, 128, 8), (237, 532, 274), (34, 560, 264), (583, 281, 251), (60, 1100, 90), (700, 1000, 33),
          (100, 100, 120), (593, 25, 33), (148, 71, 72), (1300, 30, 26), (96, 13, 504), (57, 773, 48),
          (1500, 1, 300), (1, 1500, 300), (3, 1, 90_000), (1, 5000, 70)]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_numbers_do_not_depend_on_threads(kind, shape, monkeypatch):
    monkeypatch.setattr(blas.gemm_kernel.SIZES, "known", True)  # this is about the library
    for limit in ("least", "least_turned"):
        monkeypatch.setattr(blas.gemm_kernel.SIZES, limit, 1 << 62)
    m, n, k = shape
    for a_layout in ("plain", "transposed"):
        for b_layout in ("plain", "transposed"):
            a, b = laid_out(random(kind, m, k), a_layout), laid_out(random(kind, k, n), b_layout)
            found = []
            for threads in (1, 2, 3, 5, 8):
                pool.set_num_threads(threads)
                found.append(np.empty((m, n), DTYPES[kind]))
                assert product(kind, a, b, found[-1])
            for other in found[1:]:
                np.testing.assert_array_equal(found[0], other)


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("shape", BATCHED)
@pytest.mark.parametrize("threads", [1, 3])
def test_batched(kind, shape, threads):
    pool.set_num_threads(threads)
    batch, m, n, k = shape
    a, b = random(kind, batch, m, k), random(kind, batch, k, n)
    want = a.astype(np.float64) @ b.astype(np.float64)
    for left in (a, np.ascontiguousarray(a.transpose(0, 2, 1)).transpose(0, 2, 1)):
        for right in (b, np.ascontiguousarray(b.transpose(2, 0, 1)).transpose(1, 2, 0)):
            c = np.full((batch, m, n), np.nan, DTYPES[kind])
            done = products(kind, left, right, c)
            if done:
                assert close(kind, c, want)
            else:
                assert min(strides(right)[1:]) != 1
    shared = np.broadcast_to(b[0], b.shape)
    c = np.ones((batch, m, n), DTYPES[kind])
    assert products(kind, a, shared, c, alpha=2.0, beta=1.0)
    assert close(kind, c, 2 * (a.astype(np.float64) @ b[0]) + 1)
    heads = np.empty((m, batch, n), DTYPES[kind]).transpose(1, 0, 2)
    assert products(kind, a, b, heads)
    assert close(kind, heads, want)


def test_many_threads_at_once():
    pool.set_num_threads(3)
    a, b = random("f32", 150, 160), random("f32", 160, 170)
    want = a.astype(np.float64) @ b
    errors = []

    def work():
        for _ in range(30):
            c = np.full((150, 170), np.nan, np.float32)
            if not product("f32", a, b, c) or not close("f32", c, want):
                errors.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_info():
    assert blas.info().startswith("OpenBLAS 0.") and "kernels" in blas.info()


def python(code, **env):
    command, env = [sys.executable, "-c", textwrap.dedent(code)], {**os.environ, **env}
    result = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_fork():
    python("""
    import os, threading
    import numpy as np
    from livegrad.runtime import blas, pool
    pool.set_num_threads(3)
    a = np.random.rand(200, 200).astype("f4")
    p = a.ctypes.data
    def check():
        c = np.empty_like(a)
        assert blas.gemm("f32", 200, 200, 200, p, 200, 1, p, 200, 1, c.ctypes.data, 200)
        pool.finish()
        assert np.allclose(c, a @ a, rtol=1e-4)
    check()
    for _ in range(5):
        pid = os.fork()
        if not pid:
            check()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        check()
    """)


def test_environment_is_left_alone():
    code = """
    import os
    before = dict(os.environ)
    from livegrad.runtime import blas, openblas
    assert dict(os.environ) == before
    print(openblas.library().scipy_openblas_get_num_threads(), blas.info())
    """
    assert python(code, OPENBLAS_NUM_THREADS="2").startswith("1 OpenBLAS")
    assert python(code).startswith("1 OpenBLAS")
    if openblas.kernel_set() is not None:
        assert python(code, OPENBLAS_CORETYPE="Haswell").endswith("Haswell kernels")


@pytest.mark.parametrize("missing", ["scipy_openblas32", "llvmlite"])
def test_missing_parts_are_reported(missing):
    python(f"""
    import importlib.util
    find = importlib.util.find_spec
    importlib.util.find_spec = lambda name, *rest: None if name == "{missing}" else find(name, *rest)
    from livegrad.runtime import blas
    assert not blas.available
    assert "NumPy" in blas.info() or "llvmlite" in blas.info()
    try:
        blas.gemm("f32", 1, 1, 1, 0, 1, 1, 0, 1, 1, 0, 1)
    except RuntimeError:
        pass
    else:
        raise AssertionError
    """)


@pytest.mark.parametrize(
    ("flags", "want"),
    [
        ("fpu sse2 avx2 fma avx512f avx512cd avx512bw avx512dq avx512vl", "SkylakeX"),
        ("fpu sse2 avx2 fma avx512f", "Haswell"),
        ("fpu sse2 avx2 fma", "Haswell"),
        ("fpu sse2", None),
    ],
)
def test_kernel_set_follows_the_cpu(flags, want, monkeypatch, tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text(f"processor : 0\nflags\t\t: {flags}\n")
    monkeypatch.setattr("builtins.open", lambda *rest, real=open: real(file))
    monkeypatch.setattr(sys, "platform", "linux")
    assert openblas.kernel_set() == want

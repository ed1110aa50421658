"""Switches of the whole program: what each of them was last told can be asked, as in PyTorch."""

import pytest

import livegrad

torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")


def restored(m):
    m.set_deterministic_debug_mode(0)
    m.set_warn_always(False)
    m.set_anomaly_enabled(False)
    m.set_autocast_cpu_enabled(False)
    m.set_autocast_cpu_dtype(m.bfloat16)
    m.set_autocast_gpu_dtype(m.float16)


@pytest.fixture(autouse=True)
def as_before():
    yield
    for m in (livegrad, torch):
        restored(m)


@pytest.mark.parametrize("mode", ["default", "warn", "error", 0, 1, 2, "x", 3])
def test_deterministic_debug_mode(mode):
    told = []
    for m in (livegrad, torch):
        try:
            m.set_deterministic_debug_mode(mode)
            told.append((
                m.get_deterministic_debug_mode(), m.are_deterministic_algorithms_enabled(),
                m.is_deterministic_algorithms_warn_only_enabled(),
            ))  # fmt: skip
        except RuntimeError as error:
            told.append(str(error))
    assert told[0] == told[1]


def test_what_can_be_asked():
    told = []
    for m in (livegrad, torch):
        answers = [m.newaxis, m.is_warn_always_enabled(), m.is_anomaly_enabled(), m.is_autocast_cpu_enabled()]
        answers += [str(m.get_autocast_cpu_dtype()), str(m.get_autocast_gpu_dtype()), m.is_anomaly_check_nan_enabled()]
        m.set_warn_always(True)
        m.set_anomaly_enabled(True, check_nan=False)
        m.set_autocast_cpu_enabled(True)
        m.set_autocast_cpu_dtype(m.float16)
        m.set_autocast_gpu_dtype(m.bfloat16)
        answers += [m.is_warn_always_enabled(), m.is_anomaly_enabled(), m.is_autocast_cpu_enabled()]
        answers += [str(m.get_autocast_cpu_dtype()), str(m.get_autocast_gpu_dtype()), m.is_anomaly_check_nan_enabled()]
        told.append(answers)
        restored(m)
    assert told[0] == told[1]


def test_what_is_only_remembered():
    assert livegrad.get_num_interop_threads() >= 1
    with pytest.raises(RuntimeError, match="expects a positive integer"):
        livegrad.set_num_interop_threads(0)
    assert livegrad.set_flush_denormal(True) is False
    assert float(livegrad.tensor(1e-40)) > 0


def test_names_to_compare_with():
    for name in ("sparse_csr", "sparse_csc", "sparse_bsr", "sparse_bsc"):
        assert repr(getattr(livegrad, name)) == repr(getattr(torch, name))
        assert livegrad.ones(1).layout != getattr(livegrad, name)
    assert livegrad.nn.UninitializedParameter is livegrad.nn.parameter.UninitializedParameter


@pytest.mark.parametrize("kind", ["cpu", "cuda", "mps", "xpu", "hpu", "xla", "ipu", "mtia", "maia", "privateuseone"])
def test_autocast_can_be_asked_of_devices_that_only_pytorch_has(kind):
    assert livegrad.is_autocast_enabled(kind) is torch.is_autocast_enabled(kind) is False
    assert str(livegrad.get_autocast_dtype(kind)) == str(torch.get_autocast_dtype(kind))


def test_numbers_are_never_symbols():
    for m in (livegrad, torch):
        answers = [
            m.sym_int(2.7),
            m.sym_float(2),
            m.sym_not(0),
            m.sym_max(1, 2.5),
            m.sym_max(3, 2.5),
            m.sym_min(1, 2.5),
        ]
        answers += [m.sym_sqrt(4), m.sym_sum([1, 2, 3]), m.sym_ite(False, 1, 2)]
        assert answers == [2, 2.0, True, 2.5, 3.0, 1.0, 2.0, 6, 2]
        assert [type(a) for a in answers] == [int, float, bool, float, float, float, float, int, int]
    assert not any(isinstance(3, k) for k in (livegrad.SymInt, livegrad.SymFloat, livegrad.SymBool))
    with pytest.raises(TypeError, match="SymInt cannot be made"):
        livegrad.SymInt(3)


def test_assert_async():
    for value in ((0,), (), (1, 1), (2,), (float("nan"),)):
        for message in ((), ("said so",)):
            told = []
            for m in (livegrad, torch):
                try:
                    told.append(m._assert_async(m.tensor(value), *message))
                except RuntimeError as error:
                    told.append(str(error))
            assert told[0] == told[1]

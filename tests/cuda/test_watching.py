"""Waits and copies that are watched, what is said to be missing, and PyTorch's settings."""

import ctypes
import importlib
import importlib.util
import sys
import warnings
from types import SimpleNamespace

import pytest
import stand_in

import livegrad
from livegrad.runtime.cuda import driver, ledger


@pytest.fixture
def pretended():
    with stand_in.in_use():
        yield


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    assert ledger.LEDGER.watch == ""


def test_warnings_name_the_users_line(pretended):
    x = livegrad.ones(4, device="cuda")
    with livegrad.debug.watch_sync(), pytest.warns(livegrad.debug.SynchronizationWarning) as told:
        x.sum().item()
        livegrad.cuda.synchronize()
        livegrad.ones(2).cuda()
    assert [w.filename for w in told] == [__file__] * 3
    kinds = [str(w.message).split(": ")[2].split(" of")[0] for w in told]
    assert kinds == ["device to host", "synchronize", "host to device"]


def test_errors_come_before_anything_is_done(pretended):
    x = livegrad.ones(4, device="cuda")
    livegrad.debug.clear_ledger()
    with livegrad.debug.watch_sync("raise"):
        y = x * 2 + 1
        livegrad.eval(y)
        with pytest.raises(
            livegrad.debug.SynchronizationError, match=r"device to host of 16 bytes(.|\n)*test_watching"
        ):
            y.tolist()
        assert livegrad.debug.ledger() == []
        y.to("cuda:1")  # between devices nobody waits
    assert [e.kind for e in livegrad.debug.ledger()] == ["device to device"]
    assert y.tolist() == [3.0] * 4


def test_as_a_function_and_nested(pretended):
    livegrad.debug.watch_sync("raise")
    try:
        with livegrad.debug.watch_sync("off"):
            livegrad.cuda.synchronize()
        with pytest.raises(RuntimeError):
            livegrad.cuda.synchronize()
    finally:
        livegrad.debug.watch_sync("off")
    livegrad.cuda.synchronize()
    with pytest.raises(ValueError, match="'sometimes'"):
        livegrad.debug.watch_sync("sometimes")


def test_an_error_inside_ends_the_watch(pretended):
    with pytest.raises(KeyError), livegrad.debug.watch_sync("raise"):
        raise KeyError
    livegrad.cuda.synchronize()


def test_pytorchs_names(pretended):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number, name in enumerate(("default", "warn", "error")):
            livegrad.cuda.set_sync_debug_mode(name)
            assert livegrad.cuda.get_sync_debug_mode() == number
            livegrad.cuda.set_sync_debug_mode(number)
            assert livegrad.cuda.get_sync_debug_mode() == number
    livegrad.cuda.set_sync_debug_mode(0)
    for wrong in ("loud", 3):
        with pytest.raises(RuntimeError, match="invalid value of debug_mode"):
            livegrad.cuda.set_sync_debug_mode(wrong)


def test_the_ledger_by_line(pretended):
    livegrad.debug.clear_ledger()
    for _ in range(3):
        x = livegrad.ones(256).cuda()
    x.sum().item()
    (line, kind, count, nbytes), (_, second, _, _) = livegrad.debug.ledger().by_line()
    assert line.startswith(__file__) and (kind, count, nbytes) == ("host to device", 3, 3072)
    assert second == "device to host" and len(livegrad.debug.ledger("device to host")) == 1
    first = str(livegrad.debug.ledger()).splitlines()[0]
    assert first.split(maxsplit=2)[0] == "3" and "3.00 KiB" in first and line in first


def looked(monkeypatch, *, loads=True, found=True, imported=None):
    """What is said to be missing on such a machine."""

    def load(name):
        if not loads:
            raise OSError

    def module(name):
        if isinstance(imported, Exception):
            raise imported
        return imported

    monkeypatch.setattr(ctypes, "CDLL", load)
    monkeypatch.setattr(importlib, "import_module", module)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if found else None)
    library = driver._Library()
    library.look()
    assert library.cupy is None
    return library.missing


def devices(count):
    def get():
        if isinstance(count, Exception):
            raise count
        return count

    return SimpleNamespace(cuda=SimpleNamespace(runtime=SimpleNamespace(getDeviceCount=get)))


def test_what_is_missing_is_said(monkeypatch):
    text = looked(monkeypatch, loads=False, found=False)
    assert "no NVIDIA driver" in text and "CuPy is not installed either" in text
    text = looked(monkeypatch, loads=False, imported=AssertionError("is not imported without a driver"))
    assert "no NVIDIA driver" in text and "CuPy" not in text
    absent = ModuleNotFoundError("No module named 'cupy'", name="cupy")
    text = looked(monkeypatch, imported=absent)
    assert text.startswith("there is an NVIDIA driver, but CuPy is not installed: pip install 'livegrad[cuda]'")
    text = looked(monkeypatch, imported=ModuleNotFoundError("No module named 'numpy'", name="numpy"))
    assert "CuPy is installed, but numpy is not installed" in text
    text = looked(monkeypatch, imported=ImportError("libcublas.so.12: cannot open"))
    assert "libcublas.so.12" in text and "pip install" in text
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "finds no GPU; CUDA_VISIBLE_DEVICES is ''" in looked(monkeypatch, imported=devices(0))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert looked(monkeypatch, imported=devices(0)) == "the NVIDIA driver finds no GPU"
    text = looked(monkeypatch, imported=devices(RuntimeError("cudaErrorInsufficientDriver")))
    assert "cudaErrorInsufficientDriver" in text


@pytest.mark.parametrize("ask", [lambda x: x.cuda(), lambda x: x.to("cuda"), lambda x: livegrad.ones(2, device="cuda")])
def test_tensors_say_what_is_missing(monkeypatch, ask):
    monkeypatch.setattr(driver, "LIBRARY", library := driver._Library())
    library.looked, library.missing = True, "the NVIDIA driver finds no GPU"
    with pytest.raises(RuntimeError, match=r"cannot use CUDA here: the NVIDIA driver finds no GPU\. Use device"):
        ask(livegrad.ones(2))


def test_settings():
    products = livegrad.backends.cuda.matmul
    assert livegrad.get_float32_matmul_precision() == "highest" and not products.allow_tf32
    try:
        for precision, allowed in (("medium", True), ("high", True), ("highest", False)):
            livegrad.set_float32_matmul_precision(precision)
            assert livegrad.get_float32_matmul_precision() == precision and products.allow_tf32 is allowed
        products.allow_tf32 = True
        assert livegrad.get_float32_matmul_precision() == "high"
        with pytest.raises(RuntimeError, match="highest, high or medium"):
            livegrad.set_float32_matmul_precision("low")
    finally:
        products.allow_tf32 = False
    assert livegrad.get_float32_matmul_precision() == "highest"


def test_is_built_follows_cupy(pretended):
    assert livegrad.backends.cuda.is_built()


def test_what_is_imported_on_the_stand_in_is_not_imported_again(monkeypatch):
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with stand_in.in_use():
        import colorsys
    assert sys.modules["colorsys"] is colorsys and not isinstance(sys.modules.get("cupyx"), SimpleNamespace)

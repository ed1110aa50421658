"""A plugin of pytest: `pytest -p on_gpu` waits for the device after each test, so that what goes wrong there fails it.

After some errors (a wrong address, say) CUDA refuses all that this process asks for. Of several processes (`-n`) the one
that this happens to ends then, and another one takes over.
"""

import os

import pytest

import livegrad

# An illegal address, instruction or program counter, a misaligned address, an assertion, a launch that failed.
_LASTING = {700, 710, 714, 715, 716, 717, 718, 719}


def _wait():
    """The number of the error that the device has, or 0; raises the error."""
    from livegrad.runtime.cuda import driver

    if driver.LIBRARY.cupy is not None:
        driver.cupy().cuda.runtime.deviceSynchronize()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    result = yield
    _wait()
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item):
    result = yield
    try:
        _wait()
    except Exception as error:
        if getattr(error, "status", 0) in _LASTING and "PYTEST_XDIST_WORKER" in os.environ:
            os._exit(1)
        raise
    return result


def pytest_report_header():
    return f"livegrad {livegrad.__version__}, {livegrad.cuda.device_count()} CUDA devices"

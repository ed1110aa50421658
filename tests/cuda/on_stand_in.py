"""A plugin of pytest: `pytest -p on_stand_in` runs all tests with the stand-in for CuPy in use, from their import on.

`LIVEGRAD_TEST_DEVICE=cuda pytest -p on_stand_in tests/ops` thus runs the operators' tests on the pretended GPU.
"""

import contextlib

import stand_in

_in_use = contextlib.ExitStack()


def pytest_configure(config):
    _in_use.enter_context(stand_in.in_use())


def pytest_unconfigure(config):
    _in_use.close()

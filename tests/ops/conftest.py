"""Operator tests run strictly: an error while a kernel is made fails the test instead of falling back to tier 0."""

import pytest


@pytest.fixture(autouse=True)
def strict_kernels(monkeypatch):
    monkeypatch.setenv("LIVEGRAD_STRICT", "1")

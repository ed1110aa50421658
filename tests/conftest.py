"""Shared by all tests: how livegrad is set up, and the environment of a process that nobody has set up."""

import os
from pathlib import Path

import hypothesis
import pytest

# A test run repeats: the examples of property tests are the same each time. `--hypothesis-profile=search` draws others.
hypothesis.settings.register_profile("repeat", derandomize=True)
hypothesis.settings.register_profile("search", derandomize=False)
hypothesis.settings.load_profile("repeat")
# Everything is tested with compiled functions, from the first operator on; LIVEGRAD_NATIVE=0 tests their Python form.
os.environ.setdefault("LIVEGRAD_NATIVE", "always")
# Kernels are kept beside pytest's own cache, not among the user's.
os.environ.setdefault("LIVEGRAD_CACHE_DIR", str(Path(__file__).parent.parent / ".pytest_cache" / "kernels"))


@pytest.fixture(scope="session")
def plain():
    """The environment of a process that asks for no compiled functions: it gets them after a while, as users do."""
    return {name: value for name, value in os.environ.items() if name != "LIVEGRAD_NATIVE"}


@pytest.fixture
def launches(monkeypatch):
    """What was launched: (operators, size, reason, how)."""
    from livegrad.lazy.log import Log
    from livegrad.observe import WATCH

    seen = []

    class Kept(Log):
        def line(self, what, size, reason, how, seconds):
            seen.append((what, size, reason, how))

    monkeypatch.setattr(WATCH, "observer", Kept())
    return seen

"""Shared by all tests: kernels are kept beside pytest's own cache, not among the user's."""

import os
from pathlib import Path

# Everything is tested with compiled functions, from the first operator on; LIVEGRAD_NATIVE=0 tests their Python form.
os.environ.setdefault("LIVEGRAD_NATIVE", "always")
os.environ.setdefault("LIVEGRAD_CACHE_DIR", str(Path(__file__).parent.parent / ".pytest_cache" / "kernels"))

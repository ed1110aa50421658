"""Shared by all tests: kernels are kept beside pytest's own cache, not among the user's."""

import os
from pathlib import Path

os.environ.setdefault("LIVEGRAD_CACHE_DIR", str(Path(__file__).parent.parent / ".pytest_cache" / "kernels"))

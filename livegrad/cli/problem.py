"""What the user of the command can mend, in one line that says how."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path

_PACKAGES = {"sklearn": "scikit-learn"}


class Problem(Exception):
    """Ends the command with its text as the only output on stderr, and with `status` as the exit code."""

    def __init__(self, text: str, status: int = 2):
        super().__init__(" ".join(text.split()))
        self.status = status


def found(module: str) -> bool:
    """Whether a module can be imported, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def package(module: str) -> str:
    """What to install to get a module."""
    return _PACKAGES.get(module, module)


def require(what: str, *modules: str, instead: str = "") -> None:
    """Raise Problem, naming what to install (or to do instead), unless all these modules are there."""
    missing = [package(m) for m in modules if not found(m)]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise Problem(
            f"{what} needs {' and '.join(missing)}, which {verb} not installed; run: pip install {' '.join(missing)}"
            + (f", or {instead}" if instead else "")
        )


def writable(out: Path) -> None:
    """Make a folder, if it is not there, and raise Problem unless files can be written to it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise Problem(f"cannot write to the folder {out} ({reason}); choose another one with --out DIR") from None

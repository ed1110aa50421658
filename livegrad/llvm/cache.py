"""Machine code kept on disk, by program, target and version.

Entries are written atomically and carry a checksum; a damaged one is removed and compiled again, never run. The folder
is bounded in size, oldest use first. It is private to the user, since what is in it gets executed.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from . import machine, service

try:  # what is behind `hashlib`, which takes a while to import
    from _sha2 import sha256
except ImportError:
    try:
        from _sha256 import sha256
    except ImportError:
        from hashlib import sha256

VERSION = "1"
LIMIT_BYTES = 256 << 20
LIMIT_ENTRIES = 20_000
_SUFFIX = ".kernel"


def _default_folder() -> Path | None:
    chosen = os.environ.get("LIVEGRAD_CACHE_DIR")
    if chosen == "":
        return None
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        if chosen:
            return Path(chosen).absolute()  # the program may go to another folder
        if os.path.isabs(base):  # as its specification has it
            return Path(base, "livegrad")
        home = Path.home()
        return home / "Library" / "Caches" / "livegrad" if sys.platform == "darwin" else home / ".cache" / "livegrad"
    except (RuntimeError, OSError):  # no home folder; the present one is gone
        return None


folder: Path | None = _default_folder()
_checked: dict[Path, bool] = {}
# Pruning takes a look at the whole folder, so it comes once in so many writes; short processes take turns.
PRUNE_EVERY = 64
_since_pruned = os.getpid() % PRUNE_EVERY
_attempts = itertools.count(time.monotonic_ns())  # names of temporary files; a killed process leaves some behind


def usable_folder() -> Path | None:
    """The folder, made and private; None where that cannot be had (then nothing is kept)."""
    if folder is None:
        return None
    known = _checked.get(folder)
    if known is None:
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            known = os.access(folder, os.W_OK)
            if hasattr(os, "getuid"):
                status = folder.stat()
                known = known and status.st_uid == os.getuid() and not status.st_mode & 0o022
        except OSError:
            known = False
        _checked[folder] = known
    return folder if known else None


def name_of(program: tuple) -> str:
    """The name of a program's code on this machine; `program` says what it was made from."""
    text = repr((VERSION, machine.host_description(), _sources_digest(), program))
    return sha256(text.encode()).hexdigest()


_digest: str | None = None


def _sources_digest() -> str:
    """A digest of the code generator itself, so that a changed library never runs an older one's kernels."""
    global _digest
    if _digest is None:
        _digest = sha256(b"".join([path.read_bytes() for path in _sources()])).hexdigest()
        if _sources_changed():
            _digest += f" not those of process {os.getpid()}"
    return _digest


def _sources() -> list[Path]:
    here = Path(__file__).parent
    return [here / "machine.py", *sorted((here.parent / "codegen").rglob("*.py"))]


_began = time.time()


def _sources_changed() -> bool:
    """Whether the code generator on disk may not be the one that runs: somebody has updated it meanwhile."""
    return any(path.stat().st_mtime > _began for path in _sources())


def read(name: str) -> bytes | None:
    """The object code kept under `name`, or None."""
    where = usable_folder()
    if where is None:
        return None
    path = where / (name + _SUFFIX)
    try:
        data = path.read_bytes()
    except OSError:
        return None
    checksum, code = data[:32], data[32:]
    if len(checksum) == 32 and code and sha256(name.encode() + code).digest() == checksum:
        with contextlib.suppress(OSError):
            os.utime(path)
        return code
    with contextlib.suppress(OSError):
        path.unlink()
    return None


def size(name: str) -> int:
    """How many bytes are kept under `name`; 0 for none."""
    where = usable_folder()
    try:
        return 0 if where is None else (where / (name + _SUFFIX)).stat().st_size
    except OSError:
        return 0


def write(name: str, code: bytes) -> None:
    """Keep object code. A folder that cannot be written to is no error: the kernel is compiled again next time."""
    global _since_pruned
    where = usable_folder()
    if where is None:
        return
    temporary = where / f"new-{os.getpid()}-{next(_attempts)}.tmp"
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    except OSError:
        return
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(sha256(name.encode() + code).digest() + code)
        os.replace(temporary, where / (name + _SUFFIX))
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            return
        raise
    _since_pruned += 1
    if _since_pruned >= PRUNE_EVERY:
        _since_pruned = 0
        prune(where)


def remove(name: str) -> None:
    """Keep what is under `name` no longer."""
    where = usable_folder()
    if where is not None:
        with contextlib.suppress(OSError):
            (where / (name + _SUFFIX)).unlink()


def prune(where: Path, limit: int | None = None) -> None:
    """Remove the entries used longest ago until what is left fits the limit, and what killed processes left behind."""
    limit = LIMIT_BYTES if limit is None else limit
    entries = []
    long_ago = time.time() - 3600
    with contextlib.suppress(OSError):
        for path in where.iterdir():
            with contextlib.suppress(OSError):
                status = path.stat()
                if path.suffix == _SUFFIX:
                    entries.append((status.st_mtime, status.st_size, path))
                elif path.suffix == ".tmp" and status.st_mtime < long_ago:
                    path.unlink()
    total = sum(size for _, size, _ in entries)
    left = len(entries)
    for _, size, path in sorted(entries, key=lambda e: e[0]):
        if total <= limit and left <= LIMIT_ENTRIES:
            break
        with contextlib.suppress(OSError):
            path.unlink()
            total -= size
            left -= 1


def stats() -> tuple[Path | None, int, int]:
    """(folder, number of kernels, bytes)."""
    where = usable_folder()
    if where is None:
        return None, 0, 0
    sizes = [p.stat().st_size for p in where.glob("*" + _SUFFIX)]
    return where, len(sizes), sum(sizes)


# Loading and compiling through the folder


def load(program: tuple, passing: bool = False) -> machine.CompiledObject | None:
    """The code kept for a program, ready to be called; None where there is none that can be."""
    code = read(name_of(program))
    if code is None:
        return None
    try:
        return machine.load_object(code, passing=passing)
    except Exception:  # whatever is wrong with it, it is made again
        return None


def make(program: tuple, source: Callable[[], str], passing: bool = False) -> machine.CompiledObject:
    """Compile the module that `source` returns, and keep the code. passing: see `machine.load_object`."""
    compiled = machine.compile_cpu(source(), passing=passing)
    if not _sources_changed():
        write(name_of(program), compiled.object_code)
    return compiled


def functions(module_text: str, names: Iterable[str]) -> dict[str, int]:
    """The addresses of functions of a module, which is compiled only if it is not kept."""

    def find() -> dict[str, int]:
        program = ("module", module_text)
        found = load(program) or make(program, lambda: module_text)
        return {name: found.address(name) for name in names}

    machine.host_description()  # imports what is needed, before others wait for it
    return service.call(find)

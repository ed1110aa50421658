"""`hub`: models and weights that programs fetch. A folder on this machine serves as a repository of models."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from .serialization import load as _load_file

try:
    from tqdm import tqdm
except ImportError:

    class tqdm:  # type: ignore[no-redef]
        """Shows no progress, where tqdm is not installed."""

        def __init__(self, iterable: Any = (), **options: Any):
            self._iterable = iterable

        def __iter__(self) -> Any:
            return iter(self._iterable)

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *exc: Any) -> None:
            pass

        def update(self, n: float = 1) -> None:
            """Nothing is shown."""

        def close(self) -> None:
            """Nothing is shown."""


__all__ = ["download_url_to_file", "get_dir", "help", "list", "load", "load_state_dict_from_url", "set_dir"]

HASH_REGEX = re.compile(r"-([a-f0-9]*)\.")  # resnet18-bfd8deac.pth: the start of the file's SHA-256
_chosen: Any = [None]


def _get_torch_home() -> str:
    """Where PyTorch keeps what it has fetched, so that the two share it: ``$TORCH_HOME``, or ``torch`` in the cache."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return os.path.expanduser(os.environ.get("TORCH_HOME", os.path.join(cache, "torch")))


def get_dir() -> str:
    """The folder that holds what was fetched."""
    return _chosen[0] or os.path.join(_get_torch_home(), "hub")


def set_dir(d: Any) -> None:
    """Choose the folder that holds what is fetched."""
    _chosen[0] = os.path.expanduser(d)


def download_url_to_file(url: str, dst: Any, hash_prefix: str | None = None, progress: bool = True) -> None:
    """Fetch a file, whole or not at all. Raises RuntimeError if its SHA-256 does not start with `hash_prefix`."""
    dst = os.path.expanduser(dst)
    digest = hashlib.sha256()
    name = os.path.basename(dst)
    descriptor, part = tempfile.mkstemp(dir=os.path.dirname(dst) or ".", suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as out, urllib.request.urlopen(url) as source:  # noqa: S310
            total = int(source.headers.get("Content-Length") or 0) or None
            with tqdm(total=total, disable=not progress, unit="B", unit_scale=True, desc=name) as shown:
                while block := source.read(1 << 20):
                    out.write(block)
                    digest.update(block)
                    shown.update(len(block))
        if hash_prefix is not None and digest.hexdigest()[: len(hash_prefix)] != hash_prefix:
            raise RuntimeError(f'invalid hash value (expected "{hash_prefix}", got "{digest.hexdigest()}")')
        shutil.move(part, dst)
    finally:
        if os.path.exists(part):
            os.remove(part)


def load_state_dict_from_url(
    url: str, model_dir: Any = None, map_location: Any = None, progress: bool = True, check_hash: bool = False,
    file_name: str | None = None, weights_only: bool = False,
) -> Any:  # fmt: skip
    """The content of a file of weights, fetched unless it is in `model_dir` (``get_dir()/checkpoints``) already.

    check_hash: the file's name carries the start of its SHA-256, and the file has to have it.
    """
    folder = Path(model_dir if model_dir is not None else os.path.join(get_dir(), "checkpoints")).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (file_name or os.path.basename(urlparse(url).path))
    if not path.exists():
        print(f'Downloading: "{url}" to {path}', file=sys.stderr)
        found = HASH_REGEX.search(path.name) if check_hash else None
        download_url_to_file(url, str(path), found.group(1) if found else None, progress=progress)
    return _load_file(str(path), map_location=map_location, weights_only=weights_only)


def _entry_points(folder: Any, source: str) -> dict:
    """The functions of a repository's ``hubconf.py``, by name."""
    if source != "local":
        raise RuntimeError(
            f"only models in a folder on this machine can be loaded: clone {folder!r} and pass the folder with "
            "source='local'"
        )
    path = Path(folder).expanduser() / "hubconf.py"
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}")
    spec = importlib.util.spec_from_file_location("hubconf", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    missing = [name for name in getattr(module, "dependencies", ()) if importlib.util.find_spec(name) is None]
    if missing:
        raise RuntimeError(f"Missing dependencies: {', '.join(missing)}")
    return {name: f for name, f in vars(module).items() if callable(f) and not name.startswith("_")}


def _entry_point(folder: Any, name: str, source: str) -> Callable:
    found = _entry_points(folder, source).get(name)
    if found is None:
        raise RuntimeError(f"Cannot find callable {name} in hubconf")
    return found


def load(repo_or_dir: Any, model: str, *args: Any, source: str = "github", **kwargs: Any) -> Any:
    """A model from a folder with a ``hubconf.py``, whose function `model` is called with the other arguments.

    Raises RuntimeError unless `source` is "local": repositories are not fetched.
    """
    for only_for_github in ("trust_repo", "force_reload", "verbose", "skip_validation"):
        kwargs.pop(only_for_github, None)
    return _entry_point(repo_or_dir, model, source)(*args, **kwargs)


def list(repo_or_dir: Any, source: str = "github", **options: Any) -> Any:  # noqa: A001
    """The names of the models that a folder's ``hubconf.py`` offers."""
    return [*_entry_points(repo_or_dir, source)]


def help(repo_or_dir: Any, model: str, source: str = "github", **options: Any) -> Any:  # noqa: A001
    """What a model's function in ``hubconf.py`` says about itself."""
    return _entry_point(repo_or_dir, model, source).__doc__

"""Saving tensors and what holds them to a file, and loading them back.

:func:`save` writes PyTorch's format, a zip archive of a pickle (`pickling`) and the bytes of all storages (`zipping`);
or, with ``format="safetensors"``, one `safetensors <https://github.com/huggingface/safetensors>`_ file, whose header
describes the structure that the tensors were in (dictionaries, lists, numbers, parameters, which tensor appears twice
...) as JSON.  :func:`load` reads both, plain safetensors files, and the files of PyTorch's ``torch.save``.

Loading never runs anything from a file, unless the caller asks for that by ``weights_only=False``.  Pickles are read by
a small interpreter (`machine`), which knows tensors, plain containers and NumPy's arrays, and refuses everything else
by name.

Layout of a safetensors file: eight bytes with the length of the header, the header (JSON: for every tensor its dtype,
shape and place), the tensors' bytes.  The header's ``__metadata__`` has these strings:

=================  =================================================================================================
``format``         ``"livegrad"``
``format_version`` ``"1"``
``structure``      the saved object as JSON, see `encoding`
``checksums``      JSON: CRC-32 of every tensor's bytes
``header_crc32``   CRC-32 of all of the above and of the table of tensors
=================  =================================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .errors import CheckpointError
from .loading import load
from .safe import add_safe_globals, clear_safe_globals, get_safe_globals, safe_globals
from .writing import save

DEFAULT_PROTOCOL = 2  # of the pickles that `save` writes
# What `load` takes as map_location: a function of storage and device, a device, its name, names for names, or None.
MAP_LOCATION = Callable[[Any, str], Any] | Any | str | dict[str, str] | None

__all__ = [
    "CheckpointError", "add_safe_globals", "clear_safe_globals", "get_safe_globals", "load", "safe_globals", "save",
]  # fmt: skip

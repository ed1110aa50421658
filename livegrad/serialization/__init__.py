"""Saving tensors and what holds them to a file, and loading them back.

:func:`save` writes one `safetensors <https://github.com/huggingface/safetensors>`_ file.  Its tensors can be read by
any safetensors reader; the metadata in its header describes the structure they were in (dictionaries, lists, numbers,
parameters, which tensor appears twice ...) as JSON.  :func:`load` reads such files, plain safetensors files, and the
files that PyTorch's ``torch.save`` writes.

Loading never runs anything from a file, but for whole modules and on request (`modules`).  The structure is data, not
code, and PyTorch's pickles are read by a small interpreter (`machine`), which knows tensors and plain containers and
refuses everything else by name.

Layout of a file: eight bytes with the length of the header, the header (JSON: for every tensor its dtype, shape and
place), the tensors' bytes.  The header's ``__metadata__`` has these strings:

=================  =================================================================================================
``format``         ``"livegrad"``
``format_version`` ``"1"``
``structure``      the saved object as JSON, see `encoding`
``checksums``      JSON: CRC-32 of every tensor's bytes
``header_crc32``   CRC-32 of all of the above and of the table of tensors
=================  =================================================================================================
"""

from __future__ import annotations

from .errors import CheckpointError
from .loading import load
from .modules import add_safe_globals, clear_safe_globals, get_safe_globals, safe_globals
from .writing import save

__all__ = [
    "CheckpointError", "add_safe_globals", "clear_safe_globals", "get_safe_globals", "load", "safe_globals", "save",
]  # fmt: skip

"""What is shown in place of characters that a terminal lacks."""

from __future__ import annotations

import codecs

NAME = "livegrad.ascii"
_LOOKS = {
    "×": "x", "²": "^2", "µ": "u", "…": "...", "●": "o", "■": "#", "□": "#", "▣": "#", "▤": "#", "▼": "v", "▶": ">",
    "│": "|", "├": "+", "┤": "+", "┼": "+", "─": "-", "╰": "+", "╯": "+", "╮": "+", "╭": "+", "⋮": ":", "→": "->",
    "–": "-", "—": "-", "━": "-", "╸": "-", "╺": "-", "•": "*",
}  # fmt: skip


def _nearest(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_LOOKS.get(c, "?") for c in error.object[error.start : error.end]), error.end


def install() -> str:
    """The name of a way to treat encoding errors, for `reconfigure` of a stream.

    >>> "2 × 3 µs ☃".encode("ascii", install())
    b'2 x 3 us ?'
    """
    codecs.register_error(NAME, _nearest)
    return NAME

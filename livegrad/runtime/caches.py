"""The sizes of this machine's caches, as far as the system tells."""

from __future__ import annotations

_FOLDER = "/sys/devices/system/cpu/cpu0/cache"
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def _read(index: int, name: str) -> str:
    with open(f"{_FOLDER}/index{index}/{name}") as file:
        return file.read().strip()


def _find() -> dict[int, int]:
    """Bytes of the data (or unified) cache of each level of the first processor."""
    found = {}
    try:
        for index in range(8):
            if _read(index, "type") != "Instruction":
                text = _read(index, "size")
                found[int(_read(index, "level"))] = int(text.rstrip("KMG")) * _UNITS.get(text[-1:], 1)
    except (OSError, ValueError):
        pass  # no more caches, or a system that says nothing
    return found


_sizes = _find()
LAST_LEVEL = _sizes.get(max(_sizes, default=0), 0)  # bytes; 0 where it is not known

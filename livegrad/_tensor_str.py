"""The private names that libraries use from PyTorch to write tensors of their own: `livegrad.printing` does it."""

from typing import Any

from .printing import _options as PRINT_OPTS
from .printing import contents, with_notes

__all__ = ["PRINT_OPTS"]


def _tensor_str(self: Any, indent: int) -> str:
    """The values alone, in brackets; lines after the first are moved to the right by `indent`."""
    return contents(self.detach().cpu().numpy(), indent)


def _add_suffixes(tensor_str: str, suffixes: list[str], indent: int, force_newline: bool) -> str:
    """The text with notes such as ``dtype=torch.int64`` and the closing parenthesis."""
    return with_notes(tensor_str, suffixes, indent, force_newline)


def _str(self: Any, *, tensor_contents: str | None = None) -> str:
    """What `repr` of a tensor gives, with other contents if they are given."""
    return self.__repr__(tensor_contents=tensor_contents)


_str_intern = _str

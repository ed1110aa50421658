"""Signatures of operators, as `library.define` states them: ``"(Tensor x, float p=0.5, *, int[2] size) -> Tensor"``."""

from __future__ import annotations

import ast
import re
from inspect import Parameter, Signature
from typing import Any

# Commas between brackets or quotes are part of an argument.
_PARTS = re.compile(r"""(?:"[^"]*"|'[^']*'|\[[^\]]*\]|\([^)]*\)|[^,])+""")
_ARGUMENT = re.compile(r"\S+(?:\([^)]*\)\S*)?\s+(?P<name>\w+)\s*(?:=\s*(?P<default>.+))?$")
_WORDS = {"None": None, "True": True, "False": False, "Mean": 1, "Sum": 2}


def _default(text: str) -> Any:
    text = text.strip()
    if text in _WORDS:
        return _WORDS[text]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text  # the name of a dtype, a layout or a memory format


def signature(schema: str) -> Signature | None:
    """The arguments that a schema lists, or None where it lists none. Raises RuntimeError for what is no schema.

    >>> signature("scale(Tensor x, float by=2.0, *, int[] size=[1, 2]) -> Tensor")
    <Signature (x, by=2.0, *, size=[1, 2])>
    """
    start, end = schema.find("("), schema.rfind("->")
    if start < 0:
        return None
    inside = schema[start + 1 : schema.rindex(")", start, end if end > 0 else len(schema))].strip()
    found: list = []
    kind: Any = Parameter.POSITIONAL_OR_KEYWORD
    for part in _PARTS.findall(inside):
        if part.strip() == "*":
            kind = Parameter.KEYWORD_ONLY
            continue
        argument = _ARGUMENT.match(part.strip())
        if argument is None:
            raise RuntimeError(f"expected an argument such as 'Tensor x' or 'int n=1', but got {part!r} in {schema!r}")
        given = argument["default"]
        default = Parameter.empty if given is None else _default(given)
        found.append(Parameter(argument["name"], kind, default=default))
    return Signature(found)


def complete(arguments: Signature, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    """A call's arguments as an operator gets them: by position, with defaults, and by name only those that must be."""
    bound = arguments.bind(*args, **kwargs)
    bound.apply_defaults()
    return bound.args, bound.kwargs

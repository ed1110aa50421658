"""Sums of products by the letters of dimensions, as a chain of matrix products."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

from ..native import hot
from ..overriding import ANNOUNCED
from ..tensor import Tensor
from .arguments import type_name
from .operator import name_nodes
from .registry import FUNCTIONS, function

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@function
def einsum(equation: str | Tensor, *operands: Tensor | Sequence) -> Tensor:
    """Sums of products by Einstein's notation: repeated letters that the output lacks are summed over.

    >>> import livegrad
    >>> livegrad.einsum("ij,jk->ik", livegrad.ones(2, 3), livegrad.ones(3, 2))
    tensor([[3., 3.],
            [3., 3.]])
    """
    if isinstance(equation, Tensor):
        equation, operands = _from_lists((equation, *operands))  # type: ignore[arg-type]
    if not isinstance(equation, str) and operands:
        raise TypeError(f"einsum(): argument 'equation' (position 1) must be str, not {type_name(equation)}")
    if not isinstance(equation, str) or not operands:
        raise ValueError(
            "einsum(): must specify the equation string and at least one operand, or at least one operand and its "
            "subscripts list"
        )
    given = operands[0] if len(operands) == 1 and isinstance(operands[0], (list, tuple)) else operands
    for i, t in enumerate(given):
        if not isinstance(t, Tensor):
            raise TypeError(f"einsum(): expected Tensor as element {i} in argument 1, but got {type_name(t)}")
    tensors: list = list(given)
    known, right = _subscripts(equation, tuple([tuple(t._shape) for t in tensors]))
    terms = list(known)
    for i, term in enumerate(terms):
        if len(set(term)) < len(term):
            tensors[i], terms[i] = _diagonals(tensors[i], term)
    made, have = tensors[0], terms[0]
    for i in range(1, len(tensors)):
        later = "".join(terms[i + 1 :]) + right
        made, have = _contract(made, have, tensors[i], terms[i], later)
    extra = [d for d, c in enumerate(have) if c not in right]
    if extra:
        made = made.sum(tuple(extra))
        have = "".join(c for c in have if c in right)
    return made.permute(tuple(have.index(c) for c in right)) if have != right else made


ANNOUNCED[FUNCTIONS["einsum"]].spreads = True


def _from_lists(given: tuple) -> tuple[str, tuple]:
    """The equation and operands of a call that has the subscripts as numbers, in a list after each operand."""
    odd = len(given) % 2  # then the subscripts of the result come last
    tensors = given[: len(given) - odd : 2]
    words = []
    for subscripts in (*given[1::2], *given[len(given) - odd :]):
        word = ""
        if not isinstance(subscripts, (list, tuple)):
            raise TypeError(f"einsum(): subscripts must be a list of ints, not {type_name(subscripts)}")
        for k in subscripts:
            if k is not Ellipsis and not isinstance(k, int):
                raise TypeError(f"einsum(): a subscript must be int or Ellipsis, not {type_name(k)}")
            if k is not Ellipsis and not 0 <= k < len(_LETTERS):
                raise ValueError(f"einsum(): subscript in subscript list is not within the valid range [0, 52): {k}")
            word += "..." if k is Ellipsis else _LETTERS[k]
        words.append(word)
    terms = ",".join(words[: len(tensors)])
    return (f"{terms}->{words[-1]}" if odd else terms), tensors


@functools.lru_cache(1024)
def _subscripts(equation: str, shapes: tuple) -> tuple[tuple[str, ...], str]:
    """The letters of each operand and of the result, an ellipsis spelt with letters that the equation does not use.

    Raises RuntimeError where equation and shapes do not go together.
    """
    terms, right = _spelt(equation, [len(shape) for shape in shapes])
    _check_sizes(terms, shapes)
    return tuple(terms), right


def _spelt(equation: str, ranks: list) -> tuple[list[str], str]:
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        how = "fewer" if len(ranks) < len(terms) else "more"
        raise RuntimeError(
            f"einsum(): {how} operands were provided than specified in the equation: {len(terms)} expected, "
            f"{len(ranks)} given"
        )
    for i, term in enumerate(terms):
        _check_letters(term, f"for operand {i}", equation)
    _check_letters(right, "in the output", equation)
    spare = [c for c in _LETTERS if c not in equation]
    width = max((n - len(term.replace("...", "")) for n, term in zip(ranks, terms) if "..." in term), default=0)
    dots = "".join(spare[: max(width, 0)])
    for i, (rank, term) in enumerate(zip(ranks, terms)):
        letters = term.replace("...", "")
        own = rank - len(letters)
        if own < 0 or (own > 0 and "..." not in term):
            why = "is more than" if "..." in term else "does not match"
            none = "" if "..." in term else " and no ellipsis was given"
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({len(letters)}) {why} the number of "
                f"dimensions ({rank}) for operand {i}{none}"
            )
        terms[i] = term.replace("...", dots[len(dots) - own :])
    letters = "".join(terms)
    if not arrow:
        return terms, dots + "".join(sorted(c for c in set(letters) if letters.count(c) == 1 and c not in dots))
    for c in right.replace("...", ""):
        if right.count(c) > 1:
            raise RuntimeError(f"einsum(): output subscript {c} appears more than once in the output")
        if c not in letters:
            raise RuntimeError(f"einsum(): output subscript {c} does not appear in the equation for any input operand")
    return terms, right.replace("...", dots)


def _check_letters(term: str, where: str, equation: str) -> None:
    letters = term.replace("...", "", 1)
    if "." in letters:
        kind = "that is not part of any ellipsis" if "..." not in term else "for which an ellipsis was already found"
        raise RuntimeError(f"einsum(): found '.' {where} {kind}")
    for c in letters:
        if c not in _LETTERS:
            raise RuntimeError(
                f"einsum(): invalid subscript given at index {equation.index(c)} in the equation string, subscripts "
                f"must be in [a-zA-Z]: {c!r} in {equation!r}"
            )


def _check_sizes(terms: Sequence[str], shapes: tuple) -> None:
    """Letters that one operand repeats have one size; between operands, sizes of 1 broadcast."""
    sizes: dict[str, int] = {}
    for i, (term, shape) in enumerate(zip(terms, shapes)):
        own: dict[str, int] = {}
        for c, n in zip(term, shape):
            if own.setdefault(c, n) != n:
                raise RuntimeError(
                    f"einsum(): subscript {c} is repeated for operand {i} but the sizes don't match, {n} != {own[c]}"
                )
        for c, n in own.items():
            before = sizes.get(c, 1)
            if 1 != n != before != 1:
                raise RuntimeError(
                    f"einsum(): subscript {c} has size {n} for operand {i} which does not broadcast with previously "
                    f"seen size {before}"
                )
            sizes[c] = max(n, before) if n and before else 0


def _diagonals(t: Tensor, term: str) -> tuple[Tensor, str]:
    """Take the diagonal of letters that one operand repeats."""
    for c in dict.fromkeys(term):
        while term.count(c) > 1:
            a = term.index(c)
            b = term.index(c, a + 1)
            t = t.diagonal(0, a, b)
            term = term[:a] + term[a + 1 : b] + term[b + 1 :] + c
    return t, term


@hot
def _contract(a: Tensor, ta: str, b: Tensor, tb: str, later: str) -> tuple[Tensor, str]:
    """Two operands as one batched matrix product: batch letters, those of a, those of b; shared others are summed."""
    left, right, product, stacked, shape, letters = _plan(ta, tuple(a._shape), tb, tuple(b._shape), later)
    x, y = _arranged(a, *left), _arranged(b, *right)
    made = FUNCTIONS["matmul"](x, y) if product else x * y
    if stacked and product and made._edge is not None:  # PyTorch multiplies stacks of one dimension
        name_nodes(made, "ViewBackward", a, b)
    return made if shape == made._shape else made.reshape(shape), letters


@hot
def _arranged(t: Tensor, dropped: tuple, order: tuple | None, wide: tuple | None, shape: tuple | None) -> Tensor:
    """An operand without what is summed beforehand, its dimensions in order, of their full sizes, and grouped."""
    if dropped:
        t = t.sum(dropped)
    if order is not None:
        t = t.permute(order)
    if wide is not None:
        t = t.expand(wide)
    return t if shape is None else t.reshape(shape)


@functools.lru_cache(1024)
def _plan(ta: str, a_shape: tuple, tb: str, b_shape: tuple, later: str) -> tuple:
    """What `_arranged` does to each operand, whether they are multiplied as matrices, and as stacks of several
    dimensions, the result's shape and letters."""
    drop_a = tuple([d for d, c in enumerate(ta) if c not in tb and c not in later])
    drop_b = tuple([d for d, c in enumerate(tb) if c not in ta and c not in later])
    a_shape, b_shape = (
        tuple([n for d, n in enumerate(shape) if d not in drop])
        for shape, drop in ((a_shape, drop_a), (b_shape, drop_b))
    )
    ta, tb = ("".join(c for d, c in enumerate(t) if d not in drop) for t, drop in ((ta, drop_a), (tb, drop_b)))
    batch = [c for c in ta if c in tb and c in later]
    summed = [c for c in ta if c in tb and c not in later]
    only_a = [c for c in ta if c not in tb]
    only_b = [c for c in tb if c not in ta]
    size: dict[str, int] = {}
    for term, shape in ((ta, a_shape), (tb, b_shape)):
        for c, n in zip(term, shape):
            size[c] = n if size.get(c, 1) == 1 else size[c]

    def steps(term: str, have: tuple, dropped: tuple, groups: list) -> tuple:
        letters = [c for g in groups for c in g]
        order = tuple([term.index(c) for c in letters])
        have = tuple([have[d] for d in order])
        wide = tuple([size[c] for c in letters])
        shape = tuple([math.prod(size[c] for c in g) for g in groups])
        in_order = order == tuple(range(len(order)))
        return dropped, None if in_order else order, None if wide == have else wide, None if shape == wide else shape

    # Batch letters stay dimensions of their own: products take stacks as they lie.
    stack = [[c] for c in batch]
    left, right = [*stack, only_a, summed], [*stack, summed, only_b]
    letters = [*batch, *only_a, *only_b]
    shape = tuple([size[c] for c in letters])
    return (
        steps(ta, a_shape, drop_a, left), steps(tb, b_shape, drop_b, right), bool(summed), len(batch) > 1, shape,
        "".join(letters),
    )  # fmt: skip

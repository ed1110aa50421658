"""Drawing a directed graph in layers: where nodes and edges go so that edges point downwards and cross little.

The method is that of Sugiyama, Tagawa and Toda (1981): nodes get layers, long edges get a bend in every layer that they
pass, layers are ordered so that few edges cross, and then everything gets coordinates. Orders come from sweeps by
barycentres. Coordinates come from sweeps too, in which each layer moves to where its neighbours are, as near as the
distances between its own nodes allow: a least-squares problem under an order, which pooling adjacent violators solves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

SWEEPS = 8
BENDS = 20_000


class Item:
    """A box to be placed. ``x`` and ``y`` of its top left corner are found here; its size is given."""

    __slots__ = ("foot", "height", "order", "rank", "weight", "width", "x", "y")

    def __init__(self, width: float, height: float, weight: float = 1.0):
        self.width, self.height, self.weight = width, height, weight
        self.rank = 0
        self.order = 0.0
        self.x = self.y = 0.0
        self.foot = 0.0  # where its layer ends


class Line(NamedTuple):
    """An edge from a place on the lower side of a box to one on the upper side of another, by their indices."""

    start: int
    end: int
    start_at: float  # from the box's left side
    end_at: float


class Picture(NamedTuple):
    """The size of the whole, and for each line the points that it passes, from top to bottom.

    joined: whether a line ends where another one passes that leads to the same place.
    """

    width: float
    height: float
    paths: list[list[tuple[float, float]]]
    joined: list[bool]


class _Link(NamedTuple):
    """An edge between neighbouring layers."""

    upper: Item
    lower: Item
    upper_at: float
    lower_at: float


def arrange(items: Sequence[Item], lines: Sequence[Line], *, gap: float, row_gap: float, last: frozenset = frozenset()):
    """Place the items. Lines lead from an item to a later one. last: items that belong into the lowest layer."""
    _rank(items, lines, last)
    rows, chains = _with_bends(items, lines)
    links = [link for chain in chains for link in chain]
    above: dict[Item, list[_Link]] = {}
    below: dict[Item, list[_Link]] = {}
    for link in links:
        below.setdefault(link.upper, []).append(link)
        above.setdefault(link.lower, []).append(link)
    _order(rows, above, below)
    _place_across(rows, above, below, gap)
    height = _place_down(rows, row_gap)
    left = min((item.x for row in rows for item in row), default=0.0)
    for row in rows:
        for item in row:
            item.x -= left
    width = max((item.x + item.width for row in rows for item in row), default=0.0)
    joined = [chain[-1].lower is not items[line.end] for chain, line in zip(chains, lines)]
    return Picture(width, height, [_points(chain) for chain in chains], joined)


def _rank(items: Sequence[Item], lines: Sequence[Line], last: frozenset) -> None:
    """The layer of an item is one below the lowest that leads to it."""
    outgoing: list[list[int]] = [[] for _ in items]
    for line in lines:
        outgoing[line.start].append(line.end)
    for k, item in enumerate(items):
        for end in outgoing[k]:
            if end <= k:
                raise ValueError(f"lines lead to later items, but one leads from {k} to {end}")
            items[end].rank = max(items[end].rank, item.rank + 1)
    if last:
        lowest = max(item.rank for k, item in enumerate(items) if k not in last) + 1 if len(last) < len(items) else 0
        for k in last:
            items[k].rank = max(lowest, 0)


def _with_bends(items: Sequence[Item], lines: Sequence[Line]) -> tuple[list[list[Item]], list[list[_Link]]]:
    """The layers, with an item of no width wherever a line passes one; and each line as links of neighbours.

    Lines to one place join at the first layer that both pass; the later ones end there. The longest go straight through
    everything where there would be more bends than is worth placing.
    """
    rows: list[list[Item]] = [[] for _ in range(max((item.rank for item in items), default=-1) + 1)]
    for item in items:
        rows[item.rank].append(item)
    longest = _longest_with_bends(items, lines)
    bends: dict[tuple[int, float, int], Item] = {}  # by the place that a line leads to, and the layer
    chains: list[list[_Link]] = [[] for _ in lines]
    for k in sorted(range(len(lines)), key=lambda k: items[lines[k].start].rank):
        line, chain = lines[k], chains[k]
        at, place, end = items[line.start], line.start_at, items[line.end]
        if end.rank - at.rank > longest:
            chain.append(_Link(at, end, place, line.end_at))
            continue
        for rank in range(at.rank + 1, end.rank):
            key = line.end, line.end_at, rank
            bend = bends.get(key)
            if bend is not None:
                chain.append(_Link(at, bend, place, 0.0))
                break
            bend = bends[key] = Item(0.0, 0.0, weight=4.0)  # long lines are to be straight
            bend.rank = rank
            rows[rank].append(bend)
            chain.append(_Link(at, bend, place, 0.0))
            at, place = bend, 0.0
        else:
            chain.append(_Link(at, end, place, line.end_at))
    return rows, chains


def _longest_with_bends(items: Sequence[Item], lines: Sequence[Line]) -> int:
    """How many layers a line may pass, so that there are no more than `BENDS` bends in all."""
    spans: dict[tuple[int, float], int] = {}
    for line in lines:
        place = line.end, line.end_at
        spans[place] = max(spans.get(place, 0), items[line.end].rank - items[line.start].rank)
    total = longest = 0
    for span in sorted(spans.values()):
        total += span - 1
        if total > BENDS:
            return min(longest, span - 1)
        longest = span
    return longest


def _order(rows: list[list[Item]], above: dict, below: dict) -> None:
    """Order the layers by barycentres, down and up in turn; of the orders seen, the one with the fewest crossings."""
    for row in rows:
        _number(row)
    best, fewest = [list(row) for row in rows], _crossings(rows, below)
    for sweep in range(SWEEPS):
        if not fewest:
            break
        down = sweep % 2 == 0
        for row in rows[1:] if down else reversed(rows[:-1]):
            for item in row:
                places = [_order_of(link, down) for link in (above if down else below).get(item, ())]
                if places:
                    item.order = sum(places) / len(places)
            row.sort(key=lambda item: item.order)
            _number(row)
        found = _crossings(rows, below)
        if found < fewest:
            best, fewest = [list(row) for row in rows], found
    for row, chosen in zip(rows, best):
        row[:] = chosen
        _number(row)


def _number(row: list[Item]) -> None:
    for k, item in enumerate(row):
        item.order = float(k)


def _order_of(link: _Link, upper: bool) -> float:
    """Where a link ends, as an order; within a box the place counts too."""
    item, at = (link.upper, link.upper_at) if upper else (link.lower, link.lower_at)
    return item.order + (at / item.width * 0.9 if item.width else 0.5)


def _crossings(rows: list[list[Item]], below: dict) -> int:
    """How many links cross: the inversions of their lower ends, taken in the order of their upper ends."""
    total = 0
    for row in rows:
        ends = [
            end
            for _, end in sorted(
                (_order_of(link, True), _order_of(link, False)) for i in row for link in below.get(i, ())
            )
        ]
        total += _inversions(ends)
    return total


def _inversions(values: list[float]) -> int:
    """Pairs in the wrong order, counted while merging."""
    if len(values) < 2:
        return 0
    half = len(values) // 2
    left, right = values[:half], values[half:]
    total = _inversions(left) + _inversions(right)
    left.sort()
    right.sort()
    k = 0
    for value in left:
        while k < len(right) and right[k] < value:
            k += 1
        total += k
    return total


def _place_across(rows: list[list[Item]], above: dict, below: dict, gap: float) -> None:
    for row in rows:
        at = 0.0
        for item in row:
            item.x = at
            at += item.width + gap
    for sweep in range(2 * SWEEPS):
        down = sweep % 2 == 0
        for row in rows if down else reversed(rows):
            wanted, weights = [], []
            for item in row:
                pulls = [(link.upper.x + link.upper_at - link.lower_at, link.upper) for link in above.get(item, ())]
                if not down or not pulls:
                    pulls += [
                        (link.lower.x + link.lower_at - link.upper_at, link.lower) for link in below.get(item, ())
                    ]
                weight = sum(min(item.weight, other.weight) for _, other in pulls)
                pull = sum(x * min(item.weight, other.weight) for x, other in pulls)
                wanted.append(pull / weight if pulls else item.x)
                weights.append(weight if pulls else 0.1)
            for item, x in zip(row, _apart(row, wanted, weights, gap)):
                item.x = x


def _apart(row: list[Item], wanted: list[float], weights: list[float], gap: float) -> list[float]:
    """The places nearest to the wanted ones, in the least squares, that keep the order and the distances."""
    offsets, at = [], 0.0
    for item in row:
        offsets.append(at)
        at += item.width + gap
    pools: list[tuple[float, float, int]] = []  # mean, weight, how many
    for want, weight, offset in zip(wanted, weights, offsets):
        mean, count = want - offset, 1
        while pools and pools[-1][0] > mean:
            before, heavy, many = pools.pop()
            mean = (mean * weight + before * heavy) / (weight + heavy)
            weight, count = weight + heavy, count + many
        pools.append((mean, weight, count))
    means = [mean for mean, _, count in pools for _ in range(count)]
    return [mean + offset for mean, offset in zip(means, offsets)]


def _place_down(rows: list[list[Item]], row_gap: float) -> float:
    """Layers below one another; items lie at the top of theirs. The height of the whole."""
    y = 0.0
    for row in rows:
        tall = max((item.height for item in row), default=0.0)
        for item in row:
            item.y, item.foot = y, y + tall
        y += tall + row_gap
    return max(y - row_gap, 0.0)


def _points(chain: list[_Link]) -> list[tuple[float, float]]:
    """From box to box; each layer is passed straight down, so that nothing else in it is touched."""
    first = chain[0].upper
    points = [(first.x + chain[0].upper_at, first.y + first.height)]
    for link in chain:
        x = link.upper.x + link.upper_at
        if points[-1] != (x, link.upper.foot):
            points.append((x, link.upper.foot))
        points.append((link.lower.x + link.lower_at, link.lower.y))
    return points

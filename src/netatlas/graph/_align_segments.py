"""Alignment of parts: which blocks of two networks belong together, and for large graphs operators within matched segments only."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from netatlas.graph._align_labels import Ints, Labels, Side
from netatlas.graph._align_path import best_path
from netatlas.graph._diff_units import units
from netatlas.graph._drawing_labels import Words

MOST_SEGMENTS = 1_500
LONGEST = 400
"""Nodes of the longest segment; longer ones are cut."""

MOST_PARTS = 3_000
"""Parts of a network beyond which operators are aligned without them."""

_BINS = 512
_EQUAL, _PATH = 6, 4


def parts_alike(labels: Labels) -> tuple[Ints, Ints] | None:
    """A number for the part of every node of both graphs, equal where a part of one belongs to a part of the other.

    Blocks keep together: what squeezes in one block is not matched with what squeezes in the next, however alike. ``None`` where a
    network has one part only, or too many.
    """
    found = [units(side.graph, Words(side.graph)) for side in (labels.a, labels.b)]
    if min(map(len, found)) < 2 or max(map(len, found)) > MOST_PARTS:
        return None
    bags: list[list[npt.NDArray[np.float64]]] = []
    owners = []
    for n, (side, own) in enumerate(zip((labels.a, labels.b), found, strict=True)):
        owner = np.zeros(len(side.graph), dtype=np.int64)
        for k, unit in enumerate(own):
            owner[list(unit.nodes)] = k
        owners.append(owner)
        exact = labels.own[n] * 31 + side.stage * 7919
        keys = (exact + np.where(side.is_layer, side.width, 0) * 104729, exact, side.kind * 31 + side.stage * 7919)
        bags.append([_bags(side, owner, len(own), key) for key in keys])
    alike = sum(np.rint(10 * x @ y.T) for x, y in zip(*bags, strict=True)) - 8
    names = [np.array([hash(unit.label) for unit in own]) for own in found]
    labels.owner = owners[0], owners[1]
    likeness = (alike + _PATH * (names[0][:, None] == names[1][None, :])).astype(np.int32)
    partner = dict(best_path(len(found[0]), len(found[1]), lambda i: likeness[i], gap=2))
    number = np.array([partner.get(k, -1 - k) for k in range(len(found[0]))], dtype=np.int64)
    return number[owners[0]], owners[1]


def _bags(side: Side, owner: Ints, count: int, key: Ints) -> npt.NDArray[np.float64]:
    """Counts of hashed keys in each part, layers twice, of length one ``(count, _BINS)``."""
    bag = np.zeros((count, _BINS))
    np.add.at(bag, (owner, key % _BINS), 1.0 + side.is_layer)
    return np.asarray(bag / np.maximum(np.linalg.norm(bag, axis=1, keepdims=True), 1e-9))


def by_segments(labels: Labels, span_a: tuple[int, int], span_b: tuple[int, int], most_cells: int) -> list[tuple[int, int]]:
    """Pairs of nodes within two spans, ascending.

    Args:
        labels: Both graphs.
        span_a: First node and end in the first graph.
        span_b: The same in the second.
        most_cells: Pairs of operators to compare one by one, in all.
    """
    cuts = [_cuts(side, *span) for side, span in ((labels.a, span_a), (labels.b, span_b))]
    likeness = _likeness(labels, cuts[0], cuts[1])
    pairs: list[tuple[int, int]] = []
    matched = best_path(len(cuts[0]) - 1, len(cuts[1]) - 1, lambda i: likeness[i], gap=4)
    budget = most_cells
    last_a, last_b = 0, 0
    for s, t in [*matched, (len(cuts[0]) - 1, len(cuts[1]) - 1)]:
        between = (cuts[0][last_a], cuts[0][s], cuts[1][last_b], cuts[1][t])
        budget -= _cells(between)
        if budget > 0:
            pairs += _within(labels, *between)
        if s < len(cuts[0]) - 1 and t < len(cuts[1]) - 1:
            inside = (cuts[0][s], cuts[0][s + 1], cuts[1][t], cuts[1][t + 1])
            budget -= _cells(inside)
            if budget > 0 or _cells(inside) <= LONGEST**2:
                pairs += _within(labels, *inside)
        last_a, last_b = s + 1, t + 1
    return pairs


def _cells(spans: tuple[int, int, int, int]) -> int:
    a0, a1, b0, b1 = spans
    return (a1 - a0) * (b1 - b0)


def _within(labels: Labels, a0: int, a1: int, b0: int, b1: int) -> list[tuple[int, int]]:
    if a1 - a0 == b1 - b0 and bool((labels.full[0][a0:a1] == labels.full[1][b0:b1]).all()):
        return [(a0 + n, b0 + n) for n in range(a1 - a0)]
    columns = slice(b0, b1)
    return [(a0 + i, b0 + j) for i, j in best_path(a1 - a0, b1 - b0, lambda i: labels.likeness(a0 + i, columns))]


def _cuts(side: Side, start: int, stop: int) -> list[int]:
    """Where segments begin, and the end: at the deepest level of modules that gives few enough, long ones cut again."""
    parts = [path.split(".") if path else [] for path in side.paths[start:stop]]
    cuts = [start, stop]
    for depth in range(1, 12):
        heads = [tuple(p[:depth]) for p in parts]
        found = [start, *(start + n for n in range(1, len(heads)) if heads[n] != heads[n - 1]), stop]
        if len(found) > MOST_SEGMENTS:
            break
        if len(found) == len(cuts) and depth > 4:
            break
        cuts = found
    pieces = [cuts[0]]
    for a, b in pairwise(cuts):
        step = max(LONGEST, -(-(stop - start) // MOST_SEGMENTS))
        pieces += [*range(a + step, b, step), b]
    return pieces


def _likeness(labels: Labels, cuts_a: list[int], cuts_b: list[int]) -> npt.NDArray[np.int32]:
    """Likeness of all segments ``(s, t)``: cosine of their operators' counts, and whether they are equal or named alike."""
    bags = []
    for n, (side, cuts) in enumerate(((labels.a, cuts_a), (labels.b, cuts_b))):
        mixed = (labels.own[n] * 31 + side.stage * 7919 + np.where(side.is_layer, side.width, 0) * 104729) % _BINS
        segment = np.repeat(np.arange(len(cuts) - 1), np.diff(cuts))
        bag = np.zeros((len(cuts) - 1, _BINS))
        np.add.at(bag, (segment, mixed[cuts[0] : cuts[-1]]), 1.0 + side.is_layer[cuts[0] : cuts[-1]])
        bags.append(bag / np.maximum(np.linalg.norm(bag, axis=1, keepdims=True), 1e-9))
    alike = bags[0] @ bags[1].T
    signs = [np.array([hash(labels.full[n][a:b].tobytes()) for a, b in pairwise(c)]) for n, c in enumerate((cuts_a, cuts_b))]
    names = [np.array([labels.path[n][a] for a in c[:-1]]) for n, c in enumerate((cuts_a, cuts_b))]
    equal = signs[0][:, None] == signs[1][None, :]
    named = names[0][:, None] == names[1][None, :]
    return np.asarray(np.rint(20 * alike - 8) + _EQUAL * equal + _PATH * named, dtype=np.int32)

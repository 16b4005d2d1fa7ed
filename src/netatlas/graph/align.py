"""Two networks laid side by side: which operators are the same, which were changed, which only one of them has."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from netatlas.errors import GraphError
from netatlas.graph._align_changes import Change, changes, own_changes
from netatlas.graph._align_labels import Labels
from netatlas.graph._align_path import best_path
from netatlas.graph._align_repair import Matching
from netatlas.graph._align_segments import by_segments, parts_alike
from netatlas.graph._align_unwired import match_unwired
from netatlas.graph._drawing_labels import Words
from netatlas.graph.graph import Graph

__all__ = ["Alignment", "Change", "align"]

MOST_CELLS = 24_000_000
"""Pairs of operators that are compared one by one (0.4 s); larger problems are first aligned module by module."""

MOST_OPERATORS = 250_000
"""Two networks of 100,000 operators each, alike in nothing, take about a minute and 0.5 GB; far larger ones are refused."""

MARGIN = 32
"""Operators of the equal beginning and end that are matched anew with what lies between."""


@dataclass(frozen=True, eq=False)
class Alignment:
    """A matching of the operators of two graphs.

    Attributes:
        a: The first graph.
        b: The second graph.
        pairs: Matched nodes, ascending in the first graph.
        changes: By node of the first graph, how it differs from its partner; nodes that do not differ are left out.
        only_a: Nodes of the first graph without partner, ascending.
        only_b: Nodes of the second graph without partner, ascending.
        notes: Where the alignment was bounded instead of exact.
    """

    a: Graph
    b: Graph
    pairs: tuple[tuple[int, int], ...]
    changes: dict[int, tuple[Change, ...]]
    only_a: tuple[int, ...]
    only_b: tuple[int, ...]
    notes: tuple[str, ...] = ()

    @cached_property
    def words(self) -> tuple[Words, Words]:
        """Both graphs with the words for their operators."""
        return Words(self.a), Words(self.b)

    @cached_property
    def to_b(self) -> dict[int, int]:
        """Partner of every matched node of the first graph."""
        return dict(self.pairs)

    @cached_property
    def to_a(self) -> dict[int, int]:
        """Partner of every matched node of the second graph."""
        return {j: i for i, j in self.pairs}

    @cached_property
    def changed(self) -> dict[int, tuple[Change, ...]]:
        """Nodes of the first graph that differ from their partner by decision, not by what they are fed."""
        found = {i: own_changes(c) for i, c in self.changes.items()}
        return {i: c for i, c in found.items() if c}

    @property
    def is_same(self) -> bool:
        """Whether the two are one network: every operator has a partner it equals in what it decides, wired alike.

        Channels first or last is no decision: see `laid_out_otherwise`.
        """
        return not (self.only_a or self.only_b or self.changed)

    @property
    def laid_out_otherwise(self) -> int:
        """Operators whose output has the axes of their partner's in another order, where nothing else differs."""
        return len(self.changes) if self.is_same else 0

    @property
    def likeness(self) -> float:
        """Share of operators, of both graphs together, that have a partner they equal in what they decide; 1 for two empty ones."""
        total = len(self.a) + len(self.b)
        return 2 * (len(self.pairs) - len(self.changed)) / total if total else 1.0

    def counts(self) -> Counter[tuple[str, str, str]]:
        """How often each decision was changed, as ``(what, before, after)``; ``("operator", "ReLU", "SiLU")``."""
        return Counter((c.what, c.before, c.after) for found in self.changed.values() for c in found)


def align(a: Graph, b: Graph, *, most_cells: int = MOST_CELLS) -> Alignment:
    """Align two graphs.

    What is equal from the start and from the end is matched first. What lies between is matched in order, so that the operators'
    likeness (operator, attributes, width, stage, Weisfeiler-Lehman context, module path) is largest and gaps are few; then gaps
    move to where modules begin, and branches listed in another order find each other by their wiring. O(n m) in what lies between
    the equal ends; beyond ``most_cells`` segments of modules are aligned first and operators within matched segments, which
    `Alignment.notes` then says.

    Swapping the arguments swaps the result.

    Args:
        a: Any graph.
        b: Any graph.
        most_cells: Pairs of operators to compare one by one.

    Raises:
        GraphError: One has more than `MOST_OPERATORS` nodes.
    """
    for graph in (a, b):
        if len(graph) > MOST_OPERATORS:
            raise GraphError(
                f"a network of {len(graph):,} operators cannot be aligned, at most {MOST_OPERATORS:,}: name a part of it, 'ID#module'"
            )
    if _identical(a, b):
        return Alignment(a, b, tuple((i, i) for i in range(len(a))), {}, (), ())
    # One orientation for both orders of arguments: swapping them swaps the result, and the rows of the matrix are the fewer ones.
    if _orientation(a) <= _orientation(b):
        matching, notes = _matched(Labels(a, b), most_cells)
    else:
        found, notes = _matched(Labels(b, a), most_cells)
        matching = Matching(Labels(a, b), [(j, i) for i, j in enumerate(found.to_b) if j >= 0])
    return _result(matching, notes)


def _identical(a: Graph, b: Graph) -> bool:
    """Whether both have the same columns; module paths do not count."""
    columns = ((a.op, b.op), (a.attrs, b.attrs), (a.shape, b.shape), (a.params, b.params), (a.edges, b.edges))
    return all(np.array_equal(x, y) for x, y in columns)


def _orientation(graph: Graph) -> tuple[int, bytes, bytes, bytes, bytes, bytes]:
    columns = (graph.op, graph.attrs, graph.shape, graph.params, graph.edges)
    return (len(graph), *(column.tobytes() for column in columns))  # type: ignore[return-value]


def _matched(labels: Labels, most_cells: int) -> tuple[Matching, tuple[str, ...]]:
    a, b = labels.a.graph, labels.b.graph
    if not len(a.edges) and not len(b.edges) and len(a) * len(b) <= most_cells:
        return match_unwired(labels), ()
    head = _equal_head(labels)
    tail = _equal_tail(labels, head)
    if head + tail < max(len(a), len(b)):  # equal operators may belong to what is new: the ends of a longer stage look alike
        head, tail = max(head - MARGIN, 0), max(tail - MARGIN, 0)
    pairs = [(i, i) for i in range(head)]
    n, m = len(a) - head - tail, len(b) - head - tail
    notes: tuple[str, ...] = ()
    if n * m <= most_cells:
        if n and m:
            labels.part = parts_alike(labels)
        columns = slice(head, head + m)
        pairs += [(head + i, head + j) for i, j in best_path(n, m, lambda i: labels.likeness(head + i, columns))]
    else:
        pairs += by_segments(labels, (head, head + n), (head, head + m), most_cells)
        notes = (f"too many to compare each with each ({n:,} x {m:,} operators): aligned module by module, then within",)
    pairs += [(len(a) - tail + i, len(b) - tail + i) for i in range(tail)]
    matching = Matching(labels, pairs)
    matching.keep_to_parts()
    matching.shift_gaps()
    matching.fill()
    return matching, notes


def _result(matching: Matching, notes: tuple[str, ...]) -> Alignment:
    a, b = matching.labels.a.graph, matching.labels.b.graph
    words = Words(a), Words(b)
    found = Alignment(
        a,
        b,
        tuple((i, j) for i, j in enumerate(matching.to_b) if j >= 0),
        changes(matching, words),
        tuple(i for i, j in enumerate(matching.to_b) if j < 0),
        tuple(j for j, i in enumerate(matching.to_a) if i < 0),
        notes,
    )
    found.__dict__["words"] = words  # made already: not to be made again
    return found


def _equal_head(labels: Labels) -> int:
    """Nodes at the start that are equal in everything, inputs included."""
    a, b = labels.a.graph, labels.b.graph
    most = min(len(a), len(b))
    equal = labels.full[0][:most] == labels.full[1][:most]
    stop = int(np.argmin(equal)) if not equal.all() else most
    for i in range(stop):
        if a.inputs[i] != b.inputs[i]:
            return i
    return stop


def _equal_tail(labels: Labels, head: int) -> int:
    """Nodes at the end, past ``head``, that are equal in everything, inputs counted from the end where they lie in the tail."""
    a, b = labels.a.graph, labels.b.graph
    most = min(len(a), len(b)) - head
    if most <= 0:
        return 0
    equal = labels.full[0][::-1][:most] == labels.full[1][::-1][:most]
    stop = int(np.argmin(equal)) if not equal.all() else most
    for n in range(stop):
        ours = [len(a) - x for x in a.inputs[len(a) - 1 - n]]
        theirs = [len(b) - x for x in b.inputs[len(b) - 1 - n]]
        if len(ours) != len(theirs):
            return n
    return stop

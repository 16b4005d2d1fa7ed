"""Random edits of a network that leave it a network: other widths and depths, other operators, more blocks.

Edits keep sizes, parameters and multiply-accumulates consistent. What they make is a plausible architecture, not one that is known to
train. Used as queries whose origin is known, and as unlimited training data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice

import numpy as np

from netatlas.errors import ConfigError, GraphError
from netatlas.graph._mutate_edits import GROUPS
from netatlas.graph._sketch import Sketch
from netatlas.graph.blocks import structure
from netatlas.graph.canonical import content_hash
from netatlas.graph.graph import Graph

KINDS: tuple[str, ...] = tuple(GROUPS)
"""What an edit changes: ``width``, ``depth``, ``operator``, ``block``."""

_TRIES = 40
"""Edits tried in a row that all come to nothing before a graph counts as one that cannot be edited."""


@dataclass(frozen=True)
class Mutation:
    """A graph after one more edit.

    Attributes:
        kind: Of `KINDS`.
        what: The edit in words, ``"relu -> gelu in stage layer2"``.
        graph: What it led to.
    """

    kind: str
    what: str
    graph: Graph


def mutate(graph: Graph, k: int, rng: np.random.Generator) -> Graph:
    """The graph after ``k`` random edits, each applied to what the one before left; itself for ``k = 0``.

    Args:
        graph: Any graph.
        k: Number of edits, 0 or more.
        rng: All that is random; the graph after fewer edits is the same for the same state.

    Raises:
        ConfigError: ``k`` is negative.
        GraphError: No edit applies, as to a graph of one node.
    """
    if k < 0:
        raise ConfigError(f"mutate: k must be 0 or more, got {k}")
    return ([graph] + [m.graph for m in islice(mutations(graph, rng), k)])[-1]


def mutations(graph: Graph, rng: np.random.Generator) -> Iterator[Mutation]:
    """An endless chain of edits, each on top of the others; no graph of the chain comes twice.

    The kind of an edit is drawn first, all alike in probability, then what is edited. Edits of one stage or of the whole network
    count as one.

    Raises:
        GraphError: No edit applies to the graph that is reached.
    """
    seen = {content_hash(graph)}
    while True:
        found = _next(graph, rng, seen)
        yield found
        graph = found.graph
        seen.add(content_hash(graph))


def _next(graph: Graph, rng: np.random.Generator, seen: set[str]) -> Mutation:
    blocks = cache(lambda: structure(graph))
    for _ in range(_TRIES if len(graph) else 0):
        kind = KINDS[int(rng.integers(len(KINDS)))]
        edits = GROUPS[kind]
        sketch = Sketch(graph)
        what = edits[int(rng.integers(len(edits)))](sketch, blocks, rng)
        if what is None:
            continue
        try:
            made = sketch.graph()
        except GraphError:  # a block that something outside reads in the middle: making it twice would be a cycle
            continue
        if content_hash(made) not in seen:
            return Mutation(kind, what, made)
    raise GraphError(f"no edit applies to a graph of {len(graph)} nodes")

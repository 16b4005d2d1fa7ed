"""Graphs cut into motifs, as the arrays that the two levels of `nar` read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from netatlas.encoders._batches import wiring
from netatlas.graph.graph import Graph
from netatlas.graph.motifs import Motif, macro_graph, motifs
from netatlas.graph.order import Wiring

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class CutOptions:
    """How graphs are cut, see `graph.motifs.motifs`."""

    cut: str = "frequent"
    rounds: int = 1
    use_ops: bool = False


@dataclass(frozen=True, eq=False)
class Pieces:
    """Subgraphs side by side, without edges between them.

    Attributes:
        label: Label of every node ``(n,)``; nodes of a piece keep the graph's order.
        edges: Producers and consumers ``(e, 2)``.
        part: Piece of every node, ascending ``(n,)``.
    """

    label: Ints
    edges: Ints
    part: Ints


@dataclass(frozen=True, eq=False)
class Cut:
    """A graph in motifs.

    Attributes:
        subgraphs: Every motif's subgraph.
        contexts: Every motif's context.
        macro: Edges between motifs ``(k, 2)``.
        signature: Equal for motifs whose subgraphs have equal labels and edges in order, in this graph or another ``(m,)``.
        kind: Equal for motifs of this graph whose nodes have equal types ``(m,)``.
    """

    subgraphs: Pieces
    contexts: Pieces
    macro: Ints
    signature: Ints
    kind: Ints

    def __len__(self) -> int:
        return len(self.signature)

    def piece(self, number: int) -> Pieces:
        """One motif's subgraph alone."""
        a, b = np.searchsorted(self.subgraphs.part, [number, number + 1])
        edges = self.subgraphs.edges
        mine = edges[(edges[:, 0] >= a) & (edges[:, 0] < b)]
        return Pieces(self.subgraphs.label[a:b], mine - a, np.zeros(b - a, dtype=np.int64))


_cuts: WeakKeyDictionary[Graph, dict[CutOptions, Cut]] = WeakKeyDictionary()


def cut(graph: Graph, options: CutOptions) -> Cut:
    """The graph in motifs, kept as long as the graph lives."""
    kept = _cuts.setdefault(graph, {})
    if options not in kept:
        kept[options] = _cut(wiring(graph), options)
    return kept[options]


def _cut(seen: Wiring, options: CutOptions) -> Cut:
    rng = np.random.default_rng(len(seen))  # the random cut of a graph is the same every time
    found = motifs(seen, options.cut, rounds=options.rounds, use_ops=options.use_ops, rng=rng)
    own, rows = _subgraph_edges(found)
    runs = np.repeat(np.arange(len(found)), [len(m.nodes) for m in found])
    first = _pieces(seen, own, rows, runs * max(len(seen), 1) + np.arange(len(seen)))
    owner, around = _context_edges(seen, first, own, rows, runs)
    kinds = {key: i for i, key in enumerate(dict.fromkeys(m.types for m in found))}
    return Cut(
        first,
        _pieces(seen, owner, around, np.unique(_keys(seen, own, rows, runs))),
        macro_graph(seen, found),
        _signatures(first, len(found)),
        np.array([kinds[m.types] for m in found], dtype=np.int64),
    )


def _subgraph_edges(found: list[Motif]) -> tuple[Ints, Ints]:
    """Motif and row of every edge of every subgraph."""
    own = np.repeat(np.arange(len(found)), [len(m.edges) for m in found])
    rows = np.concatenate([m.edges for m in found]) if found else np.zeros(0, dtype=np.int64)
    return own, rows


def _keys(seen: Wiring, own: Ints, rows: Ints, runs: Ints) -> Ints:
    """Motif and node as one number, for every node of every subgraph; with repeats."""
    g = max(len(seen), 1)
    ends = seen.edges[rows].astype(np.int64)
    return np.concatenate([(own[:, None] * g + ends).ravel(), runs * g + np.arange(len(seen))])


def _context_edges(seen: Wiring, first: Pieces, own: Ints, rows: Ints, runs: Ints) -> tuple[Ints, Ints]:
    """Motif and row of every edge that touches a subgraph's node."""
    g, e = max(len(seen), 1), max(len(seen.edges), 1)
    keys = np.unique(_keys(seen, own, rows, runs))
    part, node = keys // g, keys % g
    ends = seen.edges.T.ravel().astype(np.int64)
    order = np.argsort(ends, kind="stable")
    start = np.searchsorted(ends[order], np.arange(g + 1))
    count = start[node + 1] - start[node]
    owner = np.repeat(part, count)
    place = np.repeat(start[node], count) + np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    both = np.unique(owner * e + order[place] % e)
    return both // e, both % e


def _pieces(seen: Wiring, owner: Ints, rows: Ints, nodes: Ints) -> Pieces:
    """Subgraphs of these edges (motif and row) and nodes (motif and node as one number)."""
    g = max(len(seen), 1)
    ends = owner[:, None] * g + seen.edges[rows].astype(np.int64)
    keys = np.union1d(ends.ravel(), nodes)
    return Pieces(seen.label[keys % g].astype(np.int64), np.searchsorted(keys, ends).reshape(-1, 2), keys // g)


def _signatures(pieces: Pieces, count: int) -> Ints:
    nodes = np.searchsorted(pieces.part, np.arange(count + 1))
    owner = pieces.part[pieces.edges[:, 0]] if len(pieces.edges) else np.zeros(0, dtype=np.int64)
    edges = np.searchsorted(owner, np.arange(count + 1))
    found = []
    for i in range(count):
        a, b = nodes[i], nodes[i + 1]
        text = pieces.label[a:b].astype(np.uint8).tobytes() + b"|" + (pieces.edges[edges[i] : edges[i + 1]] - a).tobytes()
        found.append(int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little", signed=True))
    return np.array(found, dtype=np.int64)

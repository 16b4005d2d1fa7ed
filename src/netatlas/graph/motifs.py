"""Cutting a graph into motifs, the runs of nodes that its wiring repeats, and the small graph of motifs that is left.

Pei, Li, Dong and Xu, "Neural Architecture Retrieval", ICLR 2024, arXiv:2307.07919; the equations follow the authors' code. Every
function is linear in nodes and edges, save ``cut="repair"``, which adds a logarithm. Departures from the paper are options
(``use_ops``, ``rounds``, ``cut="repair"``) whose defaults are the paper's.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from netatlas.errors import ConfigError, did_you_mean
from netatlas.graph._repair import repair

Ints = npt.NDArray[np.int64]

CUTS = ("frequent", "random", "nodes", "motifs", "repair")
"""Ways to cut: the paper's; its three ablations (random lengths, fixed length, fixed number); merges of frequent pairs."""

RANDOM_LENGTHS = (5, 9)
"""Shortest and longest run of ``cut="random"``, both included."""


class Wired(Protocol):
    """A labelled directed graph in the order it is cut: `coarse.CoarseGraph`, or anything with these two arrays."""

    @property
    def label(self) -> npt.NDArray[np.uint8]:
        """Label of every node ``(g,)``."""

    @property
    def edges(self) -> npt.NDArray[np.int32]:
        """Producer and consumer of every edge ``(e, 2)``."""


@dataclass(frozen=True, eq=False)
class Motif:
    """A run of consecutive nodes with the edges around it.

    Attributes:
        nodes: Nodes of the run, consecutive, ``(n,)``. The runs of one graph share no node and leave none out.
        edges: Rows of the graph's edges with at least one end in the run, ascending ``(k,)``; neighbouring motifs share those
            between them.
        types: Type of every node of the run; two motifs of one cut with equal types are the same motif.
    """

    nodes: Ints
    edges: Ints
    types: tuple[int, ...]


def node_types(graph: Wired, *, rounds: int = 1, use_ops: bool = False) -> Ints:
    """Type of every node ``(g,)``: nodes are alike whose inputs lie equally far back; numbered by first appearance.

    The key of a node is the tuple of distances to its producers. A further round puts the producers' types into the key, a
    directed Weisfeiler-Lehman refinement with distances, for a wider view.

    Args:
        graph: The graph, in the order it is to be cut.
        rounds: How often keys are formed; 1 is what the authors' code does.
        use_ops: Whether the label belongs to the key. The paper leaves it out, and then long chains of different operators
            look alike.

    Raises:
        ConfigError: ``rounds`` is below 1.
    """
    if rounds < 1:
        raise ConfigError(f"motifs: rounds must be 1 or more, got {rounds}")
    labels = graph.label.tolist()
    producers: list[set[int]] = [set() for _ in labels]
    for source, target in graph.edges.tolist():
        producers[target].add(source)
    above = [sorted(found) for found in producers]
    keys: list[Hashable] = [
        (tuple(node - p for p in found), labels[node] if use_ops else None) for node, found in enumerate(above)
    ]
    types = _numbered(keys)
    for _ in range(rounds - 1):
        types = _numbered([(types[i], tuple(sorted((i - p, types[p]) for p in found))) for i, found in enumerate(above)])
    return np.array(types, dtype=np.int64)


def _numbered(keys: Sequence[Hashable]) -> list[int]:
    """Equal keys to equal numbers, by first appearance."""
    number: dict[Hashable, int] = {}
    return [number.setdefault(key, len(number)) for key in keys]


def split_runs(types: Sequence[int]) -> list[list[int]]:
    """The sequence cut where the frequency of neighbouring pairs jumps.

    With ``f[i]`` the count of the pair at i in the whole sequence and the threshold the most frequent non-zero change of ``f``,
    a run goes on while ``f`` changes by at most the threshold. A falling ``f`` leaves the second node of the pair in the run.
    Of equally frequent changes the smallest is taken, where the authors' code takes whichever a Python set lists first.
    """
    seq = [int(t) for t in types]
    if len(seq) < 3:
        return [seq] if seq else []
    counts = Counter(itertools.pairwise(seq))
    frequency = [counts[pair] for pair in itertools.pairwise(seq)]
    changes = Counter(abs(b - a) for a, b in itertools.pairwise(frequency) if a != b)
    threshold = min(changes, key=lambda change: (-changes[change], change), default=0)
    runs, i = [[seq[0]]], 0
    while i < len(seq) - 2:
        if abs(frequency[i] - frequency[i + 1]) > threshold:
            if frequency[i] > frequency[i + 1]:
                runs[-1].append(seq[i + 1])
                i += 1
            runs.append([])
        runs[-1].append(seq[i + 1])
        i += 1
    if i + 1 < len(seq):
        runs[-1].append(seq[i + 1])
    return runs


def motifs(
    graph: Wired,
    cut: str = "frequent",
    *,
    rounds: int = 1,
    use_ops: bool = False,
    size: int = 7,
    count: int = 22,
    rng: np.random.Generator | None = None,
) -> list[Motif]:
    """The motifs of a graph, in its order.

    Args:
        graph: The graph, in the order it is to be cut.
        cut: One of `CUTS`: ``frequent`` by `split_runs`; ``random`` in runs of 5 to 9; ``nodes`` in runs of ``size``; ``motifs``
            into ``count`` runs of equal length; ``repair`` by joining the most frequent pair of neighbours again and again
            (Larsson and Moffat, Re-Pair, 1999), always on types with operators.
        rounds: As in `node_types`.
        use_ops: As in `node_types`.
        size: Nodes per run of ``nodes``.
        count: Runs of ``motifs``; 22 is the median that ``frequent`` gives on the architectures of timm.
        rng: For ``random`` only, without it seeded with 0.

    Raises:
        ConfigError: ``cut`` is unknown, or a number is below 1.
    """
    if cut not in CUTS:
        raise ConfigError(f"motifs: no cut named {cut!r} (there are: {', '.join(CUTS)}){did_you_mean(cut, CUTS)}")
    if size < 1 or count < 1:
        raise ConfigError(f"motifs: size and count must be 1 or more, got {size} and {count}")
    types = node_types(graph, rounds=rounds, use_ops=use_ops or cut == "repair")
    lengths = _lengths(types, cut, size, count, rng)
    first = np.cumsum([0, *lengths])
    touching = _edges_by_run(graph, np.repeat(np.arange(len(lengths)), lengths), len(lengths))
    known = types.tolist()
    return [Motif(np.arange(a, b), rows, tuple(known[a:b])) for a, b, rows in zip(first, first[1:], touching, strict=False)]


def _lengths(types: Ints, cut: str, size: int, count: int, rng: np.random.Generator | None) -> list[int]:
    g = len(types)
    if cut == "frequent":
        return [len(run) for run in split_runs(types.tolist())]
    if cut == "repair":
        return repair(types.tolist())
    if cut == "nodes":
        return [min(size, g - start) for start in range(0, g, size)]
    if cut == "motifs":
        return [len(part) for part in np.array_split(np.arange(g), min(count, g)) if len(part)] if g else []
    rng = np.random.default_rng(0) if rng is None else rng
    low, high = RANDOM_LENGTHS
    ends = np.cumsum(rng.integers(low, high + 1, size=g // low + 1))
    inner = ends[ends < g]
    return np.diff([0, *inner, g]).tolist() if g else []


def _edges_by_run(graph: Wired, run: Ints, runs: int) -> list[Ints]:
    """Rows of edges that touch each run, ascending."""
    ends = run[graph.edges]  # (e, 2)
    rows = np.arange(len(ends))
    inside = ends[:, 0] == ends[:, 1]
    owner = np.concatenate([ends[:, 0], ends[~inside, 1]])
    row = np.concatenate([rows, rows[~inside]])
    order = np.lexsort((row, owner))
    borders = np.searchsorted(owner[order], np.arange(runs + 1))
    return [row[order[a:b]] for a, b in itertools.pairwise(borders)]


class Contexts:
    """Context of motifs: what the whole graph has around a motif's subgraph, one hop on.

    Args:
        graph: The graph the motifs were cut from.
    """

    def __init__(self, graph: Wired) -> None:
        self._edges = graph.edges
        node = graph.edges.T.ravel()  # every edge is filed under both its ends
        row = np.tile(np.arange(len(graph.edges)), 2)
        order = np.argsort(node, kind="stable")
        self._rows = row[order]
        self._first = np.searchsorted(node[order], np.arange(len(graph.label) + 1))

    def around(self, motif: Motif) -> Ints:
        """Rows of all edges that touch a node of the motif's subgraph, ascending ``(k,)``."""
        nodes = subgraph_nodes(self._edges, motif)
        found = [self._rows[self._first[node] : self._first[node + 1]] for node in nodes.tolist()]
        return np.unique(np.concatenate(found)) if found else np.zeros(0, dtype=np.int64)


def subgraph_nodes(edges: npt.NDArray[np.int32], motif: Motif) -> Ints:
    """Nodes of a motif's subgraph: its run and the other ends of its edges, ascending."""
    return np.union1d(motif.nodes, edges[motif.edges].ravel()).astype(np.int64)


def macro_graph(graph: Wired, cut: Sequence[Motif]) -> Ints:
    """Edges between motifs ``(m, 2)``, earlier to later: those whose subgraphs share an edge of the graph.

    Runs leave no node out, so an edge is in the subgraphs of the runs of its two ends and of no other: one pass over the edges
    finds all pairs, where comparing every pair of motifs is quadratic in both.
    """
    run = np.zeros(len(graph.label), dtype=np.int64)
    for number, motif in enumerate(cut):
        run[motif.nodes] = number
    pairs = np.sort(run[graph.edges], axis=1)
    return np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0).reshape(-1, 2)

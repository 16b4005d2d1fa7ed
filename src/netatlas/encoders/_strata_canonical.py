"""The nodes and edges that `strata` compares: a graph freed of what only tells who wrote it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from netatlas.encoders._strata_layers import POINTWISE, Layers
from netatlas.graph.graph import Graph
from netatlas.graph.ops import OP_ID

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_MOST_SOURCES = 64
"""A dropped node that would connect more producers than this to its consumers is kept, so that edges stay bounded."""

_MOST_CONSUMERS = 64
"""What feeds more nodes than this is no place where projections are on their way to meet; bounds the search for such places."""

_DROPPED = frozenset({
    "input", "parameter", "view", "slice", "split", "pad", "flip", "roll", "repeat", "gather", "scatter", "compare", "where",
    "one_hot", "triangle", "random", "unknown", "rope", "unfold", "fold",
})  # fmt: skip
"""Operators that move or address numbers; which of them a network shows is a matter of who wrote it."""

_SCALAR = frozenset({"add", "sub", "mul", "div", "pow", "clamp"})
"""Arithmetic that is dropped when it has one input: scaling by a constant, a bias, a position table."""

_SAME = {"sub": "add", "div": "mul", "mean": "global_avg_pool", "log_softmax": "softmax"}
_LINEAR, _POOL, _MUL, _CONCAT = (OP_ID[name] for name in ("linear", "global_avg_pool", "mul", "concat"))
_LOCAL_POOLS = np.array([OP_ID["avg_pool"], OP_ID["adaptive_pool"]])
_SAME_OP = np.arange(max(OP_ID.values()) + 1)
_SAME_OP[[OP_ID[name] for name in _SAME]] = [OP_ID[name] for name in _SAME.values()]


@dataclass(frozen=True)
class Skeleton:
    """Nodes that are compared, in topological order, and the edges between them.

    Attributes:
        nodes: Position in the graph, of joined nodes the first, ``(n,)``.
        op: Operator, one name for each thing, ``(n,)``.
        inputs: Input channels of weighted layers, ``(n,)``.
        outputs: Output channels of weighted layers, of joined ones together, ``(n,)``.
        rotary: Whether its inputs saw rotary positions, ``(n,)``.
        edges: Producer and consumer as positions in ``nodes``, each pair once, ``(e, 2)``, sorted.
    """

    nodes: Ints
    op: Ints
    inputs: Ints
    outputs: Ints
    rotary: Flags
    edges: Ints


def skeleton(graph: Graph, seen: Layers) -> Skeleton:
    """The graph without idioms.

    Views, constants and bookkeeping are bridged; so are concatenations that put one tensor's slices together and a pooling of what
    was pooled already. A pointwise convolution is a linear layer, a mean is a global pooling. Linear layers that read the same and
    meet again within two steps are one (query, key and value; gate and value). Several edges between the same two nodes count once.
    A graph of which nothing would be left is kept whole.
    """
    nodes, edges, rotary = _compared(graph)
    op = _operators(graph, seen)[nodes]
    whole = Skeleton(nodes, op, seen.inputs[nodes], seen.outputs[nodes], rotary, edges)
    return _joined(_without(whole, _pooled_again(whole)))


def plain(found: Skeleton) -> Skeleton:
    """A skeleton without what one design has or lacks: scales of a layer's outputs, tokens put beside others."""
    inputs = np.bincount(found.edges[:, 1], minlength=len(found.nodes))
    return _without(found, (inputs == 1) & ((found.op == _MUL) | (found.op == _CONCAT)))


def _operators(graph: Graph, seen: Layers) -> Ints:
    op = _SAME_OP[graph.op]
    op = np.where(seen.convolution & (seen.form == POINTWISE) & ~seen.transposed, _LINEAR, op)
    single = (graph.shape[:, -1] == 1) & (graph.shape[:, -2] == 1) & (graph.shape[:, -4] > 0)
    return np.asarray(np.where(single & np.isin(op, _LOCAL_POOLS), _POOL, op), dtype=np.int64)


def _compared(graph: Graph) -> tuple[Ints, Ints, Flags]:
    """Nodes that do something to numbers, edges between them, and which of them saw rotary positions."""
    names, sources, params = graph.names, graph.inputs, graph.params.tolist()
    kept = [
        not (
            name in _DROPPED
            or (name in _SCALAR and len(set(sources[i])) <= 1 and not (params[i] and name == "mul"))
        )
        for i, name in enumerate(names)
    ]  # fmt: skip
    if not any(kept):
        kept = [True] * len(names)
    reach: list[frozenset[int]] = []
    edges: list[tuple[int, int]] = []
    rotary = np.zeros(len(names), dtype=bool)
    for i, name in enumerate(names):
        if not kept[i] and len(sources[i]) == 1:
            above_it = sources[i][0]
            reach.append(frozenset((above_it,)) if kept[above_it] else reach[above_it])
            rotary[i] = name == "rope" or (rotary[above_it] and not kept[above_it])
            continue
        above = [frozenset((j,)) if kept[j] else reach[j] for j in sources[i]]
        found = frozenset().union(*above)
        rotary[i] = (name == "rope" and not kept[i]) or any(rotary[j] and not kept[j] for j in sources[i])
        if name == "concat" and len(found) == 1 and all(above):
            kept[i] = False  # slices of one tensor, or its channels in another order
        if not kept[i] and len(found) > _MOST_SOURCES:
            kept[i] = True
        if kept[i]:
            edges.extend((j, i) for j in found)
        reach.append(frozenset() if kept[i] else found)
    nodes = np.flatnonzero(kept)
    return nodes, _renumbered(np.array(edges, dtype=np.int64).reshape(-1, 2), nodes, len(names)), rotary[nodes]


def _renumbered(edges: Ints, nodes: Ints, size: int) -> Ints:
    place = np.zeros(size, dtype=np.int64)
    place[nodes] = np.arange(len(nodes))
    return _sorted(place[edges])


def _sorted(edges: Ints) -> Ints:
    """Pairs in order, each once."""
    span = int(edges.max(initial=0)) + 1
    flat = np.unique(edges[:, 0] * span + edges[:, 1])
    return np.stack([flat // span, flat % span], axis=1)


def _pooled_again(found: Skeleton) -> Flags:
    """Global poolings that read nothing but a global pooling."""
    n, (source, target) = len(found.nodes), found.edges.T
    inputs = np.bincount(target, minlength=n)
    again = np.zeros(n, dtype=bool)
    again[target] = (found.op[source] == _POOL) & (found.op[target] == _POOL) & (inputs[target] == 1)
    return again


def _without(found: Skeleton, dropped: Flags) -> Skeleton:
    """The skeleton with nodes that have one producer at most bridged; whole when nothing would be left."""
    if not dropped.any() or dropped.all():
        return found
    instead = np.arange(len(dropped))
    source, target = found.edges.T
    instead[target[dropped[target]]] = source[dropped[target]]
    for node in np.flatnonzero(dropped).tolist():  # in topological order, so what stands above is settled
        instead[node] = instead[instead[node]]
    edges = found.edges[~dropped[target]]
    edges = np.stack([instead[edges[:, 0]], edges[:, 1]], axis=1)
    edges = edges[~dropped[edges[:, 0]]]
    kept = np.flatnonzero(~dropped)
    edges = _renumbered(edges, kept, len(dropped))
    return Skeleton(found.nodes[kept], found.op[kept], found.inputs[kept], found.outputs[kept], found.rotary[kept], edges)


def _joined(found: Skeleton) -> Skeleton:
    """Linear layers side by side, as one."""
    n = len(found.nodes)
    above: list[list[int]] = [[] for _ in range(n)]
    below: list[list[int]] = [[] for _ in range(n)]
    for source, target in found.edges.tolist():
        above[target].append(source)
        below[source].append(target)
    groups: dict[tuple[int, ...], list[int]] = {}
    for node in np.flatnonzero(found.op == _LINEAR).tolist():
        if above[node]:
            groups.setdefault(tuple(above[node]), []).append(node)
    first = np.arange(n)
    for group in groups.values():
        if len(group) > 1:
            _meeting(group, below, first)
    if (first == np.arange(n)).all():
        return found
    outputs = np.bincount(first, weights=found.outputs, minlength=n).astype(np.int64)
    inputs, rotary = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=bool)
    np.maximum.at(inputs, first, found.inputs)
    np.logical_or.at(rotary, first, found.rotary)
    kept = np.flatnonzero(first == np.arange(n))
    edges = _renumbered(first[found.edges], kept, n)
    return Skeleton(found.nodes[kept], found.op[kept], inputs[kept], outputs[kept], rotary[kept], edges)


def _meeting(group: Sequence[int], below: Sequence[Sequence[int]], first: Ints) -> None:
    """Give nodes of a group that reach a common node within two steps the number of their first: disjoint sets by union."""
    owner: dict[int, int] = {}

    def root(node: int) -> int:
        while first[node] != node:
            first[node] = first[first[node]]
            node = int(first[node])
        return node

    def reached(node: int, by: int) -> None:
        a, b = root(owner.setdefault(node, by)), root(by)
        first[max(a, b)] = min(a, b)

    followed: set[int] = set()
    for node in group:
        for after in below[node]:
            reached(after, node)
            if after not in followed and len(below[after]) <= _MOST_CONSUMERS:
                followed.add(after)
                for second in below[after]:
                    reached(second, node)
    for node in group:
        first[node] = root(node)

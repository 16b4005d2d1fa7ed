"""The coarse graph: twelve classes of operators, everything else bridged, so that a graph forgets who wrote it."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from netatlas.graph.graph import Graph
from netatlas.graph.ops import OPERATORS, Operator

COARSE = ("conv", "linear", "matmul", "attn", "softmax", "norm", "act", "add", "mul", "pool", "cat", "split")
"""The classes, in the order of their numbers."""

MOST_SOURCES = 64
"""Producers a bridged node passes on, the newest ones; bounds the edges of graphs where dropped nodes fan in again and again."""

_BY_NAME = {
    "linear": "linear", "bilinear": "linear", "matmul": "matmul", "softmax": "softmax", "log_softmax": "softmax", "add": "add",
    "sub": "add", "mul": "mul", "div": "mul", "mean": "pool", "max": "pool", "sum": "pool", "concat": "cat", "split": "split",
    "slice": "split",
}  # fmt: skip
_BY_FAMILY = {"convolution": "conv", "attention": "attn", "normalisation": "norm", "activation": "act", "pooling": "pool"}


def _class(operator: Operator) -> int:
    name = _BY_NAME.get(operator.name, _BY_FAMILY.get(operator.family))
    return COARSE.index(name) if name is not None else -1


_CLASS_OF = np.array([_class(op) for op in OPERATORS], dtype=np.int64)
"""Coarse class of every operator, -1 for those that are bridged."""


@dataclass(frozen=True, eq=False)
class CoarseGraph:
    """A graph of coarse classes in topological order.

    Attributes:
        label: Class of every node, position in `COARSE`, ``(g,) uint8``.
        edges: Producer and consumer, each pair once, sorted by consumer, then producer ``(e, 2) int32``.
        node: Position of every node in the graph it came from, ascending ``(g,) int32``.
    """

    label: npt.NDArray[np.uint8]
    edges: npt.NDArray[np.int32]
    node: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.label)

    @cached_property
    def names(self) -> list[str]:
        """Class name of every node."""
        return [COARSE[i] for i in self.label.tolist()]


def coarse(graph: Graph) -> CoarseGraph:
    """The coarse graph; sources, views and operators of no class are dropped and their producers joined to their consumers.

    Empty when no operator has a class. O(g + e), times at most `MOST_SOURCES`.
    """
    classes = _CLASS_OF[graph.op]
    number = np.cumsum(classes >= 0) - 1
    passed: list[list[int]] = []  # what a consumer of this node is joined to, in coarse numbers
    edges: list[tuple[int, int]] = []
    for node, sources in enumerate(graph.inputs):
        above = sorted({i for source in sources for i in passed[source]})
        if classes[node] >= 0:
            own = int(number[node])
            edges.extend((i, own) for i in above)
            passed.append([own])
        else:
            passed.append(above[-MOST_SOURCES:])
    kept = np.flatnonzero(classes >= 0)
    return CoarseGraph(classes[kept].astype(np.uint8), np.array(edges, dtype=np.int32).reshape(-1, 2), kept.astype(np.int32))


def coarse_hash(graph: Graph | CoarseGraph, rounds: int = 3) -> str:
    """Hash of the multiset of Weisfeiler-Lehman labels after ``rounds``: equal for networks no such refinement tells apart."""
    seen = coarse(graph) if isinstance(graph, Graph) else graph
    above: list[list[int]] = [[] for _ in range(len(seen))]
    below: list[list[int]] = [[] for _ in range(len(seen))]
    for source, target in seen.edges.tolist():
        above[target].append(source)
        below[source].append(target)
    labels = [b"%d" % i for i in seen.label.tolist()]
    for _ in range(rounds):
        labels = [
            _digest(labels[i], b"<", *sorted(labels[j] for j in above[i]), b">", *sorted(labels[j] for j in below[i]))
            for i in range(len(labels))
        ]
    counts = sorted(Counter(labels).items())
    return hashlib.blake2b(repr(counts).encode(), digest_size=16).hexdigest()


def _digest(*parts: bytes) -> bytes:
    return hashlib.blake2b(b",".join(parts), digest_size=8).digest()

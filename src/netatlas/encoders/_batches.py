"""Graphs as the tensors that graph networks read, made once per graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from netatlas.errors import ConfigError
from netatlas.graph.coarse import COARSE, coarse
from netatlas.graph.graph import Graph
from netatlas.graph.order import Wiring, in_order

LABELS = len(COARSE)
"""Channels of a one-hot label."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Several graphs as one without edges between them.

    Attributes:
        x: Features of every node ``(n, d)``.
        edges: Producers above consumers ``(2, e)``.
        part: Graph of every node ``(n,)``.
        parts: Number of graphs, those without nodes included.
    """

    x: Tensor
    edges: Tensor
    part: Tensor
    parts: int


def batch(x: Tensor, edges: npt.NDArray[np.integer], part: npt.NDArray[np.integer], parts: int, *, two_sided: bool) -> Batch:
    """Tensors of arrays ``edges (e, 2)`` and ``part (n,)``; ``two_sided`` adds every edge in the other direction."""
    found = torch.from_numpy(np.ascontiguousarray(edges.T, dtype=np.int64))
    if two_sided:
        found = torch.cat([found, found.flip(0)], dim=1)
    return Batch(x, found, torch.from_numpy(part.astype(np.int64)), parts)


def one_hot(label: npt.NDArray[np.integer]) -> Tensor:
    """Labels ``(n,)`` as features ``(n, LABELS)``."""
    return F.one_hot(torch.from_numpy(label.astype(np.int64)), LABELS).float()


def join(batches: Sequence[Batch]) -> Batch:
    """Several batches as one."""
    nodes = np.cumsum([0, *(len(b.x) for b in batches)])
    parts = np.cumsum([0, *(b.parts for b in batches)])
    return Batch(
        torch.cat([b.x for b in batches]),
        torch.cat([b.edges + int(n) for b, n in zip(batches, nodes[:-1], strict=True)], dim=1),
        torch.cat([b.part + int(p) for b, p in zip(batches, parts[:-1], strict=True)]),
        int(parts[-1]),
    )


_wirings: WeakKeyDictionary[Graph, Wiring] = WeakKeyDictionary()


def wiring(graph: Graph) -> Wiring:
    """The coarse graph in the order of its structure, kept as long as the graph lives."""
    if graph not in _wirings:
        seen = coarse(graph)
        _wirings[graph] = in_order(seen.label, seen.edges)
    return _wirings[graph]


def classes(name: str, graphs: Sequence[Graph], groups: Sequence[str]) -> Tensor:
    """Number of the group of every graph ``(m,)``, by sorted name.

    Raises:
        ConfigError: There are not as many groups as graphs, or fewer than two different ones.
    """
    if len(graphs) != len(groups):
        raise ConfigError(f"{name}: {len(graphs)} graphs but {len(groups)} groups")
    names = sorted(set(groups))
    if len(names) < 2:
        raise ConfigError(f"{name}: training needs at least two groups, got {names}")
    return torch.tensor([names.index(g) for g in groups])


def shuffled(count: int, size: int, generator: torch.Generator) -> list[list[int]]:
    """All of ``range(count)`` in random batches of about ``size``; of two at least, unless there is only one."""
    order = torch.randperm(count, generator=generator).tolist()
    number = max(1, round(count / size))
    return [part.tolist() for part in np.array_split(np.array(order, dtype=np.int64), number)]


def distances(query: bytes, vectors: Sequence[bytes]) -> npt.NDArray[np.float64]:
    """Euclidean distances of stored float32 vectors ``(m,)``."""
    if not len(vectors):
        return np.zeros(0)
    every = np.frombuffer(b"".join(vectors), dtype="<f4").reshape(len(vectors), -1).astype(np.float64)
    return np.asarray(np.sqrt(((every - np.frombuffer(query, dtype="<f4").astype(np.float64)) ** 2).sum(axis=1)))

"""One order for a graph's nodes, whatever order they were written in."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from netatlas.errors import GraphError


@dataclass(frozen=True, eq=False)
class Wiring:
    """Labels and edges alone.

    Attributes:
        label: ``(g,) uint8``.
        edges: ``(e, 2) int32`` producer and consumer, each pair once, sorted by consumer, then producer.
        node: Position of each node in the graph this was made from, ``(g,) int64``.
    """

    label: npt.NDArray[np.uint8]
    edges: npt.NDArray[np.int32]
    node: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.label)


def in_order(label: npt.NDArray[np.uint8], edges: npt.NDArray[np.int32]) -> Wiring:
    """The graph with its nodes in an order that its structure alone decides; parallel edges become one.

    Topological and depth first: what consumes the newest node comes next, so that a branch stays together, and of several
    candidates the one with the smallest colour, a hash of everything above and below a node. Nodes whose keys are equal are in
    practice symmetric, where the choice changes nothing; graphs built to defeat colour refinement can still get two orders.
    O((g + e) log g).

    Raises:
        GraphError: The graph has a cycle.
    """
    pairs = np.unique(edges.reshape(-1, 2), axis=0)
    above, below = _neighbours(len(label), pairs)
    colours = _colours(label.tolist(), above, below, _topological(above, below))
    return _arranged(label, pairs, _walk(colours, above, below))


def in_near_order(label: npt.NDArray[np.uint8], edges: npt.NDArray[np.int32], reach: int = 6) -> Wiring:
    """The graph in an order like that of `in_order`, but decided by what lies within ``reach`` edges of a node.

    Of two candidates the nearest difference around them decides, so equal blocks come in equal orders wherever they stand and
    whatever follows; of nodes that are alike as far as ``reach`` the order is that of the array. O(reach * e + g log g), and faster
    than `in_order`.

    Raises:
        GraphError: The graph has a cycle.
    """
    pairs = np.unique(edges.reshape(-1, 2), axis=0)
    above, below = _neighbours(len(label), pairs)
    _topological(above, below)
    return _arranged(label, pairs, _walk(_near_colours(label, pairs, reach), above, below))


def _neighbours(size: int, pairs: npt.NDArray[np.int32]) -> tuple[list[list[int]], list[list[int]]]:
    above: list[list[int]] = [[] for _ in range(size)]
    below: list[list[int]] = [[] for _ in range(size)]
    for source, target in pairs.tolist():
        above[target].append(source)
        below[source].append(target)
    return above, below


def _near_colours(label: npt.NDArray[np.uint8], pairs: npt.NDArray[np.int32], reach: int) -> list[tuple[int, ...]]:
    """Numbers for every node, one for each distance, that depend on the labels and wiring so far around it.

    Neighbours are summed, and sums wrap around, so the order of neighbours does not matter.
    """
    colour = _mixed(label.astype(np.uint64) + np.uint64(1))
    rounds = [label.astype(np.uint64)]
    for _ in range(reach):
        down, up = np.zeros_like(colour), np.zeros_like(colour)
        np.add.at(down, pairs[:, 0], _mixed(colour[pairs[:, 1]]))
        np.add.at(up, pairs[:, 1], _mixed(colour[pairs[:, 0]] ^ np.uint64(0x5851F42D4C957F2D)))
        colour = _mixed(colour + _mixed(down) * np.uint64(3) + up)
        rounds.append(colour)
    return list(zip(*(x.tolist() for x in rounds), strict=True))


def _mixed(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Steele, Lea and Flood's SplitMix64 finaliser: numbers that differ a little come to differ everywhere."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _arranged(label: npt.NDArray[np.uint8], pairs: npt.NDArray[np.int32], order: list[int]) -> Wiring:
    place = np.empty(len(label), dtype=np.int64)
    place[order] = np.arange(len(label))
    moved = place[pairs].astype(np.int32)
    moved = moved[np.lexsort((moved[:, 0], moved[:, 1]))]
    return Wiring(label[order], moved.reshape(-1, 2), np.array(order, dtype=np.int64))


def _topological(above: Sequence[Sequence[int]], below: Sequence[Sequence[int]]) -> list[int]:
    waiting = [len(found) for found in above]
    order = [node for node, n in enumerate(waiting) if n == 0]
    for node in order:
        for user in below[node]:
            waiting[user] -= 1
            if waiting[user] == 0:
                order.append(user)
    if len(order) != len(above):
        raise GraphError(f"graph is cyclic: {len(above) - len(order)} of {len(above)} nodes wait for one another")
    return order


def _colours(
    labels: Sequence[int], above: Sequence[Sequence[int]], below: Sequence[Sequence[int]], order: Sequence[int]
) -> list[bytes]:
    """Hash of all that leads to a node and all that it leads to, refined once by its neighbours."""
    up, down = [b""] * len(labels), [b""] * len(labels)
    for node in order:
        up[node] = _digest(b"%d" % labels[node], *sorted(up[i] for i in above[node]))
    for node in reversed(order):
        down[node] = _digest(b"%d" % labels[node], *sorted(down[i] for i in below[node]))
    both = [_digest(a, b) for a, b in zip(up, down, strict=True)]
    return [
        _digest(both[node], *sorted(both[i] for i in above[node]), b"|", *sorted(both[i] for i in below[node]))
        for node in range(len(labels))
    ]


def _digest(*parts: bytes) -> bytes:
    return hashlib.blake2b(b",".join(parts), digest_size=8).digest()


def _walk(
    colours: Sequence[bytes] | Sequence[tuple[int, ...]], above: Sequence[Sequence[int]], below: Sequence[Sequence[int]]
) -> list[int]:
    waiting = [len(found) for found in above]
    place, order = [0] * len(above), list[int]()
    ready: list[tuple[tuple[int, ...], bytes | tuple[int, ...], int]] = [
        ((), colours[i], i) for i, n in enumerate(waiting) if n == 0
    ]
    heapq.heapify(ready)
    while ready:
        _, _, node = heapq.heappop(ready)
        place[node] = len(order)
        order.append(node)
        for user in below[node]:
            waiting[user] -= 1
            if waiting[user] == 0:
                newest_first = tuple(sorted(-place[i] for i in above[user]))
                heapq.heappush(ready, (newest_first, colours[user], user))
    return order

"""Countable features of a graph for `strata`: bags, paths and neighbourhoods, each in its channel."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from netatlas.encoders._strata_canonical import plain, skeleton
from netatlas.encoders._strata_layers import layers
from netatlas.encoders._strata_view import Hashes, Ints, mix, tokens
from netatlas.graph.graph import Graph

MOST_WALKS = 2_000_000
"""Steps of paths that are followed in one go; beyond it paths are sampled by their hash."""


def bag(labels: Hashes, edges: Ints) -> Hashes:
    """The nodes' own labels, ``(n,)``."""
    return labels


def paths(length: int) -> Callable[[Hashes, Ints], Hashes]:
    """Labels along directed paths of ``length`` nodes; equal paths that end in the same node count once.

    A difference of idiom breaks the few paths across it, where it breaks every neighbourhood around it.
    """

    def walk(labels: Hashes, edges: Ints) -> Hashes:
        node, label = np.arange(len(labels)), mix(labels)
        first = np.searchsorted(edges[:, 0], np.arange(len(labels) + 1))
        for _ in range(length - 1):
            node, label = _step(node, label, first, edges[:, 1], labels)
        return label

    return walk


def _step(node: Ints, label: Hashes, first: Ints, targets: Ints, labels: Hashes) -> tuple[Ints, Hashes]:
    """Paths lengthened by every consumer of their last node, without repeats."""
    fan = first[node + 1] - first[node]
    if int(fan.sum()) > MOST_WALKS:  # the same paths in every graph, since a hash chooses them
        chosen = label <= np.uint64(float(MOST_WALKS) / float(fan.sum()) * (2.0**64 - 2**12))
        node, label, fan = node[chosen], label[chosen], fan[chosen]
    row = np.repeat(np.arange(len(node)), fan)
    edge = first[node[row]] + np.arange(len(row)) - np.repeat(np.cumsum(fan) - fan, fan)
    after = targets[edge]
    with np.errstate(over="ignore"):
        longer = mix(label[row] * np.uint64(31) + labels[after])
    return _distinct(after, longer)


def _distinct(group: Ints, label: Hashes) -> tuple[Ints, Hashes]:
    """Pairs without repeats, sorted by group."""
    order = np.lexsort((label, group))
    group, label = group[order], label[order]
    fresh = np.ones(len(order), dtype=bool)
    fresh[1:] = (group[1:] != group[:-1]) | (label[1:] != label[:-1])
    return group[fresh], label[fresh]


def neighbourhoods(rounds: int, *, repeats: bool) -> Callable[[Hashes, Ints], Hashes]:
    """Weisfeiler-Lehman labels after ``rounds`` over producers and consumers, each side apart.

    Shervashidze et al., JMLR 12 (2011), with directed neighbourhoods; without ``repeats`` equal neighbours count once, so three
    parallel projections look like one.
    """

    def refine(labels: Hashes, edges: Ints) -> Hashes:
        source, target = edges[:, 0], edges[:, 1]
        for _ in range(rounds):
            above = _gather(target, mix(labels[source] ^ np.uint64(1)), len(labels), repeats)
            below = _gather(source, mix(labels[target] ^ np.uint64(2)), len(labels), repeats)
            labels = mix(mix(labels ^ mix(above + np.uint64(7))) ^ mix(below + np.uint64(11)))
        return labels

    return refine


def _gather(group: Ints, label: Hashes, size: int, repeats: bool) -> Hashes:
    """Sum of mixed labels by group ``(size,)``: a hash of a multiset that knows no order."""
    if not repeats:
        group, label = _distinct(group, label)
    total = np.zeros(size, dtype=np.uint64)
    with np.errstate(over="ignore"):
        np.add.at(total, group, mix(label))
    return total


CHANNELS: tuple[tuple[str, str, Callable[[Hashes, Ints], Hashes]], ...] = (
    ("kinds", "kind", bag),
    ("kind paths of 2", "kind", paths(2)),
    ("kind paths of 3", "kind", paths(3)),
    ("kind neighbourhoods", "kind", neighbourhoods(1, repeats=False)),
    ("kind wiring", "kind", neighbourhoods(2, repeats=True)),
    ("operators", "operator", bag),
    ("operator paths of 2", "operator", paths(2)),
    ("operator paths of 3", "operator", paths(3)),
    ("operator neighbourhoods", "operator", neighbourhoods(1, repeats=True)),
    ("shapes", "shaped", bag),
    ("shape paths of 2", "shaped", paths(2)),
    ("sizes", "sized", bag),
)
"""Name, vocabulary and features of every channel; at most 16, since a feature carries its channel in four bits."""

CHANNEL_NAMES = tuple(name for name, *_ in CHANNELS)

HASH_BITS = 18
"""Two graphs of fifty features each in a channel share one by accident once in a hundred pairs."""


def features(graph: Graph) -> tuple[npt.NDArray[np.uint32], Ints]:
    """Distinct features of a graph, sorted, and how often each occurs.

    Returns:
        ``(k,) uint32`` with the channel above `HASH_BITS` bits of hash, ``(k,)`` counts.
    """
    seen = layers(graph)
    whole = skeleton(graph, seen)
    views = {False: whole, True: plain(whole)}
    labels = {is_plain: tokens(graph, seen, view) for is_plain, view in views.items()}
    keys = []
    for channel, (_, vocabulary, collect) in enumerate(CHANNELS):
        is_plain = vocabulary == "kind"
        found = collect(labels[is_plain][vocabulary], views[is_plain].edges)
        keys.append((found & np.uint64((1 << HASH_BITS) - 1)).astype(np.uint32) | np.uint32(channel << HASH_BITS))
    return np.unique(np.concatenate(keys), return_counts=True)

"""Protocols: who learns from what, who asks, among whom, and what should be found.

A further protocol is one file in this folder; no other file changes. It registers a function that draws tasks, and `netatlas eval
nar --protocol P9` and `netatlas systems run nar --protocol P9` know it::

    @protocol("P9", "who asks; relevant: what should be found", splits=3)
    def draw(split: int, atlas: Atlas, limit: int | None) -> Task:
        return make_task(f"P9/{split}", training, items, asks, alike=lambda a, b: a.family == b.family)

The split is the seed of everything random. ``further=`` names a function of a task and the similarities an encoder gave it, for
figures that are no metrics of a ranking; tables show them beside the metrics.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from netatlas.encoders.base import Encoder, Trainable
from netatlas.errors import ConfigError, did_you_mean
from netatlas.evaluation.nar.collections import Item
from netatlas.evaluation.ranking import best_first, retrieval_metrics
from netatlas.graph.graph import Graph, Scope

if TYPE_CHECKING:
    from netatlas.atlas.atlas import Atlas

METRICS = ("mrr", "map", "ndcg")
CUT_OFFS = (20, 50, 100)

Similarity = list[npt.NDArray[np.float64]]
"""For each query of a task, its similarity to its gallery."""


@dataclass(frozen=True)
class Task:
    """One draw of a protocol.

    Attributes:
        name: Protocol and split, ``"P2/0"``.
        training: What may be learned from, with families.
        items: Queries and gallery, side by side.
        queries: Positions of queries in ``items``.
        gallery: For each query, the positions among which it looks, itself left out.
        relevant: For each query, the positions to be found; never empty.
        weights: Share of each query in a mean, summing to 1; alike within a library, and every library that asks counts the same.
        skipped: Queries left out because nothing is relevant to them.
    """

    name: str
    training: Sequence[Item]
    items: Sequence[Item]
    queries: tuple[int, ...]
    gallery: tuple[tuple[int, ...], ...]
    relevant: tuple[frozenset[int], ...]
    weights: tuple[float, ...]
    skipped: int


Draw = Callable[[int, "Atlas", int | None], Task]
Further = Callable[[Task, Similarity], Mapping[str, float]]


@dataclass(frozen=True)
class Protocol:
    """A way to ask.

    Attributes:
        name: Short name, ``"P2"``.
        what: Who asks among whom, and what is relevant.
        splits: How often training and test are drawn anew.
        draw: One draw: its number, the atlas, and about how many graphs there may be on either side, ``None`` for all.
        further: More figures by name, of a task and what an encoder made of it.
    """

    name: str
    what: str
    splits: int
    draw: Draw
    further: Further | None = None


_PROTOCOLS: dict[str, Protocol] = {}


def protocol(name: str, what: str, *, splits: int = 1, further: Further | None = None) -> Callable[[Draw], Draw]:
    """Decorator that makes the decorated function draw the tasks of a new protocol; see `Protocol`."""

    def add(draw: Draw) -> Draw:
        _PROTOCOLS[name] = Protocol(name, what, splits, draw, further)
        return draw

    return add


@cache
def protocols() -> Mapping[str, Protocol]:
    """All protocols by name, sorted."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if not module.name.startswith("_"):
            importlib.import_module(f"{__package__}.{module.name}")
    return dict(sorted(_PROTOCOLS.items()))


def find_protocol(name: str) -> Protocol:
    """A protocol by name, in any case.

    Raises:
        ConfigError: There is none.
    """
    known = protocols()
    exact = {key.lower(): key for key in known}.get(name.lower())
    if exact is None:
        raise ConfigError(f"no protocol {name!r} (there are: {', '.join(known)}){did_you_mean(name, known)}")
    return known[exact]


def task(name: str, split: int, atlas: Atlas, *, limit: int | None = None) -> Task:
    """One draw of a protocol.

    No encoder can read a label off a graph: names of modules are taken out of all graphs, and ids and families are not in them.

    Args:
        name: Of the protocol.
        split: Below `Protocol.splits`; its seed.
        atlas: Where the architectures are.
        limit: At most about this many graphs on either side, for a quick look.

    Raises:
        ConfigError: The protocol is unknown, or has no such split.
    """
    found = find_protocol(name)
    if not 0 <= split < found.splits:
        raise ConfigError(f"{found.name} has splits 0 to {found.splits - 1}, got {split}")
    drawn = found.draw(split, atlas, limit)
    return replace(drawn, training=_nameless(drawn.training), items=_nameless(drawn.items))


_stripped: WeakKeyDictionary[Graph, Graph] = WeakKeyDictionary()


def _nameless(items: Sequence[Item]) -> list[Item]:
    """The same items; their graphs without the names and classes of modules, which would give the family away."""
    for item in items:
        if item.graph not in _stripped:
            _stripped[item.graph] = replace(
                item.graph, scopes=(Scope("", ""),), scope=np.zeros(len(item.graph), dtype=np.int32), unknown={}
            )
    return [replace(item, graph=_stripped[item.graph]) for item in items]


def make_task(
    name: str,
    training: Sequence[Item],
    items: Sequence[Item],
    asks: Sequence[int],
    alike: Callable[[Item, Item], bool],
    among: Callable[[Item, Item], bool] = lambda a, b: True,
) -> Task:
    """A task from its rules.

    Args:
        name: Protocol and split.
        training: What may be learned from.
        items: Queries and gallery.
        asks: Positions of those that ask.
        alike: Whether the second is relevant to the first.
        among: Whether the first looks at the second at all; never at itself.
    """
    queries, gallery, relevant, skipped = [], [], [], 0
    for q in asks:
        others = tuple(i for i in range(len(items)) if i != q and among(items[q], items[i]))
        wanted = frozenset(i for i in others if alike(items[q], items[i]))
        if not wanted:
            skipped += 1
            continue
        queries.append(q)
        gallery.append(others)
        relevant.append(wanted)
    sides = [items[q].id.partition("/")[0] for q in queries]
    size = Counter(sides)
    weights = tuple(1 / (size[side] * len(size)) for side in sides)
    return Task(name, training, items, tuple(queries), tuple(gallery), tuple(relevant), weights, skipped)


def thin(items: Sequence[Item], limit: int | None) -> list[Item]:
    """At most about ``limit`` items, whole families, the largest first; all without a limit."""
    if limit is None or len(items) <= limit:
        return list(items)
    kept: set[str] = set()
    room = limit
    for family, size in Counter(item.family for item in items).most_common():
        size = min(size, max(2, limit // 5))
        if room >= size:
            kept.add(family)
            room -= size
    taken: Counter[str] = Counter()
    found = []
    for item in items:
        if item.family in kept and taken[item.family] < max(2, limit // 5):
            taken[item.family] += 1
            found.append(item)
    return found


def similarities(found: Task, encoder: Encoder, seed: int) -> Similarity:
    """Train where the encoder can, encode everything, compare every query with its gallery."""
    if isinstance(encoder, Trainable):
        encoder.fit([i.graph for i in found.training], [i.family for i in found.training], seed=seed)
    return compare(found, encoder, [encoder.encode(item.graph) for item in found.items])


def compare(found: Task, encoder: Encoder, vectors: Sequence[bytes]) -> Similarity:
    """Every query with its gallery, given the vector of every item."""
    return [
        encoder.similarities(vectors[q], [vectors[i] for i in others])
        for q, others in zip(found.queries, found.gallery, strict=True)
    ]


def score(found: Task, alike: Similarity, ks: Sequence[int] = CUT_OFFS) -> dict[str, list[float]]:
    """Metrics by name, one value a query."""
    columns: dict[str, list[float]] = {}
    for row, others, wanted in zip(alike, found.gallery, found.relevant, strict=True):
        order = best_first(row, [found.items[i].id for i in others])
        for name, value in retrieval_metrics([others[i] for i in order], wanted, ks).items():
            columns.setdefault(name, []).append(value)
    return columns

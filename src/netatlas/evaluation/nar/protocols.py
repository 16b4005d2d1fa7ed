"""Protocols: who learns from what, who asks, among whom, and what should be found.

P2 families never seen in training; P3 the same design written in another library; P5 a genotype at another depth among rewired
copies with the same operations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from netatlas.encoders.base import Encoder, Trainable
from netatlas.errors import ConfigError, did_you_mean
from netatlas.evaluation.nar.collections import TWINS, Item, genotypes, library, twins
from netatlas.evaluation.ranking import best_first, retrieval_metrics

if TYPE_CHECKING:
    from netatlas.atlas.atlas import Atlas

PROTOCOLS = {
    "P2": "timm, half of the families never seen in training; relevant: the same family",
    "P3": "a transformers model asks among all of timm, and back; relevant: the same design; no such family seen in training",
    "P5": "DARTS genotypes; relevant: the same genotype at another depth, among rewired copies with the same operations",
}
SPLITS = {"P2": 3, "P3": 1, "P5": 1}
"""How often each protocol draws training and test anew."""


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
        weights: Share of each query in a mean, summing to 1; alike, save that both directions of P3 count the same.
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


def task(protocol: str, split: int, atlas: Atlas, *, limit: int | None = None) -> Task:
    """One draw.

    Args:
        protocol: Of `PROTOCOLS`.
        split: Below `SPLITS` of the protocol; its seed.
        atlas: Where the architectures are.
        limit: At most about this many graphs on either side, for a quick look.

    Raises:
        ConfigError: The protocol is unknown.
    """
    if protocol not in PROTOCOLS:
        raise ConfigError(f"no protocol {protocol!r} (there are: {', '.join(PROTOCOLS)}){did_you_mean(protocol, PROTOCOLS)}")
    rng = np.random.default_rng(split)
    if protocol == "P2":
        return _unseen_families(split, library(atlas, "timm"), rng, limit)
    if protocol == "P3":
        return _other_library(split, library(atlas, "timm"), twins(atlas), rng, limit)
    return _wiring(split, rng, limit)


def _unseen_families(split: int, items: list[Item], rng: np.random.Generator, limit: int | None) -> Task:
    families = sorted({item.family for item in items})
    seen = {families[i] for i in rng.permutation(len(families))[: len(families) // 2]}
    training, test = (
        _thin([i for i in items if i.family in seen], limit),
        _thin([i for i in items if i.family not in seen], limit),
    )
    return _make(f"P2/{split}", training, test, range(len(test)), lambda a, b: a.family == b.family)


def _other_library(split: int, ours: list[Item], theirs: list[Item], rng: np.random.Generator, limit: int | None) -> Task:
    wanted = {design for item in theirs for design in item.designs}
    training = _thin([item for item in ours if not item.designs & (wanted | TWINS)], limit)
    gallery = ours if limit is None else _thin([i for i in ours if i.designs & wanted], limit // 2) + _thin(training, limit // 2)
    items = [*gallery, *theirs]
    asks = [i for i, item in enumerate(items) if item.designs & wanted]

    def other(a: Item, b: Item) -> bool:
        return a.id.partition("/")[0] != b.id.partition("/")[0]

    return _make(f"P3/{split}", training, items, asks, lambda a, b: bool(a.designs & b.designs), among=other)


def _wiring(split: int, rng: np.random.Generator, limit: int | None) -> Task:
    count = 40 if limit is None else max(3, limit // 9)
    training, test = genotypes(count, 1, rng), genotypes(count, 2, rng)
    asks = [i for i, item in enumerate(test) if item.family.endswith(".0")]
    return _make(f"P5/{split}", training, test, asks, lambda a, b: a.family == b.family)


def _thin(items: list[Item], limit: int | None) -> list[Item]:
    """At most about ``limit`` items, whole families, the largest first; all without a limit."""
    if limit is None or len(items) <= limit:
        return items
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


def _make(
    name: str,
    training: Sequence[Item],
    items: Sequence[Item],
    asks: Sequence[int],
    alike: Callable[[Item, Item], bool],
    among: Callable[[Item, Item], bool] = lambda a, b: True,
) -> Task:
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


Similarity = list[npt.NDArray[np.float64]]
"""For each query of a task, its similarity to its gallery."""


def similarities(found: Task, encoder: Encoder, seed: int) -> Similarity:
    """Train where the encoder can, encode everything, compare every query with its gallery."""
    if isinstance(encoder, Trainable):
        encoder.fit([i.graph for i in found.training], [i.family for i in found.training], seed=seed)
    vectors = [encoder.encode(item.graph) for item in found.items]
    return [
        encoder.similarities(vectors[q], [vectors[i] for i in others])
        for q, others in zip(found.queries, found.gallery, strict=True)
    ]


def score(found: Task, alike: Similarity, ks: Sequence[int] = (20, 50, 100)) -> dict[str, list[float]]:
    """Metrics by name, one value a query."""
    columns: dict[str, list[float]] = {}
    for row, others, wanted in zip(alike, found.gallery, found.relevant, strict=True):
        order = best_first(row, [found.items[i].id for i in others])
        for name, value in retrieval_metrics([others[i] for i in order], wanted, ks).items():
            columns.setdefault(name, []).append(value)
    return columns

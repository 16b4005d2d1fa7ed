"""Twins: architectures under random edits must find what they were made of, and go away from it edit by edit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from netatlas.errors import GraphError
from netatlas.evaluation.nar.collections import Item, library
from netatlas.evaluation.nar.protocols import Similarity, Task, make_task, protocol, thin
from netatlas.evaluation.ranking import best_first
from netatlas.graph.coarse import coarse_hash
from netatlas.graph.mutate import mutations

if TYPE_CHECKING:
    from netatlas.atlas.atlas import Atlas

LIBRARIES = ("timm", "torchvision", "transformers")
ORIGINS = 100
"""Architectures that get twins, of as many families."""
LARGEST = 5_000
"""Operators of an origin; the few larger ones are unrolled recurrences, whose chains of edits take a minute each."""
EDITS = 10
"""Length of a chain of edits."""
CUT_OFFS = (1, 10)
FEW = 3
"""Edits up to which a twin is expected to come first."""
TOLD = (1, 2, 3, 5, 10)
"""Numbers of edits that have a figure of their own."""
RESAMPLES = 2000


def real(atlas: Atlas) -> list[Item]:
    """The architectures of all libraries; those that no refinement of depth 3 of their coarse graphs tells apart are one item."""
    found: dict[str, Item] = {}
    for source in LIBRARIES:
        for item in library(atlas, source):
            found.setdefault(coarse_hash(item.graph), item)
    return list(found.values())


def further(found: Task, alike: Similarity) -> Mapping[str, float]:
    """Recall (``R@1``, ``R@10``) by number of edits, and how well distance orders the twins of one origin by edits.

    Recall counts an origin that is as alike as others only if its id comes first among them. The rank correlation is Spearman's
    between the number of edits, 1 to `EDITS`, and ``1 - similarity`` to the origin; its mean over origins comes with the 95 %
    interval of resampled origins. A chain that leaves all distances equal counts as 0.
    """
    ranks: dict[int, list[int]] = defaultdict(list)
    chains: dict[str, dict[int, float]] = defaultdict(dict)
    for q, row, others, wanted in zip(found.queries, alike, found.gallery, found.relevant, strict=True):
        origin, edits = origin_of(found.items[q])
        order = best_first(row, [found.items[i].id for i in others])
        ranks[edits].append(next(rank for rank, i in enumerate(order, start=1) if others[i] in wanted))
        chains[origin][edits] = 1.0 - max(float(row[i]) for i, other in enumerate(others) if other in wanted)
    figures: dict[str, float] = {}
    for k in CUT_OFFS:
        hits = {edits: np.array(found_) <= k for edits, found_ in sorted(ranks.items())}
        figures |= {f"R@{k} {edits} edits": float(hits[edits].mean()) for edits in TOLD if edits in hits}
        figures[f"R@{k} 1-{FEW} edits"] = float(np.concatenate([hit for edits, hit in hits.items() if edits <= FEW]).mean())
    orders = [spearman(list(chain), list(chain.values())) for chain in chains.values() if len(chain) > 1]
    mean, low, high = interval(orders)
    return figures | {"spearman": mean, "spearman low": low, "spearman high": high}


@protocol(
    "twins",
    f"{ORIGINS} architectures under 1 to {EDITS} random edits, among all real ones; relevant: the origin, whose family is not seen "
    "in training",
    splits=3,
    further=further,
)
def draw(split: int, atlas: Atlas, limit: int | None) -> Task:
    """One draw: one origin of each of some families, chosen anew, and a chain of edits of each."""
    gallery = thin(real(atlas), limit)
    rng = np.random.default_rng([split, 2])
    count = min(ORIGINS, len({item.family for item in gallery}) // 2)  # the other families are there to learn from
    origins: list[Item] = []
    edited: list[Item] = []
    for origin in _spread(gallery, rng):
        if len(origins) == count:
            break
        chain = twins_of(origin, rng) if len(origin.graph) <= LARGEST else []
        if chain:
            origins.append(origin)
            edited += chain
    asked = {origin.family for origin in origins}
    training = [item for item in gallery if item.family not in asked]
    items = [*gallery, *edited]
    asks = range(len(gallery), len(items))
    return make_task(
        f"twins/{split}", training, items, asks, lambda a, b: b.id == origin_of(a)[0], among=lambda a, b: not _is_twin(b)
    )


def twins_of(origin: Item, rng: np.random.Generator, edits: int = EDITS) -> list[Item]:
    """The origin after one edit, after two and so on; nothing where edits do not apply."""
    try:
        chain = list(islice(mutations(origin.graph, rng), edits))
    except GraphError:
        return []
    return [Item(f"twin/{origin.id}#{n}", found.graph, origin.family, origin.designs) for n, found in enumerate(chain, start=1)]


def origin_of(twin: Item) -> tuple[str, int]:
    """Id of what a twin was made of, and the number of edits."""
    name, _, edits = twin.id.removeprefix("twin/").rpartition("#")
    return name, int(edits)


def _is_twin(item: Item) -> bool:
    return item.id.startswith("twin/")


def _spread(items: Sequence[Item], rng: np.random.Generator) -> list[Item]:
    """One item of every family, families and items in random order."""
    by_family: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        by_family[item.family].append(item)
    families = sorted(by_family)
    return [by_family[f][int(rng.integers(len(by_family[f])))] for f in (families[i] for i in rng.permutation(len(families)))]


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Rank correlation, equal values sharing their mean rank; 0 where all values of one side are equal."""
    x, y = (_ranks(np.asarray(values, dtype=np.float64)) for values in (a, b))
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / scale if scale > 0 else 0.0


def _ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    # Similarities of equal vectors may differ in the last bits, which must not order them.
    _, place, counts = np.unique(values.round(12), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place.ravel()])


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean, and the 95 % interval that resampling gives it."""
    if not values:
        return 0.0, 0.0, 0.0
    drawn = np.random.default_rng(0).choice(np.asarray(values), size=(RESAMPLES, len(values))).mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(np.mean(values)), float(low), float(high)

"""P3: the same design written by others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from netatlas.evaluation.nar.collections import TWINS, Item, library, twins
from netatlas.evaluation.nar.protocols import Similarity, Task, make_task, protocol, score, thin

if TYPE_CHECKING:
    from netatlas.atlas.atlas import Atlas


def directions(drawn: Task, alike: Similarity) -> dict[str, float]:
    """MAP@20 of either direction alone."""
    values = np.array(score(drawn, alike, ks=(20,))["map@20"])
    source = np.array([drawn.items[q].id.partition("/")[0] for q in drawn.queries])
    return {f"MAP from {name}": float(values[source == name].mean()) for name in sorted(set(source.tolist()))}


@protocol(
    "P3",
    "a transformers model asks among all of timm, and back; relevant: the same design; no such family seen in training",
    further=directions,
)
def draw(split: int, atlas: Atlas, limit: int | None) -> Task:
    """The only draw: timm's members of the families that both wrote, and those of transformers; both directions weigh the same."""
    ours, theirs = library(atlas, "timm"), twins(atlas)
    wanted = {design for item in theirs for design in item.designs}
    training = thin([item for item in ours if not item.designs & (wanted | TWINS)], limit)
    gallery = ours if limit is None else thin([i for i in ours if i.designs & wanted], limit // 2) + thin(training, limit // 2)
    items = [*gallery, *theirs]
    asks = [i for i, item in enumerate(items) if item.designs & wanted]
    return make_task(f"P3/{split}", training, items, asks, lambda a, b: bool(a.designs & b.designs), among=_other)


def _other(a: Item, b: Item) -> bool:
    return a.id.partition("/")[0] != b.id.partition("/")[0]

"""P1: random queries within one library, families known from training. A sanity check: it asks for nothing new."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from netatlas.evaluation.nar.collections import library
from netatlas.evaluation.nar.protocols import Task, make_task, protocol, thin

if TYPE_CHECKING:
    from netatlas.atlas.atlas import Atlas

QUERIES = 200


@protocol("P1", "random queries within timm, their families known from training; relevant: the same family")
def draw(split: int, atlas: Atlas, limit: int | None) -> Task:
    """One draw; what asks is not learned from, its sisters are."""
    items = thin(library(atlas, "timm"), limit)
    asks = sorted(np.random.default_rng(split).permutation(len(items))[: min(QUERIES, len(items) // 2)].tolist())
    held = set(asks)
    training = [item for i, item in enumerate(items) if i not in held]
    return make_task(f"P1/{split}", training, items, asks, lambda a, b: a.family == b.family)

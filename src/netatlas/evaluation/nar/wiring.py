"""P5: wiring, where every histogram is blind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from netatlas.evaluation.nar.collections import genotypes
from netatlas.evaluation.nar.protocols import Task, make_task, protocol

if TYPE_CHECKING:
    from netatlas.atlas.atlas import Atlas

GENOTYPES = 40


@protocol("P5", "DARTS genotypes; relevant: the same genotype at another depth, among rewired copies with the same operations")
def draw(split: int, atlas: Atlas, limit: int | None) -> Task:
    """One draw: half of all genotypes teach, with one rewired copy each; the others ask, with two rewired copies each about them."""
    rng = np.random.default_rng(split)
    count = GENOTYPES if limit is None else max(3, limit // 9)
    training, test = genotypes(count, 1, rng), genotypes(count, 2, rng)
    asks = [i for i, item in enumerate(test) if item.family.endswith(".0")]
    return make_task(f"P5/{split}", training, test, asks, lambda a, b: a.family == b.family)

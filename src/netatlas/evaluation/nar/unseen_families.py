"""P2: families never seen in training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from netatlas.evaluation.nar.collections import library
from netatlas.evaluation.nar.protocols import Task, make_task, protocol, thin

if TYPE_CHECKING:
    from netatlas.atlas.atlas import Atlas


@protocol("P2", "timm, half of the families never seen in training; relevant: the same family", splits=3)
def draw(split: int, atlas: Atlas, limit: int | None) -> Task:
    """One draw: half of the families teach, all members of the other half ask among themselves."""
    items = library(atlas, "timm")
    families = sorted({item.family for item in items})
    seen = {families[i] for i in np.random.default_rng(split).permutation(len(families))[: len(families) // 2]}
    training = thin([i for i in items if i.family in seen], limit)
    test = thin([i for i in items if i.family not in seen], limit)
    return make_task(f"P2/{split}", training, test, range(len(test)), lambda a, b: a.family == b.family)

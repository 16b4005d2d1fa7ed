"""Boosted regression trees as arrays: stored without pickle, evaluated by numpy alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Trees:
    """A sum of complete binary trees of one depth; node ``i`` has the children ``2 i + 1`` and ``2 i + 2``.

    Attributes:
        feature: ``(t, 2**depth - 1) uint8`` column that a node looks at.
        threshold: ``(t, 2**depth - 1) float32``; at most this goes left. A node without a split sends everything left.
        leaf: ``(t, 2**depth) float32`` what a tree adds.
        start: What all trees add to.
    """

    feature: npt.NDArray[np.uint8]
    threshold: npt.NDArray[np.float32]
    leaf: npt.NDArray[np.float32]
    start: float

    def predict(self, x: Floats) -> Floats:
        """Sums ``(n,)`` for the rows of ``x (n, p)``."""
        rows, trees = np.arange(len(x))[:, None], np.arange(len(self.leaf))
        seen = x.astype(np.float32)
        node = np.zeros((len(x), len(self.leaf)), dtype=np.int64)
        for _ in range(int(self.leaf.shape[1]).bit_length() - 1):
            right = seen[rows, self.feature[trees, node]] > self.threshold[trees, node]
            node = 2 * node + 1 + right
        chosen = self.leaf[trees, node - self.feature.shape[1]]
        return np.asarray(self.start + chosen.sum(axis=1, dtype=np.float64))

    @classmethod
    def from_sklearn(cls, trees: Sequence[Any], depth: int, rate: float, start: float) -> Trees:
        """The trees of a fitted ``GradientBoostingRegressor`` (``model.estimators_[:, 0]``), none deeper than ``depth``."""
        inner, leaves = 2**depth - 1, 2**depth
        feature = np.zeros((len(trees), inner), dtype=np.uint8)
        threshold = np.full((len(trees), inner), np.inf, dtype=np.float32)
        leaf = np.zeros((len(trees), leaves), dtype=np.float32)

        def fill(t: int, source: Any, node: int, place: int) -> None:
            split = source.children_left[node] >= 0
            if place >= inner:
                leaf[t, place - inner] = rate * source.value[node, 0, 0]
                return
            if split:
                feature[t, place], threshold[t, place] = source.feature[node], source.threshold[node]
            fill(t, source, source.children_left[node] if split else node, 2 * place + 1)
            fill(t, source, source.children_right[node] if split else node, 2 * place + 2)

        for t, tree in enumerate(trees):
            fill(t, tree.tree_, 0, 0)
        return cls(feature, threshold, leaf, start)

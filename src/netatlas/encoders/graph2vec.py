"""graph2vec: a graph is a document whose words are its Weisfeiler-Lehman labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from netatlas.encoders.base import ENCODERS, Trainable
from netatlas.encoders.wl import refined
from netatlas.errors import ConfigError
from netatlas.graph.graph import Graph

Floats = npt.NDArray[np.float64]

_RATE, _SETTLING = 0.05, 60
"""Learning rate of Adam (arXiv:1412.6980), and steps in which the vector of one new graph settles."""

_START = 0.1
"""Largest value of a coordinate at the beginning."""


@ENCODERS.register("graph2vec")
class Graph2Vec(Trainable):
    """Vectors that tell which labels a graph has, learned without families (Narayanan et al., arXiv:1707.05005).

    The objective is that of PV-DBOW with negative sampling (Le and Mikolov, arXiv:1405.4053): the vector of a graph and the vector of a
    label it has shall have a large product, with ``negatives`` labels drawn by frequency a small one. Where the authors draw samples,
    we take the expectation over them, which the counts give exactly; so nothing is random but the start. A graph that was not trained
    on gets the vector that fits its labels best while those of the labels stay. Labels of a single training graph say nothing of
    others and are left out.

    Similarity is ``(1 + cosine) / 2``; a graph without any known label is like its equals alone.

    Args:
        dim: Coordinates of a vector.
        rounds: Refinements of labels on the coarse graph.
        negatives: Labels drawn against each that a graph has.
        epochs: Full passes over all training graphs.

    Raises:
        ConfigError: A number is out of range.
    """

    name = "graph2vec"

    def __init__(self, *, dim: int = 64, rounds: int = 2, negatives: int = 5, epochs: int = 100) -> None:
        for what, value, least in (("dim", dim, 1), ("rounds", rounds, 0), ("negatives", negatives, 1), ("epochs", epochs, 1)):
            if value < least:
                raise ConfigError(f"graph2vec: {what} must be {least} or more, got {value}")
        self.dim, self.rounds, self.negatives, self.epochs = dim, rounds, negatives, epochs
        self._place: dict[int, int] = {}
        self._labels: Floats | None = None
        self._frequency: Floats = np.zeros(0)

    def fit(self, graphs: Sequence[Graph], groups: Sequence[str], *, seed: int) -> None:
        """Learn the vectors of labels from graphs; ``groups`` are not looked at.

        Raises:
            ConfigError: No two graphs share a label.
        """
        counts = [self._words(graph) for graph in graphs]
        spread = Counter(label for found in counts for label in found)
        kept = sorted(label for label, n in spread.items() if n > 1)
        if not kept:
            raise ConfigError(f"graph2vec: training needs graphs that share labels, got {len(graphs)} that share none")
        self._place = {label: i for i, label in enumerate(kept)}
        table = np.stack([self._row(found) for found in counts])
        self._frequency = table.sum(axis=0) / table.sum()
        rng = np.random.default_rng(seed)
        start = [rng.uniform(-_START, _START, (size, self.dim)) for size in (len(table), len(kept))]
        self._labels = _ascend(start, lambda x: self._gradients(table, x[0], x[1]), self.epochs)[1]

    def _words(self, graph: Graph) -> Counter[int]:
        return refined(graph, self.rounds, "coarse")

    def _row(self, counts: Counter[int]) -> Floats:
        """``log(1 + count)`` of every kept label, ``(v,)``: a deep network is no more worth than a shallow one."""
        row = np.zeros(len(self._place))
        for label, count in counts.items():
            if label in self._place:
                row[self._place[label]] = np.log1p(count)
        return row

    def _gradients(self, table: Floats, graphs: Floats, labels: Floats) -> list[Floats]:
        """Gradients of the expected objective for the vectors of graphs and of labels."""
        chance = 1 / (1 + np.exp(-(graphs @ labels.T)))
        drawn = self.negatives * table.sum(axis=1, keepdims=True) * self._frequency
        error = (table * (1 - chance) - drawn * chance) / np.maximum(table.sum(axis=1, keepdims=True), 1e-9)
        return [error @ labels, error.T @ graphs / len(graphs)]

    def encode(self, graph: Graph) -> bytes:
        """The vector of one graph, ``(dim,) float32`` of length 1; zeros where no label is known.

        Raises:
            ConfigError: The encoder is not trained.
        """
        if self._labels is None:
            raise ConfigError("graph2vec: not trained yet; call fit first")
        row, labels = self._row(self._words(graph))[None], self._labels
        if not row.any():
            return np.zeros(self.dim, dtype="<f4").tobytes()
        start = row @ labels / row.sum()  # the mean of its labels: near, and without chance
        vector = _ascend([start], lambda x: self._gradients(row, x[0], labels)[:1], _SETTLING)[0][0]
        return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), dtype="<f4").tobytes()

    def similarities(self, query: bytes, vectors: Sequence[bytes]) -> Floats:
        asked = np.frombuffer(query, dtype="<f4").astype(np.float64)
        every = np.frombuffer(b"".join(vectors), dtype="<f4").reshape(len(vectors), -1).astype(np.float64) if vectors else None
        if every is None:
            return np.zeros(0)
        alike = ((1 + (every * asked).sum(axis=1)) / 2).clip(0.0, 1.0)
        alike[~every.any(axis=1) | (not asked.any())] = 0.0
        alike[(every == asked).all(axis=1)] = 1.0
        return np.asarray(alike)


def _ascend(start: list[Floats], gradients: Callable[[list[Floats]], list[Floats]], steps: int) -> list[Floats]:
    """Full-batch Adam uphill."""
    found = [x.copy() for x in start]
    means, squares = ([np.zeros_like(x) for x in start] for _ in range(2))
    for step in range(1, steps + 1):
        for i, gradient in enumerate(gradients(found)):
            means[i] = 0.9 * means[i] + 0.1 * gradient
            squares[i] = 0.999 * squares[i] + 0.001 * gradient**2
            found[i] = found[i] + _RATE * (means[i] / (1 - 0.9**step)) / (np.sqrt(squares[i] / (1 - 0.999**step)) + 1e-8)
    return found

"""Graph networks on the whole coarse graph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from netatlas.encoders._batches import LABELS, Batch, batch, classes, distances, join, one_hot, shuffled, wiring
from netatlas.encoders._objective import check_loss, stored, train_on_groups
from netatlas.encoders.base import Trainable
from netatlas.errors import ConfigError
from netatlas.graph.graph import Graph
from netatlas.nn.gnn import GraphEncoder

BATCH = 64
"""Graphs of a training step."""


class FlatGNN(Trainable):
    """Convolutions over the operators of a graph, pooled to one vector; compared by Euclidean distance ``d`` as ``1 / (1 + d)``.

    The network sees the coarse graph (twelve classes) in the order of its structure, so equal structure gives equal bytes.

    Args:
        name: Registered name.
        conv: Of `nn.gnn.CONVOLUTIONS`.
        hidden: Channels.
        depth: Layers.
        readout: Of `nn.gnn.READOUTS`.
        loss: Of `_objective.LOSSES`.
        epochs: Passes over the training graphs; 0 keeps the random weights, and then no training is needed.
        lr: Learning rate of Adam.
        two_sided: Whether messages also run against the edges.
    """

    def __init__(
        self, name: str, *, conv: str, hidden: int, depth: int, readout: str, loss: str, epochs: int, lr: float, two_sided: bool
    ) -> None:
        check_loss(name, loss)
        if epochs < 0:
            raise ConfigError(f"{name}: epochs must be 0 or more, got {epochs}")
        self.name = name
        self.loss, self.epochs, self.lr, self.two_sided = loss, epochs, lr, two_sided
        self._shape = (hidden, depth, conv, readout)
        self._net = self._initial(0)
        self._fitted = epochs == 0
        self.history: list[float] = []

    def _initial(self, seed: int) -> GraphEncoder:
        hidden, depth, conv, readout = self._shape
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return GraphEncoder(LABELS, hidden, depth=depth, conv=conv, readout=readout).eval()

    def fit(self, graphs: Sequence[Graph], groups: Sequence[str], *, seed: int) -> None:
        """Learn from graphs and their families; with ``epochs=0`` only draw the weights of this seed.

        Raises:
            ConfigError: Fewer than two families.
        """
        labels = classes(self.name, graphs, groups)
        self._net = self._initial(seed)
        if self.epochs:
            seen = [self._batch(graph) for graph in graphs]
            generator = torch.Generator().manual_seed(seed)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                self.history = train_on_groups(
                    lambda b: self._net(b.x, b.edges, b.part, b.parts), self._net, self._net.out_dim, labels,
                    lambda g: ((rows, join([seen[i] for i in rows])) for rows in shuffled(len(seen), BATCH, g)),
                    loss=self.loss, epochs=self.epochs, lr=self.lr, generator=generator,
                )  # fmt: skip
        self._fitted = True

    def _batch(self, graph: Graph) -> Batch:
        seen = wiring(graph)
        return batch(one_hot(seen.label), seen.edges, np.zeros(len(seen), dtype=np.int64), 1, two_sided=self.two_sided)

    @torch.no_grad()
    def encode(self, graph: Graph) -> bytes:
        """Embedding of one graph.

        Raises:
            ConfigError: The encoder is not trained.
        """
        if not self._fitted:
            raise ConfigError(f"{self.name}: not trained yet; call fit first")
        b = self._batch(graph)
        return stored(self._net(b.x, b.edges, b.part, b.parts), self.loss)

    def similarities(self, query: bytes, vectors: Sequence[bytes]) -> npt.NDArray[np.float64]:
        return np.asarray(1 / (1 + distances(query, vectors)))

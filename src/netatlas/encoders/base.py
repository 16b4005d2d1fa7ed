"""The interface of encoders: a graph to a vector that can be compared."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from netatlas.graph.graph import Graph
from netatlas.registry import Registry


class Encoder(ABC):
    """Turns graphs into bytes that are stored, and stored bytes into similarities."""

    name: str
    """Registered name, under which the atlas stores its vectors."""

    @abstractmethod
    def encode(self, graph: Graph) -> bytes:
        """The vector of one graph, as it is stored. Depends on the graph's structure alone, not on the order of its nodes."""

    def is_current(self, vector: bytes) -> bool:
        """Whether stored bytes can be compared with what `encode` gives now; not so when another version made them."""
        return True

    def dense(self, vectors: Sequence[bytes]) -> npt.NDArray[np.float32] | None:
        """Unit vectors ``(m, d)`` whose inner products about follow `similarities`, ``None`` where an encoder has none."""
        return None

    @abstractmethod
    def similarities(self, query: bytes, vectors: Sequence[bytes]) -> npt.NDArray[np.float64]:
        """Similarity of ``query`` to each of ``m`` stored vectors, ``(m,)`` in [0, 1]; 1 for equal vectors."""


class Trainable(Encoder):
    """An encoder that learns from graphs whose families are known."""

    @abstractmethod
    def fit(self, graphs: Sequence[Graph], groups: Sequence[str], *, seed: int) -> None:
        """Learn, from the beginning each time; the same graphs, groups and seed give the same vectors.

        Args:
            graphs: Training graphs.
            groups: Family of each.
            seed: Of everything random.
        """


ENCODERS: Registry[Encoder] = Registry("encoders", "netatlas.encoders")

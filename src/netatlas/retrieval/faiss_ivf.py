"""An inverted-file index of faiss, for atlases too large to compare with every vector."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netatlas.errors import ConfigError, MissingExtraError
from netatlas.retrieval.base import INDEXES, Index, Nearest, Vectors, asked, checked, ordered

_TRAIN_PER_CELL = 64  # vectors a cell is learned from; faiss warns below 39


@INDEXES.register("faiss-ivf")
class FaissIndex(Index):
    """Vectors in ``4 sqrt(m)`` cells around k-means centres, of which a query visits the nearest share.

    Sivic and Zisserman, "Video Google", ICCV 2003; Douze et al., "The Faiss library", arXiv:2401.08281. Vectors are stored whole, so
    scores are exact; only which vectors are looked at is approximate. Cells are learned at the first search after `add`; below
    10,000 vectors there is one cell and the search is exact.

    Args:
        visited: Share of the cells that a query visits, in (0, 1].

    Raises:
        ConfigError: ``visited`` is outside (0, 1].
        MissingExtraError: faiss is not installed.
    """

    def __init__(self, *, visited: float = 0.1) -> None:
        if not 0.0 < visited <= 1.0:
            raise ConfigError(f"faiss-ivf: visited must lie in (0, 1], got {visited}")
        self._faiss = _faiss()
        self._visited = visited
        self._ids: list[str] = []
        self._waiting: list[Vectors] = []
        self._index: Any = None

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def _dim(self) -> int | None:
        if self._index is not None:
            return int(self._index.d)
        return int(self._waiting[0].shape[1]) if self._waiting else None

    def add(self, ids: Sequence[str], vectors: Vectors) -> None:
        self._waiting.append(checked(ids, vectors, self._ids, self._dim))
        self._ids.extend(ids)

    def _built(self) -> Any:
        if self._waiting:
            new = np.concatenate(self._waiting)
            if self._index is None:
                self._index = self._trained(new)
            self._index.add(new)
            self._waiting = []
        return self._index

    def _trained(self, vectors: Vectors) -> Any:
        m, d = vectors.shape
        cells = int(4 * math.sqrt(m)) if m >= 10_000 else 1
        index = self._faiss.IndexIVFFlat(self._faiss.IndexFlatIP(d), d, cells, self._faiss.METRIC_INNER_PRODUCT)
        index.cp.seed, index.cp.max_points_per_centroid = 0, _TRAIN_PER_CELL
        index.cp.min_points_per_centroid = 1
        index.nprobe = max(1, math.ceil(self._visited * cells))
        index.train(vectors)
        return index

    def search(self, queries: Vectors, k: int) -> Nearest:
        array = asked(queries, k, self._dim)
        if not self._ids or not k or not len(array):
            return [[] for _ in array]
        # More than k, so that equal scores at the end can be ordered by id.
        scores, rows = self._built().search(array, min(2 * k + 16, len(self._ids)))
        return [ordered(self._ids, r, s, k) for r, s in zip(rows, scores, strict=True)]

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if self._ids:
            self._faiss.write_index(self._built(), str(folder / "index.faiss"))
        (folder / "ids.json").write_text(json.dumps(self._ids))

    @classmethod
    def load(cls, folder: Path) -> FaissIndex:
        ids = json.loads((folder / "ids.json").read_text())
        index = cls()
        if ids:
            if not (folder / "index.faiss").is_file():
                raise FileNotFoundError(f"{folder / 'index.faiss'} is missing")
            index._index = index._faiss.read_index(str(folder / "index.faiss"))
            if index._index.ntotal != len(ids):
                raise ConfigError(f"{folder}: {len(ids)} ids for {index._index.ntotal} vectors")
        index._ids = ids
        return index


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise MissingExtraError("the faiss index", "faiss") from error
    return faiss

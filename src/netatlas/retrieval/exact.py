"""The exact index."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from netatlas.errors import ConfigError
from netatlas.retrieval.base import INDEXES, Index, Nearest, Vectors, asked, checked, ordered


@INDEXES.register("exact")
class ExactIndex(Index):
    """Inner products with every vector, O(m d) a query: the oracle for the faster indexes."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._parts: list[Vectors] = []

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def _dim(self) -> int | None:
        return int(self._parts[0].shape[1]) if self._parts else None

    def add(self, ids: Sequence[str], vectors: Vectors) -> None:
        array = checked(ids, vectors, self._ids, self._dim)
        self._parts.append(array)
        self._ids.extend(ids)

    def _all(self) -> Vectors:
        if len(self._parts) > 1:
            self._parts = [np.concatenate(self._parts)]
        return self._parts[0]

    def search(self, queries: Vectors, k: int) -> Nearest:
        array = asked(queries, k, self._dim)
        if not self._ids or not k:
            return [[] for _ in array]
        found: Nearest = []
        for query in array:  # one at a time: batched products round differently, and equal vectors would part
            scores = self._all() @ query  # (m,)
            cut = np.partition(scores, len(scores) - k)[len(scores) - k] if k < len(scores) else scores.min()
            rows = np.flatnonzero(scores >= cut)
            found.append(ordered(self._ids, rows, scores[rows], k))
        return found

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        vectors = self._all() if self._parts else np.zeros((0, 0), np.float32)
        np.save(folder / "vectors.npy", vectors, allow_pickle=False)
        (folder / "ids.json").write_text(json.dumps(self._ids))

    @classmethod
    def load(cls, folder: Path) -> ExactIndex:
        ids = json.loads((folder / "ids.json").read_text())
        vectors = np.load(folder / "vectors.npy", mmap_mode="r", allow_pickle=False)
        if len(ids) != len(vectors):
            raise ConfigError(f"{folder}: {len(ids)} ids for {len(vectors)} vectors")
        index = cls()
        if ids:
            index._ids, index._parts = ids, [np.asarray(vectors)]
        return index

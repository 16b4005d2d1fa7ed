"""The interface of indexes: nearest vectors by inner product."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from netatlas.errors import ConfigError
from netatlas.registry import Registry

Vectors = npt.NDArray[np.float32]
Nearest = list[list[tuple[str, float]]]

EXACT_UP_TO = 50_000
"""Vectors up to which the exact index is quick enough."""


class Index(ABC):
    """Vectors of one dimension with ids, and the ``k`` with the largest inner product to a query."""

    @abstractmethod
    def add(self, ids: Sequence[str], vectors: Vectors) -> None:
        """Add ``vectors`` ``(m, d)``; an id that is there already is refused.

        Raises:
            ConfigError: Numbers of ids and vectors differ, ``d`` is another than before, a value is not finite, or an id comes twice.
        """

    @abstractmethod
    def search(self, queries: Vectors, k: int) -> Nearest:
        """Up to ``k`` ids with inner products for each of ``queries`` ``(q, d)``, best first, equal ones by id.

        Raises:
            ConfigError: ``k`` is negative or ``d`` is another than the index has.
        """

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write into a folder."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Index:
        """The index that `save` wrote.

        Raises:
            OSError: A file is missing.
            ConfigError: The files do not belong together.
        """

    @abstractmethod
    def __len__(self) -> int: ...


INDEXES: Registry[Index] = Registry("indexes", "netatlas.retrieval")


def index_for(size: int) -> Index:
    """The index for about ``size`` vectors: exact, beyond `EXACT_UP_TO` faiss."""
    return INDEXES.build("exact" if size <= EXACT_UP_TO else "faiss-ivf")


def checked(ids: Sequence[str], vectors: Vectors, known: Sequence[str], dim: int | None) -> Vectors:
    """``vectors`` as contiguous float32 ``(m, d)``, after the checks of `Index.add`."""
    array = np.ascontiguousarray(vectors, dtype=np.float32)
    if array.ndim != 2 or len(array) != len(ids):
        raise ConfigError(f"{len(ids)} ids for vectors of shape {array.shape}, expected ({len(ids)}, d)")
    if dim is not None and array.shape[1] != dim:
        raise ConfigError(f"vectors have {array.shape[1]} dimensions, the index has {dim}")
    if not np.isfinite(array).all():
        raise ConfigError("a vector has a value that is not finite")
    if len({*ids, *known}) != len(ids) + len(known):
        raise ConfigError("an id is added twice")
    return array


def asked(queries: Vectors, k: int, dim: int | None) -> Vectors:
    """``queries`` as contiguous float32 ``(q, d)``, after the checks of `Index.search`."""
    array = np.ascontiguousarray(queries, dtype=np.float32)
    if k < 0:
        raise ConfigError(f"k must be 0 or more, got {k}")
    if array.ndim != 2 or (dim is not None and array.shape[1] != dim):
        raise ConfigError(f"queries have shape {array.shape}, expected (q, {dim if dim is not None else 'd'})")
    return array


def ordered(ids: Sequence[str], rows: npt.NDArray[np.int64], scores: npt.NDArray[np.float32], k: int) -> list[tuple[str, float]]:
    """The best ``k`` of some rows, equal scores by id."""
    pairs = [(ids[row], score) for row, score in zip(rows.tolist(), scores.tolist(), strict=True) if row >= 0]
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:k]

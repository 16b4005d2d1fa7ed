"""An approximate index over the stored vectors of an encoder, for atlases too large to compare a query with everything.

Stored vectors are bags of features without fixed dimension, and their similarity need not be an inner product. So the index holds
`Encoder.dense` of every vector, whose inner products are about the similarities, beside a few numbers for costs; what it finds are
candidates, which are then compared exactly (`netatlas.atlas.vectors`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from netatlas import __version__
from netatlas.atlas._folders import keep_folder
from netatlas.atlas.vectors import COST_WEIGHT, COSTS
from netatlas.encoders.base import ENCODERS, Encoder
from netatlas.errors import ConfigError, MissingExtraError
from netatlas.retrieval.base import INDEXES, Index, Vectors
from netatlas.retrieval.exact import ExactIndex

if TYPE_CHECKING:
    from netatlas.atlas.atlas import Atlas

FORMAT = 1
"""Raised when an index is made differently, so that old caches are not read."""

_FREQUENCIES = np.tan(np.pi / 2 * (np.arange(16) + 0.5) / 16)
"""Angles per e-fold of a cost: quantiles of the spectrum of ``exp(-|x|)``, so that inner products are about the closeness of costs."""

_AT_ONCE = 4096
"""Vectors made dense together: bounds memory at some 100 MB."""


class Neighbours:
    """Stored vectors of one encoder by id, and candidates for what is nearest to a vector.

    Args:
        encoder: Whose vectors they are; it has `Encoder.dense`.
        ids: Ids, ascending.
        starts: ``(m + 1,)`` where each vector begins in ``data``.
        data: All vectors, one after another ``uint8``.
        index: Of their places.
        rows: ``(m,)`` where each is in the columns of the atlas.
    """

    def __init__(
        self,
        encoder: Encoder,
        ids: Sequence[str],
        starts: npt.NDArray[np.int64],
        data: npt.NDArray[np.uint8],
        index: Index,
        rows: npt.NDArray[np.int64],
    ) -> None:
        self._encoder, self.ids, self._starts, self._data, self.index, self.rows = encoder, ids, starts, data, index, rows
        self._row = {entry_id: n for n, entry_id in enumerate(ids)}

    @classmethod
    def build(
        cls, encoder: Encoder, vectors: Mapping[str, bytes], costs: Mapping[str, Sequence[float]], rows: Mapping[str, int]
    ) -> Neighbours:
        """The index of some vectors: faiss where it is installed, else all vectors one by one.

        Args:
            encoder: Who made the vectors.
            vectors: By id.
            costs: Of every id, in the order of `COSTS`; NaN where they are not known.
            rows: Of every id, in the columns of the atlas.
        """
        ids = sorted(vectors)
        every = [vectors[i] for i in ids]
        starts = np.concatenate([[0], np.cumsum([len(v) for v in every], dtype=np.int64)]).astype(np.int64)
        index = INDEXES.build(kind())
        if ids:
            index.add(ids, located(encoder, every, [costs[i] for i in ids]))
        data = np.frombuffer(b"".join(every), dtype=np.uint8)
        return cls(encoder, ids, starts, data, index, np.array([rows[i] for i in ids], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def is_approximate(self) -> bool:
        """Whether only a part of the places is looked at."""
        return not isinstance(self.index, ExactIndex)

    def vectors(self, ids: Sequence[str]) -> list[bytes]:
        """Stored vectors of entries that have one."""
        rows = [self._row[i] for i in ids]
        return [self._data[self._starts[row] : self._starts[row + 1]].tobytes() for row in rows]

    def get(self, entry_id: str) -> bytes | None:
        """The stored vector of an entry, if it has one."""
        return self.vectors([entry_id])[0] if entry_id in self._row else None

    def near(self, vector: bytes, costs: Sequence[float], k: int) -> list[str]:
        """Candidates for the ``k`` entries that are most alike to a network with a vector and costs."""
        return [entry_id for entry_id, _ in self.index.search(located(self._encoder, [vector], [costs]), k)[0]]

    def save(self, folder: Path) -> None:
        """Write into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "starts.npy", self._starts, allow_pickle=False)
        np.save(folder / "rows.npy", self.rows, allow_pickle=False)
        np.save(folder / "data.npy", self._data, allow_pickle=False)
        (folder / "ids.json").write_text(json.dumps(list(self.ids)))
        self.index.save(folder / "index")

    @classmethod
    def load(cls, encoder: Encoder, folder: Path) -> Neighbours:
        """What `save` wrote.

        Raises:
            OSError: A file is missing.
            ValueError, EOFError, RuntimeError: A file is damaged; the last is what faiss raises.
            ConfigError: The files do not belong together.
        """
        ids = json.loads((folder / "ids.json").read_text())
        starts = np.load(folder / "starts.npy", allow_pickle=False)
        rows = np.load(folder / "rows.npy", allow_pickle=False)
        data = np.load(folder / "data.npy", mmap_mode="r", allow_pickle=False)
        index = type(INDEXES.build(kind())).load(folder / "index")
        if not len(starts) - 1 == len(ids) == len(index) == len(rows) or int(starts[-1]) != len(data):
            raise ConfigError(f"{folder}: the files do not belong together")
        return cls(encoder, ids, starts, np.asarray(data), index, rows)


def kind() -> str:
    """The index that can be used here."""
    try:
        INDEXES.build("faiss-ivf")
    except MissingExtraError:
        return "exact"
    return "faiss-ivf"


def open_neighbours(atlas: Atlas, encoder_name: str, stamps: Sequence[str]) -> Neighbours:
    """The index of an encoder from the cache, built there first when it is missing, torn or of another version.

    Args:
        atlas: Whose vectors and costs it holds.
        encoder_name: Registered name.
        stamps: `Store.stamp` of every layer.
    """
    encoder = ENCODERS.build(encoder_name)
    key = hashlib.sha256(json.dumps([FORMAT, __version__, kind(), *stamps]).encode()).hexdigest()[:16]
    folder = atlas.cache / f"neighbours-{encoder_name}-{key}"
    with contextlib.suppress(OSError, ValueError, EOFError, RuntimeError, ConfigError):  # missing or torn: built anew below
        kept = Neighbours.load(encoder, folder)
        if all(encoder.is_current(v) for v in kept.vectors(kept.ids[:1])):
            return kept
    columns = atlas.derived.columns
    vectors = atlas.vectors(encoder_name)
    numbers = [columns.number(name) for name in COSTS]
    costs = {i: [float(x[columns.row[i]]) for x in numbers] for i in vectors}
    made = Neighbours.build(encoder, vectors, costs, columns.row)
    keep_folder(made.save, folder, f"neighbours-{encoder_name}-*")
    return made


def located(encoder: Encoder, vectors: Sequence[bytes], costs: Sequence[Sequence[float]]) -> Vectors:
    """Where networks are, ``(m, d)``: inner products are about the likeness that `netatlas.atlas.vectors.likeness` computes.

    Costs that are not known, or not positive, are near nothing.

    Raises:
        ConfigError: The encoder has no dense vectors.
    """
    parts = [encoder.dense(vectors[start : start + _AT_ONCE]) for start in range(0, len(vectors), _AT_ONCE)]
    if any(part is None for part in parts):
        raise ConfigError(f"{encoder.name}: there is no approximate index of its vectors")
    values = np.asarray(costs, dtype=np.float64).reshape(len(vectors), len(COSTS))
    with np.errstate(divide="ignore", invalid="ignore"):
        angles = np.log(values)[..., None] * _FREQUENCIES  # (m, costs, frequencies)
    waves = np.concatenate([np.cos(angles), np.sin(angles)], axis=-1).reshape(len(vectors), -1)
    scale = np.sqrt(COST_WEIGHT / len(COSTS) / len(_FREQUENCIES))
    structure = np.sqrt(1 - COST_WEIGHT) * np.concatenate([part for part in parts if part is not None])
    return np.concatenate([structure, scale * np.nan_to_num(waves, nan=0.0)], axis=1).astype(np.float32)

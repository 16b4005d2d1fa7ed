"""All vectors of an atlas, ready to be compared with one: exactly, or where there are very many, after a first look."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from netatlas.encoders.base import Encoder
from netatlas.retrieval.base import EXACT_UP_TO

Scores = npt.NDArray[np.float64]
Dense = npt.NDArray[np.float32]

SHORTLIST = 500
"""Vectors compared exactly after a first look. Of 100,000, the ten best were always among them (``benchmarks/like_speed.py``)."""

_AT_ONCE = 5_000


class Compared:
    """Vectors of one encoder by id.

    Args:
        encoder: What made them.
        vectors: By id.
        cache: Folder for the short vectors of the first look.
        exact_up_to: Vectors up to which all are compared exactly.
    """

    def __init__(self, encoder: Encoder, vectors: Mapping[str, bytes], cache: Path, *, exact_up_to: int = EXACT_UP_TO) -> None:
        self.encoder = encoder
        self.ids = sorted(vectors)
        self._data = [vectors[i] for i in self.ids]
        self._dense = _dense(encoder, self._data, cache) if len(self.ids) > exact_up_to else None

    def similarities(self, query: bytes) -> Scores:
        """Similarity to every vector, in the order of ``ids``, ``(m,)``.

        After a first look only the `SHORTLIST` nearest are exact. The others follow in the order of the short vectors, all below
        the least of the shortlist.
        """
        own = self.encoder.dense([query]) if self._dense is not None else None
        if self._dense is None or own is None or len(self.ids) <= SHORTLIST:
            return self.encoder.similarities(query, self._data)
        near = self._dense @ own[0]
        chosen = np.argpartition(-near, SHORTLIST)[:SHORTLIST]
        exact = self.encoder.similarities(query, [self._data[i] for i in chosen.tolist()])
        rest = near.astype(np.float64).clip(0)
        rest[chosen] = 0
        scores = rest * (float(exact.min()) / max(float(rest.max()), 1e-9))
        scores[chosen] = exact
        return np.asarray(scores)


def _dense(encoder: Encoder, data: Sequence[bytes], cache: Path) -> Dense | None:
    """Short vectors ``(m, d)``, from the cache or made now, some 0.2 ms each."""
    digest = hashlib.blake2b(digest_size=8)
    for vector in data:
        digest.update(vector)
    path = cache / f"dense-{encoder.name}-{digest.hexdigest()}.npy"
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError):
        pass  # missing or torn
    parts = [encoder.dense(data[start : start + _AT_ONCE]) for start in range(0, len(data), _AT_ONCE)]
    several = [part for part in parts if part is not None]
    if len(several) < len(parts):
        return None
    made = np.concatenate(several)
    draft = path.with_suffix(f".{os.getpid()}.npy")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        for old in cache.glob(f"dense-{encoder.name}-*.npy"):
            old.unlink(missing_ok=True)
        np.save(draft, made, allow_pickle=False)
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
    return made

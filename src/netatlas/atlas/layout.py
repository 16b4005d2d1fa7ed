"""Places of architectures in the plane: near what they resemble."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from netatlas.atlas.vectors import DEFAULT, likeness
from netatlas.errors import MissingExtraError

if TYPE_CHECKING:
    from netatlas.atlas.atlas import Atlas

STORED_AS = "map"
"""Name under which the vectors table keeps a place: two little-endian float32, in the unit of the layout."""

_CACHE = "map.npz"
_PLACE = np.dtype("<f4")
_PERPLEXITY = 25.0
"""Neighbours that t-SNE tries to keep; families of 10 to 40 members come out as islands."""

_ANCHORS = 5
_NEAR = 0.06
"""A new entry is placed among those of its nearest relatives that lie within this share of the map's extent around the first."""

Places = dict[str, tuple[float, float]]


def lay_out(alike: npt.NDArray[np.float64], *, seed: int = 0) -> npt.NDArray[np.float32]:
    """Places in the plane by t-SNE (van der Maaten and Hinton, JMLR 9, 2008) on ``1 - similarity``.

    Starts from classical multidimensional scaling, so that the large distances mean something and the seed matters little.

    Args:
        alike: ``(m, m)`` similarities in [0, 1].
        seed: Of the optimiser.

    Returns:
        ``(m, 2)``, centred, the farthest coordinate at 100.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    m = len(alike)
    if m <= 3:  # too few for neighbourhoods: a point, a line, a triangle
        turns = np.arange(m) * 2 * np.pi / max(m, 1)
        return np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32) * (100 if m > 1 else 0)
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        raise MissingExtraError("laying out a map", "map") from None
    far = 1.0 - (alike + alike.T) / 2
    np.fill_diagonal(far, 0.0)
    far = far.clip(min=0.0)
    start = _scaling(far)
    model = TSNE(
        metric="precomputed", init=start, perplexity=min(_PERPLEXITY, (m - 1) / 3), random_state=seed, n_jobs=1, max_iter=1500
    )
    places = np.asarray(model.fit_transform(far), dtype=np.float64)
    places -= (places.max(axis=0) + places.min(axis=0)) / 2
    return np.asarray(places * (100 / max(float(np.abs(places).max()), 1e-9)), dtype=np.float32)


def _scaling(far: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Classical multidimensional scaling to the plane, with the small spread t-SNE starts from."""
    squared = far**2
    centred = -0.5 * (squared - squared.mean(axis=0) - squared.mean(axis=1)[:, None] + squared.mean())
    values, vectors = np.linalg.eigh(centred)
    plane = vectors[:, -2:] * np.sqrt(values[-2:].clip(min=0))
    # An eigenvector's sign is the linear algebra library's choice: fix it.
    plane *= np.sign(plane[np.abs(plane).argmax(axis=0), [0, 1]])
    return np.asarray(plane / max(float(plane[:, 1].std()), 1e-9) * 1e-4, dtype=np.float32)


def similarities(atlas: Atlas, ids: Sequence[str]) -> npt.NDArray[np.float64]:
    """``(m, m)`` likeness of entries that carry a vector, as `netatlas.atlas.vectors.likeness` has it."""
    facts, vectors = atlas.facts(ids), atlas.vectors(DEFAULT)
    table = np.zeros((len(ids), len(ids)))
    for row, entry_id in enumerate(ids):
        scores = likeness(atlas, vectors[entry_id], facts[entry_id])
        table[row] = [scores.get(other, 0.0) for other in ids]
    return table


def architectures(atlas: Atlas) -> list[str]:
    """Ids of the architectures that can be placed, sorted."""
    columns = atlas.derived.columns
    codes, kinds = columns.text("kind")
    wanted = kinds.index("architecture") if "architecture" in kinds else -2
    return sorted(i for i in atlas.vectors(DEFAULT) if codes[columns.row[i]] == wanted)


def stored_places(atlas: Atlas) -> dict[str, bytes]:
    """A new layout of all architectures of an atlas, as its vectors table keeps it under `STORED_AS`.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    ids = architectures(atlas)
    rows = lay_out(similarities(atlas, ids))
    return {i: row.astype(_PLACE).tobytes() for i, row in zip(ids, rows, strict=True)}


def places(atlas: Atlas, tell: Callable[[str], None] = lambda line: None) -> tuple[Places, set[str]]:
    """Places of all architectures of an atlas, and the ids that were placed just now beside known ones, which do not move.

    Places come from the atlas itself or else from the layout that was made last and kept in the cache folder. Where neither knows
    most of the architectures, they are laid out now, which takes a minute and a half for two thousand.

    Args:
        atlas: Whose architectures.
        tell: Told what takes long, in a line.

    Raises:
        MissingExtraError: A layout has to be made and scikit-learn is not installed.
    """
    ids = architectures(atlas)
    stored = {i: _unpack(data) for i, data in atlas.vectors(STORED_AS).items()} or _cached(atlas.cache / _CACHE)
    known = {i: stored[i] for i in ids if i in stored}
    if 2 * len(known) < len(ids) or not known:
        tell(f"laying out {len(ids):,} architectures, once; later they stay where they are")
        rows = lay_out(similarities(atlas, ids))
        found = {i: (float(x), float(y)) for i, (x, y) in zip(ids, rows, strict=True)}
        _keep(atlas.cache / _CACHE, found)
        return found, set()
    new = [i for i in ids if i not in known]
    facts, vectors = atlas.facts(new), atlas.vectors(DEFAULT)
    beside_them = {i: beside(likeness(atlas, vectors[i], facts[i]), known) for i in new}
    return known | beside_them, set(new)


def _cached(path: Path) -> Places:
    """The layout kept in a file; none when it is missing or damaged."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {str(i): (float(x), float(y)) for i, (x, y) in zip(file["ids"], file["places"], strict=True)}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return {}


def _keep(path: Path, found: Places) -> None:
    """Keep a layout; a cache that cannot be written costs only time."""
    draft = path.with_name(f"{path.stem}.{os.getpid()}.npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(draft, ids=np.array(list(found)), places=np.array(list(found.values()), dtype=np.float64))
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)


def beside(scores: Mapping[str, float], known: Mapping[str, tuple[float, float]]) -> tuple[float, float]:
    """Where something belongs whose likeness to entries with known places is ``scores``: among the nearest of one neighbourhood."""
    best = sorted((i for i in scores if i in known), key=lambda i: (-scores[i], i))[:_ANCHORS]
    if not best:
        return 0.0, 0.0
    spots = np.array([known[i] for i in best])
    close = np.hypot(*(spots - spots[0]).T) <= 200 * _NEAR
    weights = np.exp((np.array([scores[i] for i in best]) - scores[best[0]]) / 0.02) * close
    x, y = (weights[:, None] * spots).sum(axis=0) / weights.sum()
    return float(x), float(y)


def _unpack(data: bytes) -> tuple[float, float]:
    x, y = np.frombuffer(data, dtype=_PLACE).tolist()
    return x, y

"""The graphs of an atlas side by side, kept in the cache: one folder for each layer, built anew when the layer has changed."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from netatlas import __version__
from netatlas.atlas.store import Store
from netatlas.graph.graph import Graph
from netatlas.graph.ops import OPERATORS
from netatlas.graph.pool import COLUMNS, Pool

FORMAT = 1
"""Raised when a pool is made differently, so that old caches are not read."""


def open_pools(layers: Sequence[Store], cache: Path) -> list[Pool]:
    """The architectures of every layer, uppermost first; ids that an upper layer hides are still in the lower pool.

    Building takes some 2 ms a graph, opening milliseconds. Where the cache cannot be written the pool lives in memory.
    """
    return [_open(layer, cache) for layer in layers]


def _open(layer: Store, cache: Path) -> Pool:
    parts = (FORMAT, __version__, COLUMNS, [op.name for op in OPERATORS], layer.stamp())
    place = hashlib.sha256(str(layer.path.resolve()).encode()).hexdigest()[:8]
    folder = cache / f"graphs-{place}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}"
    try:
        return Pool.load(folder)
    except (OSError, ValueError):
        pass  # missing or torn: built anew below
    pool = Pool.of(_graphs(layer))
    with contextlib.suppress(OSError):  # a read-only cache: every process builds its own
        _write(pool, folder, f"graphs-{place}-*")
    return pool


def _graphs(layer: Store) -> Iterator[tuple[str, Graph]]:
    for entry_id in layer.ids("architecture"):
        if (graph := layer.graph(entry_id)) is not None:
            yield entry_id, graph


def _write(pool: Pool, folder: Path, older: str) -> None:
    """Into a folder of its own, which is renamed into place; older pools of the same layer are removed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix="draft-", dir=folder.parent))
    try:
        pool.save(draft)
        for old in folder.parent.glob(older):
            shutil.rmtree(old, ignore_errors=True)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)

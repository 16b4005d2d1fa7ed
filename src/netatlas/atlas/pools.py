"""The graphs of an atlas side by side, kept in the cache: one folder for each layer, built anew when the layer has changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from netatlas import __version__
from netatlas.atlas._folders import keep_folder
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
    keep_folder(pool.save, folder, f"graphs-{place}-*")
    return pool


def _graphs(layer: Store) -> Iterator[tuple[str, Graph]]:
    for entry_id in layer.ids("architecture"):
        if (graph := layer.graph(entry_id)) is not None:
            yield entry_id, graph

"""Alignment of layers without wiring, as checkpoints show them: by name where names agree, by block and content otherwise."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import numpy as np

from netatlas.graph._align_labels import Labels
from netatlas.graph._align_path import best_path
from netatlas.graph._align_repair import Matching
from netatlas.graph._align_segments import parts_alike
from netatlas.graph.layer_names import FUSED, KEY, OUT, QUERY, VALUE

_NAMED = 0.5
"""Share of the layers of the smaller network whose names must agree for names to be believed."""

_ROLES = ((QUERY, "q"), (KEY - VALUE, "k"), (VALUE, "v"), (FUSED, "qkv"), (OUT, "out"))


def match_unwired(labels: Labels) -> Matching:
    """A matching of two graphs without edges.

    A file lists tensors by name, a traced network layers as they run: order within a block says little. Layers of one name and
    class belong together where at least half of the names agree; otherwise equal layers of blocks that belong together do, then
    what is left in order, then equal layers wherever they stand. O(n m) in the layers that names and blocks leave over.
    """
    matching = Matching(labels, [])
    if not _by_name(matching):
        _by_block(matching)
        _in_order(matching)
    anywhere = ([(full,) for full in side.tolist()] for side in labels.full)
    _pair(matching, *anywhere)
    return matching


def _by_name(matching: Matching) -> bool:
    labels = matching.labels
    keys = [
        [(path, kind) if path else None for path, kind in zip(side.paths, side.swap.tolist(), strict=True)]
        for side in (labels.a, labels.b)
    ]
    agreeing = len(set(keys[0]) & set(keys[1]) - {None})
    if agreeing < _NAMED * min(len(labels.a.graph), len(labels.b.graph)):
        return False
    # Equal ones first: a module may hold two layers of one class.
    _pair(
        matching,
        *(
            [key and (*key, full) for key, full in zip(k, f.tolist(), strict=True)]
            for k, f in zip(keys, labels.full, strict=True)
        ),
    )
    _pair(matching, *keys)
    return True


def _by_block(matching: Matching) -> None:
    labels = matching.labels
    if (parts := parts_alike(labels)) is not None:
        labels.part = parts
        sides = zip(parts, labels.full, (labels.a, labels.b), strict=True)
        keys = [list(zip(p.tolist(), f.tolist(), map(_role, side.paths), strict=True)) for p, f, side in sides]
        _pair(matching, *keys)
        _pair(matching, *([key[:2] for key in side] for side in keys))


def _role(path: str) -> str:
    """What a projection does in an attention; query, key and value, of one shape mostly, are told from the output."""
    names = [name for name in path.split(".") if not name.isdigit()][-1:]
    return next((role for known, role in _ROLES if known.intersection(names)), "")


def _in_order(matching: Matching) -> None:
    labels = matching.labels
    ours = [i for i, j in enumerate(matching.to_b) if j < 0]
    theirs = np.array([j for j, i in enumerate(matching.to_a) if i < 0], dtype=np.int64)
    for i, j in best_path(len(ours), len(theirs), lambda i: labels.likeness(ours[i], theirs)):
        matching.to_b[ours[i]], matching.to_a[int(theirs[j])] = int(theirs[j]), ours[i]


def _pair(matching: Matching, ours: Iterable[Hashable], theirs: Iterable[Hashable]) -> None:
    """Match free nodes of equal keys in order; ``None`` is no key."""
    free: dict[Hashable, list[int]] = {}
    for j, key in enumerate(theirs):
        if matching.to_a[j] < 0 and key is not None:
            free.setdefault(key, []).append(j)
    for i, key in enumerate(ours):
        if matching.to_b[i] < 0 and key is not None and free.get(key):
            j = free[key].pop(0)
            matching.to_b[i], matching.to_a[j] = j, i

"""Stored vectors of entries, and the likeness of entries that is computed from them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from netatlas.encoders.base import ENCODERS
from netatlas.facts import Value
from netatlas.graph.graph import Graph
from netatlas.graph.work import STORED_AS as WORK
from netatlas.graph.work import pack, work
from netatlas.records import Entry

if TYPE_CHECKING:
    from netatlas.atlas.atlas import Atlas

STORED = ("wl",)
"""Encoders whose vectors every atlas carries."""

DEFAULT = STORED[0]
"""The encoder that likeness is computed with."""

COST_WEIGHT = 0.15
"""Share of parameters and MACs in likeness: enough to put vit_tiny before vit_huge beside vit_small, whose operators are the same,
and too little to put another design of the same size first."""


def encode(graph: Graph) -> dict[str, bytes]:
    """Vectors of one graph by encoder, for every stored encoder."""
    return {name: ENCODERS.build(name).encode(graph) for name in STORED}


def with_vectors(entries: Iterable[Entry]) -> dict[str, dict[str, bytes]]:
    """Vectors of the entries that carry a graph, by encoder and id, and what predictions are made from."""
    found: dict[str, dict[str, bytes]] = {name: {} for name in (*STORED, WORK)}
    for entry in entries:
        if entry.graph is not None:
            for name, vector in encode(entry.graph).items():
                found[name][entry.id] = vector
            if entry.facts.get("traced_by") != "checkpoint":  # without wiring nothing is known of what is computed
                found[WORK][entry.id] = pack(work(entry.graph))
    return found


def likeness(atlas: Atlas, vector: bytes, facts: Mapping[str, Value], encoder: str = DEFAULT) -> dict[str, float]:
    """How alike every architecture of the atlas is to a network, by id, in [0, 1].

    The similarity of the vectors, with a share of `COST_WEIGHT` for the closeness of parameters and MACs where both are known.

    Args:
        atlas: What is searched.
        vector: The network's vector by ``encoder``.
        facts: The network's facts.
        encoder: Registered name.
    """
    stored = atlas.vectors(encoder)
    ids = sorted(stored)
    alike = ENCODERS.build(encoder).similarities(vector, [stored[i] for i in ids])
    columns = atlas.derived.columns
    rows = np.array([columns.row[i] for i in ids], dtype=np.int64)
    closeness = [_closeness(facts.get(name), columns.number(name)[rows]) for name in ("params", "macs")]
    score = (1 - COST_WEIGHT) * alike + COST_WEIGHT * np.mean(closeness, axis=0)
    return dict(zip(ids, score.tolist(), strict=True))


def _closeness(value: Value | None, column: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """``exp(-|ln ratio|)``: 1 for equal costs, 0.5 for twice or half; unknown costs are as far as can be."""
    if not isinstance(value, (int, float)) or value <= 0:
        return np.zeros(len(column))
    with np.errstate(divide="ignore", invalid="ignore"):
        near = np.exp(-np.abs(np.log(column / value)))
    return np.nan_to_num(near, nan=0.0, posinf=0.0)


def relatives(atlas: Atlas, entry: Entry, k: int = 5) -> list[tuple[str, float]]:
    """The ``k`` architectures most alike to an entry of the atlas, itself left out; empty when it has no vector."""
    owner = str(entry.facts.get("architecture", entry.id))
    vector = atlas.vectors(DEFAULT).get(owner)
    if vector is None:
        return []
    scores = likeness(atlas, vector, entry.facts)
    scores.pop(owner, None)
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:k]


def shared_structure(ours: Sequence[str], theirs: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Operators and forms of two networks: in both, in the first only, in the second only."""
    a, b = set(ours), set(theirs)
    return sorted(a & b), sorted(a - b), sorted(b - a)


def finite(value: float) -> float | None:
    """``None`` for NaN, as JSON has it."""
    return None if math.isnan(value) else value

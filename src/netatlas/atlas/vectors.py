"""Stored vectors of entries, and the likeness of entries that is computed from them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from netatlas.atlas.motif_counts import COUNTED_AS, counted_motifs
from netatlas.encoders.base import ENCODERS
from netatlas.facts import Value
from netatlas.graph.graph import Graph
from netatlas.graph.work import STORED_AS as WORK
from netatlas.graph.work import pack, work
from netatlas.records import Entry
from netatlas.retrieval.base import EXACT_UP_TO

if TYPE_CHECKING:
    from netatlas.atlas.atlas import Atlas

STORED = ("strata",)
"""Encoders whose vectors every atlas carries."""

DEFAULT = STORED[0]
"""The encoder that likeness is computed with."""

COST_WEIGHT = 0.15
"""Share of parameters and MACs in likeness: enough to put vit_tiny before vit_huge beside vit_small, whose operators are the same,
and too little to put another design of the same size first."""

COSTS = ("params", "macs")
"""Facts whose closeness counts."""


CANDIDATES = 500
"""Architectures of a large atlas that are compared with an example, at least: among 100,000, recall@10 was 1.0000 from 100 on, and 500
take half the time of 1,000 (`benchmarks/like_crowd.py`)."""

ENOUGH = 250
"""Candidates that have to pass the constraints of a query; with fewer, more are looked for: constraints may drop just the nearest."""

Mask = npt.NDArray[np.bool_]


KEPT = (*STORED, COUNTED_AS, WORK)
"""What an atlas keeps beside every graph: vectors, counts of motifs, and what predictions are made from."""


def encode(graph: Graph, *, is_wired: bool = True) -> dict[str, bytes]:
    """What is kept beside one graph, by the names of `KEPT`.

    Args:
        graph: The graph.
        is_wired: Whether its edges are known; they are not in a checkpoint, and then nothing is known of what is computed.
    """
    found = {name: ENCODERS.build(name).encode(graph) for name in STORED} | {COUNTED_AS: counted_motifs(graph)}
    return found | {WORK: pack(work(graph))} if is_wired else found


def with_vectors(entries: Iterable[Entry]) -> dict[str, dict[str, bytes]]:
    """What is kept beside the graphs of entries, by name and id."""
    found: dict[str, dict[str, bytes]] = {name: {} for name in KEPT}
    for entry in entries:
        if entry.graph is not None:
            for name, vector in encode(entry.graph, is_wired=entry.is_wired).items():
                found[name][entry.id] = vector
    return found


def is_large(atlas: Atlas) -> bool:
    """Whether an atlas has too many architectures to compare a query with all of them."""
    codes, kinds = atlas.derived.columns.text("kind")
    return len(atlas.derived.columns) > EXACT_UP_TO and int(np.count_nonzero(codes == kinds.index("architecture"))) > EXACT_UP_TO


def vector_of(atlas: Atlas, entry: Entry, encoder: str = DEFAULT) -> bytes | None:
    """The stored vector of an entry, of a model that of its architecture; ``None`` when it has none."""
    owner = str(entry.facts.get("architecture", entry.id))
    return atlas.neighbours(encoder).get(owner) if is_large(atlas) else atlas.vectors(encoder).get(owner)


def worth_comparing(atlas: Atlas, liked: Sequence[Entry], mask: Mask, k: int, encoder: str = DEFAULT) -> tuple[Mask | None, str]:
    """Which rows of a large atlas to compare with examples, and what to say about it; ``None`` for all of a smaller one.

    The candidates of an approximate index for each example, as far as ``mask`` allows them; more of them, and at last everything
    that it allows, where too few are left.

    Args:
        atlas: What is searched.
        liked: Entries to be alike to, of the atlas or with graphs; without any, everything is compared.
        mask: Rows that may be found.
        k: How many are wanted.
        encoder: Registered name.
    """
    if not is_large(atlas):
        return None, ""
    near, row = atlas.neighbours(encoder), atlas.derived.columns.row
    allowed = np.zeros_like(mask)
    allowed[near.rows] = True
    allowed &= mask
    vectors = (
        [] if np.count_nonzero(allowed) <= CANDIDATES else [(_vector(atlas, entry, encoder), entry.facts) for entry in liked]
    )
    for wider in (1, 3, 10) if vectors else ():
        found = np.zeros_like(mask)
        for vector, facts in vectors:
            if vector is not None:
                costs = [_number(facts.get(name)) for name in COSTS]
                found[[row[i] for i in near.near(vector, costs, wider * max(CANDIDATES, 10 * k))]] = True
        found &= allowed
        if np.count_nonzero(found) >= max(ENOUGH, k):
            how = "an approximate index" if near.is_approximate else "a first look at all (netatlas[faiss] is quicker)"
            return found, f"compared exactly with {np.count_nonzero(found):,} of {len(near):,} architectures, found by {how}"
    return allowed, ""


def _vector(atlas: Atlas, entry: Entry, encoder: str) -> bytes | None:
    """The vector of an entry, stored or made now; ``None`` where it has neither vector nor graph."""
    stored = vector_of(atlas, entry, encoder) if entry.graph is None else None
    return stored if stored is not None or entry.graph is None else ENCODERS.build(encoder).encode(entry.graph)


def likeness(
    atlas: Atlas, vector: bytes, facts: Mapping[str, Value], encoder: str = DEFAULT, among: Mask | None = None
) -> dict[str, float]:
    """How alike the architectures of the atlas are to a network, by id, in [0, 1].

    The similarity of the vectors, with a share of `COST_WEIGHT` for the closeness of parameters and MACs where both are known.

    Args:
        atlas: What is searched.
        vector: The network's vector by ``encoder``.
        facts: The network's facts.
        encoder: Registered name.
        among: Rows to compare with, all of which have a vector; without it every architecture that has one.
    """
    columns = atlas.derived.columns
    if among is None:
        stored = atlas.vectors(encoder)
        ids = sorted(stored)
        vectors = [stored[i] for i in ids]
    else:
        ids = sorted(columns.ids[row] for row in np.flatnonzero(among).tolist())
        vectors = atlas.neighbours(encoder).vectors(ids)
    alike = ENCODERS.build(encoder).similarities(vector, vectors)
    rows = np.array([columns.row[i] for i in ids], dtype=np.int64)
    closeness = [closeness_of(facts.get(name), columns.number(name)[rows]) for name in COSTS]
    score = (1 - COST_WEIGHT) * alike + COST_WEIGHT * np.mean(closeness, axis=0)
    return dict(zip(ids, score.tolist(), strict=True))


def _number(value: Value | None) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan


def closeness_of(value: Value | None, column: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """``exp(-|ln ratio|)``: 1 for equal costs, 0.5 for twice or half; unknown costs are as far as can be."""
    if not isinstance(value, (int, float)) or value <= 0:
        return np.zeros(len(column))
    with np.errstate(divide="ignore", invalid="ignore"):
        near = np.exp(-np.abs(np.log(column / value)))
    return np.nan_to_num(near, nan=0.0, posinf=0.0)


def relatives(atlas: Atlas, entry: Entry, k: int = 5) -> list[tuple[str, float]]:
    """The ``k`` architectures most alike to an entry of the atlas, itself left out; empty when it has no vector."""
    vector = vector_of(atlas, entry)
    if vector is None:
        return []
    among, _ = worth_comparing(atlas, [entry], np.ones(len(atlas), dtype=bool), k)
    scores = likeness(atlas, vector, entry.facts, among=among)
    scores.pop(str(entry.facts.get("architecture", entry.id)), None)
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:k]


def shared_structure(ours: Sequence[str], theirs: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Operators and forms of two networks: in both, in the first only, in the second only."""
    a, b = set(ours), set(theirs)
    return sorted(a & b), sorted(a - b), sorted(b - a)


def finite(value: float) -> float | None:
    """``None`` for NaN, as JSON has it."""
    return None if math.isnan(value) else value

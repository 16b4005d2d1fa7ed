"""Search by structure: patterns of operators, blocks, and examples to be like or unlike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from netatlas.errors import StoreError
from netatlas.graph.graph import Graph
from netatlas.graph.ops import OP_ID
from netatlas.graph.pool import Ints, Pool, pool_of

if TYPE_CHECKING:
    from netatlas.atlas.atlas import Atlas

Mask = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Structural:
    """What patterns and blocks leave.

    Attributes:
        mask: ``(m,)`` rows that match all.
        chips: The demands in words.
        notes: What was given up.
        why: From a graph to its reasons, for the few hits that are shown.
    """

    mask: Mask
    chips: tuple[str, ...]
    notes: tuple[str, ...]
    why: Callable[[Graph], list[str]]


def structural(
    atlas: Atlas, patterns: Sequence[str], blocks: Sequence[tuple[str, Graph, str | None]], exact_widths: bool
) -> Structural:
    """Rows whose graphs match every pattern and contain every block.

    Args:
        atlas: What is searched.
        patterns: See `netatlas.graph.patterns`.
        blocks: Name, graph and module path (``None`` for the whole graph) of each block.
        exact_widths: Whether blocks have to be as wide.

    Raises:
        QueryError: A pattern cannot be understood.
        GraphError: A block has no operator or too many.
    """
    from netatlas.graph import patterns as language
    from netatlas.graph import subgraphs

    compiled = [language.parse(text) for text in patterns]
    wanted = [(name, subgraphs.block(graph, scope)) for name, graph, scope in blocks]
    gave_up: list[str] = []

    def test(pool: Pool) -> Mask:
        found = np.ones(len(pool), dtype=bool)
        for pattern in compiled:
            found &= language.count(pool, pattern) > 0
        for _, block in wanted:
            result = subgraphs.containing(pool, block, exact_widths=exact_widths)
            gave_up.extend(result.gave_up)
            found &= result.found
        return found

    def why(graph: Graph) -> list[str]:
        reasons = []
        for pattern in compiled:
            at = [language.place_of(graph, path) for path in language.paths(graph, pattern)]
            reasons.append(f"{pattern.text} at {_places(at)}")
        pool = pool_of(graph) if wanted else None
        for name, block in wanted:
            assert pool is not None
            seen = subgraphs.occurrences(pool, block, exact_widths=exact_widths)
            at = [language.place_of(graph, sorted(place)) for place in seen.places]
            reasons.append(f"has {name} at {_places(at, complete=seen.complete)}")
        return reasons

    mask = _rows(atlas, test)
    chips = [f"path {p.text}" for p in compiled]
    chips += [
        f"contains {name} ({len(block.nodes)} operators{', same widths' if exact_widths else ''})" for name, block in wanted
    ]
    notes = [f"gave up on {len(gave_up)} graphs that took too long: {', '.join(gave_up[:3])}"] if gave_up else []
    return Structural(mask, tuple(chips), tuple(notes), why)


def _rows(atlas: Atlas, test: Callable[[Pool], Mask]) -> Mask:
    """Rows of the architectures whose graphs pass, and of their models."""
    columns = atlas.derived.columns
    passed: set[str] = set()
    hidden: set[str] = set()
    for pool in atlas.pools():
        found = test(pool)
        passed.update(name for name, ok in zip(pool.ids, found.tolist(), strict=True) if ok and name not in hidden)
        hidden.update(pool.ids)
    mask = np.zeros(len(columns), dtype=bool)
    mask[[columns.row[name] for name in passed if name in columns.row]] = True
    codes, owners = columns.text("architecture")
    owned = np.isin(codes, [i for i, owner in enumerate(owners) if owner in passed])
    return np.asarray(mask | owned)


def _places(names: Sequence[str], *, complete: bool = True) -> str:
    """The first place and how many there are besides; "at least" of a search that was ended."""
    if not names:
        return "(not found in time)"
    others = f", {'' if complete else 'at least '}{len(names) - 1} more" if len(names) > 1 else ""
    return names[0] + others


# ---- checkpoints: names and shapes only


def layer_likeness(atlas: Atlas, graph: Graph) -> dict[str, float]:
    """How alike the layers of every architecture are to those of a checkpoint, by id, in [0, 1].

    Layers are compared as a multiset of (kind, parameters): the overlap divided by the union, once counting layers and once their
    parameters, averaged. Wiring, strides and activations are not in a checkpoint and play no part.

    Raises:
        StoreError: The checkpoint has no layer with parameters.
    """
    own = pool_of(graph)
    if not (graph.params > 0).any():
        raise StoreError("the checkpoint has no layer with parameters, so nothing can be like it")
    found: dict[str, float] = {}
    for pool in atlas.pools():
        for name, score in zip(pool.ids, _layer_overlap(pool, own).tolist(), strict=True):
            found.setdefault(name, score)
    return found


def _layer_overlap(pool: Pool, own: Pool) -> Scores:
    both = np.concatenate([pool.table, own.table])
    kind = np.isin(both[:, 0], [OP_ID["conv"], OP_ID["conv_transpose"], OP_ID["deform_conv"]]).astype(np.int64)
    params = pool.column("params"), own.column("params")
    every = np.concatenate(params)
    _, codes = np.unique(np.stack([kind, every], axis=1), axis=0, return_inverse=True)
    codes = codes.ravel()
    theirs, ours = codes[: len(pool.table)][pool.row], codes[len(pool.table) :][own.row]
    layer, mine = params[0][pool.row] > 0, params[1][own.row] > 0
    size = (
        np.bincount(pool.owner[layer], minlength=len(pool)),
        np.bincount(pool.owner[layer], weights=params[0][pool.row][layer], minlength=len(pool)),
    )
    shared = _shared(pool, theirs, ours[mine], every, codes)
    total = int(mine.sum()), float(params[1][own.row].sum())
    parts = [s / np.maximum(n + t - s, 1) for s, n, t in zip(shared, size, total, strict=True)]
    return np.asarray(np.mean(parts, axis=0))


def _shared(pool: Pool, theirs: Ints, ours: Ints, params: Ints, codes: Ints) -> tuple[Scores, Scores]:
    """Layers that each graph shares with the checkpoint, and their parameters."""
    count, weight = np.zeros(len(pool)), np.zeros(len(pool))
    amount = np.zeros(int(codes.max()) + 1, dtype=np.int64)
    amount[codes] = params
    for code, times in zip(*np.unique(ours, return_counts=True), strict=True):
        both = np.minimum(np.bincount(pool.owner[theirs == code], minlength=len(pool)), times)
        count += both
        weight += both * float(amount[code])
    return count, weight

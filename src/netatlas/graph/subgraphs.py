"""Which graphs contain a block: filters on counts first, then an exact check of the few places that are left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from netatlas.errors import GraphError, MissingExtraError
from netatlas.graph.graph import Graph
from netatlas.graph.ops import FAMILIES, OPERATORS
from netatlas.graph.pool import COLUMN, Ints, Mask, Pool, describe

WIDTHS = ("groups", "heads", "params", "channels")
"""What is ignored unless widths are to be equal; of groups it stays whether a convolution is plain, grouped or depthwise."""

LARGEST = 2_000
"""Operators of a block."""

SECONDS = 0.25
"""Time for one graph, after which it is given up."""

_NO_OPERATOR = frozenset(i for i, op in enumerate(OPERATORS) if op.family in (FAMILIES[0], "unknown"))
_CELLS = 100_000_000  # of the table block node x graph node; beyond it the table is not made


@dataclass(frozen=True)
class Block:
    """What is looked for: operators and the edges among them. What enters it may come from anywhere.

    Attributes:
        nodes: ``(b, len(pool.COLUMNS))`` its operators.
        edges: ``(c, 2)`` edges among them.
    """

    nodes: Ints
    edges: npt.NDArray[np.int32]


@dataclass(frozen=True)
class Containing:
    """Which graphs contain a block.

    Attributes:
        found: ``(m,)``
        gave_up: Names of the graphs that took longer than their time and are not in ``found``.
    """

    found: Mask
    gave_up: tuple[str, ...]


@dataclass(frozen=True)
class Occurrences:
    """Where a block is in one graph.

    Attributes:
        places: The block's nodes by place, in the order of the block; one place for each node that can be its rarest operator.
        complete: Whether all were looked for: neither the time nor the limit ended the search.
    """

    places: tuple[tuple[int, ...], ...]
    complete: bool


def block(graph: Graph, scope: str | None = None) -> Block:
    """A graph, or one of its modules with all modules inside, as a block.

    Args:
        graph: Where the block is from.
        scope: Dotted path of a module, such as ``layer1.0``; the whole graph by default.

    Raises:
        GraphError: There is no operator (inputs, parameters and unknown operators are none), or there are more than `LARGEST`.
    """
    kept = ~np.isin(graph.op, list(_NO_OPERATOR))
    if scope is not None:
        inside = [s.path == scope or s.path.startswith(f"{scope}.") for s in graph.scopes]
        kept &= np.array(inside, dtype=bool)[graph.scope]
    size = int(kept.sum())
    if not 1 <= size <= LARGEST:
        raise GraphError(f"a block has 1 to {LARGEST:,} known operators, this one has {size:,}")
    number = np.cumsum(kept) - 1
    edges = graph.edges[kept[graph.edges].all(axis=1)] if len(graph.edges) else graph.edges
    return Block(describe(graph)[kept], number[edges].astype(np.int32).reshape(-1, 2))


def containing(pool: Pool, wanted: Block, *, exact_widths: bool = False, seconds: float = SECONDS) -> Containing:
    """The graphs of a pool that contain a block.

    A node stands for another with the same operator, kernel, stride, dilation, axis, flags, kind of convolution (plain, grouped,
    depthwise) and number of inputs; edges among the nodes must be the block's and no more.

    Args:
        pool: What is searched.
        wanted: The block.
        exact_widths: Whether groups, heads, channels and parameters must be equal, too.
        seconds: Time for one graph.

    Raises:
        MissingExtraError: rustworkx is not installed.
    """
    host, own = _codes(pool.table, wanted.nodes, exact_widths)
    found = np.zeros(len(pool), dtype=bool)
    maybe = _enough(pool, host[pool.row], own, wanted.edges)
    if not maybe.any():
        return Containing(found, ())
    chosen = pool.select(maybe)
    codes = host[chosen.row]
    candidates = _refined(chosen, codes, own, wanted.edges)
    gave_up: list[str] = []
    result = np.zeros(len(chosen), dtype=bool)
    for number in range(len(chosen)):
        try:
            search = _Search(chosen, number, codes, candidates, own, wanted.edges, seconds)
            result[number] = next(search.matches(), None) is not None
        except _OutOfTimeError:
            gave_up.append(chosen.ids[number])
    found[maybe] = result
    return Containing(found, tuple(gave_up))


def occurrences(
    pool: Pool, wanted: Block, *, exact_widths: bool = False, limit: int = 1_000, seconds: float = 4 * SECONDS
) -> Occurrences:
    """Places of a block in a pool of one graph: at most ``limit``, as far as they are found within ``seconds``."""
    host, own = _codes(pool.table, wanted.nodes, exact_widths)
    codes = host[pool.row]
    if not _enough(pool, codes, own, wanted.edges).all():
        return Occurrences((), complete=True)
    # A symmetric block is found once for each way to lay it.
    distinct: dict[frozenset[int], tuple[int, ...]] = {}
    search = _Search(pool, 0, codes, _refined(pool, codes, own, wanted.edges), own, wanted.edges, seconds)
    try:
        for match in search.matches():
            distinct.setdefault(frozenset(match), match)
            if len(distinct) >= limit:
                return Occurrences(tuple(distinct.values()), complete=False)
    except _OutOfTimeError:
        return Occurrences(tuple(distinct.values()), complete=False)
    return Occurrences(tuple(distinct.values()), complete=True)


def _codes(table: Ints, nodes: Ints, exact_widths: bool) -> tuple[Ints, Ints]:
    """Equal numbers for nodes that stand for each other: of the table ``(r,)`` and of the block ``(b,)``."""
    both = np.concatenate([table, nodes])
    groups = both[:, COLUMN["groups"]]
    kind = np.where(groups <= 1, 0, np.where(both[:, COLUMN["inner"]] == 1, 2, 1))
    ignored = {"inner", *(() if exact_widths else WIDTHS)}
    kept = [i for name, i in COLUMN.items() if name not in ignored]
    _, codes = np.unique(np.concatenate([both[:, kept], kind[:, None]], axis=1), axis=0, return_inverse=True)
    codes = codes.ravel().astype(np.int64)
    return codes[: len(table)], codes[len(table) :]


def _enough(pool: Pool, codes: Ints, own: Ints, edges: npt.NDArray[np.int32]) -> Mask:
    """Graphs that have each node and each pair of neighbours of the block often enough ``(m,)``."""
    maybe = np.ones(len(pool), dtype=bool)
    for code, times in zip(*np.unique(own, return_counts=True), strict=True):
        maybe &= np.bincount(pool.owner[codes == code], minlength=len(pool)) >= times
    if len(edges) and maybe.any():
        span = int(codes.max(initial=0)) + int(own.max()) + 1
        pairs, times = np.unique(own[edges[:, 0]] * span + own[edges[:, 1]], return_counts=True)
        alive = maybe[pool.owner[pool.edges[:, 0]]]
        theirs = pool.edges[alive]
        keys, owners = codes[theirs[:, 0]] * span + codes[theirs[:, 1]], pool.owner[theirs[:, 0]]
        for pair, needed in zip(pairs, times, strict=True):
            maybe &= np.bincount(owners[keys == pair], minlength=len(pool)) >= needed
    return maybe


def _refined(pool: Pool, codes: Ints, own: Ints, edges: npt.NDArray[np.int32]) -> Mask | None:
    """Which nodes each node of the block may be ``(b, g)``: those whose neighbours may be its neighbours. ``None`` where the table is
    too large; the exact check is then slower, not weaker.
    """
    if len(own) * len(codes) > _CELLS:
        return None
    fits = np.stack([codes == code for code in own])
    for _ in range(3 * len(own)):
        before = int(fits.sum())
        for one, other in edges.tolist():
            linked = fits[one, pool.edges[:, 0]] & fits[other, pool.edges[:, 1]]
            for node, column in ((one, 0), (other, 1)):
                kept = np.zeros(len(codes), dtype=bool)
                kept[pool.edges[linked, column]] = True
                fits[node] &= kept
        if int(fits.sum()) == before:
            break
    return fits


class _OutOfTimeError(Exception):
    """One graph has used up its time."""


class _Search:
    """The exact check of one graph: around each node that may be the block's rarest, VF2 on what lies within the block's reach."""

    def __init__(
        self, pool: Pool, number: int, codes: Ints, fits: Mask | None, own: Ints, edges: npt.NDArray[np.int32], seconds: float
    ) -> None:
        self._rx = _rustworkx()
        start, stop = int(pool.starts[number]), int(pool.starts[number + 1])
        self._codes, self._own = codes[start:stop], own
        inside = pool.edges[int(pool.first_edge[start]) : int(pool.first_edge[stop])] - start
        alive: Mask = np.asarray(fits[:, start:stop].any(axis=0) if fits is not None else np.isin(self._codes, own))
        counts = fits[:, start:stop].sum(axis=1) if fits is not None else np.array([(self._codes == c).sum() for c in own])
        self._rarest = int(np.argmin(counts))
        self._anchors = (
            np.flatnonzero(fits[self._rarest, start:stop])
            if fits is not None
            else np.flatnonzero(self._codes == own[self._rarest])
        )
        self._possible = bool((counts > 0).all())
        self._near = _neighbours(inside[alive[inside].all(axis=1)].tolist())
        self._alive = alive
        self._pattern = self._digraph([(int(c), i == self._rarest) for i, c in enumerate(own)], edges.tolist())
        self._reach = _reach(len(own), edges.tolist(), self._rarest)
        self._deadline = time.monotonic() + seconds

    def _digraph(self, nodes: Sequence[tuple[int, bool]], edges: Sequence[Sequence[int]]) -> Any:
        graph = self._rx.PyDiGraph(multigraph=False)
        graph.add_nodes_from(list(nodes))
        graph.add_edges_from_no_data([(a, b) for a, b in edges])
        return graph

    def matches(self) -> Iterator[tuple[int, ...]]:
        if not self._possible:
            return
        for anchor in self._anchors.tolist():
            match = self._around(anchor)
            if match is not None:
                yield match

    def _around(self, anchor: int) -> tuple[int, ...] | None:
        region = self._region(anchor)
        if len(region) < len(self._own):
            return None
        place = {node: i for i, node in enumerate(region)}
        edges = [(place[a], place[b]) for a in region for b in self._near.get(a, ((), ()))[0] if b in place]
        host = self._digraph([(int(self._codes[n]), n == anchor) for n in region], edges)
        mapping = next(iter(self._rx.vf2_mapping(host, self._pattern, self._matcher(), subgraph=True, induced=True)), None)
        if mapping is None:
            return None
        back = {theirs: region[ours] for ours, theirs in mapping.items()}
        return tuple(back[i] for i in range(len(self._own)))

    def _matcher(self) -> Callable[[tuple[int, bool], tuple[int, bool]], bool]:
        def same(a: tuple[int, bool], b: tuple[int, bool]) -> bool:
            if time.monotonic() > self._deadline:
                raise _OutOfTimeError
            return a == b

        return same

    def _region(self, anchor: int) -> list[int]:
        """Nodes that can belong to a match which has ``anchor``; all, where the block is in several pieces."""
        if self._reach is None:
            return [int(n) for n in np.flatnonzero(self._alive)]
        seen, front = {anchor}, [anchor]
        for _ in range(self._reach):
            front = list({b for a in front for side in self._near.get(a, ((), ())) for b in side} - seen)
            seen.update(front)
            if time.monotonic() > self._deadline:
                raise _OutOfTimeError
        return sorted(seen)


Near = dict[int, tuple[list[int], list[int]]]


def _neighbours(edges: Sequence[Sequence[int]]) -> Near:
    """Consumers and producers of each node."""
    near: Near = {}
    for a, b in edges:
        near.setdefault(a, ([], []))[0].append(b)
        near.setdefault(b, ([], []))[1].append(a)
    return near


def _reach(size: int, edges: Sequence[Sequence[int]], start: int) -> int | None:
    """Steps from ``start`` to the farthest node, against edges too; ``None`` where some cannot be reached."""
    near = _neighbours(edges)
    seen, front, steps = {start}, [start], 0
    while True:
        following = sorted({b for a in front for side in near.get(a, ([], [])) for b in side} - seen)
        if not following:
            return steps if len(seen) == size else None
        seen.update(following)
        front, steps = following, steps + 1


def _rustworkx() -> Any:
    try:
        import rustworkx
    except ImportError as error:
        raise MissingExtraError("looking for a block in graphs", "structure") from error
    return rustworkx

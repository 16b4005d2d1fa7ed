"""What nodes of two graphs are compared by: operator and attributes, width, stage, wiring around them, module path."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt

from netatlas.graph.graph import MAX_RANK, Graph
from netatlas.graph.ops import ATTRIBUTE_COLUMN, FLAGS, OPERATORS

Ints = npt.NDArray[np.int64]

_LAYERS = frozenset({"conv", "conv_transpose", "deform_conv", "linear", "bilinear", "embedding", "attention", "linear_attention",
                     "matmul", "lstm", "gru", "rnn", "scan", "fft"})  # fmt: skip
_CONVOLUTIONS = frozenset({"conv", "conv_transpose", "deform_conv"})
_JOINED = {"linear": "convolution", "reduction": "pooling", "spectral": "attention", "recurrence": "attention"}
"""Families whose members may stand in for one another: a linear layer for a 1x1 convolution, a mean for a global pool."""

_ALONE = {"add": "join", "sub": "join", "concat": "join", "mul": "scale", "div": "scale", "bilinear": "bilinear"}
_UNLIKE_MEMBERS = frozenset({"source", "lookup", "arithmetic", "layout", "unknown"})
"""Families whose members do different things and never stand in for one another, but for those of `_ALONE`."""

SAME_OP, SAME_CLASS, OWN, SIZE, STAGE, CONTEXT, PATH, PART = 4, 2, 3, 2, 4, 1, 1, 3
"""What agreement in each respect adds to the likeness of two nodes. Measured on planted edits (tests/graph/test_align.py)."""

UNLIKE = -60
"""Likeness of nodes that are never matched, whatever the others do."""

_BASE = 6
_ROUNDS = 2


def _classes() -> Ints:
    """Class of every operator: members of one class may replace one another."""
    keys = [
        _ALONE.get(op.name, op.name if op.family in _UNLIKE_MEMBERS else _JOINED.get(op.family, op.family)) for op in OPERATORS
    ]
    number = {key: n for n, key in enumerate(dict.fromkeys(keys))}
    return np.array([number[key] for key in keys], dtype=np.int64)


_CLASS = _classes()
_IS_LAYER = np.array([op.name in _LAYERS for op in OPERATORS])
_IS_CONV = np.array([op.name in _CONVOLUTIONS for op in OPERATORS])
_HAS_WIDTH = np.array([op.name in _CONVOLUTIONS or op.name in ("linear", "bilinear", "embedding") for op in OPERATORS])


class Side:
    """One graph's columns for alignment, all ``(g,)``.

    Args:
        graph: The graph.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.op = graph.op.astype(np.int64)
        self.kind = _CLASS[graph.op]
        self.is_layer = _IS_LAYER[graph.op]
        self.has_width = _HAS_WIDTH[graph.op]
        self.is_conv = _IS_CONV[graph.op]
        rank = (graph.shape > 0).sum(axis=1)
        kernel_rank = (graph.attrs[:, :3] > 0).sum(axis=1)
        last = MAX_RANK - 1
        axis = np.where(self.is_conv, last - kernel_rank, last)
        rows = np.arange(len(graph))
        self.width: Ints = graph.shape[rows, np.maximum(axis, 0)] if len(graph) else np.zeros(0, np.int64)
        unknown = rank == 0  # a checkpoint's layer: its parameters stand for its width
        self.width = np.where(unknown, graph.params, self.width)
        self.depthwise = self.is_conv & (graph.attr("groups") > 1) & (graph.attr("groups") == self.width)
        self.swap: Ints = np.where(self.is_conv & ~_is_linear_like(graph, kernel_rank), -1 - self.op, self.kind)
        self.positions = _positions(graph, rank, self.is_conv, self.width)
        given = graph.op == _INPUT
        whole = int(self.positions[given].max(initial=1))
        with np.errstate(divide="ignore"):
            self.stage: Ints = np.rint(np.log2(whole / np.maximum(self.positions, 1))).astype(np.int64)
        self.own = self._own_rows()

    def _own_rows(self) -> Ints:
        """Operator and attributes without widths: depthwise counts as such whatever the number of groups ``(g, c)``."""
        attrs = self.graph.attrs.astype(np.int64).copy()
        groups = ATTRIBUTE_COLUMN["groups"]
        attrs[:, groups] = np.where(self.depthwise, -1, np.maximum(attrs[:, groups], 1))
        attrs[:, ATTRIBUTE_COLUMN["flags"]] &= ~FLAGS["shared"]
        return np.concatenate([self.op[:, None], attrs], axis=1)

    @cached_property
    def paths(self) -> list[str]:
        """Module path of every node."""
        names = [scope.path for scope in self.graph.scopes]
        return [names[i] for i in self.graph.scope.tolist()]

    @cached_property
    def crossing(self) -> list[int]:
        """For every position (and the end) how many tensors made before it are read at or after it ``(g + 1,)``."""
        g = len(self.graph)
        last = np.full(g, -1, dtype=np.int64)
        if len(self.graph.edges):
            np.maximum.at(last, self.graph.edges[:, 0], self.graph.edges[:, 1])
        change = np.zeros(g + 2, dtype=np.int64)
        read = np.flatnonzero(last >= 0)
        np.add.at(change, read + 1, 1)
        np.add.at(change, last[read] + 1, -1)
        passing: list[int] = np.cumsum(change)[: g + 1].tolist()
        return passing


def _is_linear_like(graph: Graph, kernel_rank: Ints) -> npt.NDArray[np.bool_]:
    """Convolutions a linear layer may stand for: over all channels, of one pixel or of patches that do not overlap."""
    kernel, stride = graph.attrs[:, :3], np.maximum(graph.attrs[:, 3:6], 1)
    patches = ((kernel == stride) | (kernel == 0)).all(axis=1)
    return np.asarray((kernel_rank > 0) & (graph.attr("groups") <= 1) & (patches | (kernel <= 1).all(axis=1)))


_INPUT = next(i for i, op in enumerate(OPERATORS) if op.name == "input")


def _positions(graph: Graph, rank: Ints, is_conv: npt.NDArray[np.bool_], width: Ints) -> Ints:
    """Places of every output: pixels of a feature map (channels first or last), tokens of a sequence, 1 for a vector."""
    shape = graph.shape
    channels = shape[:, -1].copy()
    first = (rank == 4) & ((shape[:, -1] == shape[:, -2]) | (shape[:, -3] != shape[:, -2]))
    channels[first] = shape[first, -3]
    channels[is_conv] = width[is_conv]
    sized: Ints = np.where(shape == 0, 1, shape).prod(axis=1)
    found = np.where(rank >= 2, sized // np.maximum(channels, 1), 1)
    return np.asarray(np.maximum(found, 1), dtype=np.int64)


class Labels:
    """Two graphs with numbers that mean the same in both.

    Attributes:
        a: The first.
        b: The second.
        own: Number of operator and attributes, widths left out, of every node of either.
        full: Number of ``own``, output shape and parameters.
        owner: Number of the part every node is in, counted in each graph; ``None`` until that is known.
        part: Number of the part every node belongs to, equal for parts that belong together; ``None`` until that is known.
    """

    def __init__(self, a: Graph, b: Graph) -> None:
        self.a, self.b = Side(a), Side(b)
        own, full = [], []
        for side in (self.a, self.b):
            own.append(side.own)
            shared = side.graph.attr("flags").astype(np.int64)[:, None] & FLAGS["shared"]
            full.append(np.concatenate([side.own, shared, side.graph.shape, side.graph.params[:, None]], axis=1))
        self.own = _numbered(own)
        self.full = _numbered(full)
        self.context = [self._contexts(exact) for exact in (True, False)]
        paths: dict[str, int] = {}
        self.path = tuple(
            np.array([paths.setdefault(p, len(paths)) if p else -1 - n for p in side.paths], dtype=np.int64)
            for n, side in enumerate((self.a, self.b))
        )
        self.part: tuple[Ints, Ints] | None = None
        self.owner: tuple[Ints, Ints] | None = None
        self._factored: tuple[npt.NDArray[np.int16], Ints, Ints] | None = None

    def _contexts(self, exact: bool) -> list[tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]]:
        """Weisfeiler-Lehman labels of both graphs after each round, from attributes or (not ``exact``) classes alone."""
        found = []
        labels = [
            _mixed(x.astype(np.uint64)) for x in (self.own if exact else (self.a.kind, self.b.kind))
        ]  # comparable: equal numbers, equal labels
        for _ in range(_ROUNDS):
            labels = [_refined(side.graph, x) for side, x in zip((self.a, self.b), labels, strict=True)]
            found.append((labels[0], labels[1]))
        return found

    def _table(self) -> tuple[npt.NDArray[np.int16], Ints, Ints]:
        """Likeness without wiring and paths of all distinct kinds of nodes ``(u, v)``, and every node's kind."""
        if self._factored is None:
            rows = [
                np.stack(
                    [own, side.op, side.swap, side.width, side.stage, side.is_layer, side.has_width, _shape_key(side)], axis=1
                )
                for own, side in zip(self.own, (self.a, self.b), strict=True)
            ]
            (u, of_a), (v, of_b) = (np.unique(x, axis=0, return_inverse=True) for x in rows)
            self._factored = _pairwise(u, v), of_a.reshape(-1), of_b.reshape(-1)
        return self._factored

    def likeness(self, i: int, columns: slice | Ints) -> npt.NDArray[np.int32]:
        """Likeness of node ``i`` of the first graph to some nodes of the second, a slice or their numbers ``(n,)``."""
        table, of_a, of_b = self._table()
        score = table[of_a[i]][of_b[columns]].astype(np.int32)
        factor = 1 + int(self.a.is_layer[i])
        near = (self.path[0][i] == self.path[1][columns]).astype(np.int32) * PATH
        if self.part is not None:
            near += (self.part[0][i] == self.part[1][columns]) * PART
        for rounds in self.context:
            for ours, theirs in rounds:
                near += (ours[i] == theirs[columns]) * CONTEXT
        return np.asarray(np.where(score > UNLIKE // 2, score + factor * near, UNLIKE), dtype=np.int32)


def _shape_key(side: Side) -> Ints:
    """A number equal for equal output shapes."""
    return np.asarray((_mixed(side.graph.shape.astype(np.uint64)) * _ODD[:MAX_RANK]).sum(axis=1) >> np.uint64(1), dtype=np.int64)


def _pairwise(u: Ints, v: Ints) -> npt.NDArray[np.int16]:
    """Likeness of kinds of nodes, rows as `Labels._table` stacks them; blockwise, since it may have 10^8 cells."""
    found = np.empty((len(u), len(v)), dtype=np.int16)
    for start in range(0, len(u), 256):
        x = u[start : start + 256, None, :]
        y = v[None, :, :]
        same = [x[..., c] == y[..., c] for c in range(8)]
        stage = np.abs(x[..., 4] - y[..., 4]) <= 1  # 15x15 of 240x240 is the stage of 14x14 of 224x224
        size = np.where(x[..., 6] * y[..., 6] == 1, same[3], same[7])
        score = np.where(same[1], SAME_OP, SAME_CLASS) + OWN * same[0] + SIZE * size + STAGE * stage - _BASE
        score = score * (1 + x[..., 5])
        found[start : start + 256] = np.where(same[1] | same[2], score, UNLIKE)
    return found


def _numbered(columns: list[Ints]) -> tuple[Ints, Ints]:
    """Equal rows to equal numbers, in both tables."""
    _, inverse = np.unique(np.concatenate(columns), axis=0, return_inverse=True)
    inverse = inverse.reshape(-1).astype(np.int64)
    return inverse[: len(columns[0])], inverse[len(columns[0]) :]


_ODD = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5, 0x85EBCA77C2B2AE63,
                 0xFF51AFD7ED558CCD], dtype=np.uint64)  # fmt: skip


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """A bijection that spreads bits (the finaliser of MurmurHash3)."""
    x = values + _ODD[0]
    x = (x ^ (x >> np.uint64(33))) * _ODD[5]
    x = (x ^ (x >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return np.asarray(x ^ (x >> np.uint64(33)), dtype=np.uint64)


def _refined(graph: Graph, labels: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """One round: a node's label with the sums of its producers' and of its consumers' labels."""
    above, below = np.zeros_like(labels), np.zeros_like(labels)
    if len(graph.edges):
        source, target = graph.edges[:, 0], graph.edges[:, 1]
        np.add.at(above, target, labels[source])
        np.add.at(below, source, labels[target])
    return _mixed(labels * _ODD[1] + _mixed(above) * _ODD[2] + _mixed(below ^ _ODD[3]) * _ODD[4])

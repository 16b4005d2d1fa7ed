"""Many graphs side by side, so that one array operation looks at all of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from netatlas.graph.graph import Graph
from netatlas.graph.ops import ATTRIBUTES, OP_ID

COLUMNS = ("op", *ATTRIBUTES, "params", "inner", "channels", "degree")
"""What describes a node by itself: operator, attributes, parameters, input channels of each output of a convolution, output
channels, number of inputs."""

COLUMN = {name: i for i, name in enumerate(COLUMNS)}

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Pool:
    """``m`` graphs with ``g`` nodes and ``e`` edges in all. Networks repeat themselves: nodes point into a table of distinct ones.

    Attributes:
        ids: Name of each graph.
        starts: ``(m + 1,)`` first node of each graph, and ``g``.
        row: ``(g,)`` position of each node in ``table``.
        table: ``(r, len(COLUMNS))`` distinct nodes.
        edges: ``(e, 2)`` producer and consumer, ascending by producer.
    """

    ids: tuple[str, ...]
    starts: Ints
    row: npt.NDArray[np.int32]
    table: Ints
    edges: npt.NDArray[np.int32]

    @classmethod
    def of(cls, graphs: Iterable[tuple[str, Graph]]) -> Pool:
        """The pool of named graphs."""
        ids: list[str] = []
        sizes: list[int] = []
        rows: list[npt.NDArray[np.int32]] = []
        edges: list[npt.NDArray[np.int32]] = []
        known: dict[bytes, int] = {}
        start = 0
        for name, graph in graphs:
            distinct, inverse = np.unique(describe(graph), axis=0, return_inverse=True)
            numbers = [known.setdefault(line.tobytes(), len(known)) for line in distinct]
            rows.append(np.array(numbers, dtype=np.int32)[inverse.ravel()])
            order = np.argsort(graph.edges[:, 0], kind="stable")
            edges.append(graph.edges[order] + np.int32(start))
            ids.append(name)
            sizes.append(len(graph))
            start += len(graph)
        table = np.frombuffer(b"".join(known), dtype=np.int64).reshape(-1, len(COLUMNS))
        return cls(
            tuple(ids),
            np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64),
            np.concatenate([*rows, np.zeros(0, np.int32)]).astype(np.int32),
            table,
            np.concatenate([*edges, np.zeros((0, 2), np.int32)]).astype(np.int32),
        )

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def owner(self) -> npt.NDArray[np.int32]:
        """``(g,)`` graph of each node."""
        return np.repeat(np.arange(len(self), dtype=np.int32), np.diff(self.starts))

    @cached_property
    def first_edge(self) -> Ints:
        """``(g + 1,)`` position of each node's first outgoing edge."""
        return np.searchsorted(self.edges[:, 0], np.arange(len(self.row) + 1)).astype(np.int64)

    def column(self, name: str) -> Ints:
        """One column of the table of distinct nodes ``(r,)``."""
        return np.asarray(self.table[:, COLUMN[name]])

    def successors(self, nodes: Ints) -> tuple[Ints, Ints]:
        """For every edge that leaves ``nodes``: the position in ``nodes`` and the consumer."""
        begin, count = self.first_edge[nodes], self.first_edge[nodes + 1] - self.first_edge[nodes]
        origin = np.repeat(np.arange(len(nodes)), count)
        offset = np.arange(len(origin)) - np.repeat(np.cumsum(count) - count, count)
        return origin, self.edges[begin[origin] + offset, 1].astype(np.int64)

    def select(self, graphs: Mask) -> Pool:
        """The pool of some of the graphs ``(m,)``."""
        kept = graphs[self.owner]
        number = np.cumsum(kept, dtype=np.int64) - 1
        edges = self.edges[kept[self.edges[:, 0]]]
        sizes = np.diff(self.starts)[graphs]
        starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        ids = tuple(np.array(self.ids, dtype=object)[graphs].tolist())
        return Pool(ids, starts, self.row[kept], self.table, number[edges].astype(np.int32).reshape(-1, 2))

    def save(self, folder: Path) -> None:
        """Write plain arrays, which `load` maps into memory without reading them."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("starts", "row", "table", "edges"):
            np.save(folder / f"{name}.npy", getattr(self, name), allow_pickle=False)
        (folder / "ids.json").write_text(json.dumps(self.ids))

    @classmethod
    def load(cls, folder: Path) -> Pool:
        """The pool that `save` wrote.

        Raises:
            OSError: A file is missing.
            ValueError: A file is damaged.
        """
        ids = tuple(json.loads((folder / "ids.json").read_text()))
        arrays = [
            np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ("starts", "row", "table", "edges")
        ]
        if len(arrays[0]) != len(ids) + 1 or int(arrays[0][-1]) != len(arrays[1]) or arrays[2].shape[1] != len(COLUMNS):
            raise ValueError(f"{folder}: the files do not belong together")
        return cls(ids, *(np.asarray(a) for a in arrays))


def describe(graph: Graph) -> Ints:
    """What describes each node by itself ``(g, len(COLUMNS))``, see `COLUMNS`."""
    kernel = graph.attrs[:, :3].astype(np.int64)
    axes = np.count_nonzero(kernel, axis=1)
    is_conv = graph.op == OP_ID["conv"]
    axis = np.where(is_conv, graph.shape.shape[1] - 1 - axes, graph.shape.shape[1] - 1).clip(min=0)
    channels = graph.shape[np.arange(len(graph)), axis]
    window = np.where(kernel == 0, 1, kernel).prod(axis=1)
    inner = np.where(is_conv, graph.macs // np.maximum(graph.numel * window, 1), 0)
    degree = np.bincount(graph.edges[:, 1], minlength=len(graph))
    alone = (graph.op[:, None], graph.attrs, graph.params[:, None], inner[:, None], channels[:, None], degree[:, None])
    return np.ascontiguousarray(np.concatenate([part.astype(np.int64) for part in alone], axis=1))


def per_graph(pool: Pool, nodes: Mask) -> npt.NDArray[np.int64]:
    """How many of ``nodes`` ``(g,)`` each graph has ``(m,)``."""
    return np.bincount(pool.owner[nodes], minlength=len(pool)).astype(np.int64)


def pool_of(graph: Graph, name: str = "") -> Pool:
    """The pool of one graph."""
    return Pool.of([(name, graph)])

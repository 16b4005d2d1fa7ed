"""The operator graph: what every architecture is in netatlas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from netatlas.errors import GraphError
from netatlas.graph.ops import ATTRIBUTE_COLUMN, ATTRIBUTES, FAMILIES, NUM_OPERATORS, OPERATORS

MAX_RANK = 6
"""Axes of an output shape that a graph keeps; leading axes of larger tensors are multiplied together."""


@dataclass(frozen=True)
class Scope:
    """The module a node belongs to: dotted ``path`` (``"blocks.3.attn"``, ``""`` for the root) and class name."""

    path: str
    cls: str


@dataclass(frozen=True, eq=False)
class Graph:
    """An immutable directed acyclic graph of operators in topological order.

    Arrays are read-only. ``g`` is the number of nodes, ``e`` of edges.

    Attributes:
        op: ``(g,) uint8`` position in `ops.OPERATORS`.
        attrs: ``(g, len(ATTRIBUTES)) int32``, see `ops.ATTRIBUTES`.
        shape: ``(g, MAX_RANK) int64`` output shape, right-aligned, zero where the tensor has fewer axes.
        params: ``(g,) int64`` parameters owned by the node.
        macs: ``(g,) int64`` multiply-accumulates at the traced input.
        scope: ``(g,) int32`` position in ``scopes``.
        edges: ``(e, 2) int32`` producer and consumer, sorted by consumer, then by argument position.
        scopes: The modules the nodes belong to.
        total_params: Parameters of the whole network, which may exceed ``params.sum()`` by those the forward pass never uses;
            ``None`` where it is not known.
        unknown: Count of each foreign operator that mapped to ``unknown``.
    """

    op: npt.NDArray[np.uint8]
    attrs: npt.NDArray[np.int32]
    shape: npt.NDArray[np.int64]
    params: npt.NDArray[np.int64]
    macs: npt.NDArray[np.int64]
    scope: npt.NDArray[np.int32]
    edges: npt.NDArray[np.int32]
    scopes: tuple[Scope, ...] = (Scope("", ""),)
    total_params: int | None = None
    unknown: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, dtype, tail in (
            ("op", np.uint8, ()), ("attrs", np.int32, (len(ATTRIBUTES),)), ("shape", np.int64, (MAX_RANK,)),
            ("params", np.int64, ()), ("macs", np.int64, ()), ("scope", np.int32, ()), ("edges", np.int32, (2,)),
        ):  # fmt: skip
            array = np.ascontiguousarray(getattr(self, name), dtype=dtype)
            rows = array.shape[0] if name == "edges" else len(self.op)
            if array.shape != (rows, *tail):
                raise GraphError(f"graph column {name!r} has shape {array.shape}, expected {(rows, *tail)}")
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        self._check()

    def _check(self) -> None:
        if len(self.op) and int(self.op.max()) >= NUM_OPERATORS:
            raise GraphError(f"graph has operator number {int(self.op.max())}, the vocabulary ends at {NUM_OPERATORS - 1}")
        if len(self.scope) and not (self.scope.min() >= 0 and self.scope.max() < len(self.scopes)):
            raise GraphError("graph has a node outside its scopes")
        if len(self.edges):
            if int(self.edges.min()) < 0 or int(self.edges.max()) >= len(self):
                raise GraphError("graph has an edge outside its nodes")
            if bool((self.edges[:, 0] >= self.edges[:, 1]).any()):
                raise GraphError("graph is not in topological order (or has a cycle)")
            if bool((np.diff(self.edges[:, 1]) < 0).any()):
                raise GraphError("graph edges are not sorted by consumer")

    def __len__(self) -> int:
        return len(self.op)

    def __repr__(self) -> str:
        return (
            f"Graph({len(self)} nodes, {len(self.edges)} edges, {int(self.params.sum()):,} params, {int(self.macs.sum()):,} MACs)"
        )

    def name(self, node: int) -> str:
        """Operator name of a node."""
        return OPERATORS[int(self.op[node])].name

    @cached_property
    def names(self) -> list[str]:
        """Operator name of every node."""
        return [OPERATORS[i].name for i in self.op.tolist()]

    def attr(self, name: str) -> npt.NDArray[np.int32]:
        """One attribute column ``(g,)`` by name."""
        return self.attrs[:, ATTRIBUTE_COLUMN[name]]

    @cached_property
    def inputs(self) -> Sequence[tuple[int, ...]]:
        """Producers of every node, in argument order."""
        found: list[list[int]] = [[] for _ in range(len(self))]
        for source, target in self.edges.tolist():
            found[target].append(source)
        return [tuple(x) for x in found]

    @cached_property
    def consumers(self) -> Sequence[tuple[int, ...]]:
        """Consumers of every node, ascending, one entry per edge."""
        found: list[list[int]] = [[] for _ in range(len(self))]
        for source, target in self.edges.tolist():
            found[source].append(target)
        return [tuple(x) for x in found]

    @cached_property
    def outputs(self) -> tuple[int, ...]:
        """Nodes nobody consumes."""
        return tuple(i for i, users in enumerate(self.consumers) if not users)

    @cached_property
    def numel(self) -> npt.NDArray[np.int64]:
        """Elements of every node's output ``(g,)``."""
        sized = np.where(self.shape == 0, 1, self.shape)
        return np.asarray(sized.prod(axis=1), dtype=np.int64)

    def node_shape(self, node: int) -> tuple[int, ...]:
        """Output shape of a node without padding."""
        return tuple(int(x) for x in self.shape[node] if x)

    def op_counts(self) -> dict[str, int]:
        """How often each operator occurs, most frequent first, inputs and bare parameters left out."""
        counts = np.bincount(self.op, minlength=NUM_OPERATORS)
        order = sorted(range(NUM_OPERATORS), key=lambda i: (-counts[i], OPERATORS[i].name))
        return {OPERATORS[i].name: int(counts[i]) for i in order if counts[i] and OPERATORS[i].family != FAMILIES[0]}

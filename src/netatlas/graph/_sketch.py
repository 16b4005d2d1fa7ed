"""A graph taken apart, so that edits can add, change and remove nodes; putting it together again checks it."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from netatlas.errors import GraphError
from netatlas.graph.graph import MAX_RANK, Graph, Scope
from netatlas.graph.ops import ATTRIBUTE_COLUMN, ATTRIBUTES, FLAGS, OP_ID

SHARED = FLAGS["shared"]


@dataclass
class Node:
    """One operator.

    Attributes:
        op: Name in the vocabulary.
        attrs: As the columns of `Graph.attrs`.
        shape: Output shape, right-aligned in `MAX_RANK` axes.
        params: Parameters it owns.
        macs: Multiply-accumulates.
        scope: Scope number.
        ins: Producers in argument order.
        key: Where it stands among nodes that may stand anywhere: the place of an old node, then the order of making.
    """

    op: str
    attrs: list[int]
    shape: list[int]
    params: int
    macs: int
    scope: int
    ins: list[int]
    key: tuple[int, int]

    def attr(self, name: str) -> int:
        """One attribute."""
        return self.attrs[ATTRIBUTE_COLUMN[name]]

    def set(self, **values: int) -> None:
        """Change attributes."""
        for name, value in values.items():
            self.attrs[ATTRIBUTE_COLUMN[name]] = value

    @property
    def shared(self) -> bool:
        """Whether an earlier node owns its parameters."""
        return bool(self.attr("flags") & SHARED)

    @property
    def numel(self) -> int:
        """Elements of the output."""
        return math.prod(n for n in self.shape if n)

    @property
    def rank(self) -> int:
        """Axes of the output."""
        return MAX_RANK - next((i for i, n in enumerate(self.shape) if n), MAX_RANK)

    @property
    def kernel_axes(self) -> int:
        """Axes a convolution or a pool slides along."""
        return sum(n > 0 for n in self.attrs[:3])

    @property
    def area(self) -> int:
        """Elements of the window."""
        return math.prod(n for n in self.attrs[:3] if n)

    @property
    def channel_axis(self) -> int:
        """Where a convolution or linear layer writes its channels."""
        return MAX_RANK - 1 - (self.kernel_axes if self.op == "conv" else 0)

    @property
    def channels(self) -> int:
        """Output channels of a convolution or linear layer."""
        return self.shape[self.channel_axis]

    @property
    def reads(self) -> int:
        """Input channels that one output channel of a convolution or linear layer reads."""
        return self.macs // max(self.numel * (self.area if self.op == "conv" else 1), 1)


class Sketch:
    """Nodes by number; numbers of removed nodes are not used again."""

    def __init__(self, graph: Graph) -> None:
        columns = (graph.attrs.tolist(), graph.shape.tolist(), graph.params.tolist(), graph.macs.tolist(), graph.scope.tolist())
        self.nodes: dict[int, Node] = {
            i: Node(op, attrs, shape, params, macs, scope, list(ins), (i, 0))
            for i, (op, attrs, shape, params, macs, scope, ins) in enumerate(
                zip(graph.names, *columns, graph.inputs, strict=True)
            )
        }
        self.scopes = list(graph.scopes)
        self.outputs = set(graph.outputs)
        self._total, self._before = graph.total_params, int(graph.params.sum())
        self._unknown = dict(graph.unknown)
        self._made, self._next = 0, len(graph)
        self._users: dict[int, list[int]] | None = None

    def users(self) -> dict[int, list[int]]:
        """Consumers of every node, one entry per edge; counted again only after `place` and `redirect`."""
        if self._users is None:
            self._users = {i: [] for i in self.nodes}
            for i, node in self.nodes.items():
                for x in node.ins:
                    self._users[x].append(i)
        return self._users

    def add(
        self, op: str, ins: Iterable[int], shape: list[int], *, after: int, scope: int,
        params: int = 0, macs: int = 0, **attrs: int,
    ) -> int:  # fmt: skip
        """A new node that stands after an old one."""
        node = Node(op, [0] * len(ATTRIBUTES), list(shape), params, macs, scope, list(ins), (0, 0))
        node.set(**attrs)
        return self.place(node, after)

    def copy(self, i: int, *, after: int) -> int:
        """A node like another one, reading the same, that stands after an old one."""
        old = self.nodes[i]
        return self.place(replace(old, attrs=list(old.attrs), shape=list(old.shape), ins=list(old.ins)), after)

    def place(self, node: Node, after: int) -> int:
        """Take in a node; its number."""
        self._made += 1
        self._users = None
        node.key = (self.nodes[after].key[0], self._made)
        self._next += 1
        self.nodes[self._next - 1] = node
        return self._next - 1

    def redirect(self, old: int, new: int, users: Iterable[int]) -> None:
        """Let ``users`` read ``new`` where they read ``old``."""
        self._users = None
        for user in set(users):
            self.nodes[user].ins = [new if x == old else x for x in self.nodes[user].ins]

    def scope_like(self, i: int, name: str, cls: str) -> int:
        """A new scope beside that of a node, with a name that is not taken."""
        parent = self.scopes[self.nodes[i].scope].path
        taken = {s.path for s in self.scopes}
        path = next(p for n in range(len(taken) + 1) if (p := f"{parent}.{name}{n or ''}".lstrip(".")) not in taken)
        self.scopes.append(Scope(path, cls))
        return len(self.scopes) - 1

    def graph(self) -> Graph:
        """The graph; what no output depends on any more is left out.

        Raises:
            GraphError: Nodes wait for one another, or a size is not positive.
        """
        self._prune()
        order = self._order()
        place = {i: n for n, i in enumerate(order)}
        nodes = [self.nodes[i] for i in order]
        used = sorted({node.scope for node in nodes})
        number = {old: new for new, old in enumerate(used)}
        if any(node.params < 0 or node.macs < 0 or min(node.shape, default=0) < 0 for node in nodes):
            raise GraphError("an edit made a size negative")
        params = np.array([node.params for node in nodes], dtype=np.int64)
        edges = [(place[x], n) for n, node in enumerate(nodes) for x in node.ins]
        return Graph(
            op=np.array([OP_ID[node.op] for node in nodes], dtype=np.uint8),
            attrs=np.array([node.attrs for node in nodes], dtype=np.int32).reshape(-1, len(ATTRIBUTES)),
            shape=np.array([node.shape for node in nodes], dtype=np.int64).reshape(-1, MAX_RANK),
            params=params,
            macs=np.array([node.macs for node in nodes], dtype=np.int64),
            scope=np.array([number[node.scope] for node in nodes], dtype=np.int32),
            edges=np.array(edges, dtype=np.int32).reshape(-1, 2),
            scopes=tuple(self.scopes[i] for i in used) or (Scope("", ""),),
            total_params=None if self._total is None else self._total + int(params.sum()) - self._before,
            unknown=self._unknown,
        )

    def _prune(self) -> None:
        users = {i: len(found) for i, found in self.users().items()}
        idle = [i for i, n in users.items() if not n and i not in self.outputs]
        while idle:
            i = idle.pop()
            for x in self.nodes.pop(i).ins:
                users[x] -= 1
                if not users[x] and x not in self.outputs:
                    idle.append(x)
        self._users = None

    def _order(self) -> list[int]:
        waiting = {i: len(set(node.ins)) for i, node in self.nodes.items()}
        users = self.users()
        ready = [(self.nodes[i].key, i) for i, n in waiting.items() if not n]
        heapq.heapify(ready)
        order: list[int] = []
        while ready:
            _, i = heapq.heappop(ready)
            order.append(i)
            for user in set(users[i]):
                waiting[user] -= 1
                if not waiting[user]:
                    heapq.heappush(ready, (self.nodes[user].key, user))
        if len(order) < len(self.nodes):
            raise GraphError(f"an edit made {len(self.nodes) - len(order)} nodes wait for one another")
        return order

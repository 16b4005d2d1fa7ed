"""What recognisers of named motifs share: how one is registered, and a graph with the questions they ask of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from netatlas.graph.graph import Graph
from netatlas.graph.ops import ATTRIBUTE_COLUMN, FLAGS, OPERATORS

Nodes = tuple[int, ...]
"""Nodes that tell a motif, the one it ends at last."""

ACTIVATIONS = frozenset(op.name for op in OPERATORS if op.family == "activation")
NORMS = frozenset(op.name for op in OPERATORS if op.family == "normalisation")
PLAIN = ACTIVATIONS | NORMS
LAYERS = frozenset({"conv", "linear"})
POOLS = frozenset({"avg_pool", "max_pool"})
GLOBAL_POOLS = frozenset({"global_avg_pool", "global_max_pool", "mean"})


@dataclass(frozen=True)
class Form:
    """A motif with a name.

    Attributes:
        name: Lower case with underscores; what people call it besides stands in ``data/words.toml``.
        find: Yields its occurrences in a graph, each once.
        description: What it is, in one sentence.
    """

    name: str
    find: Callable[[View], Iterator[Nodes]]
    description: str


FORMS: dict[str, Form] = {}
"""Named motifs, in the order they are registered."""


def form(name: str) -> Callable[[Callable[[View], Iterator[Nodes]]], Callable[[View], Iterator[Nodes]]]:
    """Decorator: the function finds the motif called ``name``; the first line of its docstring is the description."""

    def add(find: Callable[[View], Iterator[Nodes]]) -> Callable[[View], Iterator[Nodes]]:
        assert find.__doc__, f"{name} has no description"
        FORMS[name] = Form(name, find, find.__doc__.strip().partition("\n")[0])
        return find

    return add


@dataclass(frozen=True)
class Residual:
    """A residual connection.

    Attributes:
        source: Where the two ways part.
        skip: End of the short way; the source itself, or a projection of it.
        body: End of the long way.
        add: Where they meet.
    """

    source: int
    skip: int
    body: int
    add: int

    @property
    def is_projected(self) -> bool:
        """Whether the short way changes width or size, as at the start of a stage."""
        return self.skip != self.source


class View:
    """A graph with the questions recognisers ask of it, in plain Python lists for speed."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.names = graph.names
        self.ins = graph.inputs
        self.users = graph.consumers
        self.shape = [tuple(x for x in row if x) for row in graph.shape.tolist()]
        self.numel: list[int] = graph.numel.tolist()
        self.params: list[int] = graph.params.tolist()
        self._attrs = graph.attrs.tolist()
        self._macs: list[int] = graph.macs.tolist()
        self._kinds: dict[int, str] = {}
        self._by_name: dict[str, list[int]] = {}
        for i, name in enumerate(self.names):
            self._by_name.setdefault(name, []).append(i)
        self._chains: dict[tuple[int, int], list[int] | None] = {}

    # ------------------------------------------------------------ one node

    def attr(self, node: int, name: str) -> int:
        return int(self._attrs[node][ATTRIBUTE_COLUMN[name]])

    def flag(self, node: int, name: str) -> bool:
        return bool(self.attr(node, "flags") & FLAGS[name])

    def of(self, *ops: str) -> list[int]:
        """Nodes of these operators, in order."""
        if len(ops) == 1:
            return self._by_name.get(ops[0], [])
        return sorted(i for op in ops for i in self._by_name.get(op, ()))

    def binary(self, *ops: str) -> Iterator[int]:
        """Nodes of these operators that join two different values."""
        return (i for i in self.of(*ops) if len(self.ins[i]) == 2 and self.ins[i][0] != self.ins[i][1])

    def kernel(self, node: int) -> tuple[int, ...]:
        return tuple(k for k in self._attrs[node][:3] if k)

    def width(self, node: int) -> int:
        """Size of the last axis, 0 for a single number."""
        return self.shape[node][-1] if self.shape[node] else 0

    def stride(self, node: int) -> int:
        return int(max(self._attrs[node][3:6]))

    def inner(self, node: int) -> int:
        """Input channels (per group) of a convolution, input features of a linear layer."""
        per_output = self._macs[node] // max(self.numel[node], 1)
        return int(per_output // max(math.prod(self.kernel(node)), 1)) if self.names[node] == "conv" else int(per_output)

    def channels(self, node: int) -> int:
        """Output channels of a convolution, output features of a linear layer."""
        shape = self.shape[node]
        axis = -1 - len(self.kernel(node)) if self.names[node] == "conv" else -1
        return shape[axis] if len(shape) >= abs(axis) else 0

    def is_pointwise(self, node: int) -> bool:
        """A 1x1 convolution over all channels, or a linear layer on a feature map."""
        if self.names[node] == "linear":
            return len(self.shape[node]) == 4
        return self.kind(node) == "p"

    def is_depthwise(self, node: int) -> bool:
        return self.kind(node) == "d"

    def is_spatial(self, node: int) -> bool:
        """A convolution wider than 1 that is neither depthwise nor grouped."""
        return self.kind(node) == "c"

    def is_grouped(self, node: int) -> bool:
        return self.kind(node) == "g"

    def reads_part(self, node: int) -> bool:
        """Whether a convolution takes only some channels of the map it reads."""
        source = self.ins[node][0] if self.ins[node] else node
        shape, axis = self.shape[source], -1 - len(self.kernel(node))
        if len(shape) < -axis:
            return False
        needed = self.inner(node) * max(self.attr(node, "groups"), 1)
        layer = self.back(source, PLAIN)
        first = self.names[layer] == "conv" and self.shape[layer] == shape  # channels first for sure; others may hold them last
        axes = {shape[axis]} if first else {shape[axis], shape[-1]}
        return bool(axes) and 0 < needed < max(axes) and needed not in axes

    def kind(self, node: int) -> str:
        """``p`` pointwise or linear, ``d`` depthwise, ``g`` grouped, ``c`` any other convolution, ``""`` what is no layer."""
        name = self.names[node]
        if name != "conv":
            return "p" if name == "linear" else ""
        if node not in self._kinds:
            groups = self.attr(node, "groups")
            if groups > 1:
                self._kinds[node] = "d" if self.inner(node) == 1 else "g"
            else:
                self._kinds[node] = "p" if all(k == 1 for k in self.kernel(node)) else "c"
        return self._kinds[node]

    # ------------------------------------------------------------ ways through the graph

    def back(self, node: int, through: frozenset[str]) -> int:
        """From ``node`` up through operators of ``through``, along first inputs."""
        while self.names[node] in through and self.ins[node]:
            node = self.ins[node][0]
        return node

    def previous(self, node: int, through: frozenset[str] = PLAIN) -> int | None:
        """The operator before ``node``, norms and activations skipped."""
        return self.back(self.ins[node][0], through) if self.ins[node] else None

    def main(self, node: int) -> int:
        """The input that the output is a version of: of an attention the queries, else the largest."""
        ins = self.ins[node]
        return ins[0] if len(ins) == 1 or self.names[node] == "attention" else max(ins, key=self.numel.__getitem__)

    def chain(self, end: int, stop: int, limit: int = 60) -> list[int] | None:
        """Nodes from ``end`` up to ``stop``, which is left out, along main inputs; ``None`` when they do not lead there."""
        key = end, stop
        if key not in self._chains:
            found: list[int] | None = []
            node = end
            while node != stop:
                assert found is not None
                found.append(node)
                if node < stop or not self.ins[node] or len(found) > limit:
                    found = None
                    break
                node = self.main(node)
            self._chains[key] = found
        return self._chains[key]

    def kinds(self, nodes: list[int] | None) -> str:
        """`kind` of every layer of a chain, source side first."""
        return "".join(self.kind(i) for i in reversed(nodes)) if nodes is not None else ""

    def reaches(self, node: int, target: int, limit: int = 80) -> bool:
        """Whether ``target`` lies above ``node``; gives up after ``limit`` nodes."""
        todo, seen = [node], {node}
        while todo and len(seen) <= limit:
            for x in self.ins[todo.pop()]:
                if x == target:
                    return True
                if x > target and x not in seen:
                    seen.add(x)
                    todo.append(x)
        return False

    def between(self, nodes: Nodes) -> list[int]:
        """The nodes of an occurrence with everything on the ways between them, ascending."""
        first, last = min(nodes), max(nodes)
        above, todo = {last}, [last]
        while todo:
            for x in self.ins[todo.pop()]:
                if x >= first and x not in above:
                    above.add(x)
                    todo.append(x)
        kept = set(nodes)
        for i in sorted(above):
            if any(x in kept for x in self.ins[i]):
                kept.add(i)
        return sorted(kept)

    @cached_property
    def residuals(self) -> dict[int, Residual]:
        """Residual connections by the node they end at."""
        found: dict[int, Residual] = {}
        for i in self.binary("add"):
            low, high = sorted(self.ins[i])
            if self.reaches(high, low):
                found[i] = Residual(low, low, high, i)
            elif (projected := self._projected(i, low, high)) is not None:
                found[i] = projected
        return found

    def _projected(self, add: int, low: int, high: int) -> Residual | None:
        """The connection where one branch is a projection of where the other one comes from."""
        for branch, other in ((low, high), (high, low)):
            layer = self.back(branch, NORMS)
            if self.names[layer] in LAYERS and self.ins[layer]:
                source = self.back(self.ins[layer][0], POOLS)
                if source != other and source < other and self.reaches(other, source):
                    return Residual(source, branch, other, add)
        return None

    @cached_property
    def bodies(self) -> list[tuple[Residual, list[int], str]]:
        """Residual connections with the nodes of their long way along main inputs, its end first, and the kinds of its layers.

        Those whose main inputs lead elsewhere are left out.
        """
        found = []
        for residual in self.residuals.values():
            if body := self.chain(residual.body, residual.source):
                found.append((residual, body, self.kinds(body)))
        return found

    @cached_property
    def leaving(self) -> dict[int, list[Residual]]:
        """Residual connections by the node where they begin."""
        found: dict[int, list[Residual]] = {}
        for residual in self.residuals.values():
            found.setdefault(residual.source, []).append(residual)
        return found

    def body(self, residual: Residual) -> list[int]:
        """The long way of a residual connection along main inputs, its end first; empty when those lead elsewhere."""
        return self.chain(residual.body, residual.source) or []

"""The mutable graph that recognition works on: operators that depend on data, with weights and constants folded into them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from netatlas.graph.ops import FLAGS
from netatlas.graph.raw import Capture, RawNode

_PROJECTIONS = frozenset(
    {"conv", "conv_transpose", "deform_conv", "linear", "bilinear", "embedding", "lstm", "gru", "rnn", "attention"}
)
"""Operators that stay even when all they read is weights and constants, such as the first layer on learned queries."""

_INDEX_MAKERS = frozenset({"argmax", "topk", "sort"})
"""Operators with integer outputs that are part of the design (routing, sampling), not bookkeeping."""


@dataclass
class Node:
    """One operator of a draft.

    Attributes:
        op: Name in the vocabulary.
        ins: Producers that depend on the data, in argument order.
        shape: Output shape.
        attrs: As in `RawNode.attrs`.
        macs: Multiply-accumulates.
        scope: Scope number.
        params: Names of the trained tensors it reads, in order.
        constant: Whether it also reads something that is neither data nor trained: a number, a buffer, a mask.
    """

    op: str
    ins: list[int]
    shape: tuple[int, ...]
    attrs: dict[str, Any]
    macs: int = 0
    scope: int = 0
    params: tuple[str, ...] = ()
    constant: bool = False

    @property
    def unary(self) -> bool:
        """Whether one data input is all it reads besides numbers and buffers."""
        return len(self.ins) == 1 and not self.params


@dataclass
class Draft:
    """Nodes in execution order; a node that `alias` maps to another one is gone.

    Attributes:
        nodes: All nodes ever made.
        outputs: Nodes the network returns.
        numel: Elements of every trained tensor by name.
    """

    nodes: list[Node] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    numel: dict[str, int] = field(default_factory=dict)
    _alias: dict[int, int] = field(default_factory=dict)

    def find(self, i: int) -> int:
        """The node that stands for ``i`` now."""
        root = i
        while root in self._alias:
            root = self._alias[root]
        while i != root:  # path compression: views come in long chains
            self._alias[i], i = root, self._alias[i]
        return root

    def alias(self, i: int, target: int) -> None:
        """Let ``target`` stand for ``i``."""
        target = self.find(target)
        if target != i:
            self._alias[i] = target

    def ins(self, i: int) -> list[int]:
        """Producers of ``i``, aliases resolved."""
        return [self.find(x) for x in self.nodes[i].ins]

    def alive(self) -> Iterator[int]:
        """Positions of the nodes that outputs depend on, in order."""
        reached: set[int] = set()
        todo = [self.find(x) for x in self.outputs]
        while todo:
            i = todo.pop()
            if i not in reached:
                reached.add(i)
                todo.extend(self.ins(i))
        return iter(sorted(reached))

    def by_op(self, *ops: str) -> list[int]:
        """Living nodes of these operators, in order."""
        return [i for i in self.alive() if self.nodes[i].op in ops]

    def users(self) -> dict[int, list[int]]:
        """Living consumers of every living node."""
        found: dict[int, list[int]] = {}
        for i in self.alive():
            for x in self.ins(i):
                found.setdefault(x, []).append(i)
        return found


@dataclass(frozen=True)
class _Value:
    """What a raw node is worth to the draft: data (``node``), weights (``params``), or bookkeeping made from inputs (``origins``).

    ``ordered`` bookkeeping comes from comparing positions with positions: a mask made of it is causal.
    """

    node: int = -1
    params: tuple[str, ...] = ()
    origins: frozenset[int] = frozenset()
    repeated: bool = False
    standardised: bool = False
    ordered: bool = False

    @property
    def live(self) -> bool:
        return self.node >= 0


class _Reducer:
    def __init__(self, capture: Capture) -> None:
        self.capture = capture
        self.draft = Draft(numel={})
        self.values: list[_Value] = []

    def run(self) -> Draft:
        for raw in self.capture.nodes:
            self.values.append(self._value(raw))
        self.draft.outputs = [v.node for v in (self.values[i] for i in self.capture.outputs) if v.live]
        return self.draft

    def _value(self, raw: RawNode) -> _Value:
        if raw.op == "input":
            node = self._add(raw, [], ())
            return _Value(node=node) if raw.real else _Value(origins=frozenset({node}))
        if raw.op == "parameter":
            size = 1
            for n in raw.shape:
                size *= n
            self.draft.numel[raw.tensor] = size
            return _Value(params=(raw.tensor,))
        if raw.op == "constant":
            return _Value()
        given = [self.values[i] for i in raw.inputs]
        live = [v for v in given if v.live]
        params = tuple(dict.fromkeys(p for v in given for p in v.params))
        origins = frozenset(o for v in given for o in v.origins)
        if raw.op == "embedding" or (raw.op in _PROJECTIONS and params and not live):
            return _Value(node=self._add(raw, sorted(origins), params))
        if live:
            return self._live(raw, given, params)
        standardised = raw.op in ("batch_norm", "var") or any(v.standardised for v in given)
        ordered = any(v.ordered for v in given) or bool(
            raw.attrs.get("ordered") and (len(raw.inputs) > 1 or raw.op == "triangle")
        )
        return _Value(params=params, standardised=standardised) if params else _Value(origins=origins, ordered=ordered)

    def _live(self, raw: RawNode, given: list[_Value], params: tuple[str, ...]) -> _Value:
        live = [v for v in given if v.live]
        if raw.op == "view":
            repeated = bool(raw.attrs.get("repeat")) or live[0].repeated
            return _Value(node=live[0].node, repeated=repeated)
        if not raw.real and raw.op not in _INDEX_MAKERS:
            return _Value(node=live[0].node)
        node = self._add(raw, [v.node for v in live], params)
        made = self.draft.nodes[node]
        made.constant = len(live) + sum(bool(v.params) for v in given) < len(given) or "scalar" in raw.attrs
        if any(v.ordered for v in given if not v.live):
            made.attrs["causal"] = True
        if raw.op == "conv" and any(v.standardised for v in given):
            made.attrs["flags"] = made.attrs.get("flags", 0) | FLAGS["standardised"]
        if raw.op in ("matmul", "attention") and any(v.repeated for v in given[1:]):
            made.attrs["repeated"] = True
        return _Value(node=node)

    def _add(self, raw: RawNode, ins: list[int], params: tuple[str, ...]) -> int:
        self.draft.nodes.append(Node(raw.op, ins, raw.shape, dict(raw.attrs), raw.macs, raw.scope, params))
        return len(self.draft.nodes) - 1


def reduce(capture: Capture) -> Draft:
    """Fold weights, constants, views and integer bookkeeping of a capture into the operators that depend on data.

    A computation on weights alone (weight standardisation, a relative position table looked up) becomes part of the weights of
    what reads it, as exporters fold it; views become aliases; cuts stay, since recognition must tell halves apart.
    """
    return _Reducer(capture).run()
